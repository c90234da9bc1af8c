"""The same video found twice: by id, and by a perceptual hash of its thumbnail or frames.

A hash has a bit for each of the 16 x 16 lowest frequencies of a picture (discrete cosine transform of its 64 x 64 grey
places): its sign. It stays when a picture is scaled, made brighter or compressed again. ``t`` marks the hash of a
thumbnail, ``f`` that of three frames; only hashes of one kind can be compared.
"""

from __future__ import annotations

import filecmp
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from .pictures import frames_at
from .rows import Row

_log = logging.getLogger(__name__)

_SIDE = 16
_BITS = _SIDE * _SIDE
_DIGITS = _BITS // 4
_FLAT = 4.0
"""Grey values by which a picture must vary to be told by its hash; black frames are all alike."""
_SAME_LENGTH = 0.1
"""Seconds by which files differ that are one recording; what a fixed camera saw at other times looks alike too."""
_PLACES = (0.15, 0.5, 0.85)
"""Of the frames that stand for a video, shares of its length."""


class DuplicateSettings(BaseModel):
    """When two candidates are one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    perceptual: bool = True  # compare thumbnails and frames too, not only ids
    distance: int = Field(20, ge=0, le=64)  # bits of a picture's 256; scenes of one video differ by 25 and more
    seconds: float = Field(2.0, ge=0)  # by which durations may differ


def hash_picture(rgb: NDArray[np.uint8]) -> str | None:
    """256 bits as 64 hexadecimal digits of a picture uint8 RGB (H, W, 3); None where it is all of one grey."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    if float(grey.std()) < _FLAT:
        return None
    small = cv2.resize(grey, (4 * _SIDE, 4 * _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:_SIDE, :_SIDE]
    low[0, 0] = 0  # the mean
    return np.packbits(low.ravel() > 0).tobytes().hex()


def hash_thumbnail(rgb: NDArray[np.uint8]) -> str | None:
    """The hash of a candidate's thumbnail."""
    found = hash_picture(rgb)
    return f"t{found}" if found else None


def hash_video(path: Path) -> str | None:
    """The hash of three frames of a file; None where one of them is flat or cannot be read."""
    frames = frames_at(path, _PLACES)
    found = [hash_picture(frame) for frame in frames]
    return "f" + "".join(one for one in found if one) if found and all(found) else None


def merge(rows: Iterable[Row], settings: DuplicateSettings) -> list[Row]:
    """Each video once, in the order they came; the classes of the others are in the first one's ``also_in``.

    Two hashes within the distance agree in one of (distance + 1) stretches of bits at least, so only rows that share
    one are compared.
    """
    kept: dict[str, Row] = {}
    buckets: defaultdict[tuple[str, int, int], list[str]] = defaultdict(list)
    for row in rows:
        name = str(row["video"])
        if name in kept:
            _note(kept[name], row)
            continue
        stretches = list(_stretches(row.get("phash"), settings.distance)) if settings.perceptual else []
        near = {other for stretch in stretches for other in buckets.get(stretch, ())}
        same = [other for other in kept if other in near and _same(kept[other], row, settings)] if near else []
        if same:
            if row.get("source") == "folder":
                _log.warning("%s: passed over, it looks like %s", row.get("path"), kept[same[0]].get("path") or same[0])
            _note(kept[same[0]], row)
            continue
        kept[name] = dict(row)
        for stretch in stretches:
            buckets[stretch].append(name)
    return list(kept.values())


def _note(first: Row, second: Row) -> None:
    classes = {*(first.get("also_in") or ()), *(second.get("also_in") or ()), second["class"]} - {first["class"]}
    first["also_in"] = sorted(classes)


def _pictures(phash: str) -> list[int]:
    return [int(phash[at : at + _DIGITS], 16) for at in range(1, len(phash), _DIGITS)]


def _stretches(phash: str | None, distance: int) -> Iterator[tuple[str, int, int]]:
    """Pieces of a hash of which two hashes within ``distance`` bits a picture have one in common.

    If the mean over the pictures is within it, so is one of the pictures.
    """
    edges = [index * _BITS // (distance + 1) for index in range(distance + 2)]
    for picture, bits in enumerate(_pictures(phash or "")):
        for index, (low, high) in enumerate(pairwise(edges)):
            yield f"{(phash or '')[0]}{picture}", index, (bits >> low) & ((1 << (high - low)) - 1)


def distance(first: str, second: str) -> float | None:
    """Bits by which two hashes differ, the mean over their pictures; None where they are of different kinds."""
    if first[0] != second[0] or len(first) != len(second):
        return None
    pairs = list(zip(_pictures(first), _pictures(second), strict=True))
    return sum((one ^ other).bit_count() for one, other in pairs) / len(pairs)


def _same(first: Row, second: Row, settings: DuplicateSettings) -> bool:
    apart = distance(str(first["phash"]), str(second["phash"]))
    if apart is None or apart > settings.distance:
        return False
    durations = first.get("duration"), second.get("duration")
    files = first.get("source") == second.get("source") == "folder"
    if files and durations == (None, None):
        return filecmp.cmp(str(first["path"]), str(second["path"]), shallow=False)
    if durations[0] is None or durations[1] is None:
        return not files
    return bool(
        abs(durations[0] - durations[1]) <= (min(settings.seconds, _SAME_LENGTH) if files else settings.seconds)
    )
