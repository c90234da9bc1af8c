"""What the micro-batches of a matcher's training are made of, for messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..datasets.order import drawn
from .matching_data import CrossPairs, KeypointPairs, PairSource, WarpedPictures, WebPairs

if TYPE_CHECKING:
    from .matching_task import PairBatches


def describe_pairs(batches: PairBatches, position: int) -> str:
    """Files and frames of the micro-batch at ``position`` of the run."""
    parts = []
    for name, source, count in (
        ("warped", batches.warped, batches.counts["warps"]),
        ("web", batches.web, batches.counts["web"]),
        ("labelled", batches.labelled, batches.counts["keypoints"]),
        ("target", batches.target, batches.counts["cross"]),
        ("cross", batches.crossed if batches.cross_on else None, batches.counts["cross"]),
    ):
        if source is not None:
            parts += [f"{name} {_described(source, position * count + place)}" for place in range(count)]
    return "; ".join(parts)


def _described(source: PairSource | CrossPairs, index: int) -> str:
    if isinstance(source, WarpedPictures):
        return source.frames.describe(index)
    if isinstance(source, WebPairs):
        pair = source.sampler[index]
        return f"{pair.shot['shot']} frames {pair.frame_i}, {pair.frame_j}"
    if isinstance(source, KeypointPairs):
        return source.pairs[drawn(len(source.pairs), source.seed, index)].name
    return f"pair {index}"
