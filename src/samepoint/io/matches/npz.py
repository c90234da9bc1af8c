"""Matches as NPZ; nothing is pickled.

P targets, N points each: ``source_xy`` (N, 2), ``target_xy`` (P, N, 2), ``confidence`` (P, N), ``found`` (P, N),
``source_size`` (2,) and ``target_size`` (P, 2) as height, width, ``names`` (N,), ``source`` () and ``target`` (P,).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from samepoint.errors import InputError
from samepoint.structures import Matches

KEYS = ("source_xy", "target_xy", "confidence", "found", "source_size", "target_size", "names", "source", "target")


def save(pairs: Sequence[Matches], file: IO[bytes]) -> None:
    """Raises InputError unless all targets have the same points."""
    first = pairs[0]
    for matches in pairs[1:]:
        if matches.names != first.names or not np.array_equal(matches.source_xy, first.source_xy):
            raise InputError(f"NPZ holds the same points in every target; those of {matches.target!r} are others")
    np.savez_compressed(
        file,
        source_xy=first.source_xy,
        target_xy=np.stack([matches.target_xy for matches in pairs]),
        confidence=np.stack([matches.confidence for matches in pairs]),
        found=np.stack([matches.found for matches in pairs]),
        source_size=np.array(first.source_size, np.int64),
        target_size=np.array([matches.target_size for matches in pairs], np.int64),
        names=np.array(first.names, dtype=np.str_),
        source=np.array(first.source, dtype=np.str_),
        target=np.array([matches.target for matches in pairs], dtype=np.str_),
    )


def load(path: Path) -> list[Matches]:
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
    if any(arrays[key].dtype.kind != "U" for key in ("names", "source", "target")) or arrays["names"].ndim != 1:
        raise InputError("names, source and target must be strings")
    count = arrays["target"].size
    shapes = {"target": (count,), "target_size": (count, 2), "source_size": (2,), "source": ()}
    for key, shape in shapes.items():
        if arrays[key].shape != shape:
            raise InputError(f"{key} must have the shape {shape}, got {arrays[key].shape}")
    for key in ("target_xy", "confidence", "found"):
        if arrays[key].shape[:1] != (count,):
            raise InputError(f"{key} must have {count} entries, one a target, got the shape {arrays[key].shape}")
    pairs = [
        Matches(
            arrays["source_xy"],
            arrays["target_xy"][number],
            arrays["confidence"][number],
            tuple(arrays["source_size"].tolist()),
            tuple(arrays["target_size"][number].tolist()),
            tuple(arrays["names"].tolist()),
            str(arrays["source"]),
            str(target),
        )
        for number, target in enumerate(arrays["target"])
    ]
    for number, matches in enumerate(pairs):
        if not np.array_equal(arrays["found"][number], matches.found):
            raise InputError(f"found of {matches.target!r} is not where confidence is 0.5 or more")
    return pairs
