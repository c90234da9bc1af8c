"""From local correlations to a point: where it is, how sure that is, and whether it can be seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..geometry import Lattice, gather_patches, lerp_grid, sample_patches


class Estimate(NamedTuple):
    """What the refiner says of N points in one frame."""

    xy: Tensor  # (N, 2) raster pixels of the network's input
    log_error: Tensor  # (N,) natural log of the expected error in pixels (Laplace scale)
    visible: Tensor  # (N,) logit of being visible


class Refiner(nn.Module):
    """Reads the correlations of a template (the surroundings of a point) with the surroundings of a guess.

    At each level the template's ``(2 template + 1)^2`` cells are compared with the ``(2 window + 1)^2`` cells around
    the guess: 4-D local correlations as in LocoTrack (ECCV 2024), all levels at once. A small perceptron turns them
    into a step, an expected error and a visibility; it is applied a few times, each time around the improved guess. It
    sees correlations only, never colours, so that what it learns on rendered clips carries over.

    Args:
        channels: descriptor channels of each level, coarse to fine.
        lattices: lattice of each level.
        template: radius of the template in cells.
        window: radius of the search window in cells: reaches ``window * stride`` pixels of the coarsest level.
        hidden: width of the perceptron.
    """

    def __init__(
        self,
        channels: Sequence[int],
        lattices: Sequence[Lattice],
        template: int = 2,
        window: int = 3,
        hidden: int = 192,
    ) -> None:
        super().__init__()
        self.lattices = tuple(lattices)
        self.template_radius, self.window_radius = template, window
        inputs = (2 * template + 1) ** 2 * (2 * window + 1) ** 2
        self.levels = nn.ModuleList(nn.Linear(inputs, hidden) for _ in channels)
        self.mix = nn.Sequential(
            nn.GELU(),
            nn.Linear(hidden * len(channels), 2 * hidden),
            nn.GELU(),
            nn.Linear(2 * hidden, hidden),
            nn.GELU(),
        )
        self.head = nn.Linear(hidden, 2 * len(channels) + 2)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def templates(self, maps: Sequence[Tensor], xy: Tensor, batch: Tensor | None = None) -> tuple[Tensor, ...]:
        """Cut the surroundings of points: one (N, cells, C) a level.

        ``maps`` are channels-last descriptors (B, h, w, C), coarse to fine; ``xy`` (N, 2) raster pixels of the input;
        ``batch`` (N,) says which picture each point lies in.
        """
        return tuple(
            sample_patches(level, lattice.to_cells(xy), self.template_radius, batch)
            for level, lattice in zip(maps, self.lattices, strict=True)
        )

    def correlations(
        self, templates: Sequence[Tensor], maps: Sequence[Tensor], xy: Tensor, batch: Tensor | None = None
    ) -> list[Tensor]:
        """Correlations (N, template cells * window cells) of each level, windows centred on ``xy``."""
        results = []
        size = 2 * self.window_radius + 2
        for cells, level, lattice in zip(templates, maps, self.lattices, strict=True):
            at = lattice.to_cells(xy)
            base = torch.floor(at)
            blocks, _ = gather_patches(level, base.long() - self.window_radius, size, batch)
            # Correlation is linear: interpolating scores is the same as interpolating descriptors, and far cheaper.
            scores = torch.bmm(blocks, cells.transpose(1, 2)).float().reshape(len(xy), size, size, -1)
            results.append(lerp_grid(scores, at - base).flatten(1))
        return results

    def step(
        self, templates: Sequence[Tensor], maps: Sequence[Tensor], xy: Tensor, batch: Tensor | None = None
    ) -> Estimate:
        """One refinement of the guess ``xy`` (N, 2)."""
        correlations = self.correlations(templates, maps, xy, batch)
        hidden = [layer(c) for layer, c in zip(self.levels, correlations, strict=True)]
        out = self.head(self.mix(torch.cat(hidden, dim=1))).float()
        steps = out[:, : 2 * len(self.levels)].reshape(len(xy), len(self.levels), 2)
        strides = steps.new_tensor([lattice.stride for lattice in self.lattices])
        move = (steps * strides[None, :, None]).sum(dim=1)
        return Estimate(xy + move, out[:, -2].clamp(-4, 6), out[:, -1])

    def forward(
        self,
        templates: Sequence[Tensor],
        maps: Sequence[Tensor],
        xy: Tensor,
        batch: Tensor | None = None,
        iterations: int = 3,
    ) -> list[Estimate]:
        """Refine ``xy`` a few times; the estimate of each iteration, the last the best.

        No gradient flows from one iteration to the one before.
        """
        estimates: list[Estimate] = []
        for _ in range(iterations):
            estimates.append(self.step(templates, maps, xy, batch))
            xy = estimates[-1].xy.detach()
        return estimates


def channels_last(maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """(B, C, h, w) maps as (B, h, w, C) with each cell's descriptor contiguous."""
    return tuple(level.permute(0, 2, 3, 1).contiguous() for level in maps)
