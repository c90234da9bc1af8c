"""The rendered clips that trackers are measured on: textured from videos that no training sees, the same every time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from samepoint.datasets.synthetic import ClipSettings, FolderTextures, SyntheticClips
from samepoint.structures import Queries

SLOW_CLIPS = 8
RENDERED_CLIPS = 16
GRID = 12
"""Points a side of the first frame's grid on a slow clip."""
POINTS = 128
"""Points a rendered clip, a half of them spread evenly over the layers so that small ones count."""
HIDDEN = (0.25, 0.40)
"""Share of a rendered clip's evaluated points that are hidden or outside; clips with more or fewer are passed over."""
SLOW_SEED, RENDERED_SEED = 7_001, 7_002


@dataclass(frozen=True, eq=False)
class LabelledClip:
    """Frames with queries in the first one and the truth about them."""

    name: str
    frames: NDArray[np.uint8]
    """(T, H, W, 3) RGB."""
    queries: Queries
    xy: NDArray[np.float32]
    """(N, T, 2) pixels."""
    visible: NDArray[np.bool_]
    """(N, T)."""


def slow_clips(textures: str | Path, number: int = SLOW_CLIPS) -> Iterator[LabelledClip]:
    """150 frames of 256x256, slow sub-pixel motion, a grid of points in the first frame; drawn one by one."""
    clips = _source(Path(textures), ClipSettings.slow(), SLOW_SEED)
    for index in range(number):
        yield _slow(clips, index)


def rendered_clips(textures: str | Path, number: int = RENDERED_CLIPS) -> Iterator[LabelledClip]:
    """24 frames of 256x256 with layers that cross; random points of the first frame, ``HIDDEN`` of them later."""
    yield from _rendered(_source(Path(textures), ClipSettings.occluding(), RENDERED_SEED), number)


@lru_cache(maxsize=2)
def _source(textures: Path, settings: ClipSettings, seed: int) -> SyntheticClips:
    return SyntheticClips(settings, FolderTextures(textures), seed)


# Kept so that several trackers in one run see the same arrays without rendering again: about 0.3 GB in all.
@lru_cache(maxsize=SLOW_CLIPS)
def _slow(clips: SyntheticClips, index: int) -> LabelledClip:
    clip = clips.clip(index)
    queries = Queries.grid(GRID, clip.size)
    return LabelledClip(f"slow-{index:02d}", clip.frames, queries, *clip.tracks(queries.xy, 0))


@lru_cache(maxsize=1)
def _rendered(clips: SyntheticClips, number: int) -> tuple[LabelledClip, ...]:
    chosen: list[LabelledClip] = []
    for index in range(20 * number):
        clip = clips.clip(index)
        points = clip.sample_points(np.random.default_rng([clips.seed, index, 1]), POINTS, balanced=0.5)
        xy, visible = clip.tracks(points, 0)
        if HIDDEN[0] <= 1 - visible[:, 1:].mean() <= HIDDEN[1]:
            chosen.append(LabelledClip(f"rendered-{index:02d}", clip.frames, Queries.at(points), xy, visible))
        if len(chosen) == number:
            break
    return tuple(chosen)
