"""Points carried by label propagation, FGVC's way: heat maps through the top-k affinity to frames already labelled."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..correspondence import Window, affinity, propagate
from ..geometry import Lattice, gaussian_maps, read_peak, read_peak_published


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
    read_out: Literal["peak", "published"] = "peak"
    read_count: int = 5
    dtype: torch.dtype = torch.float32


class _Group:
    """The points that were added together, and so share a memory: (features (C, h, w), labels (P, h, w)) of frames."""

    def __init__(self, features: Tensor, labels: Tensor, xy: Tensor, context: int) -> None:
        self.first = (features, labels)
        self.recent: deque[tuple[Tensor, Tensor]] = deque([self.first], maxlen=context)
        self.xy = xy

    def keep(self, mask: Tensor) -> None:
        kept = {id(frame): (frame[0], frame[1][mask]) for frame in (self.first, *self.recent)}
        self.first = kept[id(self.first)]
        self.recent = deque((kept[id(frame)] for frame in self.recent), maxlen=self.recent.maxlen)
        self.xy = self.xy[mask]


class PropagatedPoints:
    """Label propagation of points (FGVC, ICCV 2023, inference).

    The keys are the query frame and up to ``context`` previous frames (the query frame counts twice while it is one of
    these, as published). The soft maps are stored and used again as they are. The confidence is the height of the map's
    peak, which is 1 in the query frame; it is not calibrated. Memory holds ``context`` frames and the query frame of
    each group of points that were added together.
    """

    def __init__(self, lattices: Sequence[Lattice], settings: PropagationSettings | None = None) -> None:
        self.settings = settings or PropagationSettings()
        self.lattice = lattices[self.settings.level]
        self.groups: list[_Group] = []

    def add(self, maps: tuple[Tensor, ...], xy: Tensor) -> None:
        features = maps[self.settings.level][0].permute(2, 0, 1)
        size = (features.shape[1], features.shape[2])
        labels = gaussian_maps(self.lattice.to_cells(xy), size, self.settings.sigma / self.lattice.stride)
        self.groups.append(_Group(features, labels, xy, self.settings.context))

    def keep(self, mask: Tensor) -> None:
        parts = mask.split([len(group.xy) for group in self.groups])
        for group, part in zip(self.groups, parts, strict=True):
            group.keep(part)
        self.groups = [group for group in self.groups if len(group.xy)]

    def step(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        features = maps[self.settings.level][0].permute(2, 0, 1)
        heights = []
        for group in self.groups:
            labels = self._propagate(group, features)
            group.recent.append((features, labels))
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

    def _propagate(self, group: _Group, features: Tensor) -> Tensor:
        settings = self.settings
        frames = [group.first, *group.recent]
        cells = None if settings.near is None else self._cells_near(group.xy, features, settings.near)
        found = affinity(
            features,
            [frame[0] for frame in frames],
            [settings.first_window or settings.window, *[settings.window] * len(group.recent)],
            settings.topk,
            settings.temperature,
            query_cells=cells,
            dtype=settings.dtype,
        )
        labels = propagate(found, [frame[1] for frame in frames])
        if cells is None:
            return labels
        full = labels.new_zeros((len(labels), features[0].numel()))
        full[:, cells] = labels
        return full.reshape(-1, *features.shape[1:])

    def _cells_near(self, xy: Tensor, features: Tensor, reach: float) -> Tensor:
        """Flat indices of the cells within ``reach`` cells of any of the points ``xy``."""
        rows, columns = (torch.arange(n, device=features.device) for n in features.shape[1:])
        at = self.lattice.to_cells(xy)
        down = (rows[None] - at[:, 1:2]).square()
        across = (columns[None] - at[:, 0:1]).square()
        return torch.nonzero((down[:, :, None] + across[:, None, :] <= reach**2).any(0).flatten())[:, 0]
