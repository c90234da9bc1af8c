"""DeepLabCut's tables: what its CSV and its HDF5 files have in common.

Columns are named by scorer, individuals (with several animals only), bodyparts and coords (x, y and, in predictions,
likelihood); rows by the path of a labelled picture, in one piece or in three, or by the number of a frame.

DeepLabCut labels in napari and before that in matplotlib, where the centre of the first pixel is (0, 0); its networks
learn what was labelled. So ours is theirs + 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from samepoint.errors import InputError
from samepoint.io.keypoints.exact import (
    FARTHEST,
    as_confidence,
    as_xy,
    frame_of_name,
    is_number,
    losses,
    number,
    whole,
    with_source,
    written,
)
from samepoint.io.keypoints.rows import Dialect
from samepoint.structures import Keypoints, KeypointSource

FORMAT = "deeplabcut"
OFFSET = 0.5
COORDS = ("x", "y", "likelihood")
LEVELS = ("scorer", "individuals", "bodyparts", "coords")
SCORER = "samepoint"

Column = tuple[str, str, str, str]  # one name a level; the individual "" where the file has no such level


@dataclass(frozen=True)
class Table:
    """columns: C. index: R rows, each the pieces of a picture's path or one whole number. cells: R rows of C values."""

    columns: tuple[Column, ...]
    index: tuple[tuple[str | int, ...], ...]
    cells: Sequence[Sequence[Any]]
    several: bool
    dialect: Dialect = field(default_factory=Dialect)


def from_table(table: Table, row_names: Sequence[str]) -> Keypoints:
    """Keypoints of a table; ``row_names`` are what messages call its rows."""
    individuals = list(dict.fromkeys(column[1] for column in table.columns))
    bodyparts = list(dict.fromkeys(column[2] for column in table.columns))
    places = _places(table.columns, individuals, bodyparts)
    shape = (len(table.index), len(individuals), len(bodyparts))
    xy = np.full((*shape, 2), np.nan)
    confidence = np.zeros(shape)
    exact = np.full((*shape, 3), None, object)
    for r, row in enumerate(table.cells):
        for (i, k), found in places.items():
            joint = f"{row_names[r]}, {' '.join(filter(None, (individuals[i], bodyparts[k])))}"
            values = []
            for coord, column in zip(COORDS, found, strict=True):
                cell = "" if column is None else row[column]
                exact[r, i, k, COORDS.index(coord)] = None if column is None else cell
                values.append(number(cell, f"{joint} {coord}") if isinstance(cell, str) else _finite(cell, joint))
            xy[r, i, k] = as_xy(values[0], values[1], OFFSET, joint)
            confidence[r, i, k] = as_confidence(values[2], not np.isnan(values[0]))
    frames, images = _frames(table.index, row_names)
    keypoints = Keypoints(frames, xy, tuple(bodyparts), tuple(individuals), confidence, images=images)
    head = Table(table.columns, table.index, (), table.several, table.dialect)
    return with_source(keypoints, FORMAT, head, exact)


def _finite(value: float, where: str) -> float:
    if abs(value) > FARTHEST:
        raise InputError(f"{where}: {value} is not a position; expected pixels, {FARTHEST:.0f} at most, or NaN")
    return float(value)


def _places(
    columns: Sequence[Column], individuals: list[str], bodyparts: list[str]
) -> dict[tuple[int, int], list[int | None]]:
    """For each joint that has columns, which they are: x, y and likelihood (None without)."""
    places: dict[tuple[int, int], list[int | None]] = {}
    for number_, (_, individual, bodypart, coord) in enumerate(columns):
        name = " ".join(filter(None, (individual, bodypart, coord)))
        if coord not in COORDS:
            raise InputError(
                f"column {number_ + 1} of the joints ({name}): unknown coords, expected {', '.join(COORDS)}"
            )
        found = places.setdefault((individuals.index(individual), bodyparts.index(bodypart)), [None] * 3)
        if found[COORDS.index(coord)] is not None:
            raise InputError(f"column {number_ + 1} of the joints ({name}) is there twice")
        found[COORDS.index(coord)] = number_
    for (i, k), found in places.items():
        if found[0] is None or found[1] is None:
            name = " ".join(filter(None, (individuals[i], bodyparts[k])))
            raise InputError(f"{name} has no column {'x' if found[0] is None else 'y'}")
    if not places:
        raise InputError("no columns of joints; expected x and y of at least one")
    return places


def _frames(index: Sequence[tuple[str | int, ...]], row_names: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Frame numbers, and the names of the pictures where the rows are named by those."""
    plain = [len(key) == 1 and (isinstance(key[0], int) or is_number(key[0])) for key in index]
    if all(plain):
        frames = [whole(str(key[0]), row_names[r]) for r, key in enumerate(index)]
        _all_differ([f"frame {frame}" for frame in frames], row_names)
        return np.array(frames, np.int64), ()
    if any(plain):
        raise InputError(f"{row_names[plain.index(True)]}: a number among names of pictures; expected one or the other")
    images = tuple("/".join(str(part) for part in key) for key in index)
    _all_differ(images, row_names)
    return np.array([frame_of_name(image) for image in images], np.int64), images


def _all_differ(keys: Sequence[str], row_names: Sequence[str]) -> None:
    seen: set[str] = set()
    for key, name in zip(keys, row_names, strict=True):
        if key in seen:
            raise InputError(f"{name}: {key} is there twice")
        seen.add(key)


def besides(source: KeypointSource) -> list[str]:
    return [f"the scorer {scorer}" for scorer in dict.fromkeys(c[0] for c in source.head.columns) if scorer != SCORER]


def to_table(keypoints: Keypoints) -> tuple[Table, list[str]]:
    """The table (cells are what was read, text or numbers, or text), and what it cannot hold."""
    source = keypoints.source
    head: Table | None = source.head if source is not None and source.format == FORMAT else None
    several = head.several if head else any(keypoints.individuals)
    columns = list(head.columns) if head else []
    names = [
        name or f"individual{i + 1}" if several and not head else name for i, name in enumerate(keypoints.individuals)
    ]
    held = {column[1:3] for column in columns}
    scorer = columns[0][0] if columns else SCORER
    for i, k in np.ndindex(*keypoints.shape[1:]):
        joint = (names[i], keypoints.bodyparts[k])
        if joint not in held and (head is None or keypoints.known[:, i, k].any()):
            columns += [(scorer, *joint, "x"), (scorer, *joint, "y")]
    if not any(column[3] == "likelihood" for column in columns) and (keypoints.confidence[keypoints.known] != 1).any():
        columns = [
            c for column in columns for c in ([column, (*column[:3], "likelihood")] if column[3] == "y" else [column])
        ]
    values = written(keypoints, FORMAT, OFFSET)
    where = [
        (names.index(individual), keypoints.bodyparts.index(bodypart), COORDS.index(coord))
        for _, individual, bodypart, coord in columns
    ]
    cells = [[values[f][place] for place in where] for f in range(keypoints.shape[0])]
    keeps = ["images", "individuals"] + (["confidence"] if any(c[3] == "likelihood" for c in columns) else [])
    table = Table(tuple(columns), _index(keypoints, head), cells, several, head.dialect if head else Dialect())
    return table, losses(keypoints, keeps)


def _index(keypoints: Keypoints, head: Table | None) -> tuple[tuple[str | int, ...], ...]:
    if not keypoints.images:
        return tuple((int(frame),) for frame in keypoints.frame)
    pieces = len(head.index[0]) if head and head.index else 1
    index: list[tuple[str | int, ...]] = []
    for row, image in zip(keypoints.origin, keypoints.images, strict=True):
        if head and row >= 0 and "/".join(map(str, head.index[row])) == image:
            index.append(head.index[row])
        else:
            index.append(tuple(image.split("/")) if pieces > 1 else (image,))
    if any(len(key) != len(index[0]) for key in index):
        return tuple(("/".join(map(str, key)),) for key in index)
    return tuple(index)
