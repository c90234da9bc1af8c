"""SLEAP's analysis CSV: one row an instance, ``track,frame_idx,instance.score,nose.x,nose.y,nose.score,...``.

SLEAP's networks read positions off grids whose first cell lies on the first pixel, (0, 0): its centre. So ours is
theirs + 0.5. Scores are heights of peaks, not probabilities: above 1 they count as 1 (and are kept as they are).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from samepoint.errors import InputError
from samepoint.io.keypoints.exact import as_confidence, as_xy, losses, number, shortest, whole, with_source, written
from samepoint.io.keypoints.rows import Dialect, read_rows, write_rows
from samepoint.structures import Keypoints, KeypointSource

FORMAT = "sleap"
OFFSET = 0.5
PARTS = ("x", "y", "score")
LEADING = ("track", "frame_idx", "instance.score")


@dataclass(frozen=True)
class _Head:
    columns: tuple[str, ...]
    rows: tuple[tuple[int, int], ...]  # frame and individual of each row, as indices
    tracks: tuple[str, ...]  # what the rows call their tracks
    scores: dict[tuple[int, int], str]
    dialect: Dialect


def load(path: Path) -> Keypoints:
    rows, dialect = read_rows(path)
    columns = rows[0][1]
    nodes = _nodes(columns)
    records: dict[tuple[int, int], tuple[int, list[str]]] = {}
    frames: dict[int, int] = {}
    individuals: dict[str, int] = {}
    nameless: Counter[int] = Counter()
    for line, row in rows[1:]:
        where = f"line {line}"
        if len(row) != len(columns):
            raise InputError(f"{where}: {len(row)} cells; expected {len(columns)}, as in the header")
        frame = whole(row[columns.index("frame_idx")], where)
        track = row[columns.index("track")] if "track" in columns else ""
        if not track:
            # Without tracks the first instance of each frame counts as the same individual, the second as another.
            track = str(nameless[frame]) if nameless[frame] else ""
            nameless[frame] += 1
        key = (frames.setdefault(frame, len(frames)), individuals.setdefault(track, len(individuals)))
        if key in records:
            raise InputError(f"{where}: track {track!r} is in frame {frame} twice, see line {records[key][0]}")
        records[key] = (line, row)
    shape = (len(frames), max(len(individuals), 1), len(nodes))
    xy, confidence, exact = np.full((*shape, 2), np.nan), np.zeros(shape), np.full((*shape, 3), None, object)
    for (f, i), (line, row) in records.items():
        for k, (node, places) in enumerate(nodes.items()):
            cells = ["" if place is None else row[place] for place in places]
            x, y, score = (number(cell, f"line {line}: {node}.{part}") for cell, part in zip(cells, PARTS, strict=True))
            xy[f, i, k] = as_xy(x, y, OFFSET, f"line {line}: {node}")
            confidence[f, i, k] = as_confidence(score, not np.isnan(x))
            exact[f, i, k] = [None if place is None else row[place] for place in places]
    made = Keypoints(
        np.array(list(frames), np.int64),
        xy,
        tuple(nodes),
        tuple(individuals) or ("",),
        confidence,
    )
    place = columns.index("instance.score") if "instance.score" in columns else None
    scores = {key: "" if place is None else row[place] for key, (_, row) in records.items()}
    tracks = tuple(row[columns.index("track")] if "track" in columns else "" for _, row in records.values())
    head = _Head(tuple(columns), tuple(records), tracks, scores, dialect)
    return with_source(made, FORMAT, head, exact)


def _nodes(columns: list[str]) -> dict[str, list[int | None]]:
    """Where x, y and score of each node stand."""
    if "frame_idx" not in columns:
        raise InputError(
            f"header {','.join(columns)[:80]!r}; expected {','.join(LEADING)},NODE.x,NODE.y,NODE.score,..."
        )
    nodes: dict[str, list[int | None]] = {}
    for place, column in enumerate(columns):
        if columns.index(column) != place:
            raise InputError(f"column {place + 1}: {column!r} is there twice")
        if column in LEADING:
            continue
        node, _, part = column.rpartition(".")
        if part not in PARTS or not node:
            raise InputError(f"column {place + 1}: {column[:40]!r}; expected NODE.x, NODE.y or NODE.score")
        nodes.setdefault(node, [None] * 3)[PARTS.index(part)] = place
    for node, places in nodes.items():
        if places[0] is None or places[1] is None:
            raise InputError(f"node {node!r} has no column {node}.{'x' if places[0] is None else 'y'}")
    if not nodes:
        raise InputError("no columns of nodes; expected NODE.x, NODE.y and NODE.score")
    return nodes


def besides(source: KeypointSource) -> list[str]:
    above = any(number(cell, "") > 1 for cell in source.exact[..., 2].flat if cell)
    held = {"the scores of instances": any(source.head.scores.values()), "how far scores are above 1": above}
    return [what for what, there in held.items() if there]


def save(keypoints: Keypoints, file: IO[bytes]) -> list[str]:
    source = keypoints.source
    head: _Head | None = source.head if source is not None and source.format == FORMAT else None
    columns = (
        head.columns if head else (*LEADING, *(f"{name}.{part}" for name in keypoints.bodyparts for part in PARTS))
    )
    values = written(keypoints, FORMAT, OFFSET)
    row_of = {int(row): f for f, row in enumerate(keypoints.origin) if row >= 0}
    kept = [(row_of[r], i) for r, i in (head.rows if head else ()) if r in row_of]
    named = (
        {(row_of[r], i): name for (r, i), name in zip(head.rows, head.tracks, strict=True) if r in row_of}
        if head
        else {}
    )
    wanted = np.asarray(keypoints.known.any(axis=2))
    for key in kept:
        wanted[key] = True
    order = [(int(f), int(i)) for f, i in np.argwhere(wanted)]
    rows: list[list[object]] = [list(columns)]
    for f, i in kept if len(kept) == len(order) else order:
        known = keypoints.known[f, i]
        cells = {
            "track": named.get((f, i), keypoints.individuals[i]),
            "frame_idx": int(keypoints.frame[f]),
            "instance.score": _score(keypoints, values, head, f, i),
        }
        for k, node in enumerate(keypoints.bodyparts):
            score = values[f, i, k, 2] if known[k] or keypoints.origin[f] >= 0 else ""
            cells |= {f"{node}.x": values[f, i, k, 0], f"{node}.y": values[f, i, k, 1], f"{node}.score": score}
        rows.append([cells[column] for column in columns])
    write_rows(file, rows, head.dialect if head else Dialect())
    keeps = ["individuals"] + (["confidence"] if any(column.endswith(".score") for column in columns[3:]) else [])
    return losses(keypoints, keeps)


def _score(keypoints: Keypoints, values: np.ndarray, head: _Head | None, f: int, i: int) -> str:
    """The instance's own where nothing in it has changed, else the mean of its joints."""
    row = int(keypoints.origin[f])
    if head and row >= 0 and (row, i) in head.scores and keypoints.source is not None:
        same = np.array_equal(keypoints.xy[f, i], keypoints.source.xy[row, i], equal_nan=True)
        if same and np.array_equal(keypoints.confidence[f, i], keypoints.source.confidence[row, i]):
            return head.scores[row, i]
    known = keypoints.known[f, i]
    return shortest(np.float32(keypoints.confidence[f, i][known].mean())) if known.any() else ""
