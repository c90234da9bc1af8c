"""The fast CPU path of ``displaced``: tiles of query cells as in ``kernels``, with windows where their cells have gone.

A tile is 4x4 cells that begin where a parent's children begin, so that as many as possible of its lanes have the same
displacement. Each displacement that occurs in it is searched once, for the lanes that have it.
"""

# mypy: disable-error-code="call-arg"
# (numba types an intrinsic by its definition, which has one argument more than its calls)
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize as unit

from samepoint.correspondence import fast_cpu, kernels
from samepoint.correspondence.displaced import Blocks
from samepoint.correspondence.fast_cpu import GROUP, as_array, run, splits, workers
from samepoint.correspondence.kernels import TILE, Array, jit
from samepoint.correspondence.vectors import LANES, exceeding, insert, score_block


def _origins(parents: np.ndarray) -> np.ndarray:
    """First row (or column) of the tile of each row: tiles begin with a parent's children, small parents share one."""
    runs = np.unique(parents, return_counts=True)[1]
    group = parents // max(1, TILE // int(np.median(runs)))
    first = np.searchsorted(group, group)
    origins: np.ndarray = first + (np.arange(len(parents)) - first) // TILE * TILE
    return origins


def _tiles(blocks: Blocks) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int]], list[tuple[np.ndarray]]]:
    """Origins int64 (N, 2) of the tiles, the result's row of each lane (N, 16), -1 for none, the bounds of neighbouring
    tiles that share key rows, and the tiles of each tile row from left to right."""
    height, width = len(blocks.rows), len(blocks.columns)
    cells = blocks.cells.numpy()
    y, x = cells // width, cells % width
    top, left = _origins(blocks.rows.numpy())[y], _origins(blocks.columns.numpy())[x]
    across = width // GROUP + 1
    number = ((top // GROUP * across + left // GROUP) * height + top) * width + left
    _, first, tile = np.unique(number, return_index=True, return_inverse=True)
    origins = np.ascontiguousarray(np.stack([top[first], left[first]], axis=1))
    rows = np.full((len(origins), LANES), -1, np.int64)
    rows[tile, (y - top) * TILE + x - left] = np.arange(len(cells))
    groups = splits(origins[:, 0] // GROUP * across + origins[:, 1] // GROUP)
    order = np.lexsort((origins[:, 1], origins[:, 0]))
    return origins, rows, groups, [(order[a:b],) for a, b in splits(origins[order, 0])]


@jit
def _moves(tile: int, parent: Array, shift: Array, found: Array, out: Array) -> int:
    """The displacements that occur in a tile, and the bits of the lanes that have each: rows of ``out``; their number.

    parent int64 (tiles, 16), -1 for none, shift int64 (P, M, 2), found uint8 (P, M), out int64 (16 * M, 3).
    """
    count = 0
    for lane in range(LANES):
        p = parent[tile, lane]
        if p < 0:
            continue
        for m in range(shift.shape[1]):
            if not found[p, m]:
                continue
            i = 0
            while i < count and (out[i, 0] != shift[p, m, 0] or out[i, 1] != shift[p, m, 1]):
                i += 1
            if i == count:
                out[i, 0], out[i, 1], out[i, 2] = shift[p, m, 0], shift[p, m, 1], 0
                count += 1
            out[i, 2] |= 1 << lane
    return count


@jit
def _spans(origins: Array, parent: Array, shift: Array, found: Array, rows: int, columns: int, out: Array) -> None:
    """First and last + 1 column of each key row that some tile can reach: ``out`` int64 (H, 2), begun as (W, 0)."""
    moves = np.empty((LANES * shift.shape[1], 3), np.int64)
    for tile in range(len(origins)):
        for i in range(_moves(tile, parent, shift, found, moves)):
            top, left = origins[tile, 0] + moves[i, 0], origins[tile, 1] + moves[i, 1]
            for y in range(max(0, top - rows), min(len(out), top + TILE + rows)):
                out[y, 0] = max(0, min(out[y, 0], left - columns))
                out[y, 1] = max(out[y, 1], left + TILE + columns)


@jit
def _search(
    start: int,
    stop: int,
    origins: Array,
    parent: Array,
    shift: Array,
    found: Array,
    queries: Array,
    keys: Array,
    reach: Array,
    masks: Array,
    width: int,
    offset: int,
    max_block: int,
    best: Array,
    best_index: Array,
) -> None:
    """Merge one key frame into the k best of tiles ``start..stop``; the arrays are those of ``kernels.search``."""
    height, channels, row_width = keys.shape
    k = best.shape[1]
    rows, columns = len(reach) - 1, reach.max()
    extent = 2 * rows + TILE
    sides = np.full(extent, -1, np.int64)
    for i in range(extent):
        for ly in range(TILE):
            dy = abs(i - rows - ly)
            if dy <= rows:
                sides[i] = max(sides[i], reach[dy])
    block = np.empty((max_block, LANES), np.float32)
    moves = np.empty((LANES * shift.shape[1], 3), np.int64)
    for tile in range(start, stop):
        last = (tile * k + k - 1) * LANES
        for move in range(_moves(tile, parent, shift, found, moves)):
            y0, x0, lanes = origins[tile, 0] + moves[move, 0], origins[tile, 1] + moves[move, 1], moves[move, 2]
            for step in range(extent):  # from the middle row outwards: the best tend to be there
                i = extent // 2 + ((step + 1) // 2 if step % 2 else -(step // 2))
                if i >= extent:
                    i = 0  # an even extent: the middle is the lower one, and the first row comes last
                y = y0 - rows + i
                left, right = max(0, x0 - sides[i]), min(width, x0 + TILE + sides[i])
                if y < 0 or y >= height or sides[i] < 0 or left >= right:
                    continue
                pieces = (right - left + max_block - 1) // max_block
                size = (right - left + pieces - 1) // pieces
                size += size % 2
                for x in range(left, right, size):
                    n = min(size, right - x)
                    score_block(
                        queries, tile * channels * LANES, keys, y * channels * row_width + x, row_width, channels,
                        n + n % 2, block,
                    )  # fmt: skip
                    for j in range(n):
                        bits = exceeding(block, j, best, last) & lanes
                        if bits:
                            bits &= np.int64(masks[i, x + j - x0 + columns])
                        for earlier in range(move if bits else 0):  # a key cell in two windows is one candidate
                            row = y - origins[tile, 0] - moves[earlier, 0] + rows
                            column = x + j - origins[tile, 1] - moves[earlier, 1] + columns
                            if 0 <= row < extent and 0 <= column < 2 * columns + TILE:
                                bits &= ~(np.int64(masks[row, column]) & moves[earlier, 2])
                        if bits:
                            insert(block, j, bits, best, best_index, tile * k * LANES, k, offset + y * width + x + j)


@jit
def _unpack(rows: Array, best: Array, best_index: Array, scores: Array, indices: Array) -> None:
    """Tiles' lanes to rows of (Q, k)."""
    for tile in range(rows.shape[0]):
        for lane in range(LANES):
            q = rows[tile, lane]
            if q >= 0:
                for j in range(best.shape[1]):
                    scores[q, j] = best[tile, j, lane]
                    indices[q, j] = best_index[tile, j, lane]


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
) -> tuple[Tensor, Tensor]:
    """As ``displaced.search``, for CPU tensors, without gradients; scores are float32 whatever the input."""
    channels, height, width = query.shape
    if bf16 and not fast_cpu.HAS_BF16:  # the same numbers without the instructions: round, then multiply in fp32
        query, *keys = (
            (unit(feature.float(), dim=0, eps=1e-12) if normalize else feature).bfloat16() for feature in (query, *keys)
        )
        normalize = bf16 = False
    origins, rows, groups, strips = _tiles(blocks)
    parent = np.where(rows >= 0, blocks.block.numpy()[rows], -1)
    moves, known = shift.contiguous().numpy(), found.to(torch.uint8).contiguous().numpy()

    # The layout of ``fast_cpu.search``: one float to spare, an odd number of cache lines.
    packed = (channels + 1) // 2 if bf16 else channels
    lines = -(-(width + 1) // LANES) | 1
    key_rows = np.zeros((height, packed, lines * LANES), np.uint32)
    query_tiles = np.empty((len(origins), packed, LANES), np.uint32)
    element = np.uint32 if bf16 else np.float32
    best = np.full((len(origins), topk, LANES), -np.inf, np.float32)
    best_index = np.zeros((len(origins), topk, LANES), np.int32)
    best.transpose(0, 2, 1)[rows < 0] = np.inf  # nothing is above it: no time goes into idle lanes
    down, aside = len(reach) - 1, int(reach.max())
    masks = np.empty((2 * down + TILE, 2 * aside + TILE), np.uint16)
    kernels.lane_masks(reach, masks)

    with workers(max(len(groups), height)) as pool:
        run(pool, strips, kernels.pack_queries, origins, as_array(query), normalize, bf16, query_tiles)
        for t, key in enumerate(keys):
            spans = np.tile(np.array([width, 0], np.int64), (height, 1))
            _spans(origins, parent, moves[t], known[t], down, aside, spans)
            needed = []
            for top in range(0, height, TILE):
                part = spans[top : top + TILE]
                left, right = int(part[:, 0].min()), min(width, int(part[:, 1].max()))
                if left < right:
                    needed.append((top, top + len(part), left, right))
            run(pool, needed, kernels.pack_keys, as_array(key), normalize, bf16, key_rows)
            run(
                pool, groups, _search, origins, parent, moves[t], known[t], query_tiles.view(element),
                key_rows.view(element), reach, masks, width, t * height * width, fast_cpu.MAX_BLOCK, best, best_index,
            )  # fmt: skip
    scores = np.empty((len(blocks.cells), topk), np.float32)
    indices = np.empty((len(blocks.cells), topk), np.int64)
    _unpack(rows, best, best_index, scores, indices)
    return torch.from_numpy(scores), torch.from_numpy(indices)
