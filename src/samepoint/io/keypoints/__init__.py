"""Keypoints in and out: one file a format, chosen by its name, by the suffix and by how a CSV begins."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple

from samepoint.errors import InputError
from samepoint.io.atomic import atomic_write
from samepoint.io.keypoints import coco, cvat, deeplabcut, deeplabcut_csv, deeplabcut_h5, napari, plain, sleap
from samepoint.io.keypoints.exact import LAST_FRAME, SIZE
from samepoint.io.keypoints.place import check_pictures, place_in_video
from samepoint.structures import Keypoints, KeypointSource

__all__ = [
    "FORMATS",
    "check_format",
    "check_pictures",
    "format_for",
    "load_keypoints",
    "place_in_video",
    "save_keypoints",
    "write_keypoints",
]


class _Format(NamedTuple):
    name: str
    suffixes: tuple[str, ...]
    load: Callable[[Path], Keypoints] | None
    save: Callable[[Keypoints, IO[bytes]], list[str]]  # answers what was lost
    besides: Callable[[KeypointSource], list[str]] | None  # what a file read holds that keypoints do not


_TABLE = (
    _Format("csv", (".csv",), plain.load, plain.save, plain.besides),
    _Format("deeplabcut", (".csv",), deeplabcut_csv.load, deeplabcut_csv.save, deeplabcut.besides),
    _Format("deeplabcut", (".h5", ".hdf5"), deeplabcut_h5.load, deeplabcut_h5.save, deeplabcut.besides),
    _Format("coco", (".json",), coco.load, coco.save, coco.besides),
    _Format("cvat", (".xml",), cvat.load, cvat.save, cvat.besides),
    _Format("sleap", (".csv",), sleap.load, sleap.save, sleap.besides),
    _Format("napari", (".csv",), None, napari.save, None),
)
_BY_NAME = ("deeplabcut", "coco")  # what they say of a picture goes by its name, of others by the number of its frame
_SIZED = ("coco", "cvat")
FORMATS = tuple(dict.fromkeys(entry.name for entry in _TABLE))
_CSV_BEGINNINGS = {"scorer": "deeplabcut", "track_id": "napari", "track": "sleap", "frame_idx": "sleap"}


def check_format(path: str | Path, format: str | None = None, read: bool = False) -> tuple[str, ...]:
    """The formats that a path can have, one if ``format`` is given. Raises InputError where there is none."""
    suffix = Path(path).suffix.lower()
    if format is not None and format not in FORMATS:
        raise InputError(f"unknown format {format!r} for keypoints; expected one of {', '.join(FORMATS)}")
    of_name = [entry for entry in _TABLE if format in (None, entry.name)]
    if read and not any(entry.load for entry in of_name):
        raise InputError(
            f"{path}: {format} is written, not read; expected one of {', '.join(f for f in FORMATS if f != format)}"
        )
    fitting = [entry.name for entry in of_name if suffix in entry.suffixes]
    if not fitting:
        wanted = dict.fromkeys(suffix for entry in of_name for suffix in entry.suffixes)
        what = "keypoints" if format is None else f"{format} keypoints"
        raise InputError(f"{path}: unknown suffix {suffix!r} for {what}; expected one of {', '.join(wanted)}")
    return tuple(fitting)


def _entry(name: str, path: Path) -> _Format:
    return next(entry for entry in _TABLE if entry.name == name and path.suffix.lower() in entry.suffixes)


def load_keypoints(path: Path, format: str | None = None) -> Keypoints:
    """Read a file of keypoints. Raises InputError, naming file and place, where its content is another."""
    fitting = check_format(path, format, read=True)
    if not path.is_file():
        raise InputError(f"{path}: is a folder" if path.is_dir() else f"{path}: no such file")
    name = _told_by_content(path) if len(fitting) > 1 else fitting[0]
    load = _entry(name, path).load
    if load is None:
        raise InputError(f"{path}: {name} tracks are written, not read; expected keypoints with names of body parts")
    try:
        return load(path)
    except InputError as error:
        if str(error).startswith((str(path), "DeepLabCut's HDF5 needs")):
            raise
        raise InputError(f"{path}: {error}") from None


def _told_by_content(path: Path) -> str:
    """Which CSV it is, by its first cell; plain where no other begins so."""
    with path.open("rb") as file:
        first = file.readline(1 << 16).decode("utf-8", "replace").lstrip("\ufeff").split(",")[0].strip().strip('"')
    return _CSV_BEGINNINGS.get(first, "csv")


def format_for(keypoints: Keypoints, path: Path, format: str | None = None) -> str:
    """What is written: by suffix, and what was read where that can be written so. Raises what ``check_format`` does."""
    fitting = check_format(path, format)
    source = keypoints.source.format if keypoints.source else ""
    return source if source in fitting else fitting[0]


def write_keypoints(keypoints: Keypoints, path: Path, format: str | None = None) -> list[str]:
    """Write whole or not at all, in the format that ``format_for`` says.

    Returns what the format cannot hold, a sentence each. Raises InputError where the suffix is unknown, the place not
    writable, or pictures have no frame number of their own and the format counts frames.
    """
    name = format_for(keypoints, path, format)
    if name not in _BY_NAME:
        _check_frames(keypoints, path, name)
    with atomic_write(path, "wb") as file:
        lost = _entry(name, path).save(keypoints, file)
    return [f"{name} cannot hold {what}" for what in [*lost, *_left_behind(keypoints.source, name)]]


def _check_frames(keypoints: Keypoints, path: Path, name: str) -> None:
    found: dict[int, str] = {}
    for row, image in enumerate(keypoints.images):
        frame = int(keypoints.frame[row])
        what = f"the name of the picture {image} does not end in a frame number"
        if 0 <= frame <= LAST_FRAME:
            if found.setdefault(frame, image) == image:
                continue
            what = f"{found[frame]} and {image} are both frame {frame}"
        raise InputError(
            f"{path}: {name} counts frames, but {what}; expected {' or '.join(_BY_NAME)}, which keep the names, "
            "or labels placed in their video first (place_in_video)"
        )


def _left_behind(source: KeypointSource | None, name: str) -> list[str]:
    """What the file that was read holds besides keypoints, in one line, where another format is written."""
    besides = next((entry.besides for entry in _TABLE if source and entry.name == source.format != name), None)
    held = besides(source) if besides and source else []
    held = [what if what.isprintable() else repr(what) for what in held if what != SIZE or name not in _SIZED]
    return [f"what else is in the {source.format} file: {', '.join(held)}"] if source and held else []


def save_keypoints(keypoints: Keypoints, path: Path, format: str | None = None) -> None:
    """``write_keypoints``, with a UserWarning for each thing that the format cannot hold."""
    for lost in write_keypoints(keypoints, path, format):
        warnings.warn(f"{path}: {lost}", UserWarning, stacklevel=3)
