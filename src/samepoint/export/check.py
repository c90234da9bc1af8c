"""Whether two ways of computing the same agree, and how long each takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Arrays = Sequence[np.ndarray]
QUERIES = 512
"""Cells whose matches are compared."""


@dataclass(frozen=True)
class Agreement:
    """How near outputs are to those expected; the worst of all outputs.

    Attributes:
        difference: largest difference, as a share of the output's largest value.
        mean: mean difference, as a share of the same.
        cosine: mean cosine similarity of the cells; None where outputs are not vectors of cells.
        matches: share of cells of the first picture whose best match in the second is the same cell, in the finest
            map; None where there are no two pictures.
    """

    difference: float
    mean: float
    cosine: float | None = None
    matches: float | None = None

    def worst(self, other: Agreement) -> Agreement:
        """Of two trials."""
        return Agreement(
            max(self.difference, other.difference),
            max(self.mean, other.mean),
            _least(self.cosine, other.cosine),
            _least(self.matches, other.matches),
        )


def agreement(
    expected: Arrays, got: Arrays, cells: int | None = None, least: float = float(np.finfo(np.float64).tiny)
) -> Agreement:
    """Compare outputs, one by one.

    Args:
        expected: outputs (B, ...), float.
        got: the same from elsewhere.
        cells: the axis along which a cell's numbers lie, or None.
        least: taken for an output's largest value where that is smaller.

    Raises:
        ValueError: another number of outputs, or shapes that differ.

    >>> agreement([np.array([1.0, 2.0])], [np.array([1.0, 2.5])]).difference
    0.25
    """
    differences, means, cosines = [], [], []
    for wanted, given in zip(expected, got, strict=True):
        if wanted.shape != given.shape:
            raise ValueError(f"shapes differ: {wanted.shape} expected, got {given.shape}")
        wanted, given = wanted.astype(np.float64), given.astype(np.float64)
        gaps = np.abs(wanted - given) if np.isfinite(given).all() else np.full(wanted.shape, np.inf)
        largest = max(float(np.abs(wanted).max()), least)
        differences.append(float(gaps.max()) / largest)
        means.append(float(gaps.mean()) / largest)
        if cells is not None:
            norms = np.linalg.norm(wanted, axis=cells) * np.linalg.norm(given, axis=cells)
            cosines.append(float(((wanted * given).sum(axis=cells) / np.maximum(norms, 1e-12)).mean()))
    pictures = cells == 1 and len(expected[-1]) >= 2
    matches = _matches(expected[-1], got[-1]) if pictures else None
    return Agreement(max(differences), max(means), min(cosines, default=None), matches)


def _matches(expected: np.ndarray, got: np.ndarray) -> float:
    """Maps (2 or more, C, h, w)."""
    wanted, given = _best(expected), _best(got)
    return float((wanted == given).mean())


def _best(maps: np.ndarray) -> np.ndarray:
    first, second = (each.reshape(len(each), -1).T for each in maps[:2].astype(np.float32))  # (cells, C)
    second = second / np.maximum(np.linalg.norm(second, axis=1, keepdims=True), 1e-12)
    chosen = np.random.default_rng(0).permutation(len(first))[:QUERIES]
    best: np.ndarray = (first[chosen] @ second.T).argmax(axis=1)
    return best


def _least(first: float | None, second: float | None) -> float | None:
    known = [value for value in (first, second) if value is not None]
    return min(known, default=None)


def milliseconds(work: Callable[[], object], repeats: int = 5) -> float:
    """Median time of a call, after one that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1000
