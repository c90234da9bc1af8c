"""J and F pixel by pixel, straight from their definitions."""

from __future__ import annotations

import math


def slow_j(guess, real):
    both = either = 0
    for guess_row, real_row in zip(guess, real, strict=True):
        for a, b in zip(guess_row, real_row, strict=True):
            both += bool(a) and bool(b)
            either += bool(a) or bool(b)
    return both / either if either else 1.0


def slow_outline(mask):
    """The set of (row, column) of boundary pixels."""
    height, width = len(mask), len(mask[0])
    found = set()
    for y in range(height):
        for x in range(width):
            neighbours = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
            if any(v < height and u < width and bool(mask[v][u]) != bool(mask[y][x]) for v, u in neighbours):
                found.add((y, x))
    return found


def slow_f(guess, real):
    radius = math.ceil(0.008 * math.sqrt(len(real) ** 2 + len(real[0]) ** 2))
    here, there = slow_outline(guess), slow_outline(real)
    near = lambda p, others: any((p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2 <= radius**2 for q in others)  # noqa: E731
    if here and not there:
        precision, recall = 0.0, 1.0
    elif there and not here:
        precision, recall = 1.0, 0.0
    elif not here:
        precision = recall = 1.0
    else:
        precision = sum(near(p, there) for p in here) / len(here)
        recall = sum(near(p, here) for p in there) / len(there)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def slow_sequence(guess, real, protocol):
    """For each object [J mean, J recall, J decay, F mean, F recall, F decay]; None where no frame is scored."""
    frames = len(real)
    if protocol == "davis2017":
        count = max((int(v) for row in real[0] for v in row if v != 255), default=0)
        is_object = lambda value, k: value == k and value != 255  # noqa: E731
    else:
        count = 1
        is_object = lambda value, k: value != 0  # noqa: E731
    last = frames if protocol == "masks" else frames - 1
    rows = []
    for k in range(1, count + 1):
        row = []
        for score in (slow_j, slow_f):
            values = [
                score([[is_object(v, k) for v in r] for r in guess[t]], [[is_object(v, k) for v in r] for r in real[t]])
                for t in range(1, last)
            ]
            row += [sum(values) / len(values), slow_recall(values), slow_decay(values)] if values else [None] * 3
        rows.append(row)
    return rows


def slow_recall(values):
    return sum(value > 0.5 for value in values) / len(values)


def slow_decay(values):
    step = (len(values) - 1) / 4
    # The official 1e-10 before rounding makes halves go up.
    edges = [math.floor(1 + i * step + 1e-10 + 0.5) - 1 for i in range(5)]
    first, last = values[edges[0] : edges[1] + 1], values[edges[3] : edges[4] + 1]
    return sum(first) / len(first) - sum(last) / len(last)
