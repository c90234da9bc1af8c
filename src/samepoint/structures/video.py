"""A video whose frames are read as they are asked for."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from samepoint.errors import LiveError
from samepoint.structures.checks import DEFAULT_FPS, as_fps

if TYPE_CHECKING:
    from samepoint.io.video import Reader


@dataclass(frozen=True, eq=False, init=False)
class Video:
    """Frames, uint8 RGB (H, W, 3), read as they are asked for; never the whole clip in memory.

    ``source``: a file that PyAV opens, a folder of pictures (natural order), a URL, a camera's number, an array uint8
    (T, H, W, 3) or (T, H, W), or another Video. ``fps`` overrides the rate the source declares (25 where it declares
    none). ``size`` is (H, W) as displayed, rotation applied. ``is_live``: a camera or stream, which can only be
    iterated, once, and has no length. Raises InputError where the source is no video.

    ``video[i]`` is a frame, exactly the i-th of iteration; ``video[a:b:c]`` is a Video, as lazy as this one. A file is
    decoded to count its frames only where something depends on their number: a negative index, a step, ``len``.

    >>> video = Video(np.zeros((5, 4, 6, 3), np.uint8))
    >>> len(video), video.size, video.fps, video[0].shape, len(video[1:3])
    (5, (4, 6), 25.0, (4, 6, 3), 2)
    """

    source: Any
    fps: float
    size: tuple[int, int]
    is_live: bool
    _reader: Reader = field(repr=False)
    _range: range | None = field(repr=False)  # indices of its frames in the source; None: not counted yet, or all
    _part: tuple[int, int | None] = field(repr=False)  # where _range is None: the first, and the one after the last
    _declared: bool = field(repr=False)  # the user gave the rate, which then also gives the timestamps

    def __init__(self, source: Any, fps: float | None = None) -> None:
        if isinstance(source, Video):
            reader, chosen, rate, declared = source._reader, source._range, source.fps, source._declared
            part, source = source._part, source.source
        else:
            from samepoint.io.video import open_reader

            reader, chosen, part, declared = open_reader(source), None, (0, None), False
            rate = reader.fps or DEFAULT_FPS
        self._fill(source, rate if fps is None else as_fps(fps), reader, chosen, part, declared or fps is not None)

    def _fill(
        self,
        source: Any,
        fps: float,
        reader: Reader,
        chosen: range | None,
        part: tuple[int, int | None],
        declared: bool,
    ) -> None:
        for key, value in {"source": source, "fps": fps, "size": reader.size, "is_live": reader.is_live}.items():
            object.__setattr__(self, key, value)
        for key, value in {"_reader": reader, "_range": chosen, "_part": part, "_declared": declared}.items():
            object.__setattr__(self, key, value)

    def _chosen(self) -> range:
        """Indices of this video's frames in the source."""
        if self._range is not None:
            return self._range
        if self.is_live:
            raise LiveError(self.source)
        start, stop = self._part
        if stop is None:
            return range(start, max(start, len(self._reader)))
        found = range(start, max(start, self._reader.reach(stop)))
        object.__setattr__(self, "_range", found)  # counted once
        return found

    @property
    def source_frames(self) -> range:
        """Indices of its frames in the source; a file is decoded once to count them. Raises LiveError of a live one.

        >>> Video(np.zeros((9, 4, 6, 3), np.uint8))[2:8:3].source_frames
        range(2, 8, 3)
        """
        return self._chosen()

    def _cut(self, start: int, stop: int | None) -> tuple[int, int | None] | None:
        """Frames ``start:stop`` of this video as a part of the source, without counting; None where that cannot be."""
        if self._range is not None or start < 0 or (stop is not None and stop < 0):
            return None
        first, last = self._part
        ends = [end for end in (last, None if stop is None else first + stop) if end is not None]
        return first + start, max(first + start, min(ends)) if ends else None

    def __len__(self) -> int:
        """The number of frames that can be decoded; a file is decoded once to count them, whatever its header says."""
        return len(self._chosen())

    def __bool__(self) -> bool:
        return True  # truth must not count the frames

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.frames()

    def __reversed__(self) -> Iterator[np.ndarray]:
        """The frames from last to first, in bounded memory."""
        return self._walk(self._chosen()[::-1])

    def frames(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[np.ndarray]:
        """Frames ``start:stop:step``, meaning what a slice means; with step 1, without counting the frames."""
        part = self._cut(start, stop) if step == 1 else None
        if part is not None:
            return self._reader.frames(*part)
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
            simple = not self.is_live and index.step in (None, 1)
            start, stop = operator.index(index.start or 0), index.stop
            part = self._cut(start, None if stop is None else operator.index(stop)) if simple else None
            chosen = self._chosen()[index] if part is None else None
            piece = object.__new__(Video)
            rate = self.fps / abs(index.step or 1)
            piece._fill(self.source, rate, self._reader, chosen, part or (0, None), self._declared)
            return piece
        part = None if self.is_live else self._cut(index, index + 1)
        if part is not None and part[0] < (part[1] or 0):
            with suppress(StopIteration, IndexError):
                return self._reader.frame(part[0])
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
