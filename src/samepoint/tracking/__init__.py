"""Following points through videos: ``track`` for a whole one, ``PointTracker`` frame by frame."""

from samepoint.tracking.points import track
from samepoint.tracking.propagated import PropagatedPoints, PropagationSettings
from samepoint.tracking.refined import RefinedPoints, RefineSettings
from samepoint.tracking.tracker import PointTracker, TrackState

__all__ = [
    "PointTracker",
    "PropagatedPoints",
    "PropagationSettings",
    "RefineSettings",
    "RefinedPoints",
    "TrackState",
    "track",
]
