"""Curves of shares over frames, drawn into a picture with axes and names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..viz.draw import GOLDEN, SHIFT, label, paste

_PLOT = (440, 720)  # (height, width)
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 200, 34, 60
_GRID, _INK = (226, 226, 230), (40, 40, 46)
_TEXT, _LINE = 15, 20  # height of letters, and of a line of the legend
_LONGEST = 22  # characters of a name


class Curve(NamedTuple):
    """Shares from 0 to 1 at 0, 1, 2, ..."""

    name: str
    values: tuple[float, ...]
    bold: bool = False  # dark and thick, above the others


def draw_curves(curves: Sequence[Curve], across: str, upwards: str) -> NDArray[np.uint8]:
    """A picture, uint8 RGB (H, W, 3), with a legend in the order given; the titles of both axes are named.

    Raises:
        InputError: no curve of two values or more.
    """
    last = max((len(curve.values) - 1 for curve in curves), default=0)
    if last < 1:
        raise InputError("nothing to draw: expected a curve of two values or more")
    height = max(_PLOT[0], _LINE * len(curves))
    picture = np.full((_TOP + height + _BOTTOM, _LEFT + _PLOT[1] + _RIGHT, 3), 255, np.uint8)

    def place(step: float, share: float) -> tuple[float, float]:
        return _LEFT + _PLOT[1] * step / last, _TOP + height * (1 - min(max(share, 0.0), 1.0))

    for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        _stroke(picture, [place(0, share), place(last, share)], _GRID, 1)
        _write(picture, f"{100 * share:.0f} %", _LEFT - 10, place(0, share)[1], "right")
    for step in range(0, last + 1, _tick(last)):
        _stroke(picture, [place(step, 0), place(step, 1)], _GRID, 1)
        _write(picture, str(step), place(step, 0)[0], _TOP + height + 16, "middle")
    _stroke(picture, [place(0, 1), place(0, 0), place(last, 0)], _INK, 2)
    _write(picture, across, _LEFT + _PLOT[1] / 2, _TOP + height + 42, "middle")
    _write(picture, upwards, 10, 16, "left")
    colors = [_INK if curve.bold else color for curve, color in zip(curves, _colors(len(curves)), strict=True)]
    for curve, color in sorted(zip(curves, colors, strict=True), key=lambda pair: pair[0].bold):
        points = [place(step, share) for step, share in enumerate(curve.values)]
        _stroke(picture, points, color, 4 if curve.bold else 2)
    for line, (curve, color) in enumerate(zip(curves, colors, strict=True)):
        x, y = _LEFT + _PLOT[1] + 16, _TOP + _LINE * (line + 0.5)
        _stroke(picture, [(x, y), (x + 20, y)], color, 4 if curve.bold else 2)
        name = curve.name if len(curve.name) <= _LONGEST else f"{curve.name[: _LONGEST - 3]}..."
        _write(picture, name, x + 28, y, "left")
    return picture


def _tick(last: int) -> int:
    """Frames between two numbers of the axis: 1, 2 or 5 times a power of ten, at most ten of them.

    >>> [_tick(last) for last in (3, 19, 47, 300)]
    [1, 2, 5, 50]
    """
    power = 1
    while True:
        for step in (power, 2 * power, 5 * power):
            if last <= 10 * step:
                return step
        power *= 10


def _colors(count: int) -> list[tuple[int, int, int]]:
    """Of equal lightness, hues a golden section apart."""
    hue = 2 * np.pi * ((0.08 + GOLDEN * np.arange(count)) % 1.0)
    lab = np.stack([np.full(count, 58.0), 55 * np.cos(hue), 55 * np.sin(hue)], axis=-1).astype(np.float32)
    rgb = cv2.cvtColor(lab[None], cv2.COLOR_LAB2RGB)[0]
    return [(int(red), int(green), int(blue)) for red, green, blue in np.round(255 * rgb).clip(0, 255)]


def _stroke(
    picture: NDArray[np.uint8], points: Sequence[tuple[float, float]], color: tuple[int, int, int], width: int
) -> None:
    fixed = np.round(np.array(points) * (1 << SHIFT)).astype(np.int32)
    cv2.polylines(picture, [fixed], False, color, width, cv2.LINE_AA, SHIFT)


def _write(picture: NDArray[np.uint8], text: str, x: float, y: float, side: str) -> None:
    """A line of text whose ``side`` is at ``x`` and whose middle is at ``y``."""
    patch = label(text, _INK, _TEXT, outline=False)
    shift = {"left": 0, "middle": patch.shape[1] // 2, "right": patch.shape[1]}[side]
    paste(picture, patch, round(x) - shift, round(y) - patch.shape[0] // 2)
