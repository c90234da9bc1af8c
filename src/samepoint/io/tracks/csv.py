"""Tracks as CSV: ``# key=value`` lines (fps, size as height x width, frames), a header, one row a point and frame.

x and y are empty where a point is not known; visible is 1 or 0; time is in seconds. The digits written are just enough
to give back the same float32.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import IO

import numpy as np

from samepoint.errors import InputError
from samepoint.io.tracks.table import COLUMNS, format_size, from_rows
from samepoint.structures import Tracks

_TRUTH = {"1": True, "true": True, "0": False, "false": False}


def save(tracks: Tracks, file: IO[bytes]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    text.write(f"# fps={tracks.fps!r}\n# size={format_size(tracks.size)}\n# frames={tracks.frames}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    times = [f"{frame / tracks.fps:.6f}" for frame in range(tracks.frames)]
    for point, name in enumerate(tracks.names):
        xy = np.where(np.isnan(tracks.xy[point]), "", tracks.xy[point].astype(str)).tolist()
        visible = tracks.visible[point].astype(int).tolist()
        confidence = tracks.confidence[point].astype(str).tolist()
        writer.writerows(
            (point, name, frame, times[frame], *xy[frame], visible[frame], confidence[frame])
            for frame in range(tracks.frames)
        )
    text.flush()
    text.detach()


def _rows(path: Path) -> tuple[dict[str, str], int, list[list[str]]]:
    """The head, the number of the line with the column names, and all rows below it."""
    head: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            line, number = file.readline(), 1
            while line.startswith("#"):
                key, equals, value = line[1:].partition("=")
                if equals:
                    head[key.strip()] = value.strip()
                line, number = file.readline(), number + 1
            columns = tuple(cell.strip() for cell in next(csv.reader([line]), []))
            if columns != COLUMNS:
                raise InputError(f"line {number}: expected the columns {','.join(COLUMNS)}, got {line.strip()[:80]!r}")
            return head, number, list(csv.reader(file, strict=True))
    except UnicodeDecodeError:
        raise InputError("not UTF-8 text") from None
    except csv.Error as error:
        raise InputError(f"not CSV ({error})") from None


def load(path: Path) -> Tracks:
    """Raises InputError, naming the row, where the content is not as ``save`` writes it; rows may come in any order."""
    head, _, rows = _rows(path)
    rows = [row for row in rows if row]
    point = np.empty(len(rows), np.int64)
    frame = np.empty(len(rows), np.int64)
    xy = np.full((len(rows), 2), np.nan, np.float32)
    visible = np.empty(len(rows), bool)
    confidence = np.empty(len(rows), np.float32)
    for index, row in enumerate(rows):
        try:
            point[index], frame[index] = int(row[0]), int(row[2])
            if row[4] or row[5]:
                xy[index] = _finite(row[4]), _finite(row[5])
            visible[index] = _TRUTH[row[6].strip().lower()]
            confidence[index] = _finite(row[7])
            if len(row) != len(COLUMNS):
                raise ValueError
        except (ValueError, KeyError, IndexError, OverflowError):
            raise InputError(f"row {index + 1} of the table, {','.join(row)[:80]!r}, is malformed") from None
    return from_rows(point, frame, [row[1] for row in rows], xy, visible, confidence, head)


def _finite(text: str) -> float:
    value = float(text)
    if not abs(value) <= np.finfo(np.float32).max:
        raise ValueError(text)
    return value
