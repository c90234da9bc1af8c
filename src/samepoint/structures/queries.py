"""Points to follow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from samepoint.errors import InputError
from samepoint.structures.checks import as_array, as_names, as_size


@dataclass(frozen=True, eq=False)
class Queries:
    """Points to follow: each is a place ``xy`` in one ``frame``.

    frame: int64 (N,), at least 0. xy: float32 (N, 2), finite pixels. name: N strings or None.
    Raises InputError where the arrays do not fit these shapes.

    >>> queries = Queries.at([(120, 88), (60, 40)], frame=0)
    >>> len(queries), queries.xy.dtype.name
    (2, 'float32')
    """

    frame: np.ndarray
    xy: np.ndarray
    name: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        xy = as_array(self.xy, np.float32, "query xy")
        if xy.size == 0 and xy.ndim <= 2:
            xy = xy.reshape(0, 2)
        if xy.ndim != 2 or xy.shape[1] != 2:
            raise InputError(f"query xy must have the shape (N, 2), got {xy.shape}")
        exact = as_array(self.frame, np.float64, "query frame")
        if exact.shape != (len(xy),):
            raise InputError(f"query frame must have the shape ({len(xy)},), got {exact.shape}")
        for index in np.flatnonzero(~np.isfinite(xy).all(axis=1))[:1]:
            raise InputError(f"point {index} (x={xy[index, 0]:g}, y={xy[index, 1]:g}) is not finite")
        for index in np.flatnonzero(~((exact >= 0) & (exact < 2**53) & (exact == np.floor(exact))))[:1]:
            raise InputError(f"point {index}: frame {exact[index]:.16g} is not a whole number of 0 or more")
        object.__setattr__(self, "xy", xy)
        object.__setattr__(self, "frame", exact.astype(np.int64))
        if self.name is not None:
            object.__setattr__(self, "name", as_names(self.name, len(xy)))

    def __len__(self) -> int:
        return len(self.xy)

    @classmethod
    def at(
        cls,
        points: Iterable[Sequence[float]] | np.ndarray,
        frame: int | Sequence[int] | np.ndarray = 0,
        name: Sequence[str] | None = None,
    ) -> Queries:
        """Points (x, y), all in one frame or each in its own."""
        xy = as_array(points if isinstance(points, np.ndarray) else list(points), np.float32, "query xy")
        frames = np.full(len(xy), frame) if np.ndim(frame) == 0 else np.asarray(frame)
        return cls(frames, xy, None if name is None else tuple(name))

    @classmethod
    def of(cls, points: Queries | ArrayLike) -> Queries:
        """Queries as they are; bare points (N, 2) are of the first frame.

        Raises:
            InputError: anything else.
        """
        if isinstance(points, Queries):
            return points
        xy = as_array(points, np.float32, "points (N, 2)")
        if xy.size and (xy.ndim != 2 or xy.shape[1] != 2):
            raise InputError(f"points must be (N, 2), one row for each point, got {xy.shape}")
        return cls.at(xy.reshape(-1, 2))

    @classmethod
    def grid(cls, n: int, size: tuple[int, int], frame: int = 0) -> Queries:
        """``n`` x ``n`` points in rows, each in the middle of its cell of a frame of ``size`` (H, W).

        >>> Queries.grid(2, size=(100, 200)).xy.tolist()
        [[50.0, 25.0], [150.0, 25.0], [50.0, 75.0], [150.0, 75.0]]
        """
        if n < 1:
            raise InputError(f"a grid needs at least 1 point a side, got {n}")
        height, width = as_size(size)
        step = (np.arange(n) + 0.5) / n
        x, y = np.meshgrid(step * width, step * height)
        return cls.at(np.stack([x.ravel(), y.ravel()], axis=1), frame)

    @classmethod
    def concat(cls, parts: Iterable[Queries]) -> Queries:
        """One after the other; the names of an unnamed part are empty where another part has names."""
        parts = list(parts)
        if not parts:
            return cls.at([])
        names = None
        if any(part.name is not None for part in parts):
            names = tuple(name for part in parts for name in (part.name or ("",) * len(part)))
        return cls(np.concatenate([part.frame for part in parts]), np.concatenate([part.xy for part in parts]), names)

    @classmethod
    def load(cls, path: str | Path) -> Queries:
        """From CSV with the columns ``frame,x,y[,name]``."""
        from samepoint.io.queries import load_queries

        return load_queries(Path(path))

    def save(self, path: str | Path) -> None:
        """To CSV with the columns ``frame,x,y[,name]``; the file appears whole or not at all."""
        from samepoint.io.queries import save_queries

        save_queries(self, Path(path))

    def check(self, size: tuple[int, int], frames: int | None = None) -> None:
        """Raise InputError for the first point outside a frame of ``size`` (H, W) or a video of so many ``frames``.

        The border counts as inside: 0 <= x <= W, 0 <= y <= H. ``frames`` None: the length is not known yet.
        """
        height, width = as_size(size)
        for index, (x, y) in enumerate(self.xy):
            if not (0 <= x <= width and 0 <= y <= height):
                raise InputError(
                    f"point {index} (x={x:g}, y={y:g}) lies outside the {width}x{height} frame "
                    f"(x 0..{width}, y 0..{height})"
                )
        for index, frame in enumerate(self.frame):
            if frames is not None and frame >= frames:
                raise InputError(f"point {index}: frame {frame}, but the video has {frames} frames (0..{frames - 1})")
