"""From local correlations to a point: where it is, how sure that is, and whether it can be seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..geometry import Lattice, gather_patches, lerp_grid, sample_patches


class Estimate(NamedTuple):
    """What the refiner says of N points in one frame."""

    xy: Tensor  # (N, 2) raster pixels of the network's input
    log_error: Tensor  # (N,) natural log of the expected error in pixels (Laplace scale)
    visible: Tensor  # (N,) logit of being visible


class Context(NamedTuple):
    """What is known of N points besides their looks. Pixels are those of the network's input."""

    state: Tensor  # (N, S) what the refiner itself kept of the frames before
    guess: Tensor  # (N, 2) where propagation puts the point
    mass: Tensor  # (N,) height of the propagated label there
    before: Tensor  # (N, 2) where the point was in the frame before
    motion: Tensor  # (N, 2) pixels that it had moved into that frame

    def select(self, rows: Tensor) -> Context:
        """The context of some of the points."""
        return Context(*(value[rows] for value in self))


class Refiner(nn.Module):
    """Reads how two templates of a point correlate with the surroundings of a guess.

    A template is the surroundings of the point: one from its query frame, which never drifts, one from the frame where
    it was last seen, which looks most alike. At each level their ``(2 template + 1)^2`` cells are compared with the
    ``(2 window + 1)^2`` cells around the guess: 4-D local correlations as in LocoTrack (ECCV 2024), all levels at once.
    A small perceptron turns them, what propagation says, and what a recurrent state kept of the frames before into a
    step, an expected error and a visibility; it is applied a few times, each time around the improved guess. It sees
    correlations only, never colours, so that what it learns on rendered clips carries over.

    Args:
        channels: descriptor channels of each level, coarse to fine.
        lattices: lattice of each level.
        template: radius of the template in cells.
        window: radius of the search window in cells: reaches ``window * stride`` pixels of the coarsest level.
        hidden: width of the perceptron.
        state: numbers kept of each point from frame to frame.
    """

    def __init__(
        self,
        channels: Sequence[int],
        lattices: Sequence[Lattice],
        template: int = 2,
        window: int = 3,
        hidden: int = 192,
        state: int = 64,
    ) -> None:
        super().__init__()
        self.lattices = tuple(lattices)
        self.template_radius, self.window_radius, self.state_size = template, window, state
        inputs = 2 * (2 * template + 1) ** 2 * (2 * window + 1) ** 2
        self.levels = nn.ModuleList(nn.Linear(inputs, hidden) for _ in channels)
        self.mix = nn.Linear(hidden * len(channels), 2 * hidden)
        self.context = nn.Linear(state + 7, 2 * hidden, bias=False)
        self.narrow = nn.Linear(2 * hidden, hidden)
        self.head = nn.Linear(hidden, 2 * len(channels) + 2)
        self.memory = nn.GRUCell(hidden + 4, state)
        nn.init.zeros_(self.context.weight)
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
        """Correlations (N, window cells * template cells) of each level, windows centred on ``xy``."""
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

    def forward(
        self,
        query: Sequence[Tensor],
        recent: Sequence[Tensor],
        maps: Sequence[Tensor],
        xy: Tensor,
        context: Context,
        batch: Tensor | None = None,
        iterations: int = 2,
    ) -> tuple[list[Estimate], Tensor]:
        """Refine ``xy`` (N, 2) a few times; no gradient flows from one iteration to the one before.

        Args:
            query: templates from the query frames.
            recent: templates from where the points were last seen.
            maps: of the frame, channels-last (B, h, w, C).
            xy: where to start from, raster pixels of the input.
            context: what else is known.
            batch: (N,) which of the B pictures each point is sought in.
            iterations: at least 1.

        Returns:
            The estimate of each iteration, the last the best; and the state (N, S) for the next frame.
        """
        templates = [torch.cat(pair, dim=1) for pair in zip(query, recent, strict=True)]
        strides = xy.new_tensor([lattice.stride for lattice in self.lattices])[None, :, None]
        estimates: list[Estimate] = []
        hidden = xy.new_zeros((len(xy), self.narrow.out_features))
        for _ in range(iterations):
            correlations = self.correlations(templates, maps, xy, batch)
            read = [F.gelu(layer(c)) for layer, c in zip(self.levels, correlations, strict=True)]
            told = [_squash(context.guess - xy), _squash(context.before - xy), _squash(context.motion)]
            told += [context.mass[:, None], context.state]
            hidden = F.gelu(self.mix(torch.cat(read, dim=1)) + self.context(torch.cat(told, dim=1)))
            hidden = F.gelu(self.narrow(hidden))
            out = self.head(hidden).float()
            move = (out[:, :-2].reshape(len(xy), -1, 2) * strides).sum(dim=1)
            estimates.append(Estimate(xy + move, out[:, -2].clamp(-4, 6), out[:, -1]))
            xy = estimates[-1].xy.detach()
        last = estimates[-1]
        news = [hidden.float(), _squash(xy - context.before), last.visible[:, None].tanh(), last.log_error[:, None] / 4]
        with torch.autocast(xy.device.type, enabled=False):
            return estimates, self.memory(torch.cat(news, dim=1), context.state)


def _squash(pixels: Tensor) -> Tensor:
    """Distances of any size as small numbers."""
    return pixels.sign() * (pixels.abs() / 4).log1p()


def channels_last(maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """(B, C, h, w) maps as (B, h, w, C) with each cell's descriptor contiguous."""
    return tuple(level.permute(0, 2, 3, 1).contiguous() for level in maps)
