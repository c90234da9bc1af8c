"""Where points of one picture are in another."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from samepoint.errors import InputError
from samepoint.structures.checks import as_array, as_names, as_size

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, eq=False)
class Matches:
    """Where N points of one picture are in another.

    source_xy, target_xy: float32 (N, 2), pixels of the pictures as displayed. confidence: float32 (N,), the probability
    that the point is there and was found; where it is below 0.5 ``target_xy`` is a guess, or NaN. source_size,
    target_size: (H, W) as displayed, rotation applied. names: N strings; given none, the points' numbers from 0.
    source, target: what the pictures are called. Raises InputError where the arrays do not fit.

    >>> matches = Matches([[1, 2], [3, 4]], [[5, 6], [7, 8]], [0.9, 0.2], (10, 10), (20, 20), names=("nose", "tail"))
    >>> len(matches), matches.found.tolist()
    (2, [True, False])
    """

    source_xy: np.ndarray
    target_xy: np.ndarray
    confidence: np.ndarray
    source_size: tuple[int, int]
    target_size: tuple[int, int]
    names: tuple[str, ...] = field(default=())
    source: str = ""
    target: str = ""

    def __post_init__(self) -> None:
        source_xy = as_array(self.source_xy, np.float32, "match source_xy")
        target_xy = as_array(self.target_xy, np.float32, "match target_xy")
        confidence = as_array(self.confidence, np.float32, "match confidence")
        if source_xy.ndim != 2 or source_xy.shape[1] != 2:
            raise InputError(f"match source_xy must have the shape (N, 2), got {source_xy.shape}")
        for what, array, shape in (
            ("target_xy", target_xy, source_xy.shape),
            ("confidence", confidence, source_xy.shape[:1]),
        ):
            if array.shape != shape:
                raise InputError(f"match {what} must have the shape {shape}, got {array.shape}")
        if not ((confidence >= 0) & (confidence <= 1)).all():
            raise InputError("match confidence must lie in 0..1")
        if not np.isfinite(source_xy).all():
            raise InputError("match source_xy must be finite")
        if np.isinf(target_xy).any() or (np.isnan(target_xy[:, 0]) != np.isnan(target_xy[:, 1])).any():
            raise InputError("match target_xy must be finite, or NaN in both x and y where there is not even a guess")
        for index in np.flatnonzero((confidence >= 0.5) & np.isnan(target_xy[:, 0]))[:1]:
            raise InputError(f"point {index}: found (confidence {confidence[index]:g}) but without a position")
        for key, value in (("source_xy", source_xy), ("target_xy", target_xy), ("confidence", confidence)):
            object.__setattr__(self, key, value)
        for key in ("source_size", "target_size"):
            object.__setattr__(self, key, as_size(getattr(self, key)))
        for key in ("source", "target"):
            object.__setattr__(self, key, as_names((getattr(self, key),), 1)[0])
        names = self.names if len(self.names) or not len(source_xy) else tuple(str(n) for n in range(len(source_xy)))
        object.__setattr__(self, "names", as_names(names, len(source_xy)))

    def __len__(self) -> int:
        return len(self.source_xy)

    @property
    def found(self) -> np.ndarray:
        """bool (N,), ``confidence >= 0.5``; False: not there."""
        return np.asarray(self.confidence >= 0.5)

    @classmethod
    def load(cls, path: str | Path) -> Matches:
        """From .csv, .json or .npz with one target picture (``samepoint.io.matches.load_matches`` reads several)."""
        from samepoint.io.matches import load_matches

        pairs = load_matches(Path(path))
        if len(pairs) != 1:
            raise InputError(f"{path}: holds the matches of {len(pairs)} target pictures; expected those of one")
        return pairs[0]

    def save(self, path: str | Path) -> None:
        """To .csv, .json or .npz by suffix; the file appears whole or not at all."""
        from samepoint.io.matches import save_matches

        save_matches([self], Path(path))

    def to_dataframe(self) -> pandas.DataFrame:
        """One row a point: target, point, name, source_x, source_y, target_x, target_y, found, confidence,
        target_height, target_width. Needs pandas."""
        from samepoint.io.matches.table import to_dataframe

        return to_dataframe([self])
