"""The matcher's arithmetic in its slowest and most obvious form: loops over cells, in double precision."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Size = tuple[int, int]


def cosines(source: Array, target: Array) -> Array:
    """(C, h, w) and (C, h', w') to (N_s, N_t)."""
    a, b = source.reshape(len(source), -1).T, target.reshape(len(target), -1).T
    out = np.zeros((len(a), len(b)))
    for i, j in itertools.product(range(len(a)), range(len(b))):
        out[i, j] = a[i] @ b[j] / (np.sqrt(a[i] @ a[i] + 1e-6) * np.sqrt(b[j] @ b[j] + 1e-6))
    return out


def mutual(correlation: Array) -> Array:
    out = np.zeros_like(correlation)
    for i, j in itertools.product(*map(range, correlation.shape)):
        over_source, over_target = max(correlation[:, j].max(), 1e-8), max(correlation[i].max(), 1e-8)
        out[i, j] = correlation[i, j] * (correlation[i, j] / over_source) * (correlation[i, j] / over_target)
    return out


def between(side: int, wanted: int, index: int) -> list[tuple[int, float]]:
    """The cells of ``side`` and their weights that cell ``index`` of ``wanted`` lies between, by its centre."""
    place = min(max((index + 0.5) * side / wanted - 0.5, 0), side - 1)
    low = min(int(place), side - 1)
    high = min(low + 1, side - 1)
    return [(low, 1 - (place - low)), (high, place - low)]


def spread(change: Array, own: int, source: Size, target: Size) -> Array:
    """(a * a, a * a) to (N_s, N_t): bilinear in four directions."""
    cube = change.reshape(own, own, own, own)
    out = np.zeros((*source, *target))
    for r, c, v, u in itertools.product(*map(range, out.shape)):
        for (i, wi), (j, wj), (k, wk), (m, wm) in itertools.product(
            between(own, source[0], r),
            between(own, source[1], c),
            between(own, target[0], v),
            between(own, target[1], u),
        ):
            out[r, c, v, u] += wi * wj * wk * wm * cube[i, j, k, m]
    return out.reshape(source[0] * source[1], target[0] * target[1])


def soft_argmax(refined: Array, source: Size, target: Size, temperature: float, kernel: float | None) -> Array:
    """(N_s, N_t) to the flow (2, rows, columns) of the target."""
    out = np.zeros((2, *target))
    for v, u in itertools.product(range(target[0]), range(target[1])):
        scores = refined[:, v * target[1] + u]
        best = divmod(int(scores.argmax()), source[1])
        total, mean = 0.0, np.zeros(2)
        for r, c in itertools.product(range(source[0]), range(source[1])):
            weight = np.exp((scores[r * source[1] + c] - scores.max()) / temperature)
            if kernel is not None:
                weight *= np.exp(-((r - best[0]) ** 2 + (c - best[1]) ** 2) / (2 * kernel**2))
            total += weight
            mean += weight * np.array([c + 0.5, r + 0.5])
        out[:, v, u] = mean / total - np.array([(u + 0.5) / target[1] * source[1], (v + 0.5) / target[0] * source[0]])
    return out


def keypoints_to_flow(
    source_xy: Array, target_xy: Array, grid: Size, source_grid: Size, source_size: Size, target_size: Size, box: float
) -> tuple[Array, NDArray[np.bool_]]:
    """Mean displacement of the pairs around each cell's centre, by Gaussian weights."""
    flow, mask = np.zeros((2, *grid)), np.zeros(grid, bool)
    reach = box * max(target_size)
    for r, c in itertools.product(range(grid[0]), range(grid[1])):
        x, y = (c + 0.5) * target_size[1] / grid[1], (r + 0.5) * target_size[0] / grid[0]
        total, mean = 0.0, np.zeros(2)
        for (sx, sy), (tx, ty) in zip(source_xy, target_xy, strict=True):
            if abs(tx - x) <= reach and abs(ty - y) <= reach:
                weight = np.exp(-((tx - x) ** 2 + (ty - y) ** 2) / (2 * (reach / 2) ** 2))
                total += weight
                mean += weight * np.array(
                    [
                        (sx / source_size[1] - tx / target_size[1]) * source_grid[1],
                        (sy / source_size[0] - ty / target_size[0]) * source_grid[0],
                    ]
                )
        if total:
            flow[:, r, c], mask[r, c] = mean / total, True
    return flow, mask
