"""Tracks as a TAP-Vid pickle: a dict with ``points`` (N, T, 2), fractions of width and height, and ``occluded`` (N, T).

Beside the official keys ours carry confidence, known, fps, size (height, width) and names; other readers pass over
them. A point that is not known is (0, 0) and occluded, since the official format has no other word for it.
Format: Doersch et al., TAP-Vid, 2022.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from samepoint.errors import InputError
from samepoint.io.pickles import load_pickle
from samepoint.structures import DEFAULT_FPS, Tracks


def save(tracks: Tracks, file: IO[bytes]) -> None:
    sample: dict[str, Any] = dict(tracks.to_tapvid())
    sample["confidence"] = tracks.confidence
    sample["known"] = ~np.isnan(tracks.xy[..., 0])
    sample |= {"fps": tracks.fps, "size": tracks.size, "names": list(tracks.names)}
    pickle.dump(sample, file, protocol=4)


def _sample(data: Any) -> dict[Any, Any]:
    """The sample itself, or the only one of a set (a dict by name, or a list)."""
    if isinstance(data, dict) and "points" not in data:
        data = list(data.values())
    if isinstance(data, (list, tuple)):
        if len(data) != 1:
            raise InputError(f"holds {len(data)} samples; expected a single one")
        data = data[0]
    if not isinstance(data, dict) or not {"points", "occluded"} <= data.keys():
        raise InputError("expected a dict with points and occluded")
    return data


def _size(sample: dict[Any, Any]) -> Any:
    if "size" in sample:
        return sample["size"]
    video = sample.get("video")
    if isinstance(video, (list, tuple)) and video and isinstance(video[0], bytes):
        try:
            with Image.open(io.BytesIO(video[0])) as image:
                return image.size[::-1]
        except (UnidentifiedImageError, OSError, ValueError):
            raise InputError("the video in it holds no readable pictures") from None
    shape = np.shape(video[0]) if isinstance(video, (list, tuple, np.ndarray)) and len(video) else ()
    if len(shape) != 3:
        raise InputError("has neither size nor video, so pixels are unknown; give the size to Tracks.from_tapvid")
    return shape[:2]


def load(path: Path) -> Tracks:
    """A sample of ours, or an official one with its video (25 fps, confidence 0 or 1). Raises InputError otherwise."""
    sample = _sample(load_pickle(path))
    names = sample.get("names", ())
    if not isinstance(names, (list, tuple)):
        raise InputError("names must be a list of strings")
    try:
        size = _size(sample)
    except (TypeError, ValueError) as error:
        raise error if isinstance(error, InputError) else InputError("video must be (T, H, W, 3)") from None
    fps = sample.get("fps", DEFAULT_FPS)
    plain = Tracks.from_tapvid(sample["points"], sample["occluded"], size=size, fps=fps, names=names)
    known = _like(sample.get("known"), plain.visible, "known")
    confidence = _like(sample.get("confidence"), plain.confidence, "confidence")
    xy = plain.xy if known is None else np.where(known[..., None].astype(bool), plain.xy, np.float32(np.nan))
    values = plain.confidence if confidence is None else confidence
    return Tracks(xy, plain.visible, values, plain.fps, plain.size, plain.names)


def _like(array: Any, like: np.ndarray, key: str) -> np.ndarray | None:
    if array is None:
        return None
    if not isinstance(array, np.ndarray) or array.dtype != like.dtype or array.shape != like.shape:
        raise InputError(f"{key} must be {like.dtype} of the shape {like.shape}")
    return array
