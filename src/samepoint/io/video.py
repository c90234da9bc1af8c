"""Sources of frames. A reader hands out frames of one source; ``Video`` turns it into what users see."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np

from samepoint.errors import InputError, LiveError
from samepoint.io.images import SUFFIXES, brightest, list_images, read_header, read_image
from samepoint.io.videofile import FileReader, Pictures, describe, is_url, open_container, video_stream

_FEW_LEVELS = 4096  # those of 12 bits; pictures of 16 bits that use no more than these become almost black


class Reader(Protocol):
    """Frames are uint8 RGB (H, W, 3); indices are those of the source and in range."""

    size: tuple[int, int]
    fps: float | None
    is_live: bool

    def __len__(self) -> int: ...
    def reach(self, stop: int) -> int:
        """How many of the first ``stop`` frames there are; no more than these are looked at."""

    def frames(self, start: int, stop: int | None) -> Iterator[np.ndarray]: ...
    def frames_reversed(self, start: int, stop: int) -> Iterator[np.ndarray]: ...
    def frame(self, index: int) -> np.ndarray: ...
    def timestamps(self) -> np.ndarray | None: ...


class _Indexed(ABC):
    """What is the same for every source whose frames can be had one by one at no cost."""

    fps: float | None = None
    is_live = False
    size: tuple[int, int]

    @abstractmethod
    def __len__(self) -> int: ...

    def reach(self, stop: int) -> int:
        return min(stop, len(self))

    @abstractmethod
    def frame(self, index: int) -> np.ndarray: ...

    def frames(self, start: int, stop: int | None) -> Iterator[np.ndarray]:
        for index in range(start, len(self) if stop is None else min(stop, len(self))):
            yield self.frame(index)

    def frames_reversed(self, start: int, stop: int) -> Iterator[np.ndarray]:
        for index in range(stop - 1, start - 1, -1):
            yield self.frame(index)

    def timestamps(self) -> None:
        return None


class ArrayReader(_Indexed):
    """uint8 (T, H, W, 3) or grey (T, H, W); frames are views of a colour array."""

    def __init__(self, array: np.ndarray) -> None:
        if array.dtype != np.uint8:
            raise InputError(f"a video array must be uint8, got {array.dtype}; expected values 0..255")
        if not (array.ndim == 3 or (array.ndim == 4 and array.shape[3] == 3)):
            raise InputError(f"a video array must have the shape (T, H, W, 3) or (T, H, W), got {array.shape}")
        if 0 in array.shape:
            raise InputError(f"a video array needs at least one frame and one pixel, got the shape {array.shape}")
        self._array = array
        self.size = (array.shape[1], array.shape[2])

    def __len__(self) -> int:
        return len(self._array)

    def frame(self, index: int) -> np.ndarray:
        frame = self._array[index]
        return frame if frame.ndim == 3 else np.repeat(frame[..., None], 3, axis=2)


class FolderReader(_Indexed):
    """The pictures of a folder in natural order, all of one size (looked up in the headers when opened)."""

    def __init__(self, folder: Path) -> None:
        self._paths = list_images(folder)
        if not self._paths:
            raise InputError(f"{folder}: no pictures in this folder; expected {', '.join(SUFFIXES)}")
        headers = [read_header(path) for path in self._paths]
        self.size = headers[0].size
        for path, (size, pictures, _) in zip(self._paths, headers, strict=True):
            if size != self.size:
                first = f"{self._paths[0].name} is {self.size[1]}x{self.size[0]}"
                raise InputError(f"{path}: is {size[1]}x{size[0]}, but {first}; the pictures must have one size")
            if pictures > 1:
                raise InputError(f"{path}: holds {pictures} pictures; expected each picture in a file of its own")
        deep = next((path for path, header in zip(self._paths, headers, strict=True) if header.deep), None)
        if deep is not None and (levels := brightest(deep) + 1) <= _FEW_LEVELS:
            message = f"{deep}: uses only {levels} of 65536 levels and becomes almost black; scale the pictures"
            warnings.warn(message, UserWarning, stacklevel=2)

    def __len__(self) -> int:
        return len(self._paths)

    def frame(self, index: int) -> np.ndarray:
        frame = read_image(self._paths[index])
        if frame.shape[:2] != self.size:
            raise InputError(f"{self._paths[index]}: changed while it was in use")
        return frame


class LiveReader:
    """A camera or stream: frames once, in order of arrival. A later iteration goes on where the last one stopped."""

    is_live = True

    def __init__(self, source: str | int, frames: Iterator[np.ndarray], fps: float | None) -> None:
        self._source, self._frames, self.fps = source, frames, fps
        first = next(frames, None)
        if first is None:
            raise InputError(f"{source}: no frame arrives from this source")
        self._first: np.ndarray | None = first
        self.size = (first.shape[0], first.shape[1])

    def __len__(self) -> int:
        raise LiveError(self._source)

    def reach(self, stop: int) -> int:
        raise LiveError(self._source)

    def frames(self, start: int, stop: int | None) -> Iterator[np.ndarray]:
        if start:
            raise LiveError(self._source)
        return self._take(stop)

    def _take(self, count: int | None) -> Iterator[np.ndarray]:
        while count is None or count > 0:
            frame, self._first = self._first, None
            if frame is None and (frame := next(self._frames, None)) is None:
                return
            yield frame
            count = None if count is None else count - 1

    def frames_reversed(self, start: int, stop: int) -> Iterator[np.ndarray]:
        raise LiveError(self._source)

    def frame(self, index: int) -> np.ndarray:
        raise LiveError(self._source)

    def timestamps(self) -> None:
        return None


def _camera(index: int) -> LiveReader:
    import cv2
    from cv2.utils import logging

    told = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)  # its back ends say at length that there is no camera
    try:
        capture = cv2.VideoCapture(index) if 0 <= index < 2**31 else None
    finally:
        logging.setLogLevel(told)
    if capture is None or not capture.isOpened():
        raise InputError(f"camera {index} cannot be opened; expected the number of a connected camera, the first is 0")

    def frames() -> Iterator[np.ndarray]:
        try:
            while True:
                arrived, frame = capture.read()
                if not arrived:
                    return
                yield np.ascontiguousarray(frame[..., ::-1])
        finally:
            capture.release()

    rate = float(capture.get(cv2.CAP_PROP_FPS))
    return LiveReader(index, frames(), rate if 0 < rate < 1000 else None)


def _stream(url: str) -> LiveReader:
    container = open_container(url)
    stream = video_stream(container, url)

    def frames() -> Iterator[np.ndarray]:
        with container:
            try:
                yield from map(Pictures(), container.decode(stream))
            except av.FFmpegError as error:
                warnings.warn(f"{url}: the stream broke off ({describe(error)})", UserWarning, stacklevel=2)

    rate = stream.average_rate
    return LiveReader(url, frames(), float(rate) if rate else None)


def open_reader(source: Any) -> Reader:
    """The reader for a path, URL, camera number or array. Raises InputError where the source is no video."""
    if isinstance(source, np.ndarray):
        return ArrayReader(source)
    if isinstance(source, (int, np.integer)) and not isinstance(source, bool):
        return _camera(int(source))
    if not isinstance(source, (str, Path)):
        raise InputError(
            f"a video must be a path, URL, camera number, uint8 array or Video, got {type(source).__name__}"
        )
    if isinstance(source, str) and is_url(source):
        with open_container(source) as container:
            endless = container.duration is None or not source.lower().startswith(("http", "file"))
        return _stream(source) if endless else FileReader(source)
    path = Path(source)
    if not str(source) or "\0" in str(source):
        raise InputError(f"{str(source)!r}: not a path; expected that of a video file or a folder of pictures")
    try:
        is_folder, is_there = path.is_dir(), path.exists()
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({describe(error)})") from None
    if is_folder:
        return FolderReader(path)
    if not is_there:
        raise InputError(f"{path}: no such file or folder")
    if path.suffix.lower() in SUFFIXES:
        raise InputError(f"{path}: is a picture; expected a video file or a folder of pictures")
    return FileReader(str(path))
