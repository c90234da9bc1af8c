"""Slow and obvious versions of how labels are chained and judged."""

from __future__ import annotations

import numpy as np


def slow_residual(before: np.ndarray, after: np.ndarray, point: int, neighbours: int, mates: int) -> float:
    """How far ``point`` is from where a ridge affine fit to its mates puts it, a solve for it alone."""
    motion = after - before
    others = [j for j in range(len(before)) if j != point]
    others.sort(key=lambda j: float(np.sum((before[j] - before[point]) ** 2)))
    others = others[:neighbours]
    others.sort(key=lambda j: float(np.sum((motion[j] - motion[point]) ** 2)))
    chosen = others[:mates]
    away = before[chosen] - before[point]
    scale = np.sqrt(np.mean(np.sum(away**2, axis=1)))
    rows = np.concatenate([np.ones((len(chosen), 1)), away / scale], axis=1)
    # Rows that ask the linear part to be zero, as strongly as half a point would.
    ridge = np.sqrt(0.5) * np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    wanted = np.concatenate([motion[chosen], np.zeros((2, 2))])
    solution = np.linalg.lstsq(np.concatenate([rows, ridge]), wanted, rcond=None)[0]
    return float(np.linalg.norm(motion[point] - solution[0]))


def slow_nearest(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Flat index of the most similar cell of ``before`` (C, h, w) for each cell of ``after``, one by one."""
    channels = before.shape[0]
    keys = before.reshape(channels, -1).T.astype(np.float64)
    queries = after.reshape(channels, -1).T.astype(np.float64)
    result = []
    for query in queries:
        scores = [query @ key / (np.linalg.norm(query) * np.linalg.norm(key)) for key in keys]
        result.append(int(np.argmax(scores)))
    return np.array(result)


def slow_alive_shares(alive: np.ndarray, length: int) -> list[float]:
    """Share of the labels (N, T) that are alive so many frames after they began, counted one by one."""
    shares = []
    for after in range(length):
        times = [int(np.flatnonzero(row)[0]) + after for row in alive]
        possible = [(row, t) for row, t in zip(alive, times, strict=True) if t < length]
        if not possible:
            break
        shares.append(sum(t < alive.shape[1] and bool(row[t]) for row, t in possible) / len(possible))
    return shares
