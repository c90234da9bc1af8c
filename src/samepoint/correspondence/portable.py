"""The torch path: any device, any floating dtype, differentiable.

Query cells are taken in square tiles; the key cells that a tile can reach lie in one rectangle of each key frame,
clipped to the image, so a tile costs one small matrix product a frame and a mask. Tiles go through in chunks of
bounded size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize as unit
from torch.nn.functional import pad

TILE = 8
CHUNK_ELEMENTS = 2**24  # scores and gathered key features held at once (64 MiB in float32)


def flat_cells(feature: Tensor, normalize: bool, bf16: bool) -> Tensor:
    """(C, H, W) -> (H * W, C)"""
    cells = feature.flatten(1).t()
    if normalize:
        # In float32 where half precision would lose ``eps`` and the squares of large features.
        exact = cells.float() if cells.dtype == torch.float16 else cells
        cells = unit(exact, dim=1, eps=1e-12).to(feature.dtype)
    if bf16:
        cells = cells.to(torch.bfloat16).to(feature.dtype)
    return cells.contiguous()


def search(
    query: Tensor,
    keys: Sequence[Tensor],
    reaches: Sequence[np.ndarray],
    topk: int,
    normalize: bool,
    bf16: bool,
    cells: Tensor | None,
    valid: Tensor | None,
    tile: int = TILE,
    chunk_elements: int = CHUNK_ELEMENTS,
) -> tuple[Tensor, Tensor]:
    """The ``topk`` best key cells of each query cell: scores (Q, k), -inf where missing, and int64 indices (Q, k).

    query (C, H, W), keys T maps alike, reaches T arrays of ``Window.reach``, cells distinct flat int64 (Q,) or all,
    valid bool (T, H, W) or all. ``tile`` and ``chunk_elements`` change memory and speed, not the result.
    """
    channels, height, width = query.shape
    device = query.device
    across = -(-width // tile)
    if cells is None:
        cells = torch.arange(height * width, device=device)
    y, x = cells // width, cells % width
    tiles, tile_of_cell = torch.unique((y // tile) * across + x // tile, return_inverse=True)
    row_of_cell = tile_of_cell * tile * tile + (y % tile) * tile + x % tile

    def axis(start: Tensor, length: int) -> Tensor:
        return start[:, None] + torch.arange(length, device=device)

    # Cells of a tile that lies over the border repeat the last row or column; nothing reads their results.
    query_y = axis(tiles // across * tile, tile).clamp(max=height - 1)  # (N, tile)
    query_x = axis(tiles % across * tile, tile).clamp(max=width - 1)
    query_cells = flat_cells(query, normalize, bf16)
    key_cells = [flat_cells(key, normalize, bf16) for key in keys]
    frames = []  # of each key frame: the rectangle's size, its window as a table over |dy|
    for reach in reaches:
        size = (min(height, tile + 2 * (len(reach) - 1)), min(width, tile + 2 * int(reach.max())))
        table = torch.full((height,), -1, dtype=torch.int64, device=device)
        table[: len(reach)] = torch.from_numpy(reach).to(device)
        frames.append((size, table))
    candidates = sum(h * w for (h, w), _ in frames)
    step = max(1, chunk_elements // (candidates * (tile * tile + channels)))

    scores, indices = [], []
    for begin in range(0, len(tiles), step):
        qy, qx = query_y[begin : begin + step], query_x[begin : begin + step]
        queries = query_cells[(qy[:, :, None] * width + qx[:, None, :]).flatten(1)]  # (n, tile * tile, C)
        chunk_scores, chunk_cells = [], []
        for t, ((h, w), table) in enumerate(frames):
            key_y = axis((qy[:, 0] - (len(reaches[t]) - 1)).clamp(0, height - h), h)  # (n, h)
            key_x = axis((qx[:, 0] - int(reaches[t].max())).clamp(0, width - w), w)
            cell = (key_y[:, :, None] * width + key_x[:, None, :]).flatten(1)  # (n, h * w)
            if (h, w) == (height, width):
                similarity = queries @ key_cells[t].t()  # (n, tile * tile, h * w)
            else:
                similarity = queries @ key_cells[t][cell].transpose(1, 2)
            side = table[(key_y[:, None, :] - qy[:, :, None]).abs()]  # (n, tile, h)
            distance = (key_x[:, None, :] - qx[:, :, None]).abs()  # (n, tile, w)
            inside = distance[:, None, :, None, :] <= side[:, :, None, :, None]  # (n, tile, tile, h, w)
            inside = inside.reshape(similarity.shape)
            if valid is not None:
                inside = inside & valid[t].flatten()[cell][:, None, :]
            chunk_scores.append(similarity.masked_fill(~inside, -torch.inf))
            chunk_cells.append(cell + t * height * width)
        similarity, cell = torch.cat(chunk_scores, dim=2), torch.cat(chunk_cells, dim=1)
        best, position = similarity.topk(min(topk, similarity.shape[2]), dim=2)
        scores.append(best.flatten(0, 1))
        indices.append(cell[:, None, :].expand(-1, tile * tile, -1).gather(2, position).flatten(0, 1))
    missing = (0, topk - scores[0].shape[1])
    all_scores = pad(torch.cat(scores)[row_of_cell], missing, value=-torch.inf)
    all_indices = pad(torch.cat(indices)[row_of_cell], missing)
    return all_scores, all_indices.masked_fill(torch.isneginf(all_scores), 0)
