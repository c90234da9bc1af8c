"""A vision transformer written out, one token and one head at a time, in float64, and bicubic resampling."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def forward(tensors: dict[str, Array], picture: Array, heads: int, block: int, norm: bool) -> Array:
    """Patch tokens (h, w, D) after ``block`` of a normalised picture (3, H, W) whose sides are multiples of the patch.

    ``tensors`` has timm's keys; without ``ls1.gamma`` there is no LayerScale. ``norm``: the final LayerNorm too.
    """
    kernel = tensors["patch_embed.proj.weight"]
    width, _, patch, _ = kernel.shape
    rows, columns = picture.shape[1] // patch, picture.shape[2] // patch
    tokens = np.zeros((1 + rows * columns, width))
    tokens[0] = tensors["cls_token"][0, 0]
    for row in range(rows):
        for column in range(columns):
            pixels = picture[:, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
            tokens[1 + row * columns + column] = (
                kernel.reshape(width, -1) @ pixels.reshape(-1) + tensors["patch_embed.proj.bias"]
            )
    side = math.isqrt(tensors["pos_embed"].shape[1] - 1)
    tokens[0] += tensors["pos_embed"][0, 0]
    square = tensors["pos_embed"][0, 1:].reshape(side, side, width)
    tokens[1:] += bicubic(square, rows, columns).reshape(rows * columns, width)
    for index in range(block + 1):
        own = {key.removeprefix(f"blocks.{index}."): value for key, value in tensors.items()}
        scale1, scale2 = own.get("ls1.gamma", np.ones(width)), own.get("ls2.gamma", np.ones(width))
        tokens = tokens + scale1 * _attention(own, _normalise(tokens, own["norm1.weight"], own["norm1.bias"]), heads)
        hidden = _normalise(tokens, own["norm2.weight"], own["norm2.bias"]) @ own["mlp.fc1.weight"].T
        hidden = hidden + own["mlp.fc1.bias"]
        hidden = hidden * 0.5 * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
        tokens = tokens + scale2 * (hidden @ own["mlp.fc2.weight"].T + own["mlp.fc2.bias"])
    if norm:
        tokens = _normalise(tokens, tensors["norm.weight"], tensors["norm.bias"])
    return tokens[1:].reshape(rows, columns, width)


def bicubic(values: Array, rows: int, columns: int) -> Array:
    """(h, w, D) resampled to (rows, columns, D): Keys' cubic with a = -0.75, half-pixel centres, edges repeated.

    The kernel is not widened when the result is smaller: no antialiasing.
    """
    return _matrix(values.shape[1], columns) @ np.einsum("ij,jkd->ikd", _matrix(values.shape[0], rows), values)


def _matrix(before: int, after: int) -> Array:
    matrix = np.zeros((after, before))
    for i in range(after):
        place = (i + 0.5) * before / after - 0.5
        for j in range(math.floor(place) - 1, math.floor(place) + 3):
            matrix[i, min(max(j, 0), before - 1)] += _cubic(abs(place - j))
    return matrix


def _cubic(t: float, a: float = -0.75) -> float:
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0


def _attention(own: dict[str, Array], x: Array, heads: int) -> Array:
    count, width = x.shape
    size = width // heads
    qkv = x @ own["attn.qkv.weight"].T + own["attn.qkv.bias"]
    mixed = np.zeros((count, width))
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        query, key, value = (qkv[:, n * width : (n + 1) * width][:, part] for n in range(3))
        for token in range(count):
            scores = query[token] @ key.T / math.sqrt(size)
            weights = np.exp(scores - scores.max())
            mixed[token, part] = weights / weights.sum() @ value
    return mixed @ own["attn.proj.weight"].T + own["attn.proj.bias"]


def _normalise(x: Array, weight: Array, bias: Array) -> Array:
    mean = x.mean(axis=-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-6) * weight + bias
