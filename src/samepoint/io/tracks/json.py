"""Tracks as JSON that people can read.

``{"fps": 25.0, "size": [height, width], "frames": T, "points": [{"name": "0", "xy": [null, [x, y], ...],
"visible": [...], "confidence": [...]}, ...]}``; null where a point is not known.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO, Any

import numpy as np

from samepoint.errors import InputError
from samepoint.structures import Tracks


def _short(array: np.ndarray) -> Any:
    """Numbers with just the digits that give back the same float32."""
    return np.asarray(array.astype(str).astype(np.float64)).tolist()


def save(tracks: Tracks, file: IO[bytes]) -> None:
    head = {"fps": tracks.fps, "size": list(tracks.size), "frames": tracks.frames}
    file.write((json.dumps(head)[:-1] + ', "points": [').encode())
    for point, name in enumerate(tracks.names):
        known = ~np.isnan(tracks.xy[point, :, 0])
        xy = [place if is_known else None for place, is_known in zip(_short(tracks.xy[point]), known, strict=True)]
        entry = {
            "name": name,
            "xy": xy,
            "visible": tracks.visible[point].tolist(),
            "confidence": _short(tracks.confidence[point]),
        }
        file.write((",\n" if point else "\n").encode() + json.dumps(entry, ensure_ascii=False).encode())
    file.write(b"\n]}\n")


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def load(path: Path) -> Tracks:
    """Raises InputError, naming the point, where the structure is another."""
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON ({error})") from None
    if not isinstance(data, dict) or not {"fps", "size", "frames", "points"} <= data.keys():
        raise InputError("expected an object with fps, size, frames and points")
    frames, points, size = data["frames"], data["points"], data["size"]
    if (
        not _whole(frames)
        or frames > 10**9
        or not isinstance(points, list)
        or not isinstance(size, list)
        or not all(map(_whole, size))
    ):
        raise InputError("expected frames as a whole number, size as [height, width] and points as a list")
    if not _number(data["fps"]):
        raise InputError(f"fps is {data['fps']!r}; expected a number")
    entries = [_entry(entry, index, frames) for index, entry in enumerate(points)]
    shape = (len(entries), frames)
    xy = np.array([entry[1] for entry in entries], np.float64).reshape(*shape, 2)
    visible = np.array([entry[2] for entry in entries], bool).reshape(shape)
    confidence = np.array([entry[3] for entry in entries], np.float64).reshape(shape)
    return Tracks(xy, visible, confidence, data["fps"], tuple(size), tuple(entry[0] for entry in entries))


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


_BEYOND_FLOAT32 = 2.0**128 - 2.0**103  # what lies below rounds to a finite float32


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _BEYOND_FLOAT32


def _entry(entry: Any, index: int, frames: int) -> tuple[str, list[Any], list[bool], list[float]]:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise InputError(f"point {index}: expected an object with name, xy, visible and confidence")
    xy, visible, confidence = (_list(entry, key, index, frames) for key in ("xy", "visible", "confidence"))
    for place in xy:
        if place is not None and not (isinstance(place, list) and len(place) == 2 and all(map(_number, place))):
            raise InputError(f"point {index}: {str(place)[:40]} in xy; expected [x, y] or null")
    if not all(isinstance(value, bool) for value in visible) or not all(map(_number, confidence)):
        raise InputError(f"point {index}: visible must hold true or false, confidence numbers")
    return entry["name"], [[np.nan, np.nan] if place is None else place for place in xy], visible, confidence


def _list(entry: dict[str, Any], key: str, index: int, frames: int) -> list[Any]:
    values = entry.get(key)
    if not isinstance(values, list) or len(values) != frames:
        raise InputError(f"point {index}: {key} must be a list of {frames} entries")
    return values
