"""Following points, masks and keypoints: a whole video in one call, or frame by frame."""

from samepoint.tracking.keypoints import Suggestion, propagate_keypoints, suggest_frames
from samepoint.tracking.mask_settings import MASK_PROTOCOLS, MaskSettings
from samepoint.tracking.mask_tracker import MaskTracker
from samepoint.tracking.masks import segment
from samepoint.tracking.points import track
from samepoint.tracking.propagated import PropagatedPoints, PropagationSettings
from samepoint.tracking.propagated_masks import PropagatedMasks
from samepoint.tracking.quality import QUALITIES, Quality
from samepoint.tracking.refined import RefinedPoints, RefineSettings
from samepoint.tracking.ring import RingTracker
from samepoint.tracking.tracker import PointTracker, TrackState

__all__ = [
    "MASK_PROTOCOLS",
    "QUALITIES",
    "MaskSettings",
    "MaskTracker",
    "PointTracker",
    "PropagatedMasks",
    "PropagatedPoints",
    "PropagationSettings",
    "Quality",
    "RefineSettings",
    "RefinedPoints",
    "RingTracker",
    "Suggestion",
    "TrackState",
    "propagate_keypoints",
    "segment",
    "suggest_frames",
    "track",
]
