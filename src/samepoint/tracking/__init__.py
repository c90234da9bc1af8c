"""Following points and masks: ``track`` and ``segment`` for a whole video, the trackers frame by frame."""

from samepoint.tracking.mask_tracker import MaskTracker
from samepoint.tracking.masks import segment
from samepoint.tracking.points import track
from samepoint.tracking.propagated import PropagatedPoints, PropagationSettings
from samepoint.tracking.propagated_masks import MASK_PROTOCOLS, MaskSettings, PropagatedMasks
from samepoint.tracking.refined import RefinedPoints, RefineSettings
from samepoint.tracking.tracker import PointTracker, TrackState

__all__ = [
    "MASK_PROTOCOLS",
    "MaskSettings",
    "MaskTracker",
    "PointTracker",
    "PropagatedMasks",
    "PropagatedPoints",
    "PropagationSettings",
    "RefineSettings",
    "RefinedPoints",
    "TrackState",
    "segment",
    "track",
]
