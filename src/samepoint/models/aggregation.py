"""Correlations of several levels, refined together by a transformer (CATs; web-video-matching.md, section 7)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from ..errors import InputError
from .attention import Attention, Perceptron


class AggregationConfig(BaseModel):
    """Sizes of an :class:`Aggregation`.

    ``grid``: cells on each side at which correlations are refined; None: the matcher's own grid, as published, whose
    weights then fit no other. A token is the correlations of one cell with all ``grid ** 2`` others and ``projection``
    channels of its features: its width is their sum, which ``heads`` must divide.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    grid: int | None = Field(16, ge=1)
    projection: int = Field(64, ge=1)
    heads: int = Field(8, ge=1)
    depth: int = Field(1, ge=1)
    ratio: float = Field(4.0, gt=0)  # width of the perceptrons' middle, in widths of a token
    unit: bool = True  # features enter as unit vectors times the root of their number; False: as they are, as published


class _Block(nn.Module):
    """Attention over the cells of a level, then over the levels of a cell; pre-norm.

    The names are the published ones: a normalisation has the number of the perceptron that it stands before, not its
    place in the order.
    """

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.norm4 = nn.LayerNorm(width, eps=1e-6)
        self.mlp2 = Perceptron(width, hidden)
        self.norm3 = nn.LayerNorm(width, eps=1e-6)
        self.attn_multiscale = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Perceptron(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        batch, levels, tokens, width = x.shape
        x = x.flatten(0, 1)  # (B L, N, E)
        x = x + self.attn(self.norm1(x))
        x = x + self.mlp2(self.norm4(x))
        x = x.reshape(batch, levels, tokens, width).transpose(1, 2).flatten(0, 1)  # (B N, L, E)
        x = x + self.attn_multiscale(self.norm3(x))
        x = x + self.mlp(self.norm2(x))
        return x.reshape(batch, tokens, levels, width).transpose(1, 2)


class Aggregation(nn.Module):
    """Two passes of the same block: over the target's cells, then over the source's.

    Args:
        grid: cells on each side.
        channels: of the features of each level.
        config: the sizes; its own ``grid`` is not looked at.

    Raises:
        InputError: the width of a token is odd, or ``heads`` does not divide it.
    """

    def __init__(self, grid: int, channels: Sequence[int], config: AggregationConfig) -> None:
        super().__init__()
        cells = grid * grid
        width = cells + config.projection
        if width % config.heads or width % 2:
            fitting = [heads for heads in range(1, 17) if width % heads == 0]
            raise InputError(
                f"aggregation: tokens of {grid} x {grid} correlations and {config.projection} features are {width} "
                f"wide, which must be even and a multiple of heads {config.heads}; heads that fit: {fitting}"
            )
        self.grid, self.unit = grid, config.unit
        self.projections = nn.ModuleList(nn.Linear(count, config.projection) for count in channels)
        self.pos_embed_x = nn.Parameter(torch.zeros(1, len(channels), 1, grid, width // 2))
        self.pos_embed_y = nn.Parameter(torch.zeros(1, len(channels), grid, 1, width // 2))
        self.blocks = nn.Sequential(
            *(_Block(width, config.heads, round(config.ratio * width)) for _ in range(config.depth))
        )
        self.proj = nn.Linear(width, cells)
        self._initialise()

    def _initialise(self) -> None:
        """Transformers' usual start; the last layer is zero, so that an untrained one changes nothing."""
        nn.init.trunc_normal_(self.pos_embed_x, std=0.02)
        nn.init.trunc_normal_(self.pos_embed_y, std=0.02)
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        nn.init.zeros_(self.proj.weight)
        nn.init.zeros_(self.proj.bias)

    def forward(self, correlation: Tensor, source: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
        """Refined correlations.

        Args:
            correlation: (B, L, N, N), source by target, N = grid * grid.
            source, target: features of each level (B, C_l, grid, grid); both float32 where ours is half precision, too.

        Returns:
            (B, L, N, N).
        """
        refined = self._refine(correlation.transpose(2, 3), self._project(target)).transpose(2, 3) + correlation
        return self._refine(refined, self._project(source)) + correlation

    def _project(self, features: Sequence[Tensor]) -> Tensor:
        """(B, L, N, P)."""
        rows = []
        for level, project in zip(features, self.projections, strict=True):
            flat = level.flatten(2).transpose(1, 2)  # (B, N, C)
            given = F.normalize(flat, dim=2) * flat.shape[2] ** 0.5 if self.unit else flat
            rows.append(project(given.to(self.proj.weight.dtype)))
        return torch.stack(rows, dim=1)

    def _refine(self, correlation: Tensor, features: Tensor) -> Tensor:
        """What is added: (B, L, N, N) of tokens (B, L, N, N + P)."""
        levels, half = self.pos_embed_x.shape[1], self.pos_embed_x.shape[4]
        shape = (1, levels, self.grid, self.grid, half)
        positions = torch.cat([self.pos_embed_x.expand(shape), self.pos_embed_y.expand(shape)], dim=4)
        tokens = torch.cat([correlation, features], dim=3) + positions.flatten(2, 3)
        return self.proj(self.blocks(tokens.to(self.proj.weight.dtype)))
