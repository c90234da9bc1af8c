"""One step of label propagation as plain tensor operations of fixed structure, which every exporter understands."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..correspondence import Window
from ..errors import InputError

TILE = 8


class PropagationStep(nn.Module):
    """Labels of a frame from those of its key frames: what ``propagate(affinity(...))`` gives, without loops over data.

    Query cells are taken in square tiles; all key cells that a tile can reach, ``(tile + 2 reach)^2`` of each key
    frame, are gathered, compared, and masked by the circle. Each key frame gives its ``topk`` best, the best ``topk``
    of all share the softmax: the same as over all at once.

    Args:
        keys: key frames, the query frame included; those that are not there yet are masked by ``present``.
        radius: of the circular window in cells, as ``Window.circle``.
        topk: key cells that a query cell takes labels from, over all key frames jointly.
        temperature: of the softmax over them.
        dtype: of the products of features; sums of labels are float32.
    """

    inside: Tensor

    def __init__(
        self,
        keys: int = 6,
        radius: float = 15.0,
        topk: int = 10,
        temperature: float = 0.07,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if keys < 1 or topk < 1 or not temperature > 0:
            raise InputError(
                f"expected at least one key frame and match, and a temperature above 0, got {keys}, {topk} and "
                f"{temperature}"
            )
        window = torch.from_numpy(Window.circle(radius).mask())
        self.keys, self.topk, self.temperature, self.dtype = keys, topk, temperature, dtype
        self.reach = len(window) // 2
        self.side = TILE + 2 * self.reach
        inside = torch.zeros(TILE, TILE, self.side, self.side, dtype=torch.bool)
        for row in range(TILE):
            for column in range(TILE):
                inside[row, column, row : row + len(window), column : column + len(window)] = window
        self.register_buffer("inside", inside.reshape(TILE * TILE, self.side * self.side))

    def forward(self, query: Tensor, keys: Tensor, labels: Tensor, present: Tensor) -> Tensor:
        """Labels float32 (V, H, W) of the frame.

        Args:
            query: its map, float32 (C, H, W); cells need not be unit vectors. H and W at least 9.
            keys: maps of the T key frames (T, C, H, W).
            labels: theirs (T, V, H, W).
            present: bool (T,), False for key frames that take no part; the first always does.
        """
        height, width = query.shape[1:]
        rows, columns = (height + TILE - 1) // TILE, (width + TILE - 1) // TILE
        # First row and column of each tile, (n,).
        top = (torch.arange(rows) * TILE)[:, None].expand(rows, columns).reshape(-1)
        left = (torch.arange(columns) * TILE)[None].expand(rows, columns).reshape(-1)

        # Cells of a tile that lies over the border repeat the last row or column; nothing reads their results.
        steps = torch.arange(TILE)
        at_y = (top[:, None] + steps).clamp(max=height - 1)  # (n, tile)
        at_x = (left[:, None] + steps).clamp(max=width - 1)
        queries = self._cells(query)[(at_y[:, :, None] * width + at_x[:, None]).flatten(1)]  # (n, tile * tile, C)

        around = torch.arange(self.side) - self.reach
        key_y, key_x = top[:, None] + around, left[:, None] + around  # (n, side)
        real = ((key_y >= 0) & (key_y < height))[:, :, None] & ((key_x >= 0) & (key_x < width))[:, None]
        mask = self.inside & real.flatten(1)[:, None]  # (n, tile * tile, side * side)
        cell = (key_y.clamp(0, height - 1)[:, :, None] * width + key_x.clamp(0, width - 1)[:, None]).flatten(1)

        scores, found = [], []
        for t in range(self.keys):
            near = self._cells(keys[t])[cell]  # (n, side * side, C)
            similarity = (queries @ near.transpose(1, 2)).float()
            similarity = torch.where(mask & present[t], similarity, -torch.inf)
            best, position = similarity.topk(min(self.topk, self.side**2), dim=2)
            down = torch.div(position, self.side, rounding_mode="floor") + (top - self.reach)[:, None, None]
            right = position % self.side + (left - self.reach)[:, None, None]
            scores.append(best)
            found.append((t * height + down.clamp(0, height - 1)) * width + right.clamp(0, width - 1))
        best, position = torch.cat(scores, dim=2).topk(min(self.topk, self.keys * self.side**2), dim=2)
        chosen = torch.cat(found, dim=2).gather(2, position)

        # From tiles back to raster order.
        y, x = torch.arange(height)[:, None], torch.arange(width)[None]
        tile = torch.div(y, TILE, rounding_mode="floor") * columns + torch.div(x, TILE, rounding_mode="floor")
        place = (tile * TILE**2 + y % TILE * TILE + x % TILE).flatten()
        weights = (best.flatten(0, 1)[place] / self.temperature).softmax(dim=1)  # (H W, k)
        chosen = chosen.flatten(0, 1)[place]
        values = labels.transpose(0, 1).flatten(1)  # (V, T H W)
        return (values[:, chosen] * weights).sum(dim=2).unflatten(1, (height, width))

    def _cells(self, features: Tensor) -> Tensor:
        """(C, H, W) -> unit vectors (H W, C)"""
        # In float32 first: squares of large features leave half precision's range.
        return F.normalize(features.flatten(1).t(), dim=1, eps=1e-12).to(self.dtype)
