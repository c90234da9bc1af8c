"""Tidy tables, one row for every point and frame: what CSV and Parquet have in common."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from samepoint.errors import InputError, MissingExtraError
from samepoint.structures import Tracks

if TYPE_CHECKING:
    import pandas

COLUMNS = ("point", "name", "frame", "time", "x", "y", "visible", "confidence")


def format_size(size: tuple[int, int]) -> str:
    """Height x width, the order of ``Tracks.size``.

    >>> format_size((480, 854))
    '480x854'
    """
    return f"{size[0]}x{size[1]}"


def parse_head(head: dict[str, str]) -> tuple[float, tuple[int, int], int | None]:
    """fps, size and, where given, the number of frames, from the ``key=value`` pairs of a file's head."""
    for key in ("fps", "size"):
        if key not in head:
            raise InputError(f"the head lacks '{key}'; expected fps and size (height x width), as in size=480x854")
    size = re.fullmatch(r"([0-9]{1,9})x([0-9]{1,9})", head["size"])
    if size is None:
        raise InputError(f"size is {head['size']!r}; expected height x width in pixels, as in 480x854")
    frames = head.get("frames")
    if frames is not None and not re.fullmatch(r"[0-9]{1,9}", frames):
        raise InputError(f"frames is {frames!r}; expected a whole number")
    try:
        fps = float(head["fps"])
    except ValueError:
        raise InputError(f"fps is {head['fps']!r}; expected a number") from None
    return fps, (int(size[1]), int(size[2])), None if frames is None else int(frames)


def from_rows(
    point: np.ndarray,
    frame: np.ndarray,
    name: Sequence[str],
    xy: np.ndarray,
    visible: np.ndarray,
    confidence: np.ndarray,
    head: dict[str, str],
) -> Tracks:
    """Tracks from R rows in any order: (R,) columns, ``xy`` (R, 2).

    Raises InputError unless the rows hold every point 0..N-1 in every frame 0..T-1 once.
    """
    fps, size, declared = parse_head(head)
    rows = len(point)
    if rows and (point.min() < 0 or frame.min() < 0):
        raise InputError("negative point or frame number")
    count = int(point.max()) + 1 if rows else 0
    frames = int(frame.max()) + 1 if rows else (declared or 0)
    if count * frames != rows and rows:
        raise InputError(
            f"{rows} rows for {count} points and {frames} frames; expected one row for every point and frame"
        )
    if declared is not None and declared != frames:
        raise InputError(f"the head says {declared} frames, the rows hold {frames}")
    order = point * frames + frame
    if len(np.unique(order)) != rows:
        raise InputError("the same point and frame twice; expected one row for every point and frame")
    names: list[str | None] = [None] * count
    for index, text in zip(point.tolist(), name, strict=True):
        if names[index] is None:
            names[index] = text
        elif names[index] != text:
            raise InputError(f"point {index} has two names, {names[index]!r} and {text!r}")
    full_xy = np.empty((count * frames, 2), np.float32)
    full_visible = np.empty(count * frames, bool)
    full_confidence = np.empty(count * frames, np.float32)
    full_xy[order], full_visible[order], full_confidence[order] = xy, visible, confidence
    shape = (count, frames)
    return Tracks(
        full_xy.reshape(*shape, 2),
        full_visible.reshape(shape),
        full_confidence.reshape(shape),
        fps,
        size,
        tuple(str(text) for text in names),
    )


def to_dataframe(tracks: Tracks) -> pandas.DataFrame:
    """The table in pandas; NaN in x and y where a point is not known. Raises MissingExtraError without pandas."""
    try:
        import pandas as pd
    except ImportError:
        raise MissingExtraError("Tracks.to_dataframe", "tables") from None
    count, frames = len(tracks), tracks.frames
    frame = np.tile(np.arange(frames), count)
    return pd.DataFrame(
        {
            "point": np.repeat(np.arange(count), frames),
            "name": pd.Series([name for name in tracks.names for _ in range(frames)], dtype="str"),
            "frame": frame,
            "time": frame / tracks.fps,
            "x": tracks.xy[..., 0].ravel(),
            "y": tracks.xy[..., 1].ravel(),
            "visible": tracks.visible.ravel(),
            "confidence": tracks.confidence.ravel(),
        }
    )
