"""Neighbourhood consensus: a match is believed as far as its neighbours agree with it.

Neighbouring cells of one picture should match neighbouring cells of the other. As in neighbourhood consensus networks
(Rocco et al., NeurIPS 2018) correlations are filtered in all four dimensions at once; here the filter is not learnt but
a Gaussian along equal displacements, applied again and again with a mutual maximum between, so that it costs two passes
a round and no parameter. It is the matching analogue of label propagation's locality.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

Size = tuple[int, int]
_REFERENCE = 32
"""Cells along a side that ``sigma`` is given for."""
_LEAST = 1e-8
"""Of what is raised to a power below 1, whose slope at 0 has no end."""


class ConsensusConfig(BaseModel):
    """How often, how far, how sharply.

    Attributes:
        rounds: of filtering.
        sigma: deviation of the Gaussian, in cells where a side has 32.
        power: to which mutual correlations are raised at first.
        sharpen: to which each round's result is raised before the next.
        scale: what the best match of a cell counts beside what the transformer adds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rounds: int = Field(4, ge=1)
    sigma: float = Field(1.2, gt=0)
    power: float = Field(3.0, gt=0)
    sharpen: float = Field(0.5, gt=0)
    scale: float = Field(0.2, gt=0)


class Consensus(nn.Module):
    """See the head of this module; it has no parameters."""

    def __init__(self, config: ConsensusConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, correlation: Tensor, source_grid: Size, target_grid: Size) -> Tensor:
        """Correlations (B, N_s, N_t) >= 0 of cells in raster order, as far as neighbours agree.

        Returns:
            (B, N_s, N_t); the largest over the source is ``scale`` for each cell of the target.
        """
        return self.with_strength(correlation, source_grid, target_grid)[0]

    def with_strength(self, correlation: Tensor, source_grid: Size, target_grid: Size) -> tuple[Tensor, Tensor]:
        """As :meth:`forward`, and what that divides by: how far neighbours agree with a cell's best match.

        Returns:
            Correlations, and (B, N_t), at most 1, which the best cells of two alike pictures come near to.
        """
        c = self.config
        given, correlation = correlation, _wide(correlation)
        sigma = c.sigma * math.sqrt(source_grid[0] * source_grid[1]) / _REFERENCE
        kept = _unit(correlation.clamp_min(_LEAST)).pow(c.power)
        agreed = kept
        for left in reversed(range(c.rounds)):
            agreed = agree(kept, source_grid, target_grid, sigma)
            if left:
                kept = _unit(mutual(_unit(agreed)).clamp_min(_LEAST).pow(c.sharpen))
        strength = agreed.amax(dim=1, keepdim=True)
        refined = agreed / strength.clamp_min(1e-12) * c.scale
        return _as_given(refined, given), _as_given(strength[:, 0], given)


def mutual(correlation: Tensor) -> Tensor:
    """Soft mutual nearest neighbour of (..., N_s, N_t): C (C / max over source) (C / max over target)."""
    wide = _wide(correlation)
    over_source = wide.amax(dim=-2, keepdim=True).clamp_min(1e-8)
    over_target = wide.amax(dim=-1, keepdim=True).clamp_min(1e-8)
    return _as_given(wide * (wide / over_source) * (wide / over_target), correlation)


def agree(correlation: Tensor, source_grid: Size, target_grid: Size, sigma: float) -> Tensor:
    """The Gaussian mean of correlations (B, N_s, N_t) over equal displacements in both pictures.

    Cell pair (s, t) gets the sum over d of g(d) C(s + d, t + d); pairs beyond either picture are 0.
    """
    result: Tensor = _Agree.apply(correlation, source_grid, target_grid, sigma)
    return result


class _Agree(torch.autograd.Function):
    """The filter is its own transpose, so its gradient is the filter again and nothing has to be kept."""

    @staticmethod
    def forward(ctx: Any, correlation: Tensor, source_grid: Size, target_grid: Size, sigma: float) -> Tensor:
        ctx.settings = source_grid, target_grid, sigma
        return _filtered(correlation, source_grid, target_grid, sigma)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return _filtered(gradient, *ctx.settings), None, None, None


def _filtered(correlation: Tensor, source_grid: Size, target_grid: Size, sigma: float) -> Tensor:
    reach = max(1, math.ceil(3 * sigma))
    weights = [math.exp(-(step * step) / (2 * sigma * sigma)) for step in range(-reach, reach + 1)]
    total = sum(weights)
    volume = correlation.reshape(len(correlation), *source_grid, *target_grid)
    for here, there in ((1, 3), (2, 4)):  # rows of both, then columns of both
        moved = torch.zeros_like(volume)
        for step, weight in zip(range(-reach, reach + 1), weights, strict=True):
            if abs(step) < min(volume.shape[here], volume.shape[there]):
                part = volume
                into = moved
                for axis in (here, there):
                    length = volume.shape[axis] - abs(step)
                    part = part.narrow(axis, max(step, 0), length)
                    into = into.narrow(axis, max(-step, 0), length)
                into.add_(part, alpha=weight / total)
        volume = moved
    return volume.reshape(correlation.shape)


def _wide(correlation: Tensor) -> Tensor:
    """float16 as float32: the least number above 0 would be 6e-8, a floor of 1e-8 none, and slopes at 0 without end."""
    return correlation.float() if correlation.dtype == torch.float16 else correlation


def _as_given(result: Tensor, given: Tensor) -> Tensor:
    """Narrowed again only for a network in half precision: what follows under autocast takes float32."""
    return result if torch.is_autocast_enabled(given.device.type) else result.to(given.dtype)


def _unit(correlation: Tensor) -> Tensor:
    """Divided by the largest of each pair of pictures."""
    return correlation / correlation.amax(dim=(-2, -1), keepdim=True).clamp_min(1e-12)
