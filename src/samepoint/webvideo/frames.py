"""The frames of one shot, read from its video when they are asked for."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from ..datasets.frame_cache import CachedVideo, FrameCache
from ..errors import InputError
from ..geometry import fit_size
from ..io.video import Reader, open_reader
from ..io.videofile import FileReader
from ..structures.checks import DEFAULT_FPS
from .rows import Row

Frame: TypeAlias = NDArray[np.uint8]
"""RGB (H, W, 3)."""

Size: TypeAlias = int | tuple[int, int] | None
"""A short side that larger pictures are shrunk to, exactly (H, W), or None: the video's own size."""

_log = logging.getLogger(__name__)


class ShotFrames:
    """The frames of a shot, uint8 RGB (H, W, 3), upright, at a working size; frame 0 is the shot's first.

    Nothing is held: iteration decodes from the key frame before the shot on, straight to the working size.

    Args:
        row: of the table of shots, or of videos: all its frames then.
        folder: the collection's output folder, which ``row["path"]`` is relative to.
        size: the working size.
        cache: copies as JPEGs at ``size``, which must be its short side; made of the whole video when first asked for.

    Attributes:
        size: (H, W) of the frames.
        fps: frames a second.
        start: number of the first frame in the video.

    Raises:
        InputError: the row has no path, the file is no video, or the cache has another size.
    """

    def __init__(self, row: Row, folder: Path, size: Size = 256, cache: FrameCache | None = None) -> None:
        if cache is not None and cache.short_side != size:
            raise InputError(f"frames at {size} from a cache of frames at {cache.short_side}: expected the same")
        self.path = video_path(row, folder)
        self.start: int = row.get("start") or 0
        end: int | None = row.get("end")
        reader = _opened(self.path)
        if self.start > 0 or end is None:
            with _quiet():
                len(reader)  # where frames lie, for all shots of this video
        self._end = len(reader) if end is None else end
        self.size = working_size(reader.size, size)
        self.fps = row.get("fps") or reader.fps or DEFAULT_FPS
        self._reader, self._cache = _sized(reader, self.size), cache
        self._copy: tuple[str, CachedVideo] | None = None
        if not 0 <= self.start <= self._end:
            raise InputError(f"{row.get('shot')}: frames {self.start} to {self._end} given, expected the smaller first")

    def __len__(self) -> int:
        return self._end - self.start

    def __iter__(self) -> Iterator[Frame]:
        if self._cache is not None:
            for index in range(len(self)):
                yield self[index]
            return
        count = 0
        for frame in _quietly(self._reader.frames(self.start, self._end)):
            count += 1
            yield _fitted(frame, self.size)
        if count < len(self):
            self._check(self.start + count, self.start + count)

    def __getitem__(self, index: int) -> Frame:
        """Frame ``index`` of the shot; negative from its end. Raises IndexError beyond it."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"frame {index}, but the shot has {len(self)} frames")
        number = self.start + (index if index >= 0 else len(self) + index)
        if self._cache is not None:
            if self._copy is None:
                key = self._cache.key(self.path)
                self._copy = key, self._cache.entry(self.path, key) or self._cache.build(self.path, key)
            self._check(number, self._copy[1].frames)
            return self._cache.read(self.path, *self._copy, number)
        with _quiet():
            self._check(number, len(self._reader))
            return _fitted(self._reader.frame(number), self.size)

    def _check(self, number: int, count: int) -> None:
        if number >= count:
            raise InputError(f"{self.path}: has no frame {number}; it ends at {count}")


def video_path(row: Row, folder: Path) -> Path:
    """The row's file. Raises InputError where the row names none."""
    if not row.get("path"):
        raise InputError(f"{row.get('shot') or row.get('video')}: has no file; expected a path in its row")
    return Path(folder) / str(row["path"])


def all_frames(path: Path, size: Callable[[tuple[int, int]], tuple[int, int]]) -> tuple[Reader, Iterator[Frame]]:
    """What is known of a video, and all its frames in one pass, at the (H, W) that ``size`` gives for the video's.

    Raises:
        InputError: the file is no video.
    """
    reader = _opened(path)
    small = size(reader.size)
    return reader, (_fitted(frame, small) for frame in _quietly(_sized(reader, small).frames(0, None)))


def working_size(size: tuple[int, int], wanted: Size) -> tuple[int, int]:
    """(H, W) of frames of a video of (H, W).

    >>> working_size((720, 1280), 256), working_size((120, 160), 256), working_size((720, 1280), (256, 256))
    ((256, 455), (120, 160), (256, 256))
    """
    if wanted is None or (isinstance(wanted, int) and min(size) <= wanted):
        return size
    return fit_size(size, wanted) if isinstance(wanted, int) else wanted


def _opened(path: Path) -> Reader:
    """A reader of its own with the index of an earlier one of the same file."""
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror})") from None
    with _quiet():
        return _known(path, status.st_mtime_ns, status.st_size)


def _sized(reader: Reader, size: tuple[int, int]) -> Reader:
    """A copy that decodes straight to a size, which is much faster than to shrink; the same reader if it cannot."""
    if not isinstance(reader, FileReader):
        return reader
    small = copy.copy(reader)
    small.size = size
    return small


@lru_cache(maxsize=4)
def _known(path: Path, changed: int, size: int) -> Reader:
    """Kept with the index of its frames, which costs a pass over the video: shots come one after another."""
    return open_reader(path)


def _fitted(frame: Frame, size: tuple[int, int]) -> Frame:
    if frame.shape[:2] == size:
        return frame
    return np.asarray(cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)


def _quietly(frames: Iterator[Frame]) -> Iterator[Frame]:
    while True:
        with _quiet():  # not around the loop: while a generator waits, others' warnings are not its own
            frame = next(frames, None)
        if frame is None:
            return
        yield frame


@contextmanager
def _quiet() -> Iterator[None]:
    """Damaged videos are used as far as they can be read; what the reader warns of goes to the log."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        _log.info("%s", warning.message)
