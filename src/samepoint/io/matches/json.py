"""Matches as JSON that people can read.

``{"source": name, "source_size": [height, width], "targets": [{"target": name, "size": [height, width], "points":
[{"name": "0", "source": [x, y], "target": [x, y], "found": true, "confidence": 0.9}, ...]}, ...]}``; ``"target": null``
where there is not even a guess.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from samepoint.errors import InputError
from samepoint.structures import Matches


def _short(array: np.ndarray) -> Any:
    """Numbers with just the digits that give back the same float32."""
    return np.asarray(array.astype(str).astype(np.float64)).tolist()


def save(pairs: Sequence[Matches], file: IO[bytes]) -> None:
    head = {"source": pairs[0].source, "source_size": list(pairs[0].source_size)}
    file.write((json.dumps(head, ensure_ascii=False)[:-1] + ', "targets": [').encode())
    for number, matches in enumerate(pairs):
        entry = {"target": matches.target, "size": list(matches.target_size)}
        file.write(
            ((",\n" if number else "\n") + json.dumps(entry, ensure_ascii=False)[:-1] + ', "points": [').encode()
        )
        source, target, confidence = map(_short, (matches.source_xy, matches.target_xy, matches.confidence))
        for point, name in enumerate(matches.names):
            record = {
                "name": name,
                "source": source[point],
                "target": None if np.isnan(target[point][0]) else target[point],
                "found": bool(matches.found[point]),
                "confidence": confidence[point],
            }
            file.write(((",\n" if point else "\n") + json.dumps(record, ensure_ascii=False)).encode())
        file.write(b"\n]}")
    file.write(b"\n]}\n")


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def load(path: Path) -> list[Matches]:
    """Raises InputError, naming the place, where the structure is another."""
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON ({str(error)[:120]})") from None
    if isinstance(data, dict) and {"images", "annotations"} <= data.keys():
        raise InputError("is a COCO file, which has no room for the source; Keypoints.load reads it")
    if not isinstance(data, dict) or not isinstance(data.get("targets"), list) or not _text(data.get("source")):
        raise InputError("expected an object with source, source_size and targets")
    source_size = _size(data.get("source_size"), "source_size")
    return [_matches(entry, f"targets[{n}]", data["source"], source_size) for n, entry in enumerate(data["targets"])]


def _matches(entry: Any, where: str, source: str, source_size: tuple[int, int]) -> Matches:
    if not isinstance(entry, dict) or not isinstance(entry.get("points"), list) or not _text(entry.get("target")):
        raise InputError(f"{where}: expected an object with target, size and points")
    size = _size(entry.get("size"), f"{where}: size")
    count = len(entry["points"])
    values, names = np.full((count, 5), np.nan), []
    for index, point in enumerate(entry["points"]):
        at = f"{where}: points[{index}]"
        if not isinstance(point, dict) or not _text(point.get("name")) or not isinstance(point.get("found"), bool):
            raise InputError(f"{at}: expected an object with name, source, target, found and confidence")
        if not _numbers([point.get("confidence")], 1) or not _numbers(point.get("source"), 2):
            raise InputError(f"{at}: expected source as [x, y] and confidence as a number")
        values[index, :2], values[index, 4] = point["source"], point["confidence"]
        if point.get("target") is not None:
            if not _numbers(point["target"], 2):
                raise InputError(f"{at}: target is {str(point['target'])[:40]}; expected [x, y] or null")
            values[index, 2:4] = point["target"]
        if point["found"] != (np.float32(point["confidence"]) >= 0.5):
            raise InputError(f"{at}: found is {point['found']} at confidence {point['confidence']:g}")
        names.append(point["name"])
    return Matches(
        values[:, :2], values[:, 2:4], values[:, 4], source_size, size, tuple(names), source, entry["target"]
    )


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _numbers(value: Any, count: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == count
        and all(isinstance(n, (int, float)) and not isinstance(n, bool) and abs(n) < 2.0**127 for n in value)
    )


def _size(value: Any, where: str) -> tuple[int, int]:
    if not _numbers(value, 2) or any(side != int(side) or side < 1 for side in value):
        raise InputError(f"{where} is {str(value)[:40]}; expected [height, width]")
    return int(value[0]), int(value[1])
