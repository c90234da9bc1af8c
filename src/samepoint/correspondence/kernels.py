"""Compiled kernels of the fast CPU path (numba and LLVM vectors); ``fast_cpu`` drives them.

Queries are packed in tiles of 4x4 cells, one cell a lane of a 16-wide vector, channel after channel. A key cell then
costs one fused multiply-add of 16 lanes a channel (one bf16 dot product for two channels), its feature broadcast from
memory, with the sums of up to 28 key cells kept in registers. What leaves the registers are scores, compared at once
with the running k-th best of each lane: the affinity is never stored, and the window is the loops' bounds plus a
16-bit mask a key cell for the corners that a tile's cells do not share.

All functions release the GIL and are thread-safe: every call writes only the tiles or rows it was given.
"""

# mypy: disable-error-code="call-arg"
# (numba types an intrinsic by its definition, which has one argument more than its calls)
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from samepoint.correspondence.vectors import LANES, exceeding, float_at, insert, score_block

TILE = 4  # TILE * TILE == LANES

Array = np.ndarray


def jit(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # no directory where numba may keep its cache: compile in every process
        return numba.njit(nogil=True, error_model="numpy")(function)


@jit
def _load(feature: Array, top: int, bottom: int, left: int, right: int, normalize: bool, bf16: bool) -> Array:
    """A rectangle of a (C, H, W) map, cells divided by max(norm, 1e-12), 0 outside the map: bits (C, rows, columns).

    With bf16, two channels rounded to nearest even in each 32 bits, an odd last one paired with 0. The map is read once
    and in order: its channels lie far apart, often a multiple of a page, and would push each other out of the caches
    before a second reading.
    """
    channels, height, width = feature.shape
    rows, columns = min(bottom, height) - top, min(right, width) - left
    shape = (channels, bottom - top, right - left)
    part = np.empty(shape, np.float32) if rows == shape[1] and columns == shape[2] else np.zeros(shape, np.float32)
    scale = np.zeros((rows, columns), np.float32)
    for c in range(channels):
        for y in range(rows):
            source, target, total = feature[c, top + y, left : left + columns], part[c, y], scale[y]
            for x in range(len(source)):
                target[x] = source[x]
                total[x] += source[x] * source[x]
    if normalize:
        for y in range(rows):
            for x in range(columns):
                scale[y, x] = np.float32(1.0) / max(np.sqrt(scale[y, x]), np.float32(1e-12))
        for c in range(channels):
            for y in range(rows):
                target, total = part[c, y], scale[y]
                for x in range(len(total)):
                    target[x] *= total[x]
    bits = part.view(np.uint32)
    if bf16:
        half, one, most = np.uint32(16), np.uint32(1), np.uint32(0x7FFF)
        for c in range(0, channels, 2):
            for y in range(shape[1]):
                low, high, target = bits[c, y], bits[min(c + 1, channels - 1), y], bits[c // 2, y]
                keep = np.uint32(0xFFFF0000 if c + 1 < channels else 0)
                for x in range(len(target)):
                    upper = (high[x] + most + ((high[x] >> half) & one)) & keep
                    target[x] = ((low[x] + most + ((low[x] >> half) & one)) >> half) | upper
    return bits


@jit
def pack_keys(
    top: int, bottom: int, left: int, right: int, feature: Array, normalize: bool, bf16: bool, out: Array
) -> None:
    """Rows top..bottom, columns left..right of a (C, H, W) map into ``out[y, c, x]``, in bits."""
    part = _load(feature, top, bottom, left, right, normalize, bf16)
    for y in range(top, bottom):
        for c in range(out.shape[1]):
            source, target = part[c, y - top], out[y, c, left:right]
            for x in range(len(source)):
                target[x] = source[x]


@jit
def pack_queries(tiles: Array, origins: Array, feature: Array, normalize: bool, bf16: bool, out: Array) -> None:
    """``tiles``, numbers of tiles of one tile row from left to right, into ``out[tile, c, lane]``, in bits."""
    top, left, right = origins[tiles[0], 0], origins[tiles[0], 1], origins[tiles[-1], 1] + TILE
    part = _load(feature, top, top + TILE, left, right, normalize, bf16)
    for tile in tiles:
        x = origins[tile, 1] - left
        for c in range(out.shape[1]):
            for lane in range(LANES):
                out[tile, c, lane] = part[c, lane // TILE, x + lane % TILE]


@jit
def lane_masks(reach: Array, out: Array) -> None:
    """Which lanes of a tile may see a key cell: bits at ``out[ky - y0 + R, kx - x0 + Rx]``, uint16 (2R + 4, 2Rx + 4).

    ``reach[|dy|]`` is the largest |dx| inside the window; R = len(reach) - 1, Rx = max(reach).
    """
    rows, columns = len(reach) - 1, reach.max()
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            bits = 0
            for ly in range(TILE):
                dy = abs(i - rows - ly)
                if dy <= rows:
                    for lx in range(TILE):
                        if abs(j - columns - lx) <= reach[dy]:
                            bits |= 1 << (ly * TILE + lx)
            out[i, j] = bits


@jit
def search(
    start: int,
    stop: int,
    origins: Array,
    queries: Array,
    keys: Array,
    reach: Array,
    masks: Array,
    valid: Array,
    width: int,
    offset: int,
    max_block: int,
    best: Array,
    best_index: Array,
) -> None:
    """Merge one key frame into the k best of tiles ``start..stop`` (neighbours, so that they share key rows).

    keys (H, C, >= width + 1), queries (tiles, C, 16), masks from ``lane_masks``, valid uint8 (H, W) or (0, 0) for all;
    best, best_index (tiles, k, 16), scores falling along k; offset is added to y * width + x.
    """
    height, channels, row_width = keys.shape
    k = best.shape[1]
    rows, columns = len(reach) - 1, reach.max()
    top, bottom = height, 0
    for tile in range(start, stop):
        top, bottom = min(top, origins[tile, 0]), max(bottom, origins[tile, 0] + TILE)
    centre = (top + bottom) // 2
    block = np.empty((max_block, LANES), np.float32)
    # From the middle row outwards: the best keys tend to be near, so that most later ones fail the first comparison.
    for step in range(2 * (bottom - top + rows) + 1):
        y = centre + (step + 1) // 2 if step % 2 else centre - step // 2
        if y < 0 or y >= height:
            continue
        for tile in range(start, stop):
            i = y - origins[tile, 0] + rows
            if i < 0 or i >= 2 * rows + TILE:
                continue
            x0 = origins[tile, 1]
            side = -1
            for ly in range(TILE):
                dy = abs(i - rows - ly)
                if dy <= rows:
                    side = max(side, reach[dy])
            left, right = max(0, x0 - side), min(width, x0 + TILE + side)
            if side < 0 or left >= right:
                continue
            pieces = (right - left + max_block - 1) // max_block
            size = (right - left + pieces - 1) // pieces
            size += size % 2
            last = (tile * k + k - 1) * LANES
            for x in range(left, right, size):
                n = min(size, right - x)
                score_block(
                    queries, tile * channels * LANES, keys, y * channels * row_width + x, row_width, channels,
                    n + n % 2, block,
                )  # fmt: skip
                for j in range(n):
                    bits = exceeding(block, j, best, last)
                    if bits:
                        bits &= np.int64(masks[i, x + j - x0 + columns])
                        if bits and (valid.size == 0 or valid[y, x + j]):
                            index = offset + y * width + x + j
                            insert(block, j, bits, best, best_index, tile * k * LANES, k, index)


@jit
def unpack(origins: Array, rows: Array, best: Array, best_index: Array, scores: Array, indices: Array) -> None:
    """Tiles' lanes to rows of (Q, k): ``rows[y, x]`` is the row of a query cell, -1 for a cell not wanted."""
    height, width = rows.shape
    k = best.shape[1]
    for tile in range(len(origins)):
        for lane in range(LANES):
            y, x = origins[tile, 0] + lane // TILE, origins[tile, 1] + lane % TILE
            if y < height and x < width and rows[y, x] >= 0:
                for j in range(k):
                    scores[rows[y, x], j] = best[tile, j, lane]
                    indices[rows[y, x], j] = best_index[tile, j, lane]


@jit
def softmax(scores: Array, temperature: float, out: Array) -> None:
    """Softmax of each row of falling scores / temperature; 0 for -inf, also where all of a row are."""
    for q in range(scores.shape[0]):
        total = np.float32(0.0)
        for j in range(scores.shape[1]):
            weight = np.float32(0.0)
            if scores[q, j] > -np.inf:
                weight = np.exp((scores[q, j] - scores[q, 0]) / temperature)
            out[q, j] = weight
            total += weight
        for j in range(scores.shape[1]):
            out[q, j] /= max(total, np.float32(1.0))


@jit
def gather(start: int, stop: int, frames: Array, indices: Array, weights: Array, cells: int, out: Array) -> None:
    """``out[v, q] = sum over j of weights[q, j] * values[indices[q, j]]`` for queries ``start..stop``.

    frames holds the address of each key frame's float32 (V, cells) values.
    """
    k = indices.shape[1]
    address = np.empty((stop - start, k), np.int64)
    for q in range(start, stop):
        for j in range(k):
            frame = indices[q, j] // cells
            address[q - start, j] = frames[frame] + 4 * (indices[q, j] - frame * cells)
    for v in range(out.shape[0]):
        plane = 4 * v * cells
        for q in range(start, stop):
            total = np.float32(0.0)
            for j in range(k):
                total += weights[q, j] * float_at(address[q - start, j] + plane)
            out[v, q] = total
