"""Matches as CSV: ``# source`` and ``# source_size`` (height x width) at the head, the column names, a row a match.

target_x and target_y are empty where there is not even a guess; found is 1 or 0. The digits written are just enough to
give back the same float32.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from samepoint.errors import InputError
from samepoint.io.keypoints.rows import Dialect, read_rows, write_rows
from samepoint.io.matches.table import COLUMNS
from samepoint.structures import Matches


def save(pairs: Sequence[Matches], file: IO[bytes]) -> None:
    height, width = pairs[0].source_size
    head = io.StringIO()
    csv.writer(head, lineterminator="\n").writerows(
        [[f"# source={pairs[0].source}"], [f"# source_size={height}x{width}"]]
    )
    file.write(head.getvalue().encode())
    rows: list[tuple[object, ...]] = [COLUMNS]
    for matches in pairs:
        source = matches.source_xy.astype(str).tolist()
        target = np.where(np.isnan(matches.target_xy), "", matches.target_xy.astype(str)).tolist()
        confidence = matches.confidence.astype(str).tolist()
        found = matches.found.astype(int).tolist()
        for point, name in enumerate(matches.names):
            row = (matches.target, point, name, *source[point], *target[point], found[point], confidence[point])
            rows.append((*row, *matches.target_size))
    write_rows(file, rows, Dialect())


def load(path: Path) -> list[Matches]:
    """Raises InputError, naming the line, where the content is not as ``save`` writes it."""
    rows, _ = read_rows(path)
    head: dict[str, str] = {}
    while rows and rows[0][1][0].startswith("#"):
        key, _, value = ",".join(rows.pop(0)[1])[1:].partition("=")
        head[key.strip()] = value
    if not rows or tuple(rows[0][1]) != COLUMNS:
        raise InputError(f"expected the columns {','.join(COLUMNS)}")
    size = re.fullmatch(r"\s*([0-9]{1,9})x([0-9]{1,9})\s*", head.get("source_size", ""))
    if size is None:
        raise InputError("the head lacks 'source_size', height x width, as in # source_size=480x640")
    source_size = int(size[1]), int(size[2])
    by_target: dict[str, list[tuple[int, list[str]]]] = {}
    for line, row in rows[1:]:
        if len(row) != len(COLUMNS):
            raise InputError(f"line {line}: {len(row)} cells; expected {','.join(COLUMNS)}")
        by_target.setdefault(row[0], []).append((line, row))
    return [_matches(target, of_target, head.get("source", ""), source_size) for target, of_target in by_target.items()]


def _matches(target: str, rows: list[tuple[int, list[str]]], source: str, source_size: tuple[int, int]) -> Matches:
    values = np.full((len(rows), 5), np.nan)
    for index, (line, row) in enumerate(rows):
        try:
            values[index, [0, 1, 4]] = [_number(row[column]) for column in (3, 4, 8)]
            if row[5] or row[6]:
                values[index, 2:4] = _number(row[5]), _number(row[6])
            if int(row[1]) != index or {"1": True, "0": False}[row[7]] != (np.float32(values[index, 4]) >= 0.5):
                raise ValueError
            if row[9:] != rows[0][1][9:] or not all(re.fullmatch("[0-9]{1,9}", side) for side in row[9:]):
                raise ValueError
        except (ValueError, KeyError):
            raise InputError(f"line {line}: {','.join(row)[:80]!r} is malformed") from None
    size = int(rows[0][1][9]), int(rows[0][1][10])
    names = tuple(row[2] for _, row in rows)
    return Matches(values[:, :2], values[:, 2:4], values[:, 4], source_size, size, names, source, target)


def _number(text: str) -> float:
    value = float(text)
    if not abs(value) <= np.finfo(np.float32).max:
        raise ValueError(text)
    return value
