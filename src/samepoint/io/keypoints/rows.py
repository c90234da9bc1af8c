"""CSV files row by row, as all their formats need them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from samepoint.errors import InputError

_BOM = "\ufeff"


@dataclass(frozen=True)
class Dialect:
    """How a file marks its beginning and the ends of its lines."""

    newline: str = "\n"
    bom: bool = False


def read_rows(path: Path) -> tuple[list[tuple[int, list[str]]], Dialect]:
    """The rows that are not blank, each with the number of its last line. Raises InputError where it is no CSV."""
    lines, dialect = read_lines(path)
    return as_rows(lines), dialect


def read_lines(path: Path) -> tuple[list[str], Dialect]:
    """The lines of a file, each with its end. Raises InputError where it is no text."""
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise InputError("not UTF-8 text") from None
    dialect = Dialect("\r\n" if "\r\n" in text else "\n", text.startswith(_BOM))
    return list(io.StringIO(text.removeprefix(_BOM), newline="")), dialect


def as_rows(lines: list[str], above: int = 0) -> list[tuple[int, list[str]]]:
    """As ``read_rows``, of lines that have ``above`` others before them in their file."""
    reader = csv.reader(lines, strict=True)
    try:
        rows = [(above + reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise InputError(f"line {above + reader.line_num}: not CSV ({error})") from None
    if not rows:
        raise InputError("empty; expected a header and rows")
    return rows


def write_rows(file: IO[bytes], rows: Iterable[Sequence[Any]], dialect: Dialect, notes: Iterable[str] = ()) -> None:
    """``notes`` are lines above the rows, written as they are."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    if dialect.bom:
        text.write(_BOM)
    text.writelines(f"{note}{dialect.newline}" for note in notes)
    csv.writer(text, lineterminator=dialect.newline).writerows(rows)
    text.flush()
    text.detach()
