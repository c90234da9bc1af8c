"""What passes between rooms and to users: ``Queries``, ``Tracks`` and ``Video``.

Coordinates are pixels of the original video, x to the right, y down, origin at the top-left corner of the first pixel
(whose centre is (0.5, 0.5)). Time is a frame index from 0. N points, T frames.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from samepoint.errors import InputError, LiveError

if TYPE_CHECKING:
    import pandas

    from samepoint.io.video import Reader

DEFAULT_FPS = 25.0  # of a folder of pictures or an array, which carry no rate


def _array(value: Any, dtype: type, what: str) -> np.ndarray:
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biufO" or (dtype is np.bool_ and not ((array == 0) | (array == 1)).all()):
            raise ValueError
        with np.errstate(over="ignore", invalid="ignore"):
            return array.astype(dtype, copy=False)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{what} must be an array of {np.dtype(dtype).name}, got {type(value).__name__}") from None


def _names(names: Any, count: int) -> tuple[str, ...]:
    if isinstance(names, str):
        raise InputError(f"names must be a sequence of {count} strings, got the single string {names!r}")
    names = tuple(str(name) for name in names)
    if len(names) != count:
        raise InputError(f"{count} points need {count} names, got {len(names)}")
    for name in names:
        if any(ord(char) < 32 or ord(char) == 127 or 0xD800 <= ord(char) <= 0xDFFF for char in name):
            raise InputError(f"name {name!r} holds a control character; expected one line of plain text")
    return names


def _fps(value: Any) -> float:
    try:
        fps = float(value)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"fps must be a number above 0, got {value!r}") from None
    if not (math.isfinite(fps) and fps > 0):
        raise InputError(f"fps must be a finite number above 0, got {fps}")
    return fps


def _size(value: Any) -> tuple[int, int]:
    try:
        height, width = (int(side) for side in value)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"size must be two whole numbers (height, width), got {value!r}") from None
    if height < 1 or width < 1:
        raise InputError(f"size (height, width) must be at least (1, 1), got {(height, width)}")
    return height, width


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
        xy = _array(self.xy, np.float32, "query xy")
        if xy.size == 0 and xy.ndim <= 2:
            xy = xy.reshape(0, 2)
        if xy.ndim != 2 or xy.shape[1] != 2:
            raise InputError(f"query xy must have the shape (N, 2), got {xy.shape}")
        exact = _array(self.frame, np.float64, "query frame")
        if exact.shape != (len(xy),):
            raise InputError(f"query frame must have the shape ({len(xy)},), got {exact.shape}")
        for index in np.flatnonzero(~np.isfinite(xy).all(axis=1))[:1]:
            raise InputError(f"point {index} (x={xy[index, 0]:g}, y={xy[index, 1]:g}) is not finite")
        for index in np.flatnonzero(~((exact >= 0) & (exact < 2**53) & (exact == np.floor(exact))))[:1]:
            raise InputError(f"point {index}: frame {exact[index]:.16g} is not a whole number of 0 or more")
        object.__setattr__(self, "xy", xy)
        object.__setattr__(self, "frame", exact.astype(np.int64))
        if self.name is not None:
            object.__setattr__(self, "name", _names(self.name, len(xy)))

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
        xy = _array(points if isinstance(points, np.ndarray) else list(points), np.float32, "query xy")
        frames = np.full(len(xy), frame) if np.ndim(frame) == 0 else np.asarray(frame)
        return cls(frames, xy, None if name is None else tuple(name))

    @classmethod
    def grid(cls, n: int, size: tuple[int, int], frame: int = 0) -> Queries:
        """``n`` x ``n`` points in rows, each in the middle of its cell of a frame of ``size`` (H, W).

        >>> Queries.grid(2, size=(100, 200)).xy.tolist()
        [[50.0, 25.0], [150.0, 25.0], [50.0, 75.0], [150.0, 75.0]]
        """
        if n < 1:
            raise InputError(f"a grid needs at least 1 point a side, got {n}")
        height, width = _size(size)
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
        height, width = _size(size)
        for index, (x, y) in enumerate(self.xy):
            if not (0 <= x <= width and 0 <= y <= height):
                raise InputError(
                    f"point {index} (x={x:g}, y={y:g}) lies outside the {width}x{height} frame "
                    f"(x 0..{width}, y 0..{height})"
                )
        for index, frame in enumerate(self.frame):
            if frames is not None and frame >= frames:
                raise InputError(f"point {index}: frame {frame}, but the video has {frames} frames (0..{frames - 1})")


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
        xy = _array(self.xy, np.float32, "track xy")
        visible = _array(self.visible, np.bool_, "track visible")
        confidence = _array(self.confidence, np.float32, "track confidence")
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
        object.__setattr__(self, "fps", _fps(self.fps))
        object.__setattr__(self, "size", _size(self.size))
        names = self.names if len(self.names) or not len(xy) else tuple(str(point) for point in range(len(xy)))
        object.__setattr__(self, "names", _names(names, len(xy)))

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
        confidence = _array(confidence, np.float32, "track confidence")
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
        height, width = _size(size)
        fractions = _array(points, np.float64, "TAP-Vid points")
        if fractions.ndim != 3 or fractions.shape[2] != 2:
            raise InputError(f"TAP-Vid points must have the shape (N, T, 2), got {fractions.shape}")
        with np.errstate(over="ignore", invalid="ignore"):
            xy = (fractions * (width, height)).astype(np.float32)
        return cls.from_confidence(xy, ~_array(occluded, np.bool_, "TAP-Vid occluded"), fps, size, names)

    def to_dataframe(self) -> pandas.DataFrame:
        """One row for every point and frame: point, name, frame, time (s), x, y, visible, confidence. Needs pandas."""
        from samepoint.io.tracks.table import to_dataframe

        return to_dataframe(self)


@dataclass(frozen=True, eq=False, init=False)
class Video:
    """Frames, uint8 RGB (H, W, 3), read as they are asked for; never the whole clip in memory.

    ``source``: a file that PyAV opens, a folder of pictures (natural order), a URL, a camera's number, an array uint8
    (T, H, W, 3) or (T, H, W), or another Video. ``fps`` overrides the rate the source declares (25 where it declares
    none). ``size`` is (H, W) as displayed, rotation applied. ``is_live``: a camera or stream, which can only be
    iterated, once, and has no length. Raises InputError where the source is no video.

    ``video[i]`` is a frame, exactly the i-th of iteration; ``video[a:b:c]`` is a Video, as lazy as this one.

    >>> video = Video(np.zeros((5, 4, 6, 3), np.uint8))
    >>> len(video), video.size, video.fps, video[0].shape, len(video[1:3])
    (5, (4, 6), 25.0, (4, 6, 3), 2)
    """

    source: Any
    fps: float
    size: tuple[int, int]
    is_live: bool
    _reader: Reader = field(repr=False)
    _range: range | None = field(repr=False)
    _declared: bool = field(repr=False)  # the user gave the rate, which then also gives the timestamps

    def __init__(self, source: Any, fps: float | None = None) -> None:
        if isinstance(source, Video):
            reader, chosen, rate, declared = source._reader, source._range, source.fps, source._declared
            source = source.source
        else:
            from samepoint.io.video import open_reader

            reader, chosen, declared = open_reader(source), None, False
            rate = reader.fps or DEFAULT_FPS
        self._fill(source, rate if fps is None else _fps(fps), reader, chosen, declared or fps is not None)

    def _fill(self, source: Any, fps: float, reader: Reader, chosen: range | None, declared: bool) -> None:
        for key, value in {"source": source, "fps": fps, "size": reader.size, "is_live": reader.is_live}.items():
            object.__setattr__(self, key, value)
        for key, value in {"_reader": reader, "_range": chosen, "_declared": declared}.items():
            object.__setattr__(self, key, value)

    def _chosen(self) -> range:
        """Indices of this video's frames in the source."""
        if self._range is not None:
            return self._range
        if self.is_live:
            raise LiveError(self.source)
        return range(len(self._reader))

    def __len__(self) -> int:
        """The number of frames that can be decoded; a file is decoded once to count them, whatever its header says."""
        return len(self._chosen())

    def __bool__(self) -> bool:
        return True  # truth must not count the frames

    def __iter__(self) -> Iterator[np.ndarray]:
        if self._range is None:
            return self._reader.frames(0, None)
        return self._walk(self._range)

    def __reversed__(self) -> Iterator[np.ndarray]:
        """The frames from last to first, in bounded memory."""
        return self._walk(self._chosen()[::-1])

    def frames(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[np.ndarray]:
        """Frames ``start:stop:step``, meaning what a slice means; with step 1, without counting the frames."""
        if self._range is None and step == 1 and start >= 0 and (stop is None or stop >= 0):
            return self._reader.frames(start, stop)
        return self._walk(self._chosen()[start:stop:step])

    def frames_reversed(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        """Frames ``start:stop`` from the last to the first, in bounded memory."""
        return self._walk(self._chosen()[start:stop][::-1])

    def _walk(self, indices: range) -> Iterator[np.ndarray]:
        if not indices:
            return
        backwards = indices.step < 0
        ordered = indices[::-1] if backwards else indices
        low, high, step = ordered[0], ordered[-1] + 1, ordered.step
        stream = self._reader.frames_reversed(low, high) if backwards else self._reader.frames(low, high)
        for offset, frame in enumerate(stream):
            if offset % step == 0:
                yield frame

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> Video: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | Video:
        if isinstance(index, slice):
            chosen = self._chosen()[index]
            part = object.__new__(Video)
            part._fill(self.source, self.fps / abs(index.step or 1), self._reader, chosen, self._declared)
            return part
        chosen = self._chosen()
        if not -len(chosen) <= index < len(chosen):
            raise IndexError(f"frame {index}, but the video has {len(chosen)} frames (0..{len(chosen) - 1})")
        return self._reader.frame(chosen[index])

    @property
    def timestamps(self) -> np.ndarray:
        """Seconds of every frame from the first of the source, float64 (T,); uneven where the frame rate varies."""
        chosen = self._chosen()
        indices = np.arange(chosen.start, chosen.stop, chosen.step)
        times = None if self._declared else self._reader.timestamps()
        return indices / (self.fps * abs(chosen.step)) if times is None else times[indices]
