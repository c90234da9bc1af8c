"""Vision transformers with timm's key names: DINOv2's ViT-S/14 and its relatives as feature extractors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from ..geometry import Lattice
from .attention import Attention, Perceptron
from .colour import ColourSpace, normalise

HEAD_WIDTH = 64
"""Channels of an attention head in all published sizes; the keys do not tell."""


class _LayerScale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class TransformerBlock(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, width: int, heads: int, hidden: int, scaled: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.ls1 = _LayerScale(width) if scaled else nn.Identity()
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Perceptron(width, hidden)
        self.ls2 = _LayerScale(width) if scaled else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class _PatchEmbed(nn.Module):
    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


class VisionTransformer(nn.Module):
    """A ViT whose patch tokens are maps: patch cell ``j`` is centred at ``(j + 0.5) * patch``.

    Inputs may have any size. One that is not a multiple of the patch is continued by its last row and column, on the
    right and below only, so that every cell stays where ``lattices`` says; the last cell may then be centred outside.

    Input is RGB with ImageNet's mean and deviation, as DINO, DINOv2 and MAE were trained with.

    Args:
        width: channels of a token.
        depth: number of blocks.
        heads: attention heads; divides ``width``.
        hidden: width of the perceptrons' middle.
        patch: side of a patch in pixels.
        grid: side of the square of position embeddings, 37 for DINOv2; resampled bicubic, without antialiasing, to the
            grid of the input's patches.
        scaled: whether blocks have LayerScale.
        outputs: the blocks, counted from 0, whose tokens :meth:`features` returns, in this order; the last but one by
            default (10 of 12), since the last serves the training task more than matching. Later ones are not run.
        norm: whether the final normalisation is applied to them, whatever their block.
    """

    colour: ColourSpace = "rgb"

    def __init__(
        self,
        width: int = 384,
        depth: int = 12,
        heads: int = 6,
        hidden: int = 1536,
        patch: int = 14,
        grid: int = 37,
        scaled: bool = True,
        outputs: Sequence[int] | None = None,
        norm: bool = True,
    ) -> None:
        super().__init__()
        self.outputs = (max(depth - 2, 0),) if outputs is None else tuple(outputs)
        if not self.outputs or not all(0 <= block < depth for block in self.outputs):
            raise InputError(f"blocks to output: expected some of 0 to {depth - 1}, got {list(self.outputs)}")
        self.width, self.heads, self.hidden, self.scaled = width, heads, hidden, scaled
        self.patch, self.grid, self.normed = patch, grid, norm
        self.lattices = (Lattice(patch, patch / 2),) * len(self.outputs)
        self.channels = (width,) * len(self.outputs)
        self.patch_embed = _PatchEmbed(width, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + grid * grid, width).normal_(0, 0.02))
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, hidden, scaled) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    @property
    def config(self) -> dict[str, Any]:
        """The arguments that make such a network."""
        return {
            "width": self.width,
            "depth": len(self.blocks),
            "heads": self.heads,
            "hidden": self.hidden,
            "patch": self.patch,
            "grid": self.grid,
            "scaled": self.scaled,
            "outputs": list(self.outputs),
            "norm": self.normed,
        }

    @classmethod
    def shaped_like(
        cls, tensors: Mapping[str, Tensor], outputs: Sequence[int] | None = None, norm: bool = True
    ) -> VisionTransformer:
        """A network of the sizes of a state dict, not yet filled; heads have :data:`HEAD_WIDTH` channels.

        Raises:
            InputError: the tensors are not those of such a network, or ``outputs`` names a block that it lacks.
        """
        shapes = {key: tuple(value.shape) for key, value in tensors.items()}
        embedding = shapes.get("patch_embed.proj.weight", ())
        positions = shapes.get("pos_embed", ())
        hidden = shapes.get("blocks.0.mlp.fc1.weight", ())
        if len(embedding) != 4 or len(positions) != 3 or len(hidden) != 2:
            raise InputError(
                "expected patch_embed.proj.weight (D, 3, P, P), pos_embed (1, 1 + N, D) and blocks.0.mlp.fc1.weight "
                f"(M, D), got {embedding or 'none'}, {positions or 'none'} and {hidden or 'none'}"
            )
        width, patch = embedding[0], embedding[2]
        grid = round((positions[1] - 1) ** 0.5) if positions[1] else 0
        if grid * grid + 1 != positions[1] or grid == 0:
            raise InputError(f"pos_embed has {positions[1]} tokens; expected one for the class and a square of patches")
        if width % HEAD_WIDTH or not width or not patch:
            raise InputError(
                f"patches of {patch} pixels give tokens of {width} channels; expected 1 or more pixels and a multiple "
                f"of {HEAD_WIDTH} channels"
            )
        depth = len({key.split(".")[1] for key in shapes if key.startswith("blocks.")})
        scaled = "blocks.0.ls1.gamma" in shapes
        return cls(width, depth, width // HEAD_WIDTH, hidden[0], patch, grid, scaled, outputs, norm)

    def preprocess(self, frames: Tensor) -> Tensor:
        """uint8 RGB frames (B, H, W, 3) to the network's normalised input (B, 3, H, W), float32."""
        return normalise(frames, self.colour)

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """Patch tokens (B, C, ceil(H / patch), ceil(W / patch)) of each chosen block for an input (B, 3, H, W)."""
        right, below = -x.shape[3] % self.patch, -x.shape[2] % self.patch
        if right or below:
            x = F.pad(x, (0, right, 0, below), mode="replicate")
        embedded = self.patch_embed(x)
        batch, width, height, columns = embedded.shape
        tokens = embedded.flatten(2).transpose(1, 2)  # (B, h w, C)
        tokens = torch.cat([self.cls_token.expand(batch, -1, -1), tokens], dim=1) + self.positions(height, columns)
        maps: dict[int, Tensor] = {}
        for index in range(max(self.outputs) + 1):
            tokens = self.blocks[index](tokens)
            if index in self.outputs:
                kept = self.norm(tokens) if self.normed else tokens
                maps[index] = kept[:, 1:].transpose(1, 2).reshape(batch, width, height, columns)
        return tuple(maps[index] for index in self.outputs)

    def positions(self, height: int, columns: int) -> Tensor:
        """Position embeddings (1, 1 + height * columns, C) of the class token and a grid of patches."""
        if (height, columns) == (self.grid, self.grid):
            return self.pos_embed
        square = self.pos_embed[:, 1:].reshape(1, self.grid, self.grid, -1).permute(0, 3, 1, 2)
        fitted = F.interpolate(square.float(), (height, columns), mode="bicubic", align_corners=False)
        return torch.cat([self.pos_embed[:, :1], fitted.flatten(2).transpose(1, 2).to(self.pos_embed.dtype)], dim=1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.features(x)
