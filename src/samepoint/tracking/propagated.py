"""Points carried by label propagation, FGVC's way: heat maps through the top-k affinity to frames already labelled."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..correspondence import Affinity, Window, affinity, propagate
from ..correspondence.coarse_to_fine import FINE, affinity_coarse_to_fine, coarser
from ..errors import InputError
from ..geometry import Lattice, gaussian_maps, read_peak, read_peak_published
from .resample import averaged_down, separable

COARSER = 4
"""How many times as wide as fine cells coarse ones are, where that can be chosen: strides 8 and 2 (FGVC)."""


@dataclass(frozen=True)
class PropagationSettings:
    """How :class:`PropagatedPoints` follows; the defaults are FGVC's, but for the read-out.

    Attributes:
        context: previous frames in memory, beside the query frame.
        window: key cells that a query cell may take labels from.
        first_window: the same in the query frame, where it differs.
        topk: key cells that it does take them from, over all key frames jointly.
        temperature: of the softmax over them.
        sigma: of a query's Gaussian label, in pixels at the working resolution.
        level: which of the network's maps is used; -1 is the finest.
        near: only cells within this many cells of a point's last place are computed, the rest counts as empty; None
            computes all of them, as published. For few points much faster.
        coarse: which of the network's maps says where to look: its cells find their best matches within ``window``, and
            the cells of ``level`` look only around these. ``"auto"`` is the map whose stride is nearest to four times
            that of ``level``, and where there is none that is at least twice as coarse, 4x4 cells of ``level`` averaged
            into one. None looks through the whole window, as published.
        fine_window: around a coarse match, in cells of ``level``. With ``coarse`` only.
        matches: of a coarse cell in each key frame that are looked at, the best first. With ``coarse`` only.
        read_out: ``"peak"`` (sub-cell, unbiased) or ``"published"`` (upsampled, mean of the largest pixels, half a
            pixel off).
        read_count: how many pixels those are.
        dtype: precision of the affinity; float32 is exact.
    """

    context: int = 5
    window: Window = field(default_factory=lambda: Window.circle(15))
    first_window: Window | None = None
    topk: int = 10
    temperature: float = 0.07
    sigma: float = 6.0
    level: int = -1
    near: float | None = None
    coarse: int | Literal["auto"] | None = None
    fine_window: Window = FINE
    matches: int = 1
    read_out: Literal["peak", "published"] = "peak"
    read_count: int = 5
    dtype: torch.dtype = torch.float32


class _Key(NamedTuple):
    """A frame in memory: its map (C, h, w), the points' labels (P, h, w), its coarse map if one is used."""

    features: Tensor
    labels: Tensor
    coarse: Tensor | None


class _Group:
    """The points that were added together, and so share a memory."""

    def __init__(self, first: _Key, xy: Tensor, context: int) -> None:
        self.first = first
        self.recent: deque[_Key] = deque([first], maxlen=context)
        self.xy = xy

    def keep(self, mask: Tensor) -> None:
        kept = {id(key): key._replace(labels=key.labels[mask]) for key in (self.first, *self.recent)}
        self.first = kept[id(self.first)]
        self.recent = deque((kept[id(key)] for key in self.recent), maxlen=self.recent.maxlen)
        self.xy = self.xy[mask]


class PropagatedPoints:
    """Label propagation of points (FGVC, ICCV 2023, inference).

    The keys are the query frame and up to ``context`` previous frames (the query frame counts twice while it is one of
    these, as published). The soft maps are stored and used again as they are. The confidence is the height of the map's
    peak, which is 1 in the query frame; it is not calibrated. Memory holds ``context`` frames and the query frame of
    each group of points that were added together.

    Raises:
        InputError: the settings name a map that the network does not have, or a coarse one that is finer.
    """

    def __init__(self, lattices: Sequence[Lattice], settings: PropagationSettings | None = None) -> None:
        self.settings = settings or PropagationSettings()
        for name, index in (("level", self.settings.level), ("coarse", self.settings.coarse)):
            if isinstance(index, int) and not -len(lattices) <= index < len(lattices):
                raise InputError(f"{name}: {index} given, but the network has {len(lattices)} maps")
        self.lattice = lattices[self.settings.level]
        self.guide = self.settings.coarse if self.settings.coarse != "auto" else _guide(lattices, self.lattice)
        self.coarse = None if self.guide is None else lattices[self.guide]
        if self.coarse is not None and self.coarse.stride < self.lattice.stride:
            raise InputError(
                f"coarse: the map {self.guide} has stride {self.coarse.stride}; expected one no finer than "
                f"level {self.settings.level} of stride {self.lattice.stride}"
            )
        if self.guide is None and self.settings.coarse is not None:
            self.coarse = Lattice(COARSER * self.lattice.stride, self.lattice.offset)
        self.groups: list[_Group] = []

    def add(self, maps: tuple[Tensor, ...], xy: Tensor) -> None:
        features, coarse = self._maps(maps)
        size = (features.shape[1], features.shape[2])
        labels = gaussian_maps(self.lattice.to_cells(xy), size, self.settings.sigma / self.lattice.stride)
        self.groups.append(_Group(_Key(features, labels, coarse), xy, self.settings.context))

    def keep(self, mask: Tensor) -> None:
        parts = mask.split([len(group.xy) for group in self.groups])
        for group, part in zip(self.groups, parts, strict=True):
            group.keep(part)
        self.groups = [group for group in self.groups if len(group.xy)]

    def step(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        features, coarse = self._maps(maps)
        heights = []
        for group in self.groups:
            labels = self._propagate(group, features, coarse)
            group.recent.append(_Key(features, labels, coarse))
            group.xy, height = self.read(labels)
            heights.append(height.clamp(0, 1))
        return torch.cat([group.xy for group in self.groups]), torch.cat(heights)

    def read(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Where the points lie, raster pixels (P, 2), and the heights of their maps (P, h, w)."""
        cells, height = read_peak(labels)
        if self.settings.read_out == "peak":
            return self.lattice.to_pixels(cells), height
        scale = self.lattice.stride
        full = F.interpolate(labels[None], scale_factor=scale, mode="bilinear", align_corners=False)[0]
        return read_peak_published(full, self.settings.read_count) + 0.5, height

    def _maps(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor | None]:
        """The map that labels live on and the one that says where to look, (C, h, w)."""
        level = maps[self.settings.level][0].permute(2, 0, 1)
        if self.guide is not None:
            return level, maps[self.guide][0].permute(2, 0, 1)
        if self.coarse is None:
            return level, None
        rows, columns = (
            averaged_down(self.lattice, n, self.coarse.stride)[1].to(level.device) for n in level.shape[1:]
        )
        return level, separable(rows, F.normalize(level, dim=0), columns)

    def _propagate(self, group: _Group, features: Tensor, coarse: Tensor | None) -> Tensor:
        settings = self.settings
        keys = [group.first, *group.recent]
        cells = None if settings.near is None else self._cells_near(group.xy, features, settings.near)
        windows = [settings.first_window or settings.window, *[settings.window] * len(group.recent)]
        labels = propagate(self._affinity(features, coarse, keys, windows, cells), [key.labels for key in keys])
        if cells is None:
            return labels
        full = labels.new_zeros((len(labels), features[0].numel()))
        full[:, cells] = labels
        return full.reshape(-1, *features.shape[1:])

    def _affinity(
        self, features: Tensor, coarse: Tensor | None, keys: list[_Key], windows: list[Window], cells: Tensor | None
    ) -> Affinity:
        settings, known = self.settings, [key.features for key in keys]
        if coarse is None or self.coarse is None:
            return affinity(
                features, known, windows, settings.topk, settings.temperature, query_cells=cells, dtype=settings.dtype
            )
        return affinity_coarse_to_fine(
            features,
            known,
            coarse,
            [key.coarse for key in keys if key.coarse is not None],
            (self.coarse, self.lattice),
            [coarser(window, self.coarse, self.lattice) for window in windows],
            settings.fine_window,
            settings.matches,
            settings.topk,
            settings.temperature,
            query_cells=cells,
            dtype=settings.dtype,
        )

    def _cells_near(self, xy: Tensor, features: Tensor, reach: float) -> Tensor:
        """Flat indices of the cells within ``reach`` cells of any of the points ``xy``."""
        rows, columns = (torch.arange(n, device=features.device) for n in features.shape[1:])
        at = self.lattice.to_cells(xy)
        down = (rows[None] - at[:, 1:2]).square()
        across = (columns[None] - at[:, 0:1]).square()
        return torch.nonzero((down[:, :, None] + across[:, None, :] <= reach**2).any(0).flatten())[:, 0]


def _guide(lattices: Sequence[Lattice], fine: Lattice) -> int | None:
    """The map whose stride is nearest to ``COARSER`` times that of ``fine``; None where all are finer than twice it."""
    wide = [index for index, lattice in enumerate(lattices) if lattice.stride >= 2 * fine.stride]
    return min(wide, key=lambda index: abs(math.log(lattices[index].stride / fine.stride / COARSER)), default=None)
