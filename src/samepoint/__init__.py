"""Find the same point through every frame of a video."""

from __future__ import annotations

from typing import TYPE_CHECKING

from samepoint.errors import InputError
from samepoint.structures import Keypoints, Masks, Matches, Queries, Tracks, Video

if TYPE_CHECKING:
    from samepoint.matching import carry_masks, match
    from samepoint.models.weights import load_model
    from samepoint.tracking import MaskTracker, PointTracker, propagate_keypoints, segment, suggest_frames, track

__version__ = "0.1.0"

__all__ = [
    "InputError",
    "Keypoints",
    "MaskTracker",
    "Masks",
    "Matches",
    "PointTracker",
    "Queries",
    "Tracks",
    "Video",
    "carry_masks",
    "load_model",
    "match",
    "propagate_keypoints",
    "segment",
    "suggest_frames",
    "track",
]


def __getattr__(name: str) -> object:
    # PyTorch takes seconds to import: only those who track or match pay for it.
    if name in ("MaskTracker", "PointTracker", "propagate_keypoints", "segment", "suggest_frames", "track"):
        from samepoint import tracking

        return getattr(tracking, name)
    if name in ("carry_masks", "match"):
        from samepoint import matching

        return getattr(matching, name)
    if name == "load_model":
        from samepoint.models.weights import load_model

        return load_model
    raise AttributeError(f"module 'samepoint' has no attribute {name!r}")
