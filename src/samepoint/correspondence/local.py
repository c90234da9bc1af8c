"""All correlations within a square window, as the training losses want them: dense and differentiable."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn.functional import pad

from samepoint.errors import InputError


def local_correlation(query: Tensor, key: Tensor, radius: int, outside: float = 0.0) -> Tensor:
    """Dot products of each query cell with the key cells around it: ``query[:, p] . key[:, p + (dy, dx)]``.

    query, key: float (B, C, H, W). Returns (B, (2R+1)**2, H, W) with R = radius in cells and the offset (dy, dx) at
    k = (dy + R)(2R + 1) + (dx + R). ``outside`` stands where p + (dy, dx) leaves the image: 0 as published, -inf to
    mask. Differentiable once; the backward pass keeps the two maps only, its working memory is one row of offsets
    of one picture: H * W * (W + 2R) numbers.

    >>> picture = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 1, 1, 3)
    >>> local_correlation(picture, picture, 1)[0, 3:6, 0].tolist()
    [[0.0, 2.0, 6.0], [1.0, 4.0, 9.0], [2.0, 6.0, 0.0]]
    """
    if query.ndim != 4 or query.shape != key.shape or not query.is_floating_point():
        raise InputError(
            f"local correlation: expected two float maps (B, C, H, W) alike, got {tuple(query.shape)} "
            f"{query.dtype} and {tuple(key.shape)} {key.dtype}"
        )
    if radius < 0:
        raise InputError(f"local correlation: expected a radius of 0 or more, got {radius}")
    result: Tensor = _LocalCorrelation.apply(query, key, radius)
    return result if outside == 0 else result.masked_fill(_leaves(query, radius), outside)


def _leaves(query: Tensor, radius: int) -> Tensor:
    """Bool ((2R+1)**2, H, W): true where p + (dy, dx) is outside the image."""
    offset = torch.arange(-radius, radius + 1, device=query.device)
    out = []
    for length in query.shape[2:]:
        place = torch.arange(length, device=query.device) + offset[:, None]  # (2R+1, length)
        out.append((place < 0) | (place >= length))
    return (out[0][:, None, :, None] | out[1][None, :, None, :]).flatten(0, 1)


def _band(rows: Tensor, side: int) -> Tensor:
    """View of (H, W, W + side - 1) as (H, W, side): ``band[y, x, j] = rows[y, x, x + j]``."""
    height, width, padded = rows.shape
    return rows.as_strided((height, width, side), (width * padded, padded + 1, 1))


class _LocalCorrelation(torch.autograd.Function):
    """One matrix product for each picture and dy: a row of query cells with the whole key row dy below it."""

    @staticmethod
    def forward(ctx: FunctionCtx, query: Tensor, key: Tensor, radius: int) -> Tensor:
        ctx.save_for_backward(query, key)
        ctx.radius = radius  # type: ignore[attr-defined]
        batch, _, height, width = query.shape
        side = 2 * radius + 1
        out = query.new_empty((batch, side, side, height, width))
        for b in range(batch):
            cells = query[b].permute(1, 2, 0).contiguous()  # (H, W, C)
            around = pad(key[b], [radius] * 4).permute(1, 0, 2).contiguous()  # (H + 2R, C, W + 2R)
            for dy in range(side):
                products = cells @ around[dy : dy + height]  # (H, W, W + 2R)
                out[b, dy] = _band(products, side).permute(2, 0, 1)
        return out.flatten(1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        query, key = ctx.saved_tensors  # type: ignore[attr-defined]
        radius: int = ctx.radius  # type: ignore[attr-defined]
        batch, _, height, width = query.shape
        side = 2 * radius + 1
        gradient = gradient.unflatten(1, (side, side))
        query_gradient, key_gradient = torch.empty_like(query), torch.empty_like(key)
        for b in range(batch):
            cells = query[b].permute(1, 2, 0).contiguous()  # (H, W, C)
            around = pad(key[b], [radius] * 4).permute(1, 2, 0).contiguous()  # (H + 2R, W + 2R, C)
            to_cells, to_around = torch.zeros_like(cells), torch.zeros_like(around)
            products = query.new_zeros((height, width, width + 2 * radius))
            for dy in range(side):
                _band(products, side).copy_(gradient[b, dy].permute(1, 2, 0))  # off the band it stays 0
                to_cells += products @ around[dy : dy + height]
                to_around[dy : dy + height] += products.transpose(1, 2) @ cells
            inner = to_around[radius : radius + height, radius : radius + width]
            query_gradient[b], key_gradient[b] = to_cells.permute(2, 0, 1), inner.permute(2, 0, 1)
        return query_gradient, key_gradient, None
