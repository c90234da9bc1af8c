"""COCO's segmentations: run lengths, plain or compressed, and polygons, to bool pictures (H, W)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from samepoint.errors import InputError

Size = tuple[int, int]  # (H, W)

_MOST_PIXELS = 1 << 28  # beyond this a size is a mistake, not a picture


def decode_counts(text: str, where: str) -> list[int]:
    """The run lengths in a compressed string: 5 bits a character from '0' on, lowest first, bit 5 to go on.

    From the fourth on, a number is the difference to the one two before it.

    >>> decode_counts("52203", "here")
    [5, 2, 2, 2, 5]
    """
    counts: list[int] = []
    value = shift = 0
    for char in text:
        code = ord(char) - 48
        if not 0 <= code < 64:
            raise InputError(f"{where}: character {char!r} does not belong in compressed run lengths")
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            if shift > 60:
                raise InputError(f"{where}: a run length is too long")
            continue
        if code & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise InputError(f"{where}: compressed run lengths are cut short")
    return counts


def decode_rle(rle: dict[str, Any], where: str) -> np.ndarray:
    """``{"size": [H, W], "counts": ...}`` to bool (H, W): runs of background and object in turn, down the columns.

    >>> decode_rle({"size": [2, 3], "counts": [1, 3, 2]}, "here").astype(int).tolist()
    [[0, 1, 0], [1, 1, 0]]
    """
    height, width = _size(rle.get("size"), f"{where}: size")
    counts = rle.get("counts")
    if isinstance(counts, str):
        counts = decode_counts(counts, where)
    elif not isinstance(counts, list) or not all(type(count) is int for count in counts):
        raise InputError(f"{where}: counts must be a string or a list of whole numbers")
    if any(count < 0 for count in counts) or sum(counts) != height * width:
        raise InputError(f"{where}: run lengths must be 0 or more and cover {height} x {width} pixels")
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return np.ascontiguousarray(flat.reshape(width, height).T)


def fill_polygon(xy: np.ndarray, size: Size) -> np.ndarray:
    """Bool (H, W): the pixels whose centre lies inside the polygon (N, 2), pixels from the top-left corner; even-odd.

    >>> fill_polygon(np.array([[1, 0], [3, 0], [3, 2], [1, 2]]), (3, 4)).astype(int).tolist()
    [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """
    height, width = size
    inside = np.zeros((height, width), bool)
    begin, end = xy.astype(np.float64), np.roll(xy.astype(np.float64), -1, axis=0)
    top = np.minimum(begin[:, 1], end[:, 1])
    bottom = np.maximum(begin[:, 1], end[:, 1])
    first = max(0, math.floor(top.min() - 0.5))
    last = min(height, math.ceil(bottom.max() + 0.5))
    for row in range(first, last):
        y = row + 0.5
        cut = (top <= y) & (bottom > y)  # half open, so that a corner on the line counts once
        a, b = begin[cut], end[cut]
        crossing = np.sort(a[:, 0] + (y - a[:, 1]) / (b[:, 1] - a[:, 1]) * (b[:, 0] - a[:, 0]))
        for left, right in zip(crossing[::2], crossing[1::2], strict=True):
            low, high = np.ceil(np.clip([left - 0.5, right - 0.5], 0, width)).astype(int)
            inside[row, low:high] = True
    return inside


def decode_segmentation(value: Any, size: Size | None, where: str) -> np.ndarray:
    """A ``segmentation`` of COCO, run lengths or polygons, to bool (H, W). Polygons need the ``size``."""
    if isinstance(value, dict):
        return decode_rle(value, where)
    if not isinstance(value, list) or not value:
        raise InputError(f"{where}: expected run lengths or a list of polygons")
    if size is None:
        raise InputError(f"{where}: polygons do not say how large the picture is; its size is needed")
    inside = np.zeros(size, bool)
    for number, polygon in enumerate(value if isinstance(value[0], list) else [value]):
        inside |= fill_polygon(_polygon(polygon, f"{where}, polygon {number}"), size)
    return inside


def _polygon(value: Any, where: str) -> np.ndarray:
    numbers = value if isinstance(value, list) else []
    plain = all(type(number) in (int, float) and abs(number) < 1e9 for number in numbers)  # NaN fails, too
    if len(numbers) < 6 or len(numbers) % 2 or not plain:
        raise InputError(f"{where}: expected x, y of at least 3 corners, as a flat list of finite numbers")
    return np.array(numbers, np.float64).reshape(-1, 2)


def _size(value: Any, where: str) -> Size:
    if not (isinstance(value, list) and len(value) == 2 and all(type(side) is int and side > 0 for side in value)):
        raise InputError(f"{where} must be [height, width], two whole numbers of 1 or more")
    height, width = value
    if height * width > _MOST_PIXELS:
        raise InputError(f"{where} {height} x {width} is no picture's")
    return height, width
