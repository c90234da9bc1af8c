"""Queries as CSV: a header ``frame,x,y`` or ``frame,x,y,name``, then one row a point. Lines above that begin with #
are notes."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np

from samepoint.errors import InputError
from samepoint.io.atomic import atomic_write
from samepoint.structures import Queries

_PLAIN, _NAMED = ["frame", "x", "y"], ["frame", "x", "y", "name"]
_STILL = (["x", "y"], ["x", "y", "name"])


def save_queries(queries: Queries, path: Path) -> None:
    """Write whole or not at all; the digits are just enough to give back the same float32."""
    xy = queries.xy.astype(str).tolist()
    # Spaces before a cell do not count for who reads it, but within quotes.
    spaced = any(name.startswith(" ") for name in queries.name or ())
    with atomic_write(path, "w") as file:
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL if spaced else csv.QUOTE_MINIMAL)
        writer.writerow(_PLAIN if queries.name is None else _NAMED)
        for index, (x, y) in enumerate(xy):
            row = [int(queries.frame[index]), x, y]
            writer.writerow(row if queries.name is None else [*row, queries.name[index]])


def load_queries(path: Path, still: bool = False) -> Queries:
    """``still``: the points of a picture; the column ``frame`` may be absent, as may be the name.

    Raises InputError, naming file and line, where the content is another.
    """
    known = (_PLAIN, _NAMED, *(_STILL if still else ()))
    header = " or ".join(",".join(columns) for columns in known)
    frames: list[int] = []
    places: list[tuple[float, float]] = []
    names: list[str] = []
    columns: list[str] | None = None
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True, skipinitialspace=True)
            for row in reader:
                cells = [cell.strip() for cell in row]
                if not any(cells) or (
                    (columns is None or len(cells) < min(3, len(columns))) and cells[0].startswith("#")
                ):
                    continue
                where = f"{path}, line {reader.line_num}"
                if columns is None:
                    columns = [cell.lower() for cell in cells]
                    if columns not in known:
                        raise InputError(f"{where}: expected the header {header}, got {row}")
                    continue
                if len(cells) != len(columns):
                    raise InputError(f"{where}: {len(cells)} cells; expected {','.join(columns)}")
                at = columns.index("x")
                frames.append(_frame(cells[0], where) if at else 0)
                places.append((_number(cells[at], f"{where}: x"), _number(cells[at + 1], f"{where}: y")))
                names.append(row[at + 2] if len(row) > at + 2 else "")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; expected a CSV of queries") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text") from None
    except csv.Error as error:
        raise InputError(f"{path}: not CSV ({error})") from None
    if columns is None:
        raise InputError(f"{path}: empty; expected the header {header}")
    try:
        return Queries(np.array(frames, np.int64), np.array(places), tuple(names) if "name" in columns else None)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _frame(text: str, where: str) -> int:
    if not re.fullmatch(r"[0-9]{1,15}", text):
        raise InputError(f"{where}: frame {text[:40]!r} is not a whole number of 0 or more")
    return int(text)


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) <= np.finfo(np.float32).max:
        raise InputError(f"{where} {text[:40]!r} is not a number")
    return value
