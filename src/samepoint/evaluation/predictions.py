"""Predictions on disk: one file an item, with the settings that made them: a run resumes, and a score repeats."""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from samepoint.errors import InputError
from samepoint.evaluation.result_file import no_constant
from samepoint.io.atomic import atomic_path, atomic_write
from samepoint.process import peak_memory

Arrays = dict[str, NDArray[Any]]

_SETTINGS = "settings.json"
_LONGEST = 180
_KINDS = {"f": "numbers", "i": "whole numbers"}
_PLAIN = " !#$&'()+,;=@[]^`{}~-_."
_LATER = ("root", "settings.side")
"""Entries that ``settings.json`` did not always have: where they lack nothing is said."""
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Prediction:
    """One item's arrays, and the file they are from."""

    path: Path
    arrays: Mapping[str, NDArray[Any]]

    def get(self, name: str, shape: tuple[int | None, ...], kind: str = "f") -> NDArray[Any]:
        """An array of that shape (None: any length), of numbers ("f") or whole numbers ("i").

        Raises:
            InputError: it is not there, or is something else.
        """
        if name not in self.arrays:
            raise InputError(f"{self.path}: no array {name!r}; it has {', '.join(self.arrays) or 'none'}")
        array = self.arrays[name]
        fits = array.ndim == len(shape) and all(
            side in (None, given) for side, given in zip(shape, array.shape, strict=True)
        )
        if not fits or array.dtype.kind not in ("biuf" if kind == "f" else "biu"):
            wanted = "(" + ", ".join("any" if side is None else str(side) for side in shape) + ")"
            raise InputError(
                f"{self.path}: {name} is {array.dtype} of shape {array.shape}, expected {_KINDS[kind]} of {wanted}"
            )
        return array

    def equal(self, name: str, expected: NDArray[Any], what: str) -> None:
        """Raise InputError where the array is not ``expected``."""
        array = self.get(name, expected.shape)
        if not np.array_equal(array, expected):
            raise InputError(f"{self.path}: {name} is {_shown(array)}, {what} {_shown(expected)}")

    def cost(self, name: str) -> float:
        """``seconds`` or ``peak_memory``, 0 where it is not there. Raises InputError where it cannot be added up."""
        array: NDArray[Any] = self.arrays.get(name, np.zeros(()))
        if array.shape or array.dtype.kind not in "iuf" or not 0 <= array < math.inf:
            raise InputError(f"{self.path}: {name} is {_shown(array)}, expected one finite number, 0 or more")
        return float(array)

    @contextmanager
    def named(self) -> Iterator[None]:
        """Put the file's name before the InputErrors of the body."""
        try:
            yield
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from None


class Predictions:
    """A folder with ``<item>.npz`` each, and ``settings.json``, which says what made them.

    Args:
        folder: may not be there yet.
        made_by: ``benchmark``, ``task``, ``model`` (name, sha256), ``version``, ``root`` (the data's folder), and
            ``settings``: everything that decides what a prediction is, as JSON can say it.
    """

    def __init__(self, folder: Path, made_by: Mapping[str, Any]) -> None:
        self.folder = folder
        self.made_by: dict[str, Any] = json.loads(json.dumps(made_by, allow_nan=False))

    @classmethod
    def found(cls, folder: Path) -> Predictions:
        """What is in a folder, whatever made it; without ``settings.json`` nothing is known of that.

        Raises:
            InputError: no such folder, or a ``settings.json`` that cannot be used.
        """
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; predictions were expected there")
        return cls(folder, _stored(folder) or {})

    def check(self) -> None:
        """See whether :meth:`begin` may go on in the folder; nothing is changed.

        Raises:
            InputError: it holds predictions of other settings, other data or another version (says what differs), or
                of unknown ones.
        """
        stored = _stored(self.folder)
        if stored is None:
            if any(self.folder.rglob("*.npz")):
                raise InputError(
                    f"{self.folder}: holds predictions but no {_SETTINGS} that says what made them; "
                    "give another output, or --overwrite to make them anew"
                )
            return
        difference = _difference(_decisive(stored), _decisive(self.made_by))
        if difference:
            kinds = {"root": "from other data", "version": "by another version"}
            what = kinds.get(difference.partition(":")[0], "with other settings")
            raise InputError(
                f"{self.folder}: holds predictions made {what} ({difference}); "
                "give another output, or --overwrite to make them anew"
            )

    def check_asked(self, asks: Mapping[str, Any]) -> None:
        """Raise InputError where the predictions answer other questions, as far as their settings say.

        Args:
            asks: the settings that decide what is asked for.
        """
        told = self.made_by.get("settings", {})
        known = {key: value for key, value in asks.items() if key in told}
        difference = _difference({key: told[key] for key in known}, known)
        if difference:
            raise InputError(f"{self.folder}: holds predictions that were asked for otherwise ({difference})")

    def begin(self, *, overwrite: bool = False, items: Collection[str] = ()) -> None:
        """Make the folder, or go on in the one that is there.

        Args:
            overwrite: give up what is there: ``items`` alone where the rest was made in the same way.
            items: which are to be made.

        Raises:
            InputError: as :meth:`check`, unless it is to be overwritten; or nothing can be kept there.
        """
        try:
            self.check()
            stored = _stored(self.folder)
        except InputError:
            if not overwrite:
                raise
            stored = None
        if stored is not None:
            self.made_by = stored
            for path in self.folder.rglob(".*.part.npz"):  # of a process that was killed
                path.unlink()
            for item in items if overwrite else ():
                self.path(item).unlink(missing_ok=True)
            return
        for path in self.folder.rglob("*.npz"):
            path.unlink()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError, PermissionError) as error:
            raise InputError(f"{self.folder}: predictions cannot be kept there ({error.strerror})") from None
        with atomic_write(self.folder / _SETTINGS, "w") as file:
            file.write(json.dumps(self.made_by, indent=1, sort_keys=True) + "\n")

    def path(self, item: str) -> Path:
        """Where the prediction of an item lies."""
        return self.folder / f"{file_name(item)}.npz"

    def has(self, item: str) -> bool:
        return self.path(item).is_file()

    def make(self, item: str, predict: Callable[[], Arrays]) -> None:
        """Save what ``predict`` gives, whole or not at all, with the seconds it took and the memory it reached."""
        began = time.perf_counter()
        arrays = predict()
        seconds = time.perf_counter() - began
        path = self.path(item)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            cost = {"seconds": np.float64(seconds), "peak_memory": np.int64(peak_memory() or 0)}
            np.savez_compressed(file, **arrays, **cost)  # type: ignore[arg-type]

    def load(self, item: str) -> Prediction:
        """The arrays of an item.

        Raises:
            InputError: missing or damaged.
        """
        path = self.path(item)
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                return Prediction(path, {name: archive[name] for name in archive.files})
        except FileNotFoundError:
            raise InputError(f"{path}: missing; every item needs its prediction") from None
        except Exception as error:  # a damaged archive raises whatever zlib, zipfile or numpy run into
            raise InputError(f"{path}: not a readable prediction ({error}); remove it and run evaluate again") from None


def file_name(item: str) -> str:
    """An item's name as a relative path without suffix that every file system takes, different for different names.

    Slashes make folders. All but ASCII letters, digits and harmless signs become ``%`` and the hexadecimal digits of
    their UTF-8 bytes.

    >>> file_name("run/000002-2009_01-2009_02:aeroplane")
    'run/000002-2009_01-2009_02%3Aaeroplane'
    """
    return "/".join(_part(part) for part in item.split("/"))


def _part(name: str) -> str:
    plain = quote(name, safe=_PLAIN, errors="surrogatepass") or "%"
    if plain[0] == "." or _RESERVED.match(plain):  # hidden, the folder itself or above, a device
        plain = f"%{ord(plain[0]):02X}{plain[1:]}"
    if plain[-1] in ". ":  # dropped by Windows
        plain = f"{plain[:-1]}%{ord(plain[-1]):02X}"
    if len(plain) > _LONGEST:
        plain = f"{plain[:_LONGEST]}%{hashlib.sha256(plain.encode()).hexdigest()[:16]}"
    return plain


def _stored(folder: Path) -> dict[str, Any] | None:
    path = folder / _SETTINGS
    try:
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=no_constant)
        json.dumps(value, allow_nan=False)  # 1e999 is read as infinity
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as JSON ({error})") from None
    model, settings = (value.get(key, {}) if isinstance(value, dict) else None for key in ("model", "settings"))
    if not isinstance(model, dict) or not isinstance(settings, dict):
        raise InputError(f"{path}: expected an object with the objects model and settings")
    return dict(value)


def _decisive(made_by: Mapping[str, Any]) -> dict[str, Any]:
    """What must be equal for predictions to be the same: a model is its weights, whatever its file is called.

    The version counts: what a setting does may change from one to the next.
    """
    model = made_by.get("model", {})
    known = {"sha256": model["sha256"]} if model.get("sha256") else {"name": model.get("name")}
    keys = ("benchmark", "root", "settings", "version")
    return {"model": known, **{key: made_by[key] for key in keys if key in made_by}}


def _difference(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """Which entries differ, the first three, but those of :data:`_LATER` that were not stored; empty where none does.

    >>> _difference({"a": 1, "b": {"c": 2, "d": 4}}, {"a": 1, "b": {"c": 3, "d": 4}})
    'b.c: 2, now 3'
    """
    left, right = _flat(stored), _flat(asked)
    later = {key for key in _LATER if key not in left}
    keys = [key for key in sorted({*left, *right} - later) if left.get(key) != right.get(key)]
    return "; ".join(f"{key}: {json.dumps(left.get(key))}, now {json.dumps(right.get(key))}" for key in keys[:3])


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, entry in value.items():
        found |= _flat(entry, f"{prefix}{key}.") if isinstance(entry, Mapping) else {f"{prefix}{key}": entry}
    return found


def _shown(array: NDArray[Any]) -> str:
    text = str(array.tolist())
    return text if len(text) <= 60 else f"{text[:60]}..."
