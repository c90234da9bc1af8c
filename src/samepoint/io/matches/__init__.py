"""Matches in and out: one file a format, chosen by its name or by the suffix of the path."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from samepoint.errors import InputError
from samepoint.io.atomic import atomic_write
from samepoint.io.matches import coco, csv, json, npz
from samepoint.io.matches.coco import Template
from samepoint.structures import Matches

__all__ = ["FORMATS", "Template", "check_format", "load_matches", "save_matches"]

_READERS: dict[str, Callable[[Path], list[Matches]]] = {"csv": csv.load, "json": json.load, "npz": npz.load}
_WRITERS: dict[str, Callable[[Sequence[Matches], IO[bytes]], None]] = {
    "csv": csv.save,
    "json": json.save,
    "npz": npz.save,
}
_BY_SUFFIX = {".csv": ("csv",), ".json": ("json", "coco"), ".npz": ("npz",)}
FORMATS = (*_WRITERS, "coco")


def check_format(path: str | Path, format: str | None = None) -> str:
    """The format that a path is written in. Raises InputError where suffix or format are unknown or do not fit."""
    suffix = Path(path).suffix.lower()
    if format is not None and format not in FORMATS:
        raise InputError(f"unknown format {format!r} for matches; expected one of {', '.join(FORMATS)}")
    fitting = _BY_SUFFIX.get(suffix, ())
    if not fitting or (format is not None and format not in fitting):
        wanted = [known for known, formats in _BY_SUFFIX.items() if format is None or format in formats]
        what = "matches" if format is None else f"{format} matches"
        raise InputError(f"{path}: unknown suffix {suffix!r} for {what}; expected one of {', '.join(wanted)}")
    return format or fitting[0]


def save_matches(
    pairs: Sequence[Matches], path: Path, format: str | None = None, template: Template | None = None
) -> None:
    """Write the matches of one source in one or many targets; the file appears whole or not at all.

    Args:
        pairs: of targets with different names.
        path: .csv, .json or .npz.
        format: one of :data:`FORMATS`; None: by suffix, where .json is plain JSON.
        template: for COCO: what the points are parts of; None: all of one thing, which their names tell apart.

    Raises:
        InputError: no match, another source or another name twice, an unknown suffix, or a place not writable.
    """
    name = check_format(path, format)
    if not sum(map(len, pairs)):
        raise InputError(f"{path}: no match to write")
    if len({(matches.source, matches.source_size) for matches in pairs}) > 1:
        raise InputError(f"{path}: matches of several sources; expected those of one")
    twice, count = Counter(matches.target for matches in pairs).most_common(1)[0]
    if count > 1:
        raise InputError(f"{path}: two target pictures are called {twice!r}")
    with atomic_write(path, "wb") as file:
        if name == "coco":
            coco.save(pairs, file, template)
        else:
            _WRITERS[name](pairs, file)


def load_matches(path: Path) -> list[Matches]:
    """Read .csv, .json or .npz: the matches of each target. Raises InputError, naming the file, for anything else."""
    load = _READERS[check_format(path)]
    if not path.is_file():
        raise InputError(f"{path}: is a folder" if path.is_dir() else f"{path}: no such file")
    try:
        return load(path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
