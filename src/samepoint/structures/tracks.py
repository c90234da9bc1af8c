"""Where points are in every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from samepoint.errors import InputError
from samepoint.structures.checks import DEFAULT_FPS, as_array, as_fps, as_names, as_size

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, eq=False)
class Tracks:
    """Where N points are in each of T frames.

    xy: float32 (N, T, 2), pixels; NaN where a point is not known (before its query's frame unless tracked backwards);
    a hidden point keeps a finite position. visible: bool (N, T). confidence: float32 (N, T), the probability that the
    point is visible; ``visible`` is ``confidence >= 0.5``, and an unknown point has confidence below 0.5. fps: frames a
    second. size: (H, W) of the video as displayed. names: N strings; given none, the points' numbers from 0.
    Raises InputError where the arrays do not fit.
    """

    xy: np.ndarray
    visible: np.ndarray
    confidence: np.ndarray
    fps: float
    size: tuple[int, int]
    names: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        xy = as_array(self.xy, np.float32, "track xy")
        visible = as_array(self.visible, np.bool_, "track visible")
        confidence = as_array(self.confidence, np.float32, "track confidence")
        if xy.ndim != 3 or xy.shape[2] != 2:
            raise InputError(f"track xy must have the shape (N, T, 2), got {xy.shape}")
        if len(xy) and not xy.shape[1]:
            raise InputError("tracks need at least one frame")
        for what, array in (("visible", visible), ("confidence", confidence)):
            if array.shape != xy.shape[:2]:
                raise InputError(f"track {what} must have the shape {xy.shape[:2]}, got {array.shape}")
        if not ((confidence >= 0) & (confidence <= 1)).all():
            raise InputError("track confidence must lie in 0..1")
        if (visible != (confidence >= 0.5)).any():
            point, frame = np.argwhere(visible != (confidence >= 0.5))[0]
            raise InputError(
                f"point {point}, frame {frame}: visible is {visible[point, frame]} at confidence "
                f"{confidence[point, frame]:g}; expected visible where confidence is 0.5 or more"
            )
        if np.isinf(xy).any() or (np.isnan(xy[..., 0]) != np.isnan(xy[..., 1])).any():
            raise InputError("track xy must be finite, or NaN in both x and y where the point is unknown")
        if (visible & np.isnan(xy[..., 0])).any():
            point, frame = np.argwhere(visible & np.isnan(xy[..., 0]))[0]
            raise InputError(f"point {point}, frame {frame}: visible but without a position")
        for key, value in (("xy", xy), ("visible", visible), ("confidence", confidence)):
            object.__setattr__(self, key, value)
        object.__setattr__(self, "fps", as_fps(self.fps))
        object.__setattr__(self, "size", as_size(self.size))
        names = self.names if len(self.names) or not len(xy) else tuple(str(point) for point in range(len(xy)))
        object.__setattr__(self, "names", as_names(names, len(xy)))

    def __len__(self) -> int:
        return len(self.xy)

    @property
    def frames(self) -> int:
        """T, the number of frames."""
        return self.xy.shape[1]

    @classmethod
    def from_confidence(
        cls, xy: np.ndarray, confidence: np.ndarray, fps: float, size: tuple[int, int], names: Sequence[str] = ()
    ) -> Tracks:
        """Tracks whose ``visible`` follows from ``confidence`` (a bool array of visibility will do for it)."""
        confidence = as_array(confidence, np.float32, "track confidence")
        return cls(xy, confidence >= 0.5, confidence, fps, size, tuple(names))

    @classmethod
    def load(cls, path: str | Path) -> Tracks:
        """From .csv, .npz, .parquet, .json or .pkl (TAP-Vid)."""
        from samepoint.io.tracks import load_tracks

        return load_tracks(Path(path))

    def save(self, path: str | Path) -> None:
        """To .csv, .npz, .parquet, .json or .pkl (TAP-Vid) by suffix; the file appears whole or not at all."""
        from samepoint.io.tracks import save_tracks

        save_tracks(self, Path(path))

    def to_tapvid(self) -> dict[str, np.ndarray]:
        """TAP-Vid's arrays: ``points`` float64 (N, T, 2) as fractions of width and height, ``occluded`` bool (N, T).

        A point that is not known (NaN) is written as (0, 0) and occluded.
        """
        height, width = self.size
        points = self.xy.astype(np.float64) / (width, height)
        return {"points": np.nan_to_num(points, nan=0.0), "occluded": ~self.visible}

    @classmethod
    def from_tapvid(
        cls,
        points: np.ndarray,
        occluded: np.ndarray,
        *,
        size: tuple[int, int],
        fps: float = DEFAULT_FPS,
        names: Sequence[str] = (),
    ) -> Tracks:
        """From TAP-Vid's arrays (see ``to_tapvid``); confidence becomes 1 where visible, 0 where occluded.

        >>> Tracks.from_tapvid([[[0.5, 0.25]]], [[False]], size=(100, 200)).xy.tolist()
        [[[100.0, 25.0]]]
        """
        height, width = as_size(size)
        fractions = as_array(points, np.float64, "TAP-Vid points")
        if fractions.ndim != 3 or fractions.shape[2] != 2:
            raise InputError(f"TAP-Vid points must have the shape (N, T, 2), got {fractions.shape}")
        with np.errstate(over="ignore", invalid="ignore"):
            xy = (fractions * (width, height)).astype(np.float32)
        return cls.from_confidence(xy, ~as_array(occluded, np.bool_, "TAP-Vid occluded"), fps, size, names)

    def to_dataframe(self) -> pandas.DataFrame:
        """One row for every point and frame: point, name, frame, time (s), x, y, visible, confidence. Needs pandas."""
        from samepoint.io.tracks.table import to_dataframe

        return to_dataframe(self)
