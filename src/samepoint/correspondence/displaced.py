"""Search in windows that are not centred on the query cell, but where its parent has gone: blocks, and the torch path.

Query cells come in blocks, the children of one coarse cell, which share their displacements. The key cells that a block
can reach lie in one rectangle for each displacement, clipped to the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from samepoint.correspondence.portable import CHUNK_ELEMENTS, flat_cells


@dataclass(frozen=True)
class Blocks:
    """The wanted cells of a map, by parent. All int64, P parents that have a wanted child, Q wanted cells.

    rows, columns: (H,) and (W,), the row and the column of each cell's parent, rising.
    parents: (P,) flat coarse cells, distinct. top, bottom, left, right: (P,) the rectangles of their children, the
    second and fourth exclusive. cells: (Q,) flat, distinct. block: (Q,) the number of each one's parent in ``parents``.
    """

    rows: Tensor
    columns: Tensor
    parents: Tensor
    top: Tensor
    bottom: Tensor
    left: Tensor
    right: Tensor
    cells: Tensor
    block: Tensor

    @classmethod
    def of(cls, rows: Tensor, columns: Tensor, coarse: tuple[int, int], cells: Tensor | None) -> Blocks:
        """From the parents' rows (H,) and columns (W,) on a coarse map (h, w), both rising; ``cells`` None for all."""
        width = len(columns)
        if cells is None:
            cells = torch.arange(len(rows) * width, device=rows.device)
        flat = rows[cells // width] * coarse[1] + columns[cells % width]
        parents, block = torch.unique(flat, return_inverse=True)
        (top, bottom), (left, right) = (
            (torch.searchsorted(axis, at), torch.searchsorted(axis, at, right=True))
            for axis, at in ((rows, parents // coarse[1]), (columns, parents % coarse[1]))
        )
        return cls(rows, columns, parents, top, bottom, left, right, cells, block)


def search(
    query: Tensor,
    keys: Sequence[Tensor],
    reach: np.ndarray,
    shift: Tensor,
    found: Tensor,
    blocks: Blocks,
    topk: int,
    normalize: bool,
    bf16: bool,
    chunk_elements: int = CHUNK_ELEMENTS,
) -> tuple[Tensor, Tensor]:
    """The ``topk`` best key cells of each wanted query cell: scores (Q, k), -inf where missing, int64 indices (Q, k).

    query (C, H, W), keys T maps alike. A query cell of block p sees, in key frame t, the union of the windows
    ``reach`` (see ``Window.reach``) around itself + ``shift[t, p, m]`` for the m where ``found[t, p, m]``;
    shift int64 (T, P, M, 2) rows and columns, found bool (T, P, M). Differentiable in query and keys.
    """
    channels, height, width = query.shape
    device = query.device
    high, wide = int((blocks.bottom - blocks.top).max()), int((blocks.right - blocks.left).max())
    down, aside = len(reach) - 1, int(reach.max())
    h, w = min(height, high + 2 * down), min(width, wide + 2 * aside)
    # |dy| -> largest |dx|, -1 outside the window; no distance in a rectangle is larger than a map and a shift.
    table = torch.full((2 * height + int(shift.abs().max()) + 1,), -1, dtype=torch.int64, device=device)
    table[: len(reach)] = torch.from_numpy(reach).to(device)[: len(table)]
    query_cells = flat_cells(query, normalize, bf16)
    key_cells = [flat_cells(key, normalize, bf16) for key in keys]
    matches = shift.shape[2]
    step = max(1, chunk_elements // (len(keys) * matches * h * w * (high * wide + channels)))

    def axis(start: Tensor, length: int) -> Tensor:
        return start[:, None] + torch.arange(length, device=device)

    scores, indices = [], []
    for begin in range(0, len(blocks.parents), step):
        part = slice(begin, begin + step)
        # A block smaller than the largest takes in cells of its neighbours; nothing reads their results.
        qy = axis(blocks.top[part], high).clamp(max=height - 1)  # (n, high)
        qx = axis(blocks.left[part], wide).clamp(max=width - 1)
        queries = query_cells[(qy[:, :, None] * width + qx[:, None, :]).flatten(1)]  # (n, high * wide, C)
        chunk_scores, chunk_cells = [], []
        for t, key in enumerate(key_cells):
            for m in range(matches):
                move = shift[t, part, m]  # (n, 2)
                key_y = axis((qy[:, 0] + move[:, 0] - down).clamp(0, height - h), h)  # (n, h)
                key_x = axis((qx[:, 0] + move[:, 1] - aside).clamp(0, width - w), w)
                cell = (key_y[:, :, None] * width + key_x[:, None, :]).flatten(1)  # (n, h * w)
                similarity = queries @ key[cell].transpose(1, 2)  # (n, high * wide, h * w)
                inside = _inside(table, qy, qx, key_y, key_x, move, found[t, part, m])
                for earlier in range(m):  # a key cell in two windows is one candidate
                    inside &= ~_inside(table, qy, qx, key_y, key_x, shift[t, part, earlier], found[t, part, earlier])
                chunk_scores.append(similarity.masked_fill(~inside, -torch.inf))
                chunk_cells.append(cell + t * height * width)
        similarity, cell = torch.cat(chunk_scores, dim=2), torch.cat(chunk_cells, dim=1)
        best, position = similarity.topk(min(topk, similarity.shape[2]), dim=2)
        scores.append(best.flatten(0, 1))
        indices.append(cell[:, None, :].expand(-1, high * wide, -1).gather(2, position).flatten(0, 1))
    y, x = blocks.cells // width - blocks.top[blocks.block], blocks.cells % width - blocks.left[blocks.block]
    row = (blocks.block * high + y) * wide + x
    missing = (0, topk - scores[0].shape[1])
    all_scores = pad(torch.cat(scores)[row], missing, value=-torch.inf)
    all_indices = pad(torch.cat(indices)[row], missing)
    return all_scores, all_indices.masked_fill(torch.isneginf(all_scores), 0)


def _inside(table: Tensor, qy: Tensor, qx: Tensor, key_y: Tensor, key_x: Tensor, move: Tensor, found: Tensor) -> Tensor:
    """Bool (n, high * wide, h * w): which key cells lie in the windows around the moved query cells."""
    side = table[(key_y[:, None, :] - qy[:, :, None] - move[:, 0, None, None]).abs()]  # (n, high, h)
    side = side.masked_fill(~found[:, None, None], -1)
    away = (key_x[:, None, :] - qx[:, :, None] - move[:, 1, None, None]).abs()  # (n, wide, w)
    inside = away[:, None, :, None, :] <= side[:, :, None, :, None]  # (n, high, wide, h, w)
    return inside.flatten(3).flatten(1, 2)
