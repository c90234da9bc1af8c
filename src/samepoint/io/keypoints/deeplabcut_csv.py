"""DeepLabCut's CSV: three header rows (four with several animals), then a row a picture or frame."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from samepoint.errors import InputError
from samepoint.io.keypoints.deeplabcut import LEVELS, Table, from_table, to_table
from samepoint.io.keypoints.rows import read_rows, write_rows
from samepoint.structures import Keypoints


def load(path: Path) -> Keypoints:
    rows, dialect = read_rows(path)
    several = len(rows) > 1 and rows[1][1][0] == "individuals"
    levels = LEVELS if several else (LEVELS[0], *LEVELS[2:])
    for (line, row), level in zip(rows[: len(levels)], levels[: len(rows)], strict=True):
        if row[0] != level:
            raise InputError(f"line {line}: {row[0][:40]!r}; expected the header row '{level}' of DeepLabCut")
    if len(rows) < len(levels):
        raise InputError(f"{len(rows)} rows; expected the header rows {', '.join(levels)}")
    header = [row for _, row in rows[: len(levels)]]
    width = len(header[0])
    for line, row in rows:
        if len(row) != width:
            raise InputError(f"line {line}: {len(row)} cells; expected {width}, as in the header")
    pieces = 1
    while pieces < width and not header[-1][pieces]:
        pieces += 1
    columns = []
    for column in range(pieces, width):
        names = [row[column] for row in header]
        if not all(names):
            raise InputError(f"column {column + 1}: a header row has no name there")
        columns.append((names[0], names[1] if several else "", names[-2], names[-1]))
    body = rows[len(levels) :]
    for line, row in body:
        if not any(row[:pieces]):
            raise InputError(f"line {line}: a row without the name of its picture or frame")
    table = Table(
        tuple(columns),
        tuple(tuple(row[:pieces]) for _, row in body),
        [row[pieces:] for _, row in body],
        several,
        dialect,
    )
    return from_table(table, [f"line {line}" for line, _ in body])


def save(keypoints: Keypoints, file: IO[bytes]) -> list[str]:
    table, lost = to_table(keypoints)
    pieces = len(table.index[0]) if table.index else 1
    blank = [""] * (pieces - 1)
    rows: list[list[str]] = []
    for level, name in enumerate(LEVELS):
        if table.several or name != "individuals":
            rows.append([name, *blank, *(column[level] for column in table.columns)])
    for key, cells in zip(table.index, table.cells, strict=True):
        rows.append([*map(str, key), *(_text(cell) for cell in cells)])
    write_rows(file, rows, table.dialect)
    return lost


def _text(cell: str | float) -> str:
    if isinstance(cell, str):
        return cell
    return "" if cell != cell else repr(cell)
