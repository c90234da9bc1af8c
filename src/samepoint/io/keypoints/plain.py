"""Keypoints as plain CSV: one row a joint and frame, ``frame[,image][,individual],bodypart,x,y[,...]``.

More columns where they are needed: likelihood, visible (1 or 0), labelled (1: a person said so). x and y are ours,
origin at the corner of the picture; empty where a joint is missing. Joints without a row are missing. Lines above the
header that begin with # are notes; a skeleton is one, ``# skeleton=[["nose", "tail"]]``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from samepoint.errors import InputError
from samepoint.io.keypoints.exact import as_confidence, as_xy, losses, number, whole, with_source, written
from samepoint.io.keypoints.rows import Dialect, as_rows, read_lines, write_rows
from samepoint.structures import Keypoints, KeypointSource

FORMAT = "csv"
NEEDED = ("frame", "bodypart", "x", "y")
COLUMNS = ("frame", "image", "individual", "bodypart", "x", "y", "likelihood", "visible", "labelled")
_TRUTH = {"1": True, "true": True, "0": False, "false": False}


@dataclass(frozen=True)
class _Head:
    columns: tuple[str, ...]
    rows: tuple[tuple[int, int, int], ...]  # frame, individual, joint of each row, as indices
    dialect: Dialect
    notes: tuple[str, ...]  # lines above the header, as they are


def load(path: Path) -> Keypoints:
    lines, dialect = read_lines(path)
    # Notes are no CSV: the names in a skeleton are quoted as JSON does it.
    above = next((n for n, line in enumerate(lines) if line.strip() and not _is_note(line)), len(lines))
    notes = [line.rstrip("\r\n") for line in lines[:above] if _is_note(line)]
    rows = as_rows(lines[above:], above)
    columns = [cell.strip().lower() for cell in rows[0][1]]
    unknown = [column for column in columns if column not in COLUMNS]
    if not set(NEEDED) <= set(columns) or unknown or len(set(columns)) != len(columns):
        raise InputError(
            f"header {','.join(columns)[:80]!r}; expected frame,bodypart,x,y and any of "
            f"{', '.join(column for column in COLUMNS if column not in NEEDED)}"
        )
    records: dict[tuple[int, int, int], tuple[int, dict[str, str]]] = {}
    frames: dict[int, str] = {}
    individuals: dict[str, int] = {}
    bodyparts: dict[str, int] = {}
    order: dict[int, int] = {}
    for line, row in rows[1:]:
        where = f"line {line}"
        if len(row) != len(columns):
            raise InputError(f"{where}: {len(row)} cells; expected {','.join(columns)}")
        cells = dict(zip(columns, (cell.lstrip() for cell in row), strict=True))
        frame = whole(cells["frame"], where)
        if frames.setdefault(frame, cells.get("image", "")) != cells.get("image", ""):
            raise InputError(f"{where}: frame {frame} is the picture {frames[frame]!r} above")
        if not cells["bodypart"]:
            raise InputError(f"{where}: no bodypart")
        key = (
            order.setdefault(frame, len(order)),
            individuals.setdefault(cells.get("individual", ""), len(individuals)),
            bodyparts.setdefault(cells["bodypart"], len(bodyparts)),
        )
        if key in records:
            raise InputError(f"{where}: the same joint and frame as line {records[key][0]}")
        records[key] = (line, cells)
    images = tuple(frames.values())
    if any(images) and not all(images):
        raise InputError("some rows have an image and some have none")
    (xy, confidence, visible, labelled), exact = _arrays(
        records, (len(frames), len(individuals), len(bodyparts)), columns
    )
    made = Keypoints(
        np.array(list(order), np.int64),
        xy,
        tuple(bodyparts),
        tuple(individuals) or ("",),
        confidence,
        visible,
        labelled,
        skeleton=_skeleton(notes, list(bodyparts)),
        images=images if any(images) else (),
    )
    head = _Head(tuple(columns), tuple(records), dialect, tuple(notes))
    return with_source(made, FORMAT, head, exact)


def _is_note(line: str) -> bool:
    return line.lstrip().startswith("#")


def _is_skeleton(note: str) -> bool:
    return note.lstrip("# ").partition("=")[0].strip() == "skeleton"


def _arrays(
    records: dict[tuple[int, int, int], tuple[int, dict[str, str]]], shape: tuple[int, int, int], columns: list[str]
) -> tuple[list[np.ndarray], np.ndarray]:
    shape = (shape[0], max(shape[1], 1), shape[2])
    xy, confidence = np.full((*shape, 2), np.nan), np.zeros(shape)
    visible, labelled = np.zeros(shape, bool), np.zeros(shape, bool)
    exact = np.full((*shape, 3), None, object)
    for key, (line, cells) in records.items():
        x, y = (number(cells[axis], f"line {line}: {axis}") for axis in "xy")
        xy[key] = as_xy(x, y, 0.0, f"line {line}")
        known = not np.isnan(x)
        confidence[key] = as_confidence(number(cells.get("likelihood", ""), f"line {line}: likelihood"), known)
        visible[key] = known and _truth(cells.get("visible", ""), confidence[key] >= 0.5, f"line {line}: visible")
        labelled[key] = _truth(cells.get("labelled", ""), known, f"line {line}: labelled")
        exact[key] = [cells["x"], cells["y"], cells.get("likelihood")]
    if "labelled" not in columns:
        labelled |= (~np.isnan(xy[..., 0])).any(axis=2, keepdims=True)
    return [xy, confidence, visible, labelled], exact


def _truth(text: str, otherwise: bool, where: str) -> bool:
    text = text.strip().lower()
    if text and text not in _TRUTH:
        raise InputError(f"{where}: {text[:40]!r}; expected 1 or 0")
    return _TRUTH.get(text, bool(otherwise))


def _skeleton(notes: list[str], bodyparts: list[str]) -> tuple[tuple[int, int], ...]:
    for note in notes:
        if not _is_skeleton(note):
            continue
        value = note.partition("=")[2]
        try:
            pairs = json.loads(value)
            return tuple((bodyparts.index(a), bodyparts.index(b)) for a, b in pairs)
        except (ValueError, TypeError, RecursionError):
            raise InputError(f"skeleton is {value[:60]!r}; expected pairs of body parts of this file") from None
    return ()


def besides(source: KeypointSource) -> list[str]:
    return [] if all(map(_is_skeleton, source.head.notes)) else ["the notes above its header"]


def save(keypoints: Keypoints, file: IO[bytes]) -> list[str]:
    source = keypoints.source
    head: _Head | None = source.head if source is not None and source.format == FORMAT else None
    known = keypoints.known
    lost = losses(keypoints, ())
    columns = set(head.columns if head else ()) | set(NEEDED)
    needs = {"image": "pictures", "individual": "individuals", "likelihood": "confidence"}
    columns |= {column for column, word in needs.items() if any(word in what for what in lost)}
    columns |= {"visible"} if (keypoints.visible != known & (keypoints.confidence >= 0.5)).any() else set()
    columns |= {"labelled"} if any("labelled by a person" in what for what in lost) else set()
    kept = head.columns if head and set(head.columns) == columns else tuple(c for c in COLUMNS if c in columns)
    order = _order(keypoints, head)
    values = written(keypoints, FORMAT, 0.0)
    notes = list(head.notes) if head else []
    if keypoints.skeleton and not any(map(_is_skeleton, notes)):
        names = [[keypoints.bodyparts[a], keypoints.bodyparts[b]] for a, b in keypoints.skeleton]
        notes.append(f"# skeleton={json.dumps(names, ensure_ascii=False)}")
    rows: list[list[object]] = [list(kept)]
    for f, i, k in order:
        row = {
            "frame": int(keypoints.frame[f]),
            "image": keypoints.images[f] if keypoints.images else "",
            "individual": keypoints.individuals[i],
            "bodypart": keypoints.bodyparts[k],
            "visible": int(keypoints.visible[f, i, k]),
            "labelled": int(keypoints.labelled[f, i, k]),
            **dict(zip(("x", "y", "likelihood"), values[f, i, k], strict=True)),
        }
        rows.append([row[column] for column in kept])
    write_rows(file, rows, head.dialect if head else Dialect(), notes)
    return []


def _order(keypoints: Keypoints, head: _Head | None) -> list[tuple[int, int, int]]:
    """Which joints get a row, in which order: the source's where they are the same."""
    wanted = keypoints.known | keypoints.labelled
    row_of = {int(row): f for f, row in enumerate(keypoints.origin) if row >= 0}
    kept = [(row_of[r], i, k) for r, i, k in (head.rows if head else ()) if r in row_of]
    for key in kept:
        wanted[key] = True
    order = [(int(f), int(i), int(k)) for f, i, k in np.argwhere(wanted)]
    return kept if len(kept) == len(order) else order
