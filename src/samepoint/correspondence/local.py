"""All correlations within a square window, as the training losses want them: dense and differentiable."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn.functional import pad

from samepoint.errors import InputError


def local_correlation(query: Tensor, key: Tensor, radius: int, outside: float = 0.0, row: int | None = None) -> Tensor:
    """Dot products of each query cell with the key cells around it: ``query[:, p] . key[:, p + (dy, dx)]``.

    query, key: float (B, C, H, W). Returns (B, (2R+1)**2, H, W) with R = radius in cells and the offset (dy, dx) at
    k = (dy + R)(2R + 1) + (dx + R). ``outside`` stands where p + (dy, dx) leaves the image: 0 as published, -inf to
    mask. With ``row`` the query is a slice of rows that begins at that row of the key: so a large volume is made in
    parts. Differentiable once; the backward pass keeps the two maps only, its working memory is one row of offsets
    of one picture: H * W * (W + 2R) numbers.

    >>> picture = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 1, 1, 3)
    >>> local_correlation(picture, picture, 1)[0, 3:6, 0].tolist()
    [[0.0, 2.0, 6.0], [1.0, 4.0, 9.0], [2.0, 6.0, 0.0]]
    """
    if row is not None and query.ndim == key.ndim == 4:
        if not 0 <= row <= row + query.shape[2] <= key.shape[2]:
            rows = f"{row} to {row + query.shape[2]}"
            raise InputError(f"local correlation: rows {rows} do not lie within the key's {key.shape[2]}")
        matching = key[:, :, row : row + query.shape[2]]
    else:
        row, matching = 0, key
    if query.ndim != 4 or query.shape != matching.shape or query.dtype != key.dtype or not query.is_floating_point():
        raise InputError(
            f"local correlation: expected two float maps (B, C, H, W) alike, got {tuple(query.shape)} "
            f"{query.dtype} and {tuple(matching.shape)} {key.dtype}"
        )
    if radius < 0:
        raise InputError(f"local correlation: expected a radius of 0 or more, got {radius}")
    result: Tensor = _LocalCorrelation.apply(query, key, radius, row)
    return result if outside == 0 else result.masked_fill(_leaves(query, key, radius, row), outside)


def _leaves(query: Tensor, key: Tensor, radius: int, row: int) -> Tensor:
    """Bool ((2R+1)**2, H, W): true where p + (dy, dx) is outside the image."""
    offset = torch.arange(-radius, radius + 1, device=query.device)
    out = []
    for first, count, length in zip((row, 0), query.shape[2:], key.shape[2:], strict=True):
        place = torch.arange(first, first + count, device=query.device) + offset[:, None]  # (2R+1, count)
        out.append((place < 0) | (place >= length))
    return (out[0][:, None, :, None] | out[1][None, :, None, :]).flatten(0, 1)


def _band(rows: Tensor, side: int) -> Tensor:
    """View of (H, W, W + side - 1) as (H, W, side): ``band[y, x, j] = rows[y, x, x + j]``."""
    height, width, padded = rows.shape
    return rows.as_strided((height, width, side), (width * padded, padded + 1, 1))


def _around(key: Tensor, radius: int, row: int, height: int) -> Tensor:
    """What ``height`` rows from ``row`` on can reach of a map (C, H, W), zeros outside: (C, height + 2R, W + 2R)."""
    first, last = row - radius, row + height + radius
    rows = key[:, max(0, first) : last]
    return pad(rows, [radius, radius, max(0, -first), max(0, last - key.shape[1])])


class _LocalCorrelation(torch.autograd.Function):
    """One matrix product for each picture and dy: a row of query cells with the whole key row dy below it."""

    @staticmethod
    def forward(ctx: FunctionCtx, query: Tensor, key: Tensor, radius: int, row: int) -> Tensor:
        ctx.save_for_backward(query, key)
        ctx.radius, ctx.row = radius, row  # type: ignore[attr-defined]
        batch, _, height, width = query.shape
        side = 2 * radius + 1
        out = query.new_empty((batch, side, side, height, width))
        for b in range(batch):
            cells = query[b].permute(1, 2, 0).contiguous()  # (H, W, C)
            around = _around(key[b], radius, row, height).permute(1, 0, 2).contiguous()  # (H + 2R, C, W + 2R)
            for dy in range(side):
                products = cells @ around[dy : dy + height]  # (H, W, W + 2R)
                out[b, dy] = _band(products, side).permute(2, 0, 1)
        return out.flatten(1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        query, key = ctx.saved_tensors  # type: ignore[attr-defined]
        radius: int = ctx.radius  # type: ignore[attr-defined]
        row: int = ctx.row  # type: ignore[attr-defined]
        batch, _, height, width = query.shape
        side = 2 * radius + 1
        gradient = gradient.unflatten(1, (side, side))
        query_gradient, key_gradient = torch.empty_like(query), torch.zeros_like(key)
        first, last = max(0, row - radius), min(key.shape[2], row + height + radius)  # key rows within reach
        shift = first - (row - radius)
        for b in range(batch):
            cells = query[b].permute(1, 2, 0).contiguous()  # (H, W, C)
            around = _around(key[b], radius, row, height).permute(1, 2, 0).contiguous()  # (H + 2R, W + 2R, C)
            to_cells, to_around = torch.zeros_like(cells), torch.zeros_like(around)
            products = query.new_zeros((height, width, width + 2 * radius))
            for dy in range(side):
                _band(products, side).copy_(gradient[b, dy].permute(1, 2, 0))  # off the band it stays 0
                to_cells += products @ around[dy : dy + height]
                to_around[dy : dy + height] += products.transpose(1, 2) @ cells
            inner = to_around[shift : shift + last - first, radius : radius + width]
            query_gradient[b], key_gradient[b, :, first:last] = to_cells.permute(2, 0, 1), inner.permute(2, 0, 1)
        return query_gradient, key_gradient, None, None
