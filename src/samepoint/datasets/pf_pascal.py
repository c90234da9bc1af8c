"""PF-PASCAL (Ham et al., TPAMI 2018) with the lists of pairs that later work scores on (Han et al., ICCV 2017).

    trn_pairs.csv, val_pairs.csv    source_image, target_image, class (1-20), flip (0 or 1); points are in the .mat
    test_pairs.csv                  source_image, target_image, class, XA, YA, XB, YB (numbers joined by ";")
    PF-dataset-PASCAL/JPEGImages/<name>.jpg
    PF-dataset-PASCAL/Annotations/<class>/<name>.mat    kps (n, 2), NaN where a point is not seen; bbox (1, 4)

An older package calls the first list ``train_pairs.csv``. Pictures and annotations may also lie in the root itself, and
the lists in ``PF-dataset-PASCAL``. The official archive of pictures has no lists. Coordinates: see
:mod:`samepoint.datasets.pairs`.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from samepoint.datasets.check import Check, listed, some
from samepoint.datasets.pairs import PASCAL, ImagePair, PairName, Pairs, box, mirror_box, mirror_points, points
from samepoint.errors import InputError
from samepoint.io.images import image_size
from samepoint.io.matlab import read_mat

SPLITS = {"trn": 2_940, "val": 308, "test": 299}
"""Rows of the lists."""
SOURCE = "get PF-dataset-PASCAL.zip from www.di.ens.fr/willow/research/proposalflow"
SOURCE_LISTS = "the official archive has no lists; they come with later work, e.g. SD4Match's pf-pascal_image_pairs.zip"
_FOLDER = "PF-dataset-PASCAL"
_COLUMNS = {
    "trn": ("source_image", "target_image", "class", "flip"),
    "val": ("source_image", "target_image", "class", "flip"),
    "test": ("source_image", "target_image", "class", "XA", "YA", "XB", "YB"),
}


@dataclass(frozen=True)
class Leakage:
    """How much of the test list is in the training list. Pairs count once however often they are listed."""

    pairs: int
    """Distinct test pairs, (source, target) in order."""
    leaked_pairs: int
    """Of these, training pairs in the same order."""
    pictures: int
    """Distinct test pictures."""
    leaked_pictures: int
    """Of these, pictures of a training pair."""
    names: frozenset[str]
    """Names of the leaked test pairs, for :meth:`Pairs.without`."""


@dataclass(frozen=True)
class _Row(PairName):
    flip: bool = False
    source_xy: NDArray[np.float32] | None = field(default=None, compare=False)
    target_xy: NDArray[np.float32] | None = field(default=None, compare=False)


def pairs(root: str | Path, split: str = "test", *, without_leaked: bool = False) -> Pairs:
    """The rows of a list in its order. Points that are NaN in either picture are dropped.

    ``leaked`` of a test pair says whether it is a training pair too; None where the training list is not there.

    Args:
        root: the folder.
        split: ``trn``, ``val`` or ``test``.
        without_leaked: leave out the test pairs that are training pairs too; needs both lists.

    Raises:
        InputError: the list is missing or a row of it cannot be read; later, for the pair asked for, its annotation or
            pictures.
    """
    if without_leaked and split != "test":
        raise InputError(f"leaked pairs are those of 'test'; split {split!r} has none to leave out")
    folder = Path(root)
    rows = _rows(folder, split)
    training = None
    if split == "test" and (without_leaked or _list(folder, "trn").is_file()):
        training = {(row.source, row.target) for row in _rows(folder, "trn")}
    known = {row.name: row for row in rows}
    found = Pairs(rows, partial(_read, folder, known, training))
    return found.without(_leaked(rows, training)) if without_leaked and training is not None else found


def leakage(root: str | Path) -> Leakage:
    """Compare the test list with the training list.

    Published lists: 95 of 277 distinct pairs and 302 of 506 pictures.

    Raises:
        InputError: either list is missing or cannot be read.
    """
    test, training = _rows(Path(root), "test"), _rows(Path(root), "trn")
    known = {(row.source, row.target) for row in training}
    asked = {(row.source, row.target) for row in test}
    pictures = {name for pair in asked for name in pair}
    return Leakage(
        pairs=len(asked),
        leaked_pairs=len(asked & known),
        pictures=len(pictures),
        leaked_pictures=len(pictures & {name for pair in known for name in pair}),
        names=_leaked(test, known),
    )


def lacking(root: str | Path, entries: Iterable[PairName]) -> list[str]:
    """The names of those entries that lack a picture or, where the list does not say them, its points."""
    folder = Path(root)
    found = []
    for entry in entries:
        has_points = isinstance(entry, _Row) and entry.source_xy is not None
        if _absent_pictures(folder, entry) or (not has_points and _absent_annotations(folder, entry)):
            found.append(entry.name)
    return found


def check(root: Path, splits: Sequence[str] = tuple(SPLITS)) -> Check:
    """What is there: lists of the splits, pictures and annotations of every row; and the leakage between the lists."""
    missing: list[str] = []
    notes = ["licence: research use; the pictures are PASCAL VOC's (Flickr terms)"]
    found = 0
    read: set[str] = set()
    pictures: set[str] = set()
    annotations: set[str] = set()
    for split in splits:
        try:
            rows, expected = _rows(root, split), SPLITS[split]
        except InputError as error:
            missing.append(str(error))
            continue
        read.add(split)
        if len(rows) < expected:
            missing.append(f"{_list(root, split).name}: {len(rows):,} rows, published are {expected:,}; {SOURCE_LISTS}")
        found += len(rows) - len(lacking(root, rows))
        for row in rows:
            pictures |= _absent_pictures(root, row)
            annotations |= _absent_annotations(root, row)
    if not read:
        folders = [kind for kind in ("JPEGImages", "Annotations") if not _home(root, kind).is_dir()]
        missing += [f"{_home(root, kind)}: no such folder; {SOURCE}" for kind in folders]
    missing += [f"{some(sorted(names))}; {SOURCE}" for names in (pictures, annotations) if names]
    if {"trn", "test"} <= read:
        counted = leakage(root)
        notes.append(
            f"leakage: {counted.leaked_pairs} of {counted.pairs} distinct test pairs are training pairs in the same "
            f"order, {counted.leaked_pictures} of {counted.pictures} test pictures occur in training; report scores "
            "with and without them"
        )
    else:
        notes.append("leakage between training and test cannot be counted without both lists")
    return Check("pf-pascal", root, found, tuple(missing), tuple(notes))


def _leaked(test: Sequence[PairName], training: set[tuple[str, str]]) -> frozenset[str]:
    return frozenset(row.name for row in test if (row.source, row.target) in training)


def _list(root: Path, split: str) -> Path:
    names = ("trn_pairs.csv", "train_pairs.csv") if split == "trn" else (f"{split}_pairs.csv",)
    places = [folder / name for folder in (root, root / _FOLDER) for name in names]
    return next((place for place in places if place.is_file()), places[0])


def _picture(root: Path, name: str) -> Path:
    return _home(root, "JPEGImages") / f"{name}.jpg"


def _annotation(root: Path, category: str, name: str) -> Path:
    return _home(root, "Annotations") / category / f"{name}.mat"


def _absent_pictures(root: Path, row: PairName) -> set[str]:
    return {f"JPEGImages/{name}.jpg" for name in (row.source, row.target) if not _picture(root, name).is_file()}


def _absent_annotations(root: Path, row: PairName) -> set[str]:
    return {
        f"Annotations/{row.category}/{name}.mat"
        for name in (row.source, row.target)
        if not _annotation(root, row.category, name).is_file()
    }


def _home(root: Path, kind: str) -> Path:
    inner, here = root / _FOLDER / kind, root / kind
    return here if here.is_dir() and not inner.is_dir() else inner


def _rows(root: Path, split: str) -> list[_Row]:
    if split not in SPLITS:
        raise InputError(f"split {split!r} is not known; expected one of {', '.join(SPLITS)}")
    path = _list(root, split)
    lines = listed(path, SOURCE_LISTS)
    columns = _COLUMNS[split]
    if not lines or tuple(word.strip() for word in lines[0][1].split(",")) != columns:
        raise InputError(f"{path}: line 1 must be {','.join(columns)}")
    rows: list[_Row] = []
    for number, line in lines[1:]:
        place = f"{path}: line {number}"
        cells = _cells(line, place)
        if len(cells) != len(columns):
            raise InputError(f"{place} has {len(cells)} columns; expected {len(columns)}")
        rows.append(_row(split, cells, len(rows) + 1, place))
    if not rows:
        raise InputError(f"{path}: no pair in it; expected one a line")
    return rows


def _cells(line: str, place: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], strict=True))]
    except csv.Error as error:
        raise InputError(f"{place} cannot be read ({error})") from None


def _row(split: str, cells: list[str], index: int, place: str) -> _Row:
    source, target = (PurePosixPath(cell).stem for cell in cells[:2])
    if not source or not target:
        raise InputError(f"{place}: expected the paths of two pictures, got {cells[0]!r} and {cells[1]!r}")
    category = PASCAL[_whole(cells[2], 1, len(PASCAL), f"{place}: class") - 1]
    name = f"{index:04d}-{source}-{target}"
    if split != "test":
        return _Row(name, category, source, target, bool(_whole(cells[3], 0, 1, f"{place}: flip")))
    x_source, y_source, x_target, y_target = (
        _joined(cell, f"{place}: {column}") for cell, column in zip(cells[3:], _COLUMNS["test"][3:], strict=True)
    )
    if len({len(x_source), len(y_source), len(x_target), len(y_target)}) != 1:
        raise InputError(f"{place}: XA, YA, XB, YB must have as many numbers each")
    return _Row(
        name,
        category,
        source,
        target,
        source_xy=np.array([x_source, y_source], np.float32).T,
        target_xy=np.array([x_target, y_target], np.float32).T,
    )


def _whole(text: str, low: int, high: int, place: str) -> int:
    value = _number(text, place)
    if not (value.is_integer() and low <= value <= high):
        raise InputError(f"{place} is {text[:60]!r}; expected a whole number from {low} to {high}")
    return int(value)


def _joined(cell: str, place: str) -> list[float]:
    return [_number(text, place) for text in cell.rstrip(";").split(";")]


def _number(text: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"{place} holds {text[:60]!r}; expected a number") from None
    if math.isinf(value) or abs(value) > np.finfo(np.float32).max:
        raise InputError(f"{place} holds {text[:60]!r}; expected a finite number")
    return value


def _read(root: Path, known: Mapping[str, _Row], training: set[tuple[str, str]] | None, entry: PairName) -> ImagePair:
    row = known[entry.name]
    paths = [_annotation(root, row.category, name) for name in (row.source, row.target)]
    seen: list[NDArray[np.float32]]
    boxes: list[NDArray[np.float32] | None]
    if row.source_xy is not None and row.target_xy is not None:
        seen, boxes = [row.source_xy, row.target_xy], [None, None]
        if all(path.is_file() for path in paths):
            boxes = [_annotated(path)[1] for path in paths]
    else:
        annotated = [_annotated(path) for path in paths]
        seen, boxes = [kps for kps, _ in annotated], [corners for _, corners in annotated]
        if len(seen[0]) != len(seen[1]):
            raise InputError(f"{paths[1]}: {len(seen[1])} points, {paths[0].name} has {len(seen[0])}; expected as many")
    both = ~np.isnan(np.concatenate(seen, axis=1)).any(axis=1)
    pictures = [_picture(root, name) for name in (row.source, row.target)]
    source, target = (points(xy[both], str(path)) for xy, path in zip(seen, paths, strict=True))
    if row.flip:
        widths = [image_size(path)[1] for path in pictures]
        source, target = (mirror_points(xy, width) for xy, width in zip((source, target), widths, strict=True))
        boxes = [None if b is None else mirror_box(b, width) for b, width in zip(boxes, widths, strict=True)]
    return ImagePair(
        name=row.name,
        category=row.category,
        source_path=pictures[0],
        target_path=pictures[1],
        source_xy=source,
        target_xy=target,
        source_box=boxes[0],
        target_box=boxes[1],
        mirrored=row.flip,
        leaked=(row.source, row.target) in training if training is not None else None,
    )


def _annotated(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Points, NaN where not seen, and the box where there is one."""
    arrays = read_mat(path)
    if "kps" not in arrays:
        raise InputError(f"{path}: no array 'kps'; it has {', '.join(arrays) or 'none'}")
    corners = box(arrays["bbox"].ravel(), f"{path}: bbox") if "bbox" in arrays else None
    kps = arrays["kps"]
    if kps.ndim != 2 or kps.shape[1] != 2 or np.isinf(kps).any():
        raise InputError(f"{path}: kps has shape {kps.shape}; expected n finite (x, y), NaN where not seen")
    with np.errstate(over="ignore"):
        return kps.astype(np.float32), corners
