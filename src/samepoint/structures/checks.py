"""What the structures ask of the values they are given."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from samepoint.errors import InputError

DEFAULT_FPS = 25.0  # of a folder of pictures or an array, which carry no rate


def as_array(value: Any, dtype: type, what: str) -> np.ndarray:
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biufO" or (dtype is np.bool_ and not ((array == 0) | (array == 1)).all()):
            raise ValueError
        with np.errstate(over="ignore", invalid="ignore"):
            return array.astype(dtype, copy=False)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{what} must be an array of {np.dtype(dtype).name}, got {type(value).__name__}") from None


def as_names(names: Any, count: int) -> tuple[str, ...]:
    if isinstance(names, str):
        raise InputError(f"names must be a sequence of {count} strings, got the single string {names!r}")
    names = tuple(str(name) for name in names)
    if len(names) != count:
        raise InputError(f"{count} points need {count} names, got {len(names)}")
    for name in names:
        if not is_line(name):
            what = "holds a control character" if is_utf8(name) else "is not UTF-8"
            raise InputError(f"name {name!r} {what}; expected one line of plain text")
    return names


def is_line(text: str) -> bool:
    """Whether a name is one line that files can hold: no control characters, no bytes that are not UTF-8."""
    return is_utf8(text) and not any(ord(char) < 32 or ord(char) == 127 for char in text)


def is_utf8(text: str) -> bool:
    """Whether a name, of a file perhaps, has no bytes that stand for no character."""
    return not any(0xD800 <= ord(char) <= 0xDFFF for char in text)


def as_fps(value: Any) -> float:
    try:
        fps = float(value)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"fps must be a number above 0, got {value!r}") from None
    if not (math.isfinite(fps) and fps > 0):
        raise InputError(f"fps must be a finite number above 0, got {fps}")
    return fps


def as_size(value: Any) -> tuple[int, int]:
    try:
        height, width = (int(side) for side in value)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"size must be two whole numbers (height, width), got {value!r}") from None
    if height < 1 or width < 1:
        raise InputError(f"size (height, width) must be at least (1, 1), got {(height, width)}")
    return height, width
