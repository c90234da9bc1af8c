"""Sums that several processes add up, and the score that is computed from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samepoint.errors import InputError

Floats = NDArray[np.float64]

_COARSE, _FINE = 2.0**26, 2.0**56
_S = TypeVar("_S", bound="Score")


def divide(part: ArrayLike, whole: ArrayLike) -> Floats:
    """``part / whole``, broadcast as float64, NaN where ``whole`` is 0.

    >>> divide([1, 0], [4, 0]).tolist()
    [0.25, nan]
    """
    top, bottom = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom != 0)


def mean_known(values: ArrayLike, axis: int = 0) -> Floats:
    """Mean along an axis over what is not NaN, NaN where nothing is left.

    >>> float(mean_known([1.0, float("nan"), 2.0]))
    1.5
    """
    numbers = np.asarray(values, np.float64)
    known = ~np.isnan(numbers)
    return divide(np.where(known, numbers, 0.0).sum(axis=axis), known.sum(axis=axis))


def check_name(what: str, name: str, names: tuple[str, ...]) -> None:
    """Raise the InputError of an unknown variant or option."""
    if name not in names:
        raise InputError(f"unknown {what} {name!r}: expected one of {', '.join(names)}")


@dataclass(eq=False)
class Sums:
    """Named float64 arrays that only ever grow by addition: counts, and means over items.

    An item's score is stored in two parts, multiples of 2^-26 and of 2^-56, whose sums stay exact over 16 million
    items (over 100,000 for pixel errors up to 1,000). So neither the order of the items nor how they were shared among
    processes changes a single bit of a result.
    """

    arrays: dict[str, Floats] = field(default_factory=dict)

    def count(self, name: str, value: ArrayLike) -> None:
        """Add whole numbers."""
        self._add(name, np.array(value, np.float64))

    def item(self, name: str, score: ArrayLike) -> None:
        """Take one item's scores into the means of ``name``; a NaN is left out and counted."""
        value = np.asarray(score, np.float64)
        known = ~np.isnan(value)
        value = np.where(known, value, 0.0)
        coarse = np.round(value * _COARSE) / _COARSE
        rest = np.subtract(value, coarse, out=np.zeros_like(value), where=np.isfinite(value))
        self._add(name, np.stack([coarse, np.round(rest * _FINE) / _FINE, known, ~known]))

    def total(self, name: str, default: ArrayLike = 0) -> Floats:
        """What was counted under ``name``, ``default`` if nothing was."""
        return self.arrays.get(name, np.asarray(default, np.float64))

    def mean(self, name: str, default: ArrayLike = np.nan) -> Floats:
        """Means over the items of ``name``, NaN where none is known; ``default`` if there was no item."""
        if name not in self.arrays:
            return np.asarray(default, np.float64)
        coarse, fine, known, _ = self.arrays[name]
        return divide(coarse + fine, known)

    def left_out(self, name: str, default: ArrayLike = 0) -> NDArray[np.int64]:
        """How many items each mean of ``name`` leaves out."""
        return np.asarray(self.arrays[name][3] if name in self.arrays else default).astype(np.int64)

    def groups(self, prefix: str) -> Iterator[str]:
        """What follows ``prefix`` in the names that begin with it, sorted."""
        return iter(sorted(name.removeprefix(prefix) for name in self.arrays if name.startswith(prefix)))

    def add(self, arrays: Mapping[str, ArrayLike]) -> None:
        """Add the arrays of other sums; a name that is missing on one side counts as zero there.

        Raises:
            InputError: an array's shape is not that of its namesake; nothing is added then.
        """
        more = {name: np.array(array, np.float64) for name, array in arrays.items()}
        for name, array in more.items():
            if name in self.arrays and self.arrays[name].shape != array.shape:
                raise InputError(f"cannot add {name!r} of shape {array.shape} to shape {self.arrays[name].shape}")
        for name, array in more.items():
            self._add(name, array)

    def _add(self, name: str, array: Floats) -> None:
        self.arrays[name] = self.arrays[name] + array if name in self.arrays else array


@dataclass(eq=False)
class Score:
    """What all accumulators share: their sums, and how those of several processes come together.

    Each process updates its own score; then either ``state()`` of all of them is gathered and added to one::

        for state in gathered_states:
            score.add_state(state)

    or, where every process has met the same groups, each array is summed by an all-reduce.
    """

    sums: Sums = field(default_factory=Sums, init=False, repr=False)

    def merge(self: _S, other: _S) -> None:
        """Add the sums of another score with the same settings (InputError otherwise); ``other`` stays as it is."""
        if type(other) is not type(self) or other.settings() != self.settings():
            raise InputError(f"cannot merge {other} into {self}: different settings give different scores")
        self.add_state(other.state())

    def state(self) -> dict[str, Floats]:
        """A copy of the sums: float64 arrays that add up over processes."""
        return {name: array.copy() for name, array in self.sums.arrays.items()}

    def add_state(self, state: Mapping[str, ArrayLike]) -> None:
        """Add the ``state()`` of a score with the same settings.

        Raises:
            InputError: an array of another shape than ours.
        """
        self.sums.add(state)

    def settings(self) -> dict[str, Any]:
        """The fields that decide what is counted."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "sums"}
