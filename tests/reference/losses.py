"""The objectives in their slowest and most obvious form: loops over cells, in double precision."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def unit(vectors: Array, axis: int = -1) -> Array:
    return vectors / np.maximum(np.sqrt((vectors**2).sum(axis=axis, keepdims=True)), 1e-12)


def softmax(values: Array) -> Array:
    powers = np.exp(values - values.max())
    return powers / powers.sum()


def window(y: int, x: int, height: int, width: int, radius: int, masked: bool) -> list[tuple[int, int]]:
    """The places that a cell may match, row by row; those outside the map too unless ``masked``."""
    places = itertools.product(range(y - radius, y + radius + 1), range(x - radius, x + radius + 1))
    return [(v, u) for v, u in places if not masked or (0 <= v < height and 0 <= u < width)]


def value(maps: Array, y: int, x: int) -> Array:
    """Of (C, H, W) at a cell; zeros outside."""
    inside = 0 <= y < maps.shape[1] and 0 <= x < maps.shape[2]
    return maps[:, y, x] if inside else np.zeros(len(maps))


def bilinear(maps: Array, y: float, x: float) -> Array:
    top, left = int(np.floor(y)), int(np.floor(x))
    total = np.zeros(len(maps))
    for v, u in itertools.product((top, top + 1), (left, left + 1)):
        total += (1 - abs(y - v)) * (1 - abs(x - u)) * value(maps, v, u)
    return total


def smooth_l1(difference: float) -> float:
    size = abs(difference)
    return size * size / 2 if size < 1 else size - 0.5


def reconstruct(target: Array, reference: Array, colour: Array, radius: int, temperature: float, masked: bool) -> Array:
    """target, reference (C, h, w), colour (K, h, w)."""
    _, height, width = target.shape
    out = np.zeros_like(colour)
    for y, x in itertools.product(range(height), range(width)):
        places = window(y, x, height, width, radius, masked)
        scores = np.array([target[:, y, x] @ value(reference, v, u) for v, u in places])
        for weight, (v, u) in zip(softmax(scores / temperature), places, strict=True):
            out[:, y, x] += weight * value(colour, v, u)
    return out


def double_published(small: Array) -> Array:
    """Twice the size with half-pixel centres: pixel i lies at cell (i + 0.5) / 2 - 0.5, clamped to the map."""
    _, height, width = small.shape
    out = np.zeros((len(small), 2 * height, 2 * width))
    for y, x in itertools.product(range(2 * height), range(2 * width)):
        v = min(max((y + 0.5) / 2 - 0.5, 0), height - 1)
        u = min(max((x + 0.5) / 2 - 0.5, 0), width - 1)
        out[:, y, x] = bilinear(small, v, u)
    return out


def visible(flow: Array, back: Array) -> NDArray[np.bool_]:
    """flow, back (H, W, 2)."""
    height, width, _ = flow.shape
    out = np.zeros((height, width), bool)
    for y, x in itertools.product(range(height), range(width)):
        u, v = x + flow[y, x, 0], y + flow[y, x, 1]
        if not (0 <= u <= width - 1 and 0 <= v <= height - 1):
            continue
        home = bilinear(back.transpose(2, 0, 1), v, u)
        bound = 0.01 * ((flow[y, x] ** 2).sum() + (home**2).sum()) + 0.5
        out[y, x] = ((flow[y, x] + home) ** 2).sum() < bound
    return out


def soft_target(
    target: Array,
    reference: Array,
    flow: Array,
    seen: NDArray[np.bool_],
    teacher: Array,
    radius: int,
    stride: int,
    temperature: float,
    label_temperature: float,
    *,
    label: str = "teacher",
    teacher_axis: int = 0,
    sigma: float = 1.0,
    masked: bool = True,
) -> tuple[float, int]:
    """One pair: target, reference, teacher (C, h, w), flow (H, W, 2). The sum over the cells that count, and how many.

    A ``gaussian`` of an unmasked window stands on a whole cell, as published.
    """
    target, reference, teacher = unit(target, 0), unit(reference, 0), unit(teacher, teacher_axis)
    _, height, width = target.shape
    total, count = 0.0, 0
    for y, x in itertools.product(range(height), range(width)):
        wx, wy = flow[y * stride, x * stride] / stride
        inside = 0 <= x + wx <= width - 1 and 0 <= y + wy <= height - 1
        if not (inside and seen[y * stride, x * stride] and abs(wx) <= radius and abs(wy) <= radius):
            continue
        sought = bilinear(teacher, y + wy, x + wx)
        if label == "gaussian" and not masked:
            wx, wy = np.round(wx), np.round(wy)
        wanted, found = [], []
        for v, u in window(y, x, height, width, radius, masked):
            squared = (v - y - wy) ** 2 + (u - x - wx) ** 2
            similarity = sought @ value(teacher, v, u) / label_temperature
            bell = np.exp(-squared / (2 * sigma**2))
            wanted.append({"teacher": similarity, "gaussian": np.log(bell), "both": similarity * bell}[label])
            found.append(target[:, y, x] @ value(reference, v, u) / temperature)
        total -= softmax(np.array(wanted)) @ np.log(softmax(np.array(found)))
        count += 1
    return total, count


def adversary(vectors: list[tuple[Array, int]], weights: list[Array], biases: list[Array]) -> float:
    """Mean binary cross-entropy of an MLP on each (correlations, label)."""
    losses = []
    for vector, label in vectors:
        for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            vector = weight @ vector + bias
            if layer < len(weights) - 1:
                vector = np.maximum(vector, 0)
        probability = 1 / (1 + np.exp(-vector[0]))
        losses.append(-np.log(probability if label else 1 - probability))
    return float(np.mean(losses))


def random_walk(nodes: Array, temperature: float, nearest: int) -> float:
    """nodes (T, N, C): the probability to return as a sum over every single path."""
    nodes = unit(nodes)
    frames, count, _ = nodes.shape

    def step(a: int, i: int, b: int, j: int) -> float:
        return float(softmax(nodes[b] @ nodes[a, i] / temperature)[j])

    losses = []
    for turn in range(nearest, frames):
        route = [*range(turn + 1), *range(turn - 1, -1, -1)]
        for start in range(count):
            total = 0.0
            for middle in itertools.product(range(count), repeat=len(route) - 2):
                path = [start, *middle, start]
                chance = 1.0
                for k in range(len(route) - 1):
                    chance *= step(route[k], path[k], route[k + 1], path[k + 1])
                total += chance
            losses.append(-np.log(total))
    return float(np.mean(losses))


def cycle(maps: Array, radius: int, temperature: float, beta: float) -> float:
    """maps (T, C, h, w), from every cell."""
    maps = unit(maps, 1)
    frames, _, height, width = maps.shape

    def step(here: Array, there: Array, y: float, x: float) -> tuple[float, float]:
        found = unit(bilinear(here, y, x))
        middle = round(y), round(x)
        places = window(*middle, height, width, radius, True)
        weights = softmax(np.array([found @ value(there, v, u) for v, u in places]) / temperature)
        mean = weights @ np.array(places, float)
        return mean[0], mean[1]

    losses = []
    for turn, y, x in itertools.product(range(1, frames), range(height), range(width)):
        v, u = float(y), float(x)
        route = [*range(turn + 1), *range(turn - 1, -1, -1)]
        for a, b in itertools.pairwise(route):
            v, u = step(maps[a], maps[b], v, u)
        distance = np.hypot(v - y, u - x)
        losses.append(distance**2 / (2 * beta) if distance < beta else distance - beta / 2)
    return float(np.mean(losses))


def relation(student: Array, teacher: Array, temperature: float, teacher_temperature: float) -> float:
    """student, teacher (cells, C)."""
    student, teacher = unit(student), unit(teacher)
    total = 0.0
    for i in range(len(student)):
        others = [j for j in range(len(student)) if j != i]
        p = softmax(np.array([teacher[i] @ teacher[j] for j in others]) / teacher_temperature)
        q = softmax(np.array([student[i] @ student[j] for j in others]) / temperature)
        total += float((p * np.log(p / q)).sum())
    return total / len(student)
