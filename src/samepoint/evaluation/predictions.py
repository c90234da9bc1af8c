"""Predictions on disk: one file an item, with the settings that made them: a run resumes, and a score repeats."""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samepoint.errors import InputError
from samepoint.io.atomic import atomic_path, atomic_write
from samepoint.process import peak_memory

Arrays = dict[str, NDArray[Any]]

_SETTINGS = "settings.json"


class Predictions:
    """A folder of predictions: ``<item>.npz`` each, and ``settings.json``.

    Args:
        folder: made when the first prediction is saved.
        settings: everything that decides what a prediction is, as JSON can say it.
        overwrite: give up predictions that other settings made, instead of refusing to mix with them.

    Raises:
        InputError: the folder holds predictions of other settings; says which differ.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.folder = folder
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))
        stored = _stored_settings(folder)
        if stored is None or stored == self.settings:
            return
        if not overwrite:
            raise InputError(
                f"{folder}: holds predictions made with other settings ({_difference(stored, self.settings)}); "
                "give another output, or --overwrite to replace them"
            )
        for path in folder.rglob("*.npz"):
            path.unlink()
        (folder / _SETTINGS).unlink()

    def path(self, item: str) -> Path:
        """Where the prediction of an item lies; its name may hold slashes."""
        return self.folder / f"{item}.npz"

    def has(self, item: str) -> bool:
        return self.path(item).is_file()

    def make(self, item: str, predict: Callable[[], Arrays]) -> None:
        """Save what ``predict`` gives, whole or not at all, with the seconds it took and the memory it reached."""
        began = time.perf_counter()
        arrays = predict()
        seconds = time.perf_counter() - began
        path = self.path(item)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not (self.folder / _SETTINGS).exists():
            with atomic_write(self.folder / _SETTINGS, "w") as file:
                file.write(json.dumps(self.settings, indent=1, sort_keys=True) + "\n")
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **arrays, seconds=np.float64(seconds), peak_memory=np.int64(peak_memory() or 0))

    def load(self, item: str) -> Arrays:
        """The arrays of an item.

        Raises:
            InputError: missing or damaged.
        """
        path = self.path(item)
        try:
            with np.load(path, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except FileNotFoundError:
            raise InputError(f"{path}: this prediction is missing; run evaluate again to make it") from None
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
            raise InputError(f"{path}: not a readable prediction ({error}); remove it and run evaluate again") from None


def _stored_settings(folder: Path) -> dict[str, Any] | None:
    path = folder / _SETTINGS
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected an object with the settings of the predictions")
    return value


def _difference(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """Which entries differ, the first three.

    >>> _difference({"a": 1, "b": 2}, {"a": 1, "b": 3})
    'b: 2, now 3'
    """
    keys = [key for key in sorted({*stored, *asked}) if stored.get(key) != asked.get(key)]
    parts = [f"{key}: {json.dumps(stored.get(key))}, now {json.dumps(asked.get(key))}" for key in keys[:3]]
    return "; ".join(parts)
