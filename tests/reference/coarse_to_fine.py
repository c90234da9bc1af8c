"""Coarse-to-fine affinity in its slowest, most obvious form: loops over cells, sets of candidates, double precision."""

from __future__ import annotations

import functools
import math

import numpy as np

from tests.reference.propagation import inside


def unit(maps: np.ndarray) -> np.ndarray:
    """Maps (T, C, H, W) with cells of length 1."""
    return maps / np.maximum(np.sqrt((maps**2).sum(axis=1, keepdims=True)), 1e-12)


def parent(cell: int, fine: tuple[float, float], coarse: tuple[float, float], count: int) -> int:
    """Coarse cell nearest to a fine one along one axis, the later at a tie; lattices are (stride, offset)."""
    at = fine[0] * cell + fine[1]
    return min(range(count), key=lambda j: (abs(coarse[0] * j + coarse[1] - at), -j))


def affinity(
    query: np.ndarray,
    keys: np.ndarray,
    coarse_query: np.ndarray,
    coarse_keys: np.ndarray,
    lattices: tuple[tuple[float, float], tuple[float, float]],
    windows: list[tuple[str, float]],
    fine: tuple[str, float],
    matches: int,
    topk: int,
    temperature: float,
    normalize: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """query (C, H, W), keys (T, C, H, W), coarse maps alike, lattices (stride, offset) coarse first, windows (shape,
    size) of coarse cells for each key frame.

    Returns scores (H * W, topk), -inf where missing, their flat key cells and their weights.
    """
    maps = [each.astype(np.float64) for each in (query[None], keys, coarse_query[None], coarse_keys)]
    if normalize:
        maps = [unit(each) for each in maps]
    query, keys, coarse_query, coarse_keys = maps[0][0], maps[1], maps[2][0], maps[3]
    frames, _, height, width = keys.shape
    coarse_height, coarse_width = coarse_query.shape[1:]
    ratio = lattices[0][0] / lattices[1][0]

    @functools.cache
    def best_moves(t: int, py: int, px: int) -> list[tuple[int, int]]:
        candidates = [
            (float(coarse_query[:, py, px] @ coarse_keys[t, :, my, mx]), my - py, mx - px)
            for my in range(coarse_height)
            for mx in range(coarse_width)
            if inside(*windows[t], my - py, mx - px)
        ]
        candidates.sort(key=lambda candidate: -candidate[0])
        return [(dy, dx) for _, dy, dx in candidates[:matches]]

    scores = np.full((height * width, topk), -np.inf)
    cells = np.zeros((height * width, topk), np.int64)
    weights = np.zeros((height * width, topk))
    for y in range(height):
        py = parent(y, lattices[1], lattices[0], coarse_height)
        for x in range(width):
            px = parent(x, lattices[1], lattices[0], coarse_width)
            seen = set()
            for t in range(frames):
                for dy, dx in best_moves(t, py, px):
                    middle_y, middle_x = y + round(dy * ratio), x + round(dx * ratio)
                    for ky in range(height):
                        for kx in range(width):
                            if inside(*fine, ky - middle_y, kx - middle_x):
                                seen.add((t, ky, kx))
            found = [(float(query[:, y, x] @ keys[t, :, ky, kx]), t, ky, kx) for t, ky, kx in seen]
            found.sort(reverse=True)
            for j, (score, t, ky, kx) in enumerate(found[:topk]):
                row = y * width + x
                scores[row, j], cells[row, j] = score, (t * height + ky) * width + kx
                weights[row, j] = math.exp((score - found[0][0]) / temperature)
            if found:
                weights[y * width + x] /= weights[y * width + x].sum()
    return scores, cells, weights
