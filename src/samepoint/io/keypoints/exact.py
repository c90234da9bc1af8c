"""Numbers of keypoint files: read with their place in the message, written as they were or as short as they can be."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from samepoint.errors import InputError
from samepoint.structures import Keypoints, KeypointSource

_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
FARTHEST = 1e7  # pixels; float32 holds a position of this size to half a pixel
LAST_FRAME = 999_999_999
SIZE = "the size of the pictures"


def is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text.strip()) is not None


def number(text: str, where: str) -> float:
    """A finite number, or NaN of an empty cell or "nan"."""
    stripped = text.strip()
    if stripped.lower() in ("", "nan"):
        return math.nan
    value = float(stripped) if len(stripped) < 64 and is_number(stripped) else math.inf
    if not abs(value) <= FARTHEST:
        raise InputError(f"{where}: {text[:40]!r} is not a number; expected a number or nothing")
    return value


def whole(text: str, where: str) -> int:
    """A whole number of 0 or more, as frames are."""
    if not re.fullmatch(r"[0-9]{1,9}", text.strip()):
        raise InputError(f"{where}: {text[:40]!r} is not a frame; expected a whole number of 0 or more")
    return int(text)


def as_xy(x: float, y: float, offset: float, where: str) -> tuple[float, float]:
    """A position in our pixels, NaN in both where both are missing."""
    if math.isnan(x) != math.isnan(y):
        raise InputError(
            f"{where}: {'x' if math.isnan(x) else 'y'} is missing, but not {'y' if math.isnan(x) else 'x'}"
        )
    return x + offset, y + offset


def as_confidence(value: float, known: bool) -> float:
    """A file's score as a confidence: 1 where a known joint has none; scores outside 0..1 count as 0 or 1."""
    if not known:
        return 0.0
    return 1.0 if math.isnan(value) else min(max(value, 0.0), 1.0)


def exact_values(keypoints: Keypoints, format: str) -> np.ndarray:
    """object (F, I, K, 3): how the source of this format wrote x, y and confidence; None where they have changed."""
    found = np.full((*keypoints.shape, 3), None, object)
    source = keypoints.source
    if source is None or source.format != format:
        return found
    rows = np.flatnonzero(keypoints.origin >= 0)
    origin = keypoints.origin[rows]
    same = np.empty((len(rows), *keypoints.shape[1:], 3), bool)
    now, then = keypoints.xy[rows], source.xy[origin]
    same[..., :2] = ((now == then) | (np.isnan(now) & np.isnan(then))).all(axis=-1, keepdims=True)
    same[..., 2] = keypoints.confidence[rows] == source.confidence[origin]
    found[rows] = np.where(same, source.exact[origin], None)
    return found


def shortest(value: Any, offset: float = 0.0) -> str:
    """The fewest digits that give ``value``, a float32, back after ``offset`` is added; "" for NaN.

    >>> shortest(np.float32(10.6), offset=0.5)
    '10.1'
    """
    if np.isnan(value):
        return ""
    target = float(value) - offset
    for digits in range(6, 18):
        text = f"{target:.{digits}g}"
        if np.float32(float(text) + offset) == value:
            break
    return text if "." in text or "e" in text else f"{text}.0"


def written(keypoints: Keypoints, format: str, offset: float) -> np.ndarray:
    """object (F, I, K, 3): x, y and confidence as this format writes them, as they were read where they still are."""
    values = exact_values(keypoints, format)
    for f, i, k in np.ndindex(*keypoints.shape):
        cell = values[f, i, k]
        xy = keypoints.xy[f, i, k]
        if cell[0] is None:
            cell[0], cell[1] = shortest(xy[0], offset), shortest(xy[1], offset)
        if cell[2] is None:
            cell[2] = "" if np.isnan(xy[0]) else shortest(keypoints.confidence[f, i, k])
    return values


def with_source(keypoints: Keypoints, format: str, head: object, exact: np.ndarray) -> Keypoints:
    """The keypoints of a file, knowing the file; their frames are its rows."""
    source = KeypointSource(format, head, keypoints.xy, keypoints.confidence, exact)
    return replace(keypoints, source=source, origin=np.arange(keypoints.shape[0]))


def frame_of_name(name: str) -> int:
    """The frame that a picture's name says: the number at its end; -1 where there is none.

    >>> frame_of_name("labeled-data/mouse/img0042.png"), frame_of_name("front.png")
    (42, -1)
    """
    stem = re.split(r"[/\\]", name)[-1].rsplit(".", 1)[0]
    digits = re.search(r"([0-9]{1,12})$", stem)
    return int(digits[1]) if digits else -1


def losses(keypoints: Keypoints, keeps: Iterable[str]) -> list[str]:
    """What these keypoints hold and a format does not that ``keeps`` only some of these things."""
    known, keeps = keypoints.known, set(keeps)
    # Without flags a joint counts as visible by its confidence, and without that wherever it has a position.
    unlike = known & (keypoints.visible != (keypoints.confidence >= 0.5 if "confidence" in keeps else known))
    by_default = np.broadcast_to(known.any(axis=2, keepdims=True), known.shape)
    held = {
        "confidence": (bool((keypoints.confidence[known] != 1).any()), "the confidence of each joint"),
        "visible": (bool(unlike.any()), "which joints are hidden"),
        "labelled": (bool((keypoints.labelled != by_default).any()), "which joints were labelled by a person"),
        "skeleton": (bool(keypoints.skeleton), "the skeleton"),
        "images": (bool(keypoints.images), "the names of the pictures"),
        "individuals": (any(keypoints.individuals), "the names of the individuals"),
    }
    return [message for key, (there, message) in held.items() if there and key not in keeps]
