"""What ``samepoint match`` is given: points, targets one by one or in folders, and places for what it writes."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from samepoint.cli.console import Advance
from samepoint.cli.track import POINT
from samepoint.errors import InputError

if TYPE_CHECKING:
    from samepoint.io.matches.points import PicturePoints
    from samepoint.matching import Picture


def parse_place(text: str) -> tuple[float, float]:
    """``X,Y``.

    >>> parse_place("120.5,88")
    (120.5, 88.0)
    """
    match = POINT.fullmatch(text)
    if match is None or match[3] is not None:
        raise InputError(f"--point {text!r}: expected X,Y, for example 120.5,88")
    return float(match[1]), float(match[2])


def list_targets(source: str, targets: Sequence[str], mask: Path | None = None) -> list[tuple[str, bool]]:
    """Every picture to match with, and whether it was found in a folder, where source and mask are passed over.

    Raises InputError for a folder without pictures, or a picture that is there twice.
    """
    from samepoint.io.images import SUFFIXES, list_images
    from samepoint.matching.pictures import split_frame

    found: list[tuple[str, bool]] = []
    for target in targets:
        if not Path(target).is_dir():
            if not split_frame(target)[0].exists():
                raise InputError(f"{target}: no such file or folder")
            found.append((target, False))
            continue
        own = {_identity(path) for path in (Path(source), mask) if path is not None}
        others = [path for path in list_images(target) if _identity(path) not in own]
        if not others:
            raise InputError(f"{target}: no pictures to match with in this folder; expected {', '.join(SUFFIXES)}")
        found += [(str(path), True) for path in others]
    name, count = Counter(name for name, _ in found).most_common(1)[0]
    if count > 1:
        raise InputError(f"{name}: is there twice among the targets")
    return found


class Pictures:
    """The targets, opened when their turn comes. What cannot be read in a folder is passed over, with a warning."""

    def __init__(self, given: Sequence[tuple[str, bool]], advance: Advance) -> None:
        self._given, self._advance = given, advance
        self.skipped: list[str] = []

    def __iter__(self) -> Iterator[Picture]:
        from samepoint.matching import open_picture
        from samepoint.structures.checks import is_utf8

        for number, (name, in_folder) in enumerate(self._given):
            self._advance(number, len(self._given))
            try:
                if not is_utf8(name):
                    raise InputError(f"{name!r}: its name is not UTF-8")
                picture = open_picture(name)
            except InputError as error:
                if not in_folder:
                    raise
                self.skipped.append(name)
                warnings.warn(f"passed over: {error}", UserWarning, stacklevel=2)
                continue
            yield picture
        if len(self.skipped) == len(self._given):
            raise InputError(f"none of the {len(self._given)} targets can be read; the first is {self._given[0][0]}")


def mask_files(output: Path, names: Sequence[str]) -> dict[str, Path]:
    """Where the regions in each target go: ``output`` for one, or a file each in the folder ``output``.

    They are called as the targets, with the suffix after theirs where two differ in nothing else.
    """
    if output.suffix.lower() == ".png":
        if len(names) > 1:
            raise InputError(f"{output}: is one picture, but there are {len(names)} targets; give a folder")
        return {names[0]: output}
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: is a file; expected a folder, a new name or .png")
    plain = [_stem(name) for name in names]
    if len(set(plain)) < len(plain):
        plain = [PurePath(name).name for name in names]
    twice, count = Counter(plain).most_common(1)[0]
    if count > 1:
        raise InputError(f"{output}: two targets are called {twice}; match them in two runs, into two folders")
    return {name: output / f"{stem}.png" for name, stem in zip(names, plain, strict=True)}


def _stem(name: str) -> str:
    """``clip.mp4@12`` is called clip@12."""
    path, at, frame = name.rpartition("@")
    return f"{PurePath(path).stem}@{frame}" if at and frame.isdecimal() else PurePath(name).stem


def check_outputs(
    outputs: Sequence[Path], folder: Path | None, pictures: Sequence[str], others: Sequence[Path | None]
) -> None:
    """Raise InputError where something could not be written, or would replace what is read.

    ``folder``: the one that may still have to be made.
    """
    from samepoint.io.atomic import check_writable
    from samepoint.matching.pictures import split_frame

    known = {_identity(path) for path in (*(split_frame(name)[0] for name in pictures), *others) if path is not None}
    seen: set[Path] = set()
    for path in outputs:
        if path.exists() and _identity(path) in known:
            raise InputError(f"{path}: is an input and would be overwritten; choose another name")
        if path.absolute() in seen:
            raise InputError(f"{path}: is to hold two outputs; choose another name for one")
        seen.add(path.absolute())
        if folder is None or folder.exists() or path.parent != folder:
            check_writable(path)
    if folder is not None and not folder.exists():
        nearest = next(part for part in folder.absolute().parents if part.exists())
        if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
            raise InputError(f"{folder}: no permission to write in {nearest}")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def gather_points(
    first: Picture, places: Sequence[tuple[float, float]], path: Path | None, grid: int | None, mask: Path | None
) -> PicturePoints:
    """The points of all options, checked; what the file says they are parts of, where there are no others."""
    from samepoint.io.matches.points import PicturePoints, load_points
    from samepoint.matching import as_points, as_regions, places_inside
    from samepoint.matching.pictures import split_frame
    from samepoint.structures import Queries

    parts: list[PicturePoints] = []
    if places:
        parts.append(PicturePoints(Queries.at(places)))
    if path is not None:
        source, frame = split_frame(first.name)
        parts.append(load_points(path, str(source), frame))
    if grid is not None:
        parts.append(PicturePoints(Queries.grid(grid, first.size)))
    if mask is not None:
        parts.append(PicturePoints(Queries.at(places_inside(as_regions(mask, first)))))
    is_coco = any(part.is_coco for part in parts)
    alone = parts[0].template if len(parts) == 1 else None
    return PicturePoints(as_points(Queries.concat([part.queries for part in parts]), first), alone, is_coco)
