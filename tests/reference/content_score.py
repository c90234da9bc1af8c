"""The content score of a shot detector by its definition, pixel by pixel."""

from __future__ import annotations

import colorsys
from itertools import pairwise

import numpy as np


def hsv(pixel: np.ndarray) -> tuple[int, int, int]:
    """Hue in steps of two degrees, around the circle; saturation and value in 8 bits."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(int(level) / 255 for level in pixel))
    return round(hue * 180) % 180, round(saturation * 255), round(value * 255)


def content_scores(frames: np.ndarray) -> list[float]:
    """For each frame the mean over hue, saturation and value of the mean change from the frame before; 0 at first."""
    scores = [0.0]
    for before, now in pairwise(frames):
        changes = [
            abs(a - b)
            for old, new in zip(before.reshape(-1, 3), now.reshape(-1, 3), strict=True)
            for a, b in zip(hsv(old), hsv(new), strict=True)
        ]
        scores.append(sum(changes) / len(changes))
    return scores
