"""Tracks as NPZ with the keys xy, visible, confidence, fps, size (height, width) and names; nothing is pickled."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import IO

import numpy as np

from samepoint.errors import InputError
from samepoint.structures import Tracks

KEYS = ("xy", "visible", "confidence", "fps", "size", "names")


def save(tracks: Tracks, file: IO[bytes]) -> None:
    np.savez_compressed(
        file,
        xy=tracks.xy,
        visible=tracks.visible,
        confidence=tracks.confidence,
        fps=np.float64(tracks.fps),
        size=np.array(tracks.size, np.int64),
        names=np.array(tracks.names, dtype=np.str_),
    )


def load(path: Path) -> Tracks:
    """Raises InputError where a key is missing or the content is no NPZ."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with path.open("rb") as file:
                archive = np.load(file, allow_pickle=False)
                if not isinstance(archive, np.lib.npyio.NpzFile):
                    raise InputError("is a single array; expected an NPZ archive")
                missing = [key for key in KEYS if key not in archive]
                arrays = {} if missing else {key: archive[key] for key in KEYS}
    except InputError:
        raise
    except Exception as error:  # damaged zip and npy data raise a dozen kinds of errors
        raise InputError(f"not NPZ ({type(error).__name__}: {error})") from None
    if missing:
        raise InputError(f"the key {missing[0]!r} is missing; expected {', '.join(KEYS)}")
    if arrays["names"].ndim != 1 or arrays["names"].dtype.kind != "U":
        raise InputError("names must be strings")
    if arrays["fps"].ndim or arrays["size"].shape != (2,):
        raise InputError("expected fps as one number and size as (height, width)")
    return Tracks(
        arrays["xy"],
        arrays["visible"],
        arrays["confidence"],
        arrays["fps"].item(),
        tuple(arrays["size"].tolist()),
        tuple(arrays["names"].tolist()),
    )
