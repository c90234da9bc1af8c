"""The frames of one shot, read from its video when they are asked for."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, lru_cache
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

_COPIES = 1024  # videos whose copies' places are kept in mind: 40 bytes a frame
_log = logging.getLogger(__name__)


class ShotFrames:
    """The frames of a shot, uint8 RGB (H, W, 3), upright, at a working size; frame 0 is the shot's first.

    Nothing is held: iteration decodes from the key frame before the shot on, straight to the working size; with a cache
    the video is not opened at all once its copy is made.

    Args:
        row: of the table of shots, or of videos: all its frames then.
        folder: the collection's output folder, which ``row["path"]`` is relative to.
        size: the working size.
        cache: copies as JPEGs at ``size``, which must be its short side; made here, of the whole video, if not there.

    Attributes:
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
        self._source = _Decoded(self.path, size, self.start > 0) if cache is None else _Copied(self.path, cache)
        self._end = self._source.count() if end is None else end
        self.fps = row.get("fps") or self._source.fps or DEFAULT_FPS
        if not 0 <= self.start <= self._end:
            raise InputError(f"{row.get('shot')}: frames {self.start} to {self._end} given, expected the smaller first")

    @cached_property
    def size(self) -> tuple[int, int]:
        """(H, W) of the frames."""
        return self._source.size()

    def __len__(self) -> int:
        return self._end - self.start

    def __iter__(self) -> Iterator[Frame]:
        count = 0
        for frame in self._source.frames(self.start, self._end):
            count += 1
            yield frame
        if count < len(self):
            self._check(self.start + count, self.start + count)

    def __getitem__(self, index: int) -> Frame:
        """Frame ``index`` of the shot; negative from its end. Raises IndexError beyond it."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"frame {index}, but the shot has {len(self)} frames")
        number = self.start + (index if index >= 0 else len(self) + index)
        self._check(number, self._source.count())
        return self._source.frame(number)

    def _check(self, number: int, count: int) -> None:
        if number >= count:
            raise InputError(f"{self.path}: has no frame {number}; it ends at {count}")


class _Decoded:
    """Frames of a video, decoded from it.

    Args:
        path: of the video.
        size: the working size.
        sought: frames other than the first ones will be asked for.
    """

    def __init__(self, path: Path, size: Size, sought: bool) -> None:
        reader = _known(path, *_stamp(path))
        if sought:
            with _quiet():
                len(reader)  # where frames lie, for all shots of this video
        self._size, self.fps = working_size(reader.size, size), reader.fps
        self._reader = _sized(reader, self._size)

    def size(self) -> tuple[int, int]:
        return self._size

    def count(self) -> int:
        with _quiet():
            return len(self._reader)

    def frame(self, number: int) -> Frame:
        with _quiet():
            return _fitted(self._reader.frame(number), self._size)

    def frames(self, start: int, end: int) -> Iterator[Frame]:
        return (_fitted(frame, self._size) for frame in _quietly(self._reader.frames(start, end)))


class _Copied:
    """Frames of a video from its copy in a cache."""

    def __init__(self, path: Path, cache: FrameCache) -> None:
        self._path, self._cache = path, cache
        self._copy = _copy_of(cache, path, *_stamp(path))
        self.fps = self._copy[1].fps

    def size(self) -> tuple[int, int]:
        height, width, _ = self.frame(0).shape
        return height, width

    def count(self) -> int:
        return self._copy[1].frames

    def frame(self, number: int) -> Frame:
        return self._cache.read(self._path, *self._copy, number)

    def frames(self, start: int, end: int) -> Iterator[Frame]:
        return (self.frame(number) for number in range(start, min(end, self.count())))


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
    reader = _known(path, *_stamp(path))
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


def _stamp(path: Path) -> tuple[int, int]:
    """When a file was changed, and its bytes: what is known of it holds while they stay the same."""
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror})") from None
    return status.st_mtime_ns, status.st_size


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
    with _quiet():
        return open_reader(path)


@lru_cache(maxsize=_COPIES)
def _copy_of(cache: FrameCache, path: Path, changed: int, size: int) -> tuple[str, CachedVideo]:
    """The key and the entry of a video, made if it is not there: to look for them for each frame costs more than it."""
    key = cache.key(path)
    return key, cache.entry(path, key) or cache.build(path, key)


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
