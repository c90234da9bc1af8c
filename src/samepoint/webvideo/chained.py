"""Labels chained by matching alone: each frame's best match near the last, for networks without a refiner too."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from ..geometry import Lattice, sample_patches

_AROUND = 2  # cells on either side of the best one that its sub-cell place is read from


class ChainSettings(BaseModel):
    """How :class:`ChainedPoints` matches. Cells are those of the level that is matched on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    radius: int = Field(8, ge=1)  # cells around the last place that are searched
    anchor: float = Field(0.5, ge=0, le=1)  # share of the seed frame's feature in what is looked for
    temperature: float = Field(0.03, gt=0)  # of the soft read-out


def matching_level(lattices: Sequence[Lattice]) -> int:
    """The map that labels are matched on: the finest of stride 4 or more, the finest of all where none is."""
    coarse = [index for index, lattice in enumerate(lattices) if lattice.stride >= 4]
    return max(coarse, key=lambda index: -lattices[index].stride) if coarse else len(lattices) - 1


def features_at(level: Tensor, cells: Tensor) -> Tensor:
    """Unit features (N, C) at fractional cells (N, 2) of a channels-last map (h, w, C), its edge continued."""
    limit = torch.tensor([level.shape[1] - 1, level.shape[0] - 1], device=cells.device)
    inside = torch.minimum(cells.clamp_min(0), limit.to(cells.dtype))
    return F.normalize(sample_patches(level[None], inside, 0)[:, 0], dim=1)


def best_match(wanted: Tensor, level: Tensor, centre: Tensor, radius: int, temperature: float) -> tuple[Tensor, Tensor]:
    """The cell near ``centre`` that looks most like what is wanted, to a fraction of a cell.

    Args:
        wanted: (N, C) features.
        level: channels-last map (h, w, C).
        centre: (N, 2) fractional cells.
        radius: whole cells on either side of the nearest to ``centre`` that are searched.
        temperature: of the soft-argmax around the best cell.

    Returns:
        Fractional cells (N, 2) and cosine similarities (N,) of the best whole cells.
    """
    count, (height, width) = len(wanted), level.shape[:2]
    scores = F.normalize(wanted, dim=1) @ F.normalize(level, dim=2).flatten(0, 1).T
    side = 2 * radius + 1
    corner = centre.round().long() - radius
    steps = torch.arange(side, device=level.device)
    rows, columns = corner[:, 1:] + steps, corner[:, :1] + steps
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None]
    flat = rows.clamp(0, height - 1)[:, :, None] * width + columns.clamp(0, width - 1)[:, None]
    window = scores.gather(1, flat.flatten(1)).reshape(flat.shape).masked_fill(~inside, -2.0)
    similarity, index = window.flatten(1).max(1)
    best = torch.stack([index % side, index // side], dim=1)
    reach = torch.arange(-_AROUND, _AROUND + 1, device=level.device)
    padded = F.pad(window, (_AROUND,) * 4, value=-2.0)
    y, x = (best[:, 1:] + _AROUND + reach)[:, :, None], (best[:, :1] + _AROUND + reach)[:, None]
    around = padded[torch.arange(count, device=level.device)[:, None, None], y, x]
    weight = (around / temperature).flatten(1).softmax(1).reshape(around.shape)
    offset = torch.stack([(weight.sum(1) * reach).sum(1), (weight.sum(2) * reach).sum(1)], dim=1)
    return (corner + best).to(offset.dtype) + offset, similarity.clamp(-1, 1)


class ChainedPoints:
    """Each point is what its seed frame and the frame before show of it, in even parts, looked for near its last place.

    A soft read-out is off by as much as the features around the point are lopsided. What it is off by where the answer
    is known, in the frames that the features are from, is taken away, so that what stands still stays. A
    :class:`~samepoint.tracking.tracker.Method`; the confidence is the similarity of the match, not calibrated.
    """

    def __init__(self, lattices: Sequence[Lattice], settings: ChainSettings | None = None) -> None:
        self.settings = settings or ChainSettings()
        self.level = matching_level(lattices)
        self.lattice = lattices[self.level]
        self.anchor = torch.zeros(0, 0)
        self.last = torch.zeros(0, 0)
        self.anchor_bias = torch.zeros(0, 2)
        self.last_bias = torch.zeros(0, 2)
        self.xy = torch.zeros(0, 2)

    def add(self, maps: tuple[Tensor, ...], xy: Tensor) -> None:
        """Start points (N, 2), raster pixels, in the frame of these channels-last maps (1, h, w, C)."""
        feature, bias = self._looks(maps[self.level][0], self.lattice.to_cells(xy))
        if len(self.xy):
            self.anchor, self.last = torch.cat([self.anchor, feature]), torch.cat([self.last, feature])
            self.anchor_bias, self.last_bias = torch.cat([self.anchor_bias, bias]), torch.cat([self.last_bias, bias])
            self.xy = torch.cat([self.xy, xy])
        else:
            self.anchor, self.last, self.anchor_bias, self.last_bias, self.xy = feature, feature, bias, bias, xy

    def keep(self, mask: Tensor) -> None:
        """Forget the points where ``mask`` (N,) is false."""
        self.anchor, self.last, self.xy = self.anchor[mask], self.last[mask], self.xy[mask]
        self.anchor_bias, self.last_bias = self.anchor_bias[mask], self.last_bias[mask]

    def step(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Go on to the next frame: places (N, 2), raster pixels, and similarities (N,) clamped to 0 to 1."""
        level, settings = maps[self.level][0], self.settings
        wanted = settings.anchor * self.anchor + (1 - settings.anchor) * self.last
        bias = settings.anchor * self.anchor_bias + (1 - settings.anchor) * self.last_bias
        centre = self.lattice.to_cells(self.xy)
        cells, similarity = best_match(wanted, level, centre, settings.radius, settings.temperature)
        cells = cells - bias
        self.last, self.last_bias = self._looks(level, cells)
        self.xy = self.lattice.to_pixels(cells)
        return self.xy, similarity.clamp(0, 1)

    def _looks(self, level: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, C) at ``cells`` (N, 2), and how far off the read-out is there."""
        feature = features_at(level, cells)
        return feature, read_out_bias(feature, level, cells, self.settings.temperature)


def read_out_bias(features: Tensor, level: Tensor, cells: Tensor, temperature: float) -> Tensor:
    """How far (N, 2), in cells, the soft read-out is off for features taken from ``cells`` of the same map."""
    found, _ = best_match(features, level, cells, 1, temperature)
    return (found - cells).clamp(-_AROUND, _AROUND)
