"""PF-WILLOW (Ham et al., CVPR 2016): 10 sub-classes of 10 pictures with 10 points each.

    <sub-class>/<name>.png      <sub-class>/<name>.mat    pts_coord (2, 10), rows x and y
    test_pairs.csv              imageA, imageB, XA1..XA10, YA1..YA10, XB1..XB10, YB1..YB10

The list is not part of the official archive. Without it the pairs are all ordered pairs of two pictures within each
sub-class found. The folders may also lie in ``PF-dataset`` in the root, as the archive unpacks. There are no boxes: the
benchmark's threshold comes from the points. Coordinates: see :mod:`samepoint.datasets.pairs`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import permutations
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from samepoint.datasets.check import Check, entries_of, listed, some
from samepoint.datasets.pairs import ImagePair, PairName, Pairs, points
from samepoint.errors import InputError
from samepoint.io.images import visible
from samepoint.io.matlab import read_mat

SUB_CLASSES = (
    *("car(G)", "car(M)", "car(S)", "duck(S)", "motorbike(G)", "motorbike(M)", "motorbike(S)"),
    *("winebottle(M)", "winebottle(wC)", "winebottle(woC)"),
)
POINTS = 10
PICTURES = 10
"""In each sub-class."""
PAIRS = len(SUB_CLASSES) * PICTURES * (PICTURES - 1)
"""Ordered, within the sub-classes."""
SOURCE = "get PF-dataset.zip from www.di.ens.fr/willow/research/proposalflow"
_COLUMNS = 2 + 4 * POINTS


@dataclass(frozen=True)
class _Row(PairName):
    source_xy: NDArray[np.float32] | None = field(default=None, compare=False)
    target_xy: NDArray[np.float32] | None = field(default=None, compare=False)


def pairs(root: str | Path, split: str = "test") -> Pairs:
    """The pairs of ``test_pairs.csv`` in its order or, without it, all ordered pairs within each sub-class, sorted.

    Raises:
        InputError: neither list nor pictures are there, a row cannot be read, or the split is not ``test``, the only
            one; later, for the pair asked for, its points or pictures.
    """
    if split != "test":
        raise InputError(f"split {split!r} is not known; PF-WILLOW has only 'test'")
    folder = _home(Path(root))
    path = _list(Path(root))
    rows = _generated(folder) if path is None else _rows(path)
    known = {row.name: row for row in rows}
    return Pairs(rows, partial(_pair, folder, known))


def lacking(root: str | Path, entries: Iterable[PairName]) -> list[str]:
    """The names of those entries that lack a picture or, where the list does not say them, its points."""
    folder = _home(Path(root))
    listed_pairs = tuple(entries)
    there = {name: entries_of(folder / name) for name in {entry.category for entry in listed_pairs}}
    return [entry.name for entry in listed_pairs if not _files(entry) <= there[entry.category]]


def check(root: Path) -> Check:
    """What is there: pictures and points of the ten sub-classes."""
    home = _home(root)
    missing: list[str] = []
    notes = ["no training split: all of it is test, never choose a model on it; licence: research use"]
    try:
        rows = pairs(root).entries
    except InputError as error:
        rows = ()
        missing.append(str(error))
    usable = len(rows) - len(lacking(root, rows))
    absent = [name for name in SUB_CLASSES if not (home / name).is_dir()]
    if absent:
        missing.append(f"{len(absent)} of {len(SUB_CLASSES)} sub-classes ({', '.join(absent)}); {SOURCE}")
    for name in SUB_CLASSES:
        if (home / name).is_dir():
            missing += _check_sub_class(home / name)
    if _list(root) is None:
        notes.append(f"no test_pairs.csv: {len(rows)} ordered pairs were made from the folders")
    return Check("pf-willow", root, usable, tuple(missing), tuple(notes))


def _check_sub_class(folder: Path) -> list[str]:
    pictures = {path.stem for path in visible(folder.glob("*.png"))}
    lines = []
    if len(pictures) < PICTURES:
        lines.append(f"{folder.name}/: {len(pictures)} pictures, expected {PICTURES}; {SOURCE}")
    absent = sorted(f"{name}.mat" for name in pictures if not (folder / f"{name}.mat").is_file())
    return lines + ([f"{folder.name}/: {some(absent)}; {SOURCE}"] if absent else [])


def _home(root: Path) -> Path:
    inner = root / "PF-dataset"
    return inner if inner.is_dir() else root


def _list(root: Path) -> Path | None:
    places = (root / "test_pairs.csv", _home(root) / "test_pairs.csv")
    return next((place for place in places if place.is_file()), None)


def _file(folder: Path, category: str, name: str, suffix: str) -> Path:
    return folder / category / f"{name}{suffix}"


def _files(entry: PairName) -> set[str]:
    """The names of the files that a pair needs."""
    has_points = isinstance(entry, _Row) and entry.source_xy is not None
    suffixes = (".png",) if has_points else (".png", ".mat")
    return {f"{name}{suffix}" for name in (entry.source, entry.target) for suffix in suffixes}


def _generated(folder: Path) -> list[_Row]:
    rows = []
    for sub_class in (path for path in visible(folder.iterdir()) if path.is_dir()) if folder.is_dir() else ():
        pictures = visible(sub_class.glob("*.png"))
        names = sorted(path.stem for path in pictures if path.with_suffix(".mat").is_file())
        for source, target in permutations(names, 2):
            rows.append(_Row(f"{sub_class.name}/{source}-{target}", sub_class.name, source, target))
    if not rows:
        raise InputError(f"{folder}: no <sub-class>/<name>.png with <name>.mat beside it; {SOURCE}")
    return rows


def _rows(path: Path) -> list[_Row]:
    lines = listed(path, SOURCE)
    if not lines or [word.strip() for word in lines[0][1].split(",")][:2] != ["imageA", "imageB"]:
        raise InputError(f"{path}: line 1 must begin with imageA,imageB,")
    rows = [_row(line, index, f"{path}: line {number}") for index, (number, line) in enumerate(lines[1:], 1)]
    if not rows:
        raise InputError(f"{path}: no pair in it; expected one a line")
    return rows


def _row(line: str, index: int, place: str) -> _Row:
    try:
        cells = [cell.strip() for cell in next(csv.reader([line], strict=True))]
    except csv.Error as error:
        raise InputError(f"{place} cannot be read ({error})") from None
    if len(cells) != _COLUMNS:
        raise InputError(f"{place} has {len(cells)} columns; expected {_COLUMNS}")
    source, target = (PurePosixPath(cell) for cell in cells[:2])
    if not source.parent.name or source.parent.name != target.parent.name:
        raise InputError(
            f"{place}: expected two pictures <sub-class>/<name> of one sub-class, got {cells[0]}, {cells[1]}"
        )
    try:
        values = np.array([float(cell) for cell in cells[2:]]).reshape(2, 2, POINTS)
    except ValueError:
        raise InputError(f"{place}: columns 3 to {_COLUMNS} must be numbers") from None
    with np.errstate(over="ignore"):
        source_xy, target_xy = (points(xy.T.astype(np.float32), place) for xy in values)
    name = f"{index:04d}-{source.parent.name}/{source.stem}-{target.stem}"
    return _Row(name, source.parent.name, source.stem, target.stem, source_xy, target_xy)


def _pair(folder: Path, known: Mapping[str, _Row], entry: PairName) -> ImagePair:
    row = known[entry.name]
    source_xy, target_xy = row.source_xy, row.target_xy
    if source_xy is None or target_xy is None:
        source_xy = _annotated(_file(folder, row.category, row.source, ".mat"))
        target_xy = _annotated(_file(folder, row.category, row.target, ".mat"))
    return ImagePair(
        name=row.name,
        category=row.category,
        source_path=_file(folder, row.category, row.source, ".png"),
        target_path=_file(folder, row.category, row.target, ".png"),
        source_xy=source_xy,
        target_xy=target_xy,
    )


def _annotated(path: Path) -> NDArray[np.float32]:
    return _points(path, path.stat().st_mtime_ns if path.is_file() else 0)


@lru_cache(maxsize=4 * PICTURES)
def _points(path: Path, changed: int) -> NDArray[np.float32]:
    """Kept while the file, last ``changed`` then, stays as it is: many pairs share few pictures."""
    arrays = read_mat(path)
    if "pts_coord" not in arrays:
        raise InputError(f"{path}: no array 'pts_coord'; it has {', '.join(arrays) or 'none'}")
    stored = arrays["pts_coord"]
    if stored.shape != (2, POINTS):
        raise InputError(f"{path}: pts_coord has shape {stored.shape}; expected (2, {POINTS})")
    xy = points(stored.T, f"{path}: pts_coord")
    xy.flags.writeable = False  # shared by the pairs of this picture
    return xy
