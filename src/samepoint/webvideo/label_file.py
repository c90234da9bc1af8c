"""Labels of a shot: places that a few hundred points take in its frames, and their compact file.

The file is an ``.npz`` that numpy alone reads::

    file = np.load(path)
    header = json.loads(str(file["header"]))                                # version, unit, size, start, fps, ...
    xy = np.cumsum(file["steps"], axis=0, dtype=np.uint16) * header["unit"]  # (T, N, 2) pixels
    alive = file["confidence"] > 0                                           # (T, N); places elsewhere mean nothing
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..io.atomic import atomic_write

VERSION = 1
_FORMAT = "samepoint labels"
_UNIT = 1 / 16  # pixels; coarser only where 16 bits do not reach across the picture
_LARGEST = 65535


@dataclass(frozen=True, eq=False)
class Labels:
    """N labels in the first T frames of a shot. A label begins in one frame and lives until it is lost.

    Attributes:
        xy: float32 (N, T, 2) pixels of the video; NaN where the label is not alive.
        confidence: float32 (N, T) in 0 to 1; 0 exactly where it is not alive.
        size: (H, W) of the video.
        start: the shot's first frame in the video; frame ``t`` of the labels is frame ``start + t``.
        fps: frames a second.
        foreground: float32 (N,) in 0 to 1, how likely each lies on something that moves by itself or in a mask; None
            where nobody asked.
        about: what made them, JSON values.
    """

    xy: np.ndarray
    confidence: np.ndarray
    size: tuple[int, int]
    start: int = 0
    fps: float = 25.0
    foreground: np.ndarray | None = None
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.xy.ndim != 3 or self.xy.shape[2] != 2 or self.confidence.shape != self.xy.shape[:2]:
            raise InputError(
                f"labels: expected xy (N, T, 2) and confidence (N, T), got {self.xy.shape} and {self.confidence.shape}"
            )

    def __len__(self) -> int:
        return len(self.xy)

    @property
    def frames(self) -> int:
        """T."""
        return int(self.xy.shape[1])

    @property
    def alive(self) -> np.ndarray:
        """bool (N, T)."""
        return self.confidence > 0

    @property
    def began(self) -> np.ndarray:
        """int64 (N,), the frame in which each label begins."""
        return self.alive.argmax(1) if self.frames else np.zeros(len(self), np.int64)

    @property
    def survival(self) -> np.ndarray:
        """int64 (N,), frames from a label's beginning to the last in which it is alive."""
        if not self.frames:
            return np.zeros(len(self), np.int64)
        alive = self.alive
        last = self.frames - 1 - alive[:, ::-1].argmax(1)
        return np.where(alive.any(1), last - alive.argmax(1), 0)

    def alive_shares(self, frames: int | None = None) -> list[float]:
        """Share of the labels alive 0, 1, 2, ... frames after they began.

        ``frames`` is the length of the shot, in which a label that is missing at the end was lost; T without. A label
        counts for as many frames as the shot has after its beginning.
        """
        length = self.frames if frames is None else frames
        began, alive = self.began, self.alive
        shares = []
        for after in range(length - int(began.min()) if len(self) else 0):
            time = began + after
            possible = time < length
            held = possible & (time < self.frames)
            shares.append(float(alive[held, time[held]].sum() / possible.sum()))
        return shares

    def between(self, first: int, second: int) -> np.ndarray:
        """Indices (M,) of the labels that are alive in both frames."""
        return np.flatnonzero((self.confidence[:, first] > 0) & (self.confidence[:, second] > 0))


def write_labels(path: str | Path, labels: Labels) -> int:
    """Write the file, whole or not at all. Returns its size in bytes.

    Places are rounded to the header's ``unit``, 1/16 pixel unless the video is wider than 4,095 pixels; confidences to
    1/255, those of live labels upwards from 1/255.
    """
    unit = max(_UNIT, max(labels.size) / _LARGEST)
    alive = labels.alive.T
    places = np.zeros((labels.frames, len(labels), 2), np.uint16)
    places[alive] = np.clip(np.rint(labels.xy.transpose(1, 0, 2)[alive] / unit), 0, _LARGEST)
    for t in range(1, labels.frames):  # a label that is lost stays where it was, which costs nothing
        places[t] = np.where(alive[t][:, None], places[t], places[t - 1])
    steps = np.diff(places, axis=0, prepend=np.zeros_like(places[:1]))  # modulo 2**16, as the sum that undoes it
    confidence = np.where(alive, np.clip(np.rint(labels.confidence.T * 255), 1, 255), 0).astype(np.uint8)
    header = {
        "format": _FORMAT,
        "version": VERSION,
        "unit": unit,
        "size": list(labels.size),
        "start": labels.start,
        "fps": labels.fps,
        "about": labels.about,
    }
    arrays: dict[str, Any] = {
        "header": np.array(json.dumps(header, sort_keys=True)),
        "steps": steps,
        "confidence": confidence,
    }
    if labels.foreground is not None:
        arrays["foreground"] = np.rint(labels.foreground * 255).astype(np.uint8)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        np.savez_compressed(file, **arrays)
    return path.stat().st_size


def read_labels(path: str | Path) -> Labels:
    """Read what :func:`write_labels` wrote.

    Raises:
        InputError: not such a file, a damaged one, or one of a later version.
    """
    path = Path(path)
    try:
        # Opened here: numpy leaves a file that is no archive open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            header = json.loads(str(file["header"]))
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a readable label file ({' '.join(str(error).split())})") from error
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise InputError(f"{path}: not a label file; its header does not say {_FORMAT!r}")
    if header.get("version") != VERSION:
        raise InputError(f"{path}: label file of version {header.get('version')}, expected {VERSION}")
    try:
        return _decoded(header, arrays)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise InputError(f"{path}: damaged label file ({error})") from error


def _decoded(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Labels:
    confidence = arrays["confidence"].T.astype(np.float32) / 255
    places = np.cumsum(arrays["steps"], axis=0, dtype=np.uint16)
    xy = (places * float(header["unit"])).transpose(1, 0, 2).astype(np.float32)
    if xy.shape[:2] != confidence.shape:
        raise ValueError(f"steps {arrays['steps'].shape}, confidence {arrays['confidence'].shape}")
    xy[confidence == 0] = np.nan
    foreground = arrays.get("foreground")
    return Labels(
        xy,
        confidence,
        (int(header["size"][0]), int(header["size"][1])),
        int(header["start"]),
        float(header["fps"]),
        None if foreground is None else foreground.astype(np.float32) / 255,
        dict(header["about"]),
    )
