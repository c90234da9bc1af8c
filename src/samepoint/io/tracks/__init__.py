"""Tracks in and out: one file a format, chosen by the suffix of the path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO

from samepoint.errors import InputError
from samepoint.io.atomic import atomic_write
from samepoint.io.tracks import csv, json, npz, parquet, tapvid
from samepoint.structures import Tracks

_FORMATS: dict[str, tuple[Callable[[Tracks, IO[bytes]], None], Callable[[Path], Tracks]]] = {
    ".csv": (csv.save, csv.load),
    ".npz": (npz.save, npz.load),
    ".parquet": (parquet.save, parquet.load),
    ".json": (json.save, json.load),
    ".pkl": (tapvid.save, tapvid.load),
}
SUFFIXES = tuple(_FORMATS)


def check_suffix(path: str | Path) -> str:
    """The suffix in lower case. Raises InputError where no track format has it."""
    suffix = Path(path).suffix.lower()
    if suffix not in _FORMATS:
        raise InputError(f"{path}: unknown format {suffix!r} for tracks; expected one of {', '.join(SUFFIXES)}")
    return suffix


def save_tracks(tracks: Tracks, path: Path) -> None:
    """Write in the format of the suffix; the file appears whole or not at all.

    Raises InputError where the suffix is unknown or the place not writable, MissingExtraError where Parquet needs the
    extra ``tables``, OSError where the disk is full.
    """
    save = _FORMATS[check_suffix(path)][0]
    with atomic_write(path, "wb") as file:
        save(tracks, file)


def load_tracks(path: Path) -> Tracks:
    """Read the format of the suffix. Raises InputError, naming the file, where its content is not tracks."""
    load = _FORMATS[check_suffix(path)][1]
    if not path.is_file():
        raise InputError(f"{path}: is a folder" if path.is_dir() else f"{path}: no such file")
    try:
        return load(path)
    except InputError as error:
        if str(error).startswith((str(path), "Reading", "Writing")):
            raise
        raise InputError(f"{path}: {error}") from None
