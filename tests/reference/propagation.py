"""The operator in its slowest and most obvious form: loops over cells, in double precision."""

from __future__ import annotations

import numpy as np


def inside(shape: str, size: float, dy: int, dx: int) -> bool:
    if shape == "circle":
        return dy * dy + dx * dx < size * size
    if shape == "square":
        return max(abs(dy), abs(dx)) <= size
    return shape == "everywhere"


def propagate(
    query: np.ndarray,
    keys: np.ndarray,
    values: np.ndarray,
    windows: list[tuple[str, float]],
    topk: int,
    temperature: float,
    normalize: bool,
    valid: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """query (C, H, W), keys (T, C, H, W), values (T, V, H, W), windows (shape, size) for each key frame.

    Returns the sorted scores (H * W, topk), -inf where missing, their flat key cells and the carried values (V, H, W).
    """
    frames, _, height, width = keys.shape
    query, keys = query.astype(np.float64), keys.astype(np.float64)
    if normalize:
        query = query / np.maximum(np.sqrt((query**2).sum(axis=0)), 1e-12)
        keys = keys / np.maximum(np.sqrt((keys**2).sum(axis=1, keepdims=True)), 1e-12)
    scores = np.full((height * width, topk), -np.inf)
    cells = np.zeros((height * width, topk), np.int64)
    carried = np.zeros((values.shape[1], height, width))
    for y in range(height):
        for x in range(width):
            found = []
            for t in range(frames):
                for ky in range(height):
                    for kx in range(width):
                        allowed = inside(*windows[t], ky - y, kx - x) and (valid is None or valid[t, ky, kx])
                        if allowed:
                            found.append((float(query[:, y, x] @ keys[t, :, ky, kx]), t, ky, kx))
            found.sort(key=lambda candidate: -candidate[0])
            found = found[:topk]
            if found:
                weights = np.exp([(score - found[0][0]) / temperature for score, *_ in found])
                weights /= weights.sum()
                for j, (score, t, ky, kx) in enumerate(found):
                    scores[y * width + x, j] = score
                    cells[y * width + x, j] = (t * height + ky) * width + kx
                    carried[:, y, x] += weights[j] * values[t, :, ky, kx]
    return scores, cells, carried
