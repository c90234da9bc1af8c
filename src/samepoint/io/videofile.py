"""Frames of a video file through PyAV: exact seeking, backward reading, damaged files up to their last good frame."""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from samepoint.errors import InputError

_NEAR = 16  # frames ahead that decoding on reaches sooner than a seek
_REVERSE_BYTES = 128 << 20  # frames that backward reading holds at a time
_TIMEOUT = (20.0, 20.0)  # seconds that a URL may take to open, and to answer each time it is read
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_NOT_VIDEO = {"tty", "image2", "gif_pipe"}  # text files and pictures, which FFmpeg takes for videos too


def is_url(source: str) -> bool:
    return _URL.match(source) is not None


def describe(error: BaseException) -> str:
    """FFmpeg's message without the number and the path that PyAV puts around it."""
    return str(getattr(error, "strerror", None) or error)


def open_container(source: str) -> Any:
    """An open PyAV container. Raises InputError where it is no video or has no video stream."""
    # FFmpeg takes what stands before a colon for a protocol: 12:30.mp4 must not begin with it.
    address = source if is_url(source) else str(Path(source).absolute())
    try:
        container = av.open(address, metadata_errors="replace", timeout=_TIMEOUT if is_url(source) else None)
    except av.ExitError:
        raise InputError(f"{source}: no answer within {_TIMEOUT[0]:g} seconds") from None
    except av.FFmpegError as error:
        reason = describe(error)
        raise InputError(f"{source}: not a video that can be read, or cut short before its index ({reason})") from None
    except OSError as error:
        raise InputError(f"{source}: cannot be opened ({describe(error)})") from None
    name = container.format.name
    if name in _NOT_VIDEO or name.endswith("_pipe"):
        container.close()
        raise InputError(f"{source}: not a video (it reads as {name})")
    try:
        video_stream(container, source)
    except InputError:
        container.close()
        raise
    return container


def video_stream(container: Any, source: str) -> Any:
    """The first video stream that is no cover picture."""
    for stream in container.streams.video:
        if "ATTACHED_PIC" not in str(getattr(stream, "disposition", "")).upper():
            stream.thread_type = "SLICE"  # threads a frame each lose more of a damaged file, and each time other frames
            return stream
    raise InputError(f"{source}: no video stream in this file")


def _upright(image: np.ndarray, matrix: tuple[int, ...] | None) -> np.ndarray:
    """Apply a display matrix (ISO 14496-12: x' = a x + c y, y' = b x + d y) that turns by quarters and mirrors."""
    if matrix is None:
        return image
    a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
    if abs(a) + abs(d) >= abs(b) + abs(c):
        flip_x, flip_y = a < 0, d < 0
    else:
        image = image.transpose(1, 0, 2)
        flip_x, flip_y = c < 0, b < 0
    return np.ascontiguousarray(image[:: -1 if flip_y else 1, :: -1 if flip_x else 1])


class Pictures:
    """Turns decoded frames into uint8 RGB, upright, all of the first one's size (or the ``size`` (H, W) given).

    One for each pass over a video, since it keeps the scaler: setting up a new one for every frame, with its threads,
    costs up to fifty times the conversion itself.
    """

    def __init__(self, size: tuple[int, int] | None = None) -> None:
        self.size = size
        self._scaler = VideoReformatter()
        self._turn: tuple[float | None, tuple[int, ...] | None] | None = None  # rotation in degrees, display matrix

    def _matrix(self, frame: Any) -> tuple[int, ...] | None:
        """The frame's display matrix, read again only where the rotation changes.

        Reading it ties frame and side data to each other until Python looks for cycles: hundreds of frames would wait.
        """
        rotation = getattr(frame, "rotation", None)
        if self._turn is None or rotation != self._turn[0]:
            data = frame.side_data.get("DISPLAYMATRIX")
            raw = b"" if data is None else bytes(data)
            self._turn = rotation, struct.unpack("=9i", raw[:36]) if len(raw) >= 36 else None
        return self._turn[1]

    def __call__(self, frame: Any) -> np.ndarray:
        matrix = self._matrix(frame)
        turned = matrix is not None and abs(matrix[0]) + abs(matrix[4]) < abs(matrix[1]) + abs(matrix[3])
        height, width = frame.height, frame.width
        if self.size is not None:
            height, width = self.size[::-1] if turned else self.size
        options = {"format": "rgb24", "width": width, "height": height}
        try:
            rgb = self._scaler.reformat(frame, **options, threads=1)
        except TypeError:  # earlier PyAV does not let one choose the threads
            rgb = self._scaler.reformat(frame, **options)
        image = _upright(rgb.to_ndarray(), matrix)
        self.size = self.size or (image.shape[0], image.shape[1])
        return image


def _missing_bytes(source: str) -> int:
    """How many bytes the file says it has beyond those that are there; 0 where it does not say. AVI and Matroska."""
    path = Path(source)
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        head = file.read(4096)
    declared = 0
    if head[:4] == b"RIFF":
        declared = 8 + int.from_bytes(head[4:8], "little")
    elif head[:4] == b"\x1a\x45\xdf\xa3" and (at := head.find(b"\x18\x53\x80\x67")) > 0 and len(head) > at + 12:
        length = 9 - head[at + 4].bit_length()  # EBML: the leading zero bits tell how long the number is
        if 1 <= length <= 8:
            value = int.from_bytes(head[at + 4 : at + 4 + length], "big") & ((1 << 7 * length) - 1)
            unknown = value == (1 << 7 * length) - 1
            declared = 0 if unknown else at + 4 + length + value
    return max(0, declared - path.stat().st_size)


def _cut_short(container: Any, stream: Any, source: str) -> bool:
    entries = getattr(stream, "index_entries", None) or ()
    end = max((entry.pos + entry.size for entry in entries), default=0)
    return 0 < container.size < end or _missing_bytes(source) > 0


@dataclass
class _Index:
    """One entry for each frame that can be decoded, in order."""

    pts: list[int | None]
    keys: list[int]  # indices of the key frames
    seekable: bool  # pts rise strictly, so that they name frames


class FileReader:
    """A file, or a URL of one. Each iteration opens it anew; only the frames asked for are held."""

    is_live = False

    def __init__(self, source: str) -> None:
        self._source = source
        self._index_cache: _Index | None = None
        # The index after the frame last read, and the frames from it once two were read in order: they hold a file.
        self._cursor: tuple[int, Iterator[np.ndarray] | None] | None = None
        self._warned = False
        with open_container(source) as container:
            stream = video_stream(container, source)
            rate = stream.average_rate or stream.guessed_rate
            self.fps = float(rate) if rate else None
            self._time_base = stream.time_base
            first = next(self._decode(container, stream, []), None)
        if first is None:
            raise InputError(f"{source}: no frame of this video can be decoded")
        height, width = Pictures()(first).shape[:2]
        self.size: tuple[int, int] = (height, width)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cursor": None}

    @staticmethod
    def _decode(container: Any, stream: Any, faults: list[str]) -> Iterator[Any]:
        """Every frame that decodes, past faulty packets, whose reasons go into ``faults``."""
        packets = container.demux(stream)
        ended = False
        while not ended:
            try:
                packet = next(packets)
                ended = packet.size == 0
                if packet.is_corrupt:
                    faults.append("incomplete data")
                    continue
            except StopIteration:
                return
            except (av.FFmpegError, OSError) as error:
                faults.append(describe(error))
                packet, ended = None, True
            try:
                for frame in stream.decode(packet) if packet is None else packet.decode():
                    if not frame.is_corrupt:
                        yield frame
            except (av.FFmpegError, OSError) as error:
                faults.append(describe(error))

    def _raw(self) -> Iterator[Any]:
        """The frames from the start on as PyAV has them; builds the index on the way and tells of damage at the end."""
        pts: list[int | None] = []
        keys: list[int] = []
        faults: list[str] = []
        with open_container(self._source) as container:
            stream = video_stream(container, self._source)
            cut = _cut_short(container, stream, self._source)
            for frame in self._decode(container, stream, faults):
                if frame.key_frame:
                    keys.append(len(pts))
                pts.append(frame.pts)
                yield frame
        if (faults or cut) and not self._warned:
            self._warned = True
            why = faults[0] if faults else "the file is cut short"
            message = f"{self._source}: damaged; {len(pts)} frames can be read ({why})"
            warnings.warn(message, UserWarning, stacklevel=2)
        if self._index_cache is None:
            rising = all(a is not None and b is not None and a < b for a, b in pairwise(pts))
            self._index_cache = _Index(pts, keys, rising and None not in pts)

    def _index(self) -> _Index:
        if self._index_cache is None:
            for _ in self._raw():
                pass
        if self._index_cache is None:  # _raw ran to its end, so only a bug comes here
            raise RuntimeError("no index")
        return self._index_cache

    def __len__(self) -> int:
        return len(self._index().pts)

    def reach(self, stop: int) -> int:
        if self._index_cache is None:
            return sum(1 for _ in islice(self._raw(), stop))
        return min(stop, len(self))

    def timestamps(self) -> np.ndarray | None:
        """Seconds from the first frame, float64 (T,), or None where the file does not tell."""
        index = self._index()
        if not index.seekable or self._time_base is None:
            return None
        ticks = np.array(index.pts, dtype=np.int64)
        return (ticks - ticks[0]) * float(self._time_base)

    def _raw_from(self, start: int) -> Iterator[Any]:
        """Frames from index ``start`` on: from the nearest key frame before it that a seek really lands on."""
        if start > _NEAR:
            index = self._index()
            before = [key for key in index.keys if 0 < key <= start] if index.seekable else []
            for key in before[:-3:-1]:
                frames = self._raw_after_seek(key, index)
                if frames is not None:
                    yield from islice(frames, start - key, None)
                    return
        yield from islice(self._raw(), start, None)

    def _raw_after_seek(self, key: int, index: _Index) -> Iterator[Any] | None:
        """Frames from the key frame on, or None where a seek does not lead to it."""
        container = open_container(self._source)
        stream = video_stream(container, self._source)
        decoded = self._decode(container, stream, [])
        first = None
        try:
            container.seek(index.pts[key], stream=stream, backward=True)
            # Frames shown before the key frame may lean on ones the seek skipped: pass over them.
            first = next((frame for frame in decoded if frame.pts is None or frame.pts >= index.pts[key]), None)
        except (av.FFmpegError, OSError):
            first = None
        if first is None or first.pts != index.pts[key]:
            container.close()
            return None

        def frames() -> Iterator[Any]:
            with container:
                yield first
                yield from decoded

        return frames()

    def frames(self, start: int, stop: int | None) -> Iterator[np.ndarray]:
        count = None if stop is None else max(0, stop - start)
        yield from map(Pictures(self.size), islice(self._raw_from(start), count))

    def frames_reversed(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Decoded forward in chunks that end where the last began, each from the key frame before it."""
        chunk = max(8, _REVERSE_BYTES // (self.size[0] * self.size[1] * 3))
        while stop > start:
            low = max(start, stop - chunk)
            held = list(self.frames(low, stop))
            while held:
                yield held.pop()
            stop = low

    def frame(self, index: int) -> np.ndarray:
        cursor, self._cursor = self._cursor, None  # taken, so that two threads never share one
        position, frames = cursor or (index + 1, None)
        in_order = 0 <= index - position < _NEAR
        if frames is None or not in_order:
            position, frames = index, self.frames(index, None)
        image = next(islice(frames, index - position, None))
        self._cursor = (index + 1, frames if in_order else None)
        return image
