"""The fast CPU path: drives the compiled ``kernels``.

Key frames are packed and searched one after another, so that one packed frame and the running k best of each query
cell are all that is held. Threads are made for the call (as many as torch uses) and share nothing that is written:
safe to call from several threads and after a fork.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize as unit

from samepoint.correspondence import kernels
from samepoint.correspondence.kernels import TILE
from samepoint.correspondence.vectors import HAS_BF16, LANES, MAX_BLOCK, SUPPORTED

GROUP = 16  # query cells along each side that share key rows: 256 KiB of queries at 256 channels, for the L2 cache
GATHER = 2048  # queries of one task of ``propagate``

__all__ = ["HAS_BF16", "SUPPORTED", "gather", "search", "softmax"]


@contextmanager
def workers(tasks: int) -> Iterator[Executor | None]:
    threads = min(torch.get_num_threads(), tasks)
    if threads < 2:
        yield None
    else:
        with ThreadPoolExecutor(threads) as pool:
            yield pool


def run(pool: Executor | None, tasks: Sequence[tuple], function: Callable[..., Any], *common: object) -> None:
    """Call ``function(*task, *common)`` for all tasks; each thread takes the next one when it is free."""
    if pool is None:
        for task in tasks:
            function(*task, *common)
        return
    counter = itertools.count()

    def work() -> None:
        while (i := next(counter)) < len(tasks):
            function(*tasks[i], *common)

    for future in [pool.submit(work) for _ in range(min(torch.get_num_threads(), len(tasks)))]:
        future.result()


def as_array(tensor: Tensor) -> np.ndarray:
    values: np.ndarray = tensor.detach().to(torch.float32).contiguous().numpy()
    return values


def splits(values: np.ndarray) -> list[tuple[int, int]]:
    """Bounds of the runs of equal values."""
    bounds = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    return list(itertools.pairwise(bounds))


def _tiles(rows: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int]], list[tuple[np.ndarray]]]:
    """Tiles with a wanted cell, from ``rows`` (H, W), -1 where a cell is not wanted.

    Returns their origins int64 (N, 2) sorted by group, the groups' bounds, and the tiles of each tile row.
    """
    y, x = np.nonzero(rows >= 0)
    across = rows.shape[1] // TILE + 1
    number = np.unique((y // TILE) * across + x // TILE)
    origins = np.stack([number // across, number % across], axis=1) * TILE
    group = (origins[:, 0] // GROUP) * across + origins[:, 1] // GROUP
    order = np.argsort(group, kind="stable")
    origins, group = np.ascontiguousarray(origins[order]), group[order]
    by_row = np.argsort(origins[:, 0], kind="stable")
    strips = [(by_row[a:b],) for a, b in splits(origins[by_row, 0])]
    return origins, splits(group), strips


def _needed(origins: np.ndarray, groups: list[tuple[int, int]], reach: np.ndarray, size: tuple[int, int]) -> list:
    """Rectangles ``(top, bottom, left, right)`` over the key cells that some group can reach."""
    height, width = size
    left, right = np.full(height, width), np.zeros(height, np.int64)
    side = int(reach.max())
    for start, stop in groups:
        (top, first), (bottom, last) = origins[start:stop].min(axis=0), origins[start:stop].max(axis=0)
        rows = slice(max(0, top - len(reach) + 1), bottom + TILE + len(reach) - 1)
        left[rows] = np.minimum(left[rows], max(0, first - side))
        right[rows] = np.maximum(right[rows], min(width, last + TILE + side))
    rectangles = []
    for top in range(0, height, TILE):
        rows = slice(top, min(top + TILE, height))
        if left[rows].min() < right[rows].max():
            rectangles.append((top, rows.stop, int(left[rows].min()), int(right[rows].max())))
    return rectangles


def search(
    query: Tensor,
    keys: Sequence[Tensor],
    reaches: Sequence[np.ndarray],
    topk: int,
    normalize: bool,
    bf16: bool,
    cells: Tensor | None,
    valid: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """As ``portable.search``, for CPU tensors, without gradients; scores are float32 whatever the input."""
    channels, height, width = query.shape
    if bf16 and not HAS_BF16:  # the same numbers without the instructions: round, then multiply in fp32
        query, *keys = (
            (unit(feature.float(), dim=0, eps=1e-12) if normalize else feature).bfloat16() for feature in (query, *keys)
        )
        normalize = bf16 = False
    rows = np.full((height, width), -1, np.int64)  # of the result, for each query cell
    rows.flat[slice(None) if cells is None else cells.numpy()] = np.arange(
        height * width if cells is None else len(cells)
    )
    origins, groups, strips = _tiles(rows)

    packed = (channels + 1) // 2 if bf16 else channels
    # One float to spare for an even number of key cells; an odd number of cache lines, so that the channels of a
    # cell spread over all sets of the caches.
    lines = -(-(width + 1) // LANES) | 1
    key_rows = np.zeros((height, packed, lines * LANES), np.uint32)
    query_tiles = np.empty((len(origins), packed, LANES), np.uint32)
    element = np.uint32 if bf16 else np.float32  # what the bits are
    best = np.full((len(origins), topk, LANES), -np.inf, np.float32)
    best_index = np.zeros((len(origins), topk, LANES), np.int32)
    lane_y = origins[:, 0, None] + np.arange(LANES) // TILE
    lane_x = origins[:, 1, None] + np.arange(LANES) % TILE
    idle = (lane_y >= height) | (lane_x >= width)
    idle |= rows[lane_y.clip(max=height - 1), lane_x.clip(max=width - 1)] < 0
    best.transpose(0, 2, 1)[idle] = np.inf  # nothing is above it, so no time goes into cells that nobody asked for

    with workers(max(len(groups), height)) as pool:
        run(pool, strips, kernels.pack_queries, origins, as_array(query), normalize, bf16, query_tiles)
        known: dict[bytes, tuple[np.ndarray, list]] = {}
        for t, (key, reach) in enumerate(zip(keys, reaches, strict=True)):
            if reach.tobytes() not in known:
                masks = np.empty((2 * len(reach) + 2, 2 * int(reach.max()) + TILE), np.uint16)
                kernels.lane_masks(reach, masks)
                known[reach.tobytes()] = (masks, _needed(origins, groups, reach, (height, width)))
            masks, needed = known[reach.tobytes()]
            usable = np.zeros((0, 0), np.uint8) if valid is None else valid[t].to(torch.uint8).contiguous().numpy()
            run(pool, needed, kernels.pack_keys, as_array(key), normalize, bf16, key_rows)
            run(
                pool, groups, kernels.search, origins, query_tiles.view(element), key_rows.view(element),
                reach, masks, usable, width, t * height * width, MAX_BLOCK, best, best_index,
            )  # fmt: skip
    wanted = height * width if cells is None else len(cells)
    scores = np.empty((wanted, topk), np.float32)
    indices = np.empty((wanted, topk), np.int64)
    kernels.unpack(origins, rows, best, best_index, scores, indices)
    return torch.from_numpy(scores), torch.from_numpy(indices)


def softmax(scores: Tensor, temperature: float) -> Tensor:
    """Softmax of rows of falling scores, float32 (Q, k), 0 where -inf. Torch's own would wake its OpenMP threads."""
    weights = np.empty(tuple(scores.shape), np.float32)
    kernels.softmax(scores.numpy(), np.float32(temperature), weights)
    return torch.from_numpy(weights)


def gather(indices: Tensor, weights: Tensor, values: Sequence[Tensor]) -> Tensor:
    """Weighted sums of float32 CPU values, T maps (V, H, W): float32 (V, Q)."""
    frames = [as_array(value) for value in values]
    addresses = np.array([frame.ctypes.data for frame in frames], np.int64)
    channels, height, width = frames[0].shape
    queries = len(indices)
    out = np.empty((channels, queries), np.float32)
    index, weight = indices.contiguous().numpy(), as_array(weights)
    tasks = [(start, min(start + GATHER, queries)) for start in range(0, queries, GATHER)]
    with workers(len(tasks)) as pool:
        run(pool, tasks, kernels.gather, addresses, index, weight, height * width, out)
    return torch.from_numpy(out)
