"""Pairs of pictures that a matcher learns from, by their position in the run.

Item ``i`` depends on the seed and ``i`` alone. Pictures are squares of ``size`` pixels, whatever shape they had; points
are raster pixels of those squares, padded to a fixed number. All of it pickles, for the processes that work ahead.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..datasets.frame_cache import FrameCache
from ..datasets.order import drawn
from ..datasets.pairs import Pairs
from ..datasets.photometric import PhotometricSettings, change_colours
from ..datasets.video_folder import VideoFolder
from ..datasets.warp import Warp, WarpSettings, draw_warp
from ..errors import InputError
from ..webvideo.frames import ShotFrames
from ..webvideo.pairs import PairSampler
from ..webvideo.rows import Row

_WARPS, _WEB, _KEYPOINTS, _CROSS, _KNOWN = range(5)  # tell the draws of one seed apart
Picture = NDArray[np.uint8]


class PairItem(NamedTuple):
    """Two pictures and K points that correspond (with a leading B in a batch)."""

    source: Tensor  # (3, S, S) uint8 RGB
    target: Tensor
    source_xy: Tensor  # (K, 2) float32 raster pixels
    target_xy: Tensor
    valid: Tensor  # (K,) bool: the point counts


class CrossItem(NamedTuple):
    """Two pictures of different things of one kind, as they are and changed; nobody knows what corresponds."""

    source: Tensor  # (3, S, S) uint8 RGB, as it is
    target: Tensor
    source_view: Tensor  # (3, S, S), warped and recoloured
    target_view: Tensor
    source_back: Tensor  # (3, 3) float32: raster pixels of the view to those of the picture
    target_back: Tensor


class Known(NamedTuple):
    """Two pictures and K points of the source whose fate is known: what confidence is fitted on."""

    source: Tensor  # (3, S, S) uint8 RGB
    target: Tensor
    source_xy: Tensor  # (K, 2) float32 raster pixels
    target_xy: Tensor  # (K, 2), where the point is there
    there: Tensor  # (K,) bool: the target shows the point

    @classmethod
    def of(cls, item: PairItem) -> Known:
        """The points of a pair that count: all of them are there."""
        valid = item.valid
        return cls(item.source, item.target, item.source_xy[valid], item.target_xy[valid], valid[valid])


class PairSource(Protocol):
    """Anything that gives pairs by position."""

    def item(self, index: int) -> PairItem:
        """Pair ``index`` >= 0."""
        ...


class Changes(NamedTuple):
    """How pictures are changed before they are matched."""

    size: int
    warp: WarpSettings
    colours: PhotometricSettings

    def view(self, rgb: Picture, rng: np.random.Generator, warp: WarpSettings | None = None) -> tuple[Picture, Warp]:
        """A picture warped and recoloured, (S, S, 3), and its warp."""
        drawn_warp = draw_warp((rgb.shape[0], rgb.shape[1]), (self.size, self.size), warp or self.warp, rng)
        return change_colours(drawn_warp.picture(rgb), self.colours, rng), drawn_warp


class WarpedPictures:
    """Two views of one picture: what corresponds is known everywhere, exactly.

    Args:
        frames: single frames of a folder of videos and pictures.
        changes: how both views are changed; splines bend the target's only.
        points: K, spread at random over the target.
        seed: of all draws.
    """

    def __init__(self, frames: VideoFolder, changes: Changes, points: int, seed: int) -> None:
        self.frames, self.changes, self.points, self.seed = frames, changes, points, seed

    def item(self, index: int) -> PairItem:
        rng = np.random.default_rng([self.seed, index, _WARPS])
        picture = self.frames.clip(index)[0]
        changes = self.changes
        straight = WarpSettings(**{**vars(changes.warp), "bend": 0.0})
        source, source_warp = changes.view(picture, rng, straight)
        target, target_warp = changes.view(picture, rng)
        target_xy = rng.uniform(0, changes.size, (self.points, 2)).astype(np.float32)
        old = target_warp.source_of(target_xy)
        source_xy = source_warp.points(old)
        height, width = picture.shape[:2]
        shown = (old >= 0).all(axis=1) & (old <= [width, height]).all(axis=1)  # not in the black beyond the picture
        return _pair(source, target, source_xy, target_xy, shown & source_warp.inside(source_xy), self.points)

    def known(self, index: int) -> Known:
        """Two views without splines, and points spread over the source whether the target shows them or not."""
        rng = np.random.default_rng([self.seed, index, _KNOWN])
        picture = self.frames.clip(index)[0]
        straight = WarpSettings(**{**vars(self.changes.warp), "bend": 0.0})
        (source, source_warp), (target, target_warp) = (self.changes.view(picture, rng, straight) for _ in range(2))
        source_xy = rng.uniform(0, self.changes.size, (self.points, 2)).astype(np.float32)
        old = source_warp.source_of(source_xy)
        height, width = picture.shape[:2]
        shown = (old >= 0).all(axis=1) & (old <= [width, height]).all(axis=1)  # not in the black beyond the picture
        target_xy = target_warp.points(old[shown])
        there = torch.from_numpy(target_warp.inside(target_xy))
        return Known(_chw(source), _chw(target), torch.from_numpy(source_xy[shown]), torch.from_numpy(target_xy), there)


class WebPairs:
    """Two frames of a shot of a collection, and its labels in both.

    Args:
        sampler: which frames; see :class:`~samepoint.webvideo.pairs.PairSampler`.
        changes: how both are changed; no splines, for labels must be followed forward.
        points: K.
        cache: copies of the frames.
        seed: of the changes.
    """

    def __init__(self, sampler: PairSampler, changes: Changes, points: int, cache: FrameCache, seed: int) -> None:
        self.sampler, self.points, self.cache, self.seed = sampler, points, cache, seed
        self.changes = changes._replace(warp=WarpSettings(**{**vars(changes.warp), "bend": 0.0}))

    def item(self, index: int) -> PairItem:
        rng = np.random.default_rng([self.seed, index, _WEB])
        pair = self.sampler[index]
        views, places = [], []
        for number, xy in ((pair.frame_i, pair.points_i), (pair.frame_j, pair.points_j)):
            frame = shot_frame(pair.shot, self.sampler.folder, number, self.cache)
            view, warp = self.changes.view(frame, rng)
            scale = np.array([frame.shape[1] / pair.shot["width"], frame.shape[0] / pair.shot["height"]], np.float32)
            views.append(view)
            places.append((warp.points(xy * scale), warp))
        (source_xy, source_warp), (target_xy, target_warp) = places
        seen = source_warp.inside(source_xy) & target_warp.inside(target_xy)
        return _pair(views[0], views[1], source_xy, target_xy, seen, self.points)


class KeypointPairs:
    """Labelled pairs of a benchmark's training split, every other time cut to a random box around the object.

    Args:
        pairs: of the training split.
        changes: their colours; the warp is a crop, as published.
        points: K.
        seed: of all draws.
        crop: chance that a picture is cut.

    Raises:
        InputError: no pairs.
    """

    def __init__(self, pairs: Pairs, changes: Changes, points: int, seed: int, crop: float = 0.5) -> None:
        if not len(pairs):
            raise InputError("labelled pairs: the training split has none")
        self.pairs, self.changes, self.points, self.seed, self.crop = pairs, changes, points, seed, crop

    def item(self, index: int) -> PairItem:
        rng = np.random.default_rng([self.seed, index, _KEYPOINTS])
        pair = self.pairs[drawn(len(self.pairs), self.seed, index)]
        sides = (
            (pair.source(), pair.source_xy, pair.source_box),
            (pair.target(), pair.target_xy, pair.target_box),
        )
        made = [self._side(rgb, xy, box, rng) for rgb, xy, box in sides]
        seen = np.ones(len(pair.source_xy), bool)
        for (_, warp), (_, xy, _) in zip(made, sides, strict=True):
            seen &= warp.inside(warp.points(xy))
        source_xy, target_xy = (warp.points(xy) for (_, warp), (_, xy, _) in zip(made, sides, strict=True))
        return _pair(made[0][0], made[1][0], source_xy, target_xy, seen, self.points)

    def _side(
        self, rgb: Picture, xy: NDArray[np.float32], box: NDArray[np.float32] | None, rng: np.random.Generator
    ) -> tuple[Picture, Warp]:
        height, width = rgb.shape[:2]
        window = np.array([0, 0, width, height], np.float64)
        if rng.random() < self.crop:
            kept = np.concatenate([xy.min(axis=0), xy.max(axis=0)]) if box is None else box
            kept = np.clip(kept, 0, window[[2, 3, 2, 3]])
            window = window + rng.random(4) * (kept - window)
        side = self.changes.size
        stretch = (window[2:] - window[:2]).clip(1) / side
        back = np.array([[stretch[0], 0, window[0]], [0, stretch[1], window[1]], [0, 0, 1]])
        warp = Warp(back, (side, side))
        return change_colours(warp.picture(rgb), self.changes.colours, rng), warp


class CrossPairs:
    """Frames of different videos of one class.

    Args:
        shots: rows of the table of shots; those that were not kept are passed over.
        folder: the collection's output folder.
        changes: of the views.
        cache: copies of the frames.
        seed: of all draws.

    Raises:
        InputError: no class has two videos.
    """

    def __init__(self, shots: Sequence[Row], folder: Path, changes: Changes, cache: FrameCache, seed: int) -> None:
        self.folder, self.cache, self.seed = folder, cache, seed
        self.changes = changes._replace(warp=WarpSettings(**{**vars(changes.warp), "bend": 0.0}))
        classes: dict[str, dict[str, list[Row]]] = {}
        for row in sorted((row for row in shots if row["kept"]), key=lambda row: str(row["shot"])):
            classes.setdefault(str(row["class"]), {}).setdefault(str(row["video"]), []).append(row)
        self._classes = [videos for _, videos in sorted(classes.items()) if len(videos) > 1]
        if not self._classes:
            raise InputError(f"{folder}: no class with shots of two different videos")

    def pictures(self, index: int) -> tuple[Picture, Picture]:
        """The two frames of pair ``index`` >= 0."""
        rng = np.random.default_rng([self.seed, index, _CROSS])
        videos = self._classes[rng.integers(len(self._classes))]
        names = sorted(videos)
        chosen = rng.choice(len(names), 2, replace=False)
        frames = []
        for each in chosen:
            shots = videos[names[each]]
            shot = shots[rng.integers(len(shots))]
            number = int(rng.integers(shot["start"], shot["end"]))
            frames.append(shot_frame(shot, self.folder, number, self.cache))
        return frames[0], frames[1]

    def cross(self, index: int) -> CrossItem:
        """Pair ``index``, as it is and changed."""
        rng = np.random.default_rng([self.seed, index, _CROSS, 1])
        side = self.changes.size
        plain, views, backs = [], [], []
        for rgb in self.pictures(index):
            height, width = rgb.shape[:2]
            plain.append(Warp(np.diag([width / side, height / side, 1.0]), (side, side)).picture(rgb))
            view, warp = self.changes.view(plain[-1], rng)
            views.append(view)
            backs.append(torch.from_numpy(warp.back.astype(np.float32)))
        return CrossItem(*(_chw(picture) for picture in (*plain, *views)), *backs)

    def item(self, index: int) -> PairItem:
        """Pair ``index``, changed, without points: what an adversary wants."""
        made = self.cross(index)
        none = torch.zeros(1, 2)
        return PairItem(made.source_view, made.target_view, none, none, torch.zeros(1, dtype=torch.bool))


def shot_frame(shot: Row, folder: Path, number: int, cache: FrameCache) -> Picture:
    """Frame ``number`` of a shot's video, at the cache's short side."""
    frames = ShotFrames(shot, folder, cache.short_side, cache)
    return frames[number - frames.start]


def stacked(items: Sequence[Any]) -> Any:
    """Named tuples of tensors as one, with a leading B."""
    return type(items[0])(*(torch.stack(parts) for parts in zip(*items, strict=True)))


def _pair(
    source: Picture,
    target: Picture,
    source_xy: NDArray[np.float32],
    target_xy: NDArray[np.float32],
    valid: NDArray[np.bool_],
    points: int,
) -> PairItem:
    """Padded or cut to ``points``; those that count come first."""
    order = np.argsort(~valid, kind="stable")[:points]
    padded = [np.zeros((points, 2), np.float32) for _ in range(2)]
    counts = np.zeros(points, bool)
    for place, xy in zip(padded, (source_xy, target_xy), strict=True):
        place[: len(order)] = np.where(valid[order, None], xy[order], 0)
    counts[: len(order)] = valid[order]
    source_points, target_points = (torch.from_numpy(each) for each in padded)
    return PairItem(_chw(source), _chw(target), source_points, target_points, torch.from_numpy(counts))


def _chw(picture: Picture) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))
