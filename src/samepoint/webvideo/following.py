"""Seeds followed through the frames of a shot, and how well each step leads back: what labels are chosen from."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..geometry import Lattice
from ..models.network import PointNetwork
from ..models.refiner import channels_last
from ..models.visibility import HORIZON
from ..structures import Queries
from ..tracking.frames import FrameEncoder, working_size
from ..tracking.hindsight import Review
from ..tracking.refined import RefinedPoints
from ..tracking.tracker import Method
from .acceptance import AcceptSettings, Followed
from .chained import best_match, features_at, matching_level, read_out_bias

_BACK = 4  # cells around where a point was that its match is led back to
_SHARP = 0.03  # temperature of that match's sub-cell place
_PATIENCE = HORIZON + 1  # frames of too little confidence, which hindsight may yet raise, before a point is given up


@dataclass(frozen=True)
class Seeding:
    """Where and when points begin: ``seeds`` a side of a grid, in the first frame and every ``renew`` frames after."""

    seeds: int
    renew: int | None = None

    def most(self, frames: int) -> int:
        """How many points there may be in so many frames."""
        return self.seeds**2 * (1 if self.renew is None else 1 + max(frames - 1, 0) // self.renew)


class Follower:
    """Follows seeds through one shot, frame by frame; holds the features of two frames.

    Args:
        encoder: makes the maps, once a frame.
        method: what carries points.
        lattices: of the maps.
        seeding: where points begin.
        accept: what will be asked of labels; points that cannot be labels any more are given up.
        length: frames in the shot.
    """

    def __init__(
        self,
        encoder: FrameEncoder,
        method: Method,
        lattices: tuple[Lattice, ...],
        seeding: Seeding,
        accept: AcceptSettings,
        length: int,
    ) -> None:
        self.encoder, self.method, self.seeding, self.accept = encoder, method, seeding, accept
        self.level = matching_level(lattices)
        self.lattice = lattices[self.level]
        most = seeding.most(length)
        self.columns: list[_Column] = []
        self.most = most
        self.review: Review | None = None
        if isinstance(method, RefinedPoints) and isinstance(encoder.network, PointNetwork):
            self.review = Review(encoder.network.hindsight, most)
        self._ids = np.zeros(0, np.int64)
        self._xy = torch.zeros(0, 2)
        self._failures = np.zeros(most, np.int64)  # frames in a row in which the match did not hold
        self._doubts = np.zeros(most, np.int64)  # in which there was too little confidence
        self._before = torch.zeros(0, 0, 0)  # matched map of the frame last looked at
        self.size = (0, 0)
        self._scale = torch.ones(2)
        self._count = 0

    def run(self, frames: Iterable[np.ndarray], repeats: Collection[int] = ()) -> Followed:
        """Follow through frames, uint8 RGB (H, W, 3).

        ``repeats`` are those, by their place in ``frames``, that repeat the one before: nothing moves in them, and they
        are not looked at; seeds that would begin in one begin in the next that is none. Ends where nothing is left to
        follow.
        """
        due = False
        for t, frame in enumerate(frames):
            due = due or self._seeds_at(t)
            if t in repeats and t:
                self.columns.append(_Column.empty(self.most))
                continue
            if t and not len(self._ids) and not due:
                if self.seeding.renew is None:
                    break
                self.columns.append(_Column.empty(self.most))
                continue
            self._step(t, frame, due)
            due = False
        if self.review is not None:
            self.review.finish()
        return self._followed(repeats)

    def _seeds_at(self, t: int) -> bool:
        return t == 0 or (self.seeding.renew is not None and t % self.seeding.renew == 0)

    @torch.inference_mode()
    def _step(self, t: int, frame: np.ndarray, due: bool) -> None:
        if not t:
            self.size = (frame.shape[0], frame.shape[1])
            work = working_size(self.size, self.encoder.size)
            self._scale = torch.tensor([work[1] / self.size[1], work[0] / self.size[0]])
        maps = channels_last(self.encoder.batch(frame))
        column = _Column.empty(self.most)
        self.columns.append(column)
        if len(self._ids):
            self._follow(maps, column)
        elif self.review is not None:
            self.review.add(self._ids, None, column.xy, column.confidence, self.size)
        if due:
            self._start(maps, column)
        self._before = maps[self.level][0]

    def _follow(self, maps: tuple[Tensor, ...], column: _Column) -> None:
        before, level = self._before, maps[self.level][0]
        old, ids = self._xy, self._ids
        xy, confidence = self.method.step(maps)
        cycle, similarity = led_back(before, level, self.lattice, old, xy)
        column.xy[ids] = (xy.cpu() / self._scale).numpy()
        column.confidence[ids] = confidence.float().cpu().numpy()
        column.cycle[ids] = cycle.cpu().numpy() / float(self._scale.mean())
        column.similarity[ids] = similarity.cpu().numpy()
        self._xy = xy
        if self.review is not None and isinstance(self.method, RefinedPoints):
            self.review.add(ids, self.method.evidence, column.xy, column.confidence, self.size)
        if not self.accept.returns:
            self._give_up(column)

    def _give_up(self, column: _Column) -> None:
        ids, accept = self._ids, self.accept
        height, width = self.size
        limit = accept.cycle * self._cell
        inside = (column.xy[ids] >= 0).all(1) & (column.xy[ids] < (width, height)).all(1)
        matched = (column.cycle[ids] <= limit) & (column.similarity[ids] >= accept.similarity)
        self._failures[ids] = np.where(matched, 0, self._failures[ids] + 1)
        self._doubts[ids] = np.where(column.confidence[ids] < accept.confidence, self._doubts[ids] + 1, 0)
        keep = inside & (self._failures[ids] <= accept.lapse) & (self._doubts[ids] < _PATIENCE + accept.lapse)
        if not keep.all():
            mask = torch.from_numpy(keep).to(self._xy.device)
            self.method.keep(mask)
            self._ids, self._xy = ids[keep], self._xy[mask]

    def _start(self, maps: tuple[Tensor, ...], column: _Column) -> None:
        """Seeds of the grid that are not within half a spacing of a point that is followed."""
        grid = Queries.grid(self.seeding.seeds, self.size).xy
        if len(self._ids):
            half = np.array([self.size[1], self.size[0]]) / (2 * self.seeding.seeds)
            near = (np.abs(grid[:, None] - column.xy[self._ids][None]) < half).all(2).any(1)
            grid = grid[~near]
        if not len(grid):
            return
        ids = np.arange(self._count, self._count + len(grid))
        self._count += len(grid)
        xy = (torch.from_numpy(grid) * self._scale).to(maps[0].device)
        self.method.add(maps, xy)
        self._xy = torch.cat([self._xy, xy]) if len(self._ids) else xy
        self._ids = np.concatenate([self._ids, ids])
        column.xy[ids], column.confidence[ids], column.cycle[ids], column.similarity[ids] = grid, 1, 0, 1
        if self.review is not None:
            self.review.start(ids, len(self.columns) - 1, grid)

    @property
    def _cell(self) -> float:
        """Pixels of the video that a cell of the matched map is wide."""
        return self.lattice.stride / float(self._scale.mean())

    def _followed(self, repeats: Collection[int]) -> Followed:
        for t in range(1, len(self.columns)):
            if t in repeats:  # only now: hindsight changes a column after its frame
                self.columns[t] = self.columns[t - 1].repeated()
        columns, count = self.columns or [_Column.empty(0)], self._count
        xy, confidence, cycle, similarity = (
            np.stack([getattr(column, name)[:count] for column in columns], axis=1)
            for name in ("xy", "confidence", "cycle", "similarity")
        )
        return Followed(xy, confidence, cycle, similarity, self._cell, frozenset(repeats) - {0})


@dataclass(frozen=True, eq=False)
class _Column:
    """One frame of all points there may be."""

    xy: np.ndarray
    confidence: np.ndarray
    cycle: np.ndarray
    similarity: np.ndarray

    @classmethod
    def empty(cls, count: int) -> _Column:
        nothing = np.full(count, np.nan, np.float32)
        return cls(np.full((count, 2), np.nan, np.float32), np.zeros(count, np.float32), nothing, nothing.copy())

    def repeated(self) -> _Column:
        still = np.isfinite(self.xy[:, 0])
        cycle, similarity = np.where(still, 0, np.nan), np.where(still, 1, np.nan)
        return _Column(self.xy, self.confidence, cycle.astype(np.float32), similarity.astype(np.float32))


def led_back(before: Tensor, level: Tensor, lattice: Lattice, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
    """How far from ``old`` the match of what lies at ``new`` is, and how alike both places look.

    Args:
        before: channels-last map (h, w, C) of the frame before.
        level: of this frame.
        lattice: of both.
        old: (N, 2) raster pixels of the network's input, in the frame before.
        new: (N, 2) in this frame.

    Returns:
        Distances (N,) in those pixels, at most the few cells that are searched; cosine similarities (N,).
    """
    there, here = lattice.to_cells(old), lattice.to_cells(new)
    wanted = features_at(level, here)
    back, _ = best_match(wanted, before, there, _BACK, _SHARP)
    back = back - read_out_bias(wanted, level, here, _SHARP)
    similarity = (wanted * features_at(before, there)).sum(1)
    return (back - there).norm(dim=1) * lattice.stride, similarity


def network_lattices(network: nn.Module) -> tuple[Lattice, ...]:
    """Where the cells of the network's maps lie."""
    return tuple(network.lattices)  # type: ignore[arg-type]
