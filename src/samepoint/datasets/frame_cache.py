"""Short-side copies of videos on disk, for training to read single frames of many videos fast.

An entry of a cache folder is two files, named by a hash of the video's identity and the settings:

    <key>.json     rate, shots, and where in the other file each frame lies; written last
    <key>.jpegs    the frames, one JPEG after another; absent where the folder was full

A frame is the same whether it comes from the copy or, through the same JPEG, from the video itself: a full or emptied
cache changes speed and nothing else. Both files appear whole or not at all and processes may build at the same time:
at worst two make the same entry, one after the other puts it in place. What a killed build made is kept, so the next
goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from samepoint.datasets.shots import Shot, ShotFinder
from samepoint.errors import InputError
from samepoint.geometry import fit_size
from samepoint.io.atomic import atomic_path, atomic_write
from samepoint.io.images import SUFFIXES, list_images, read_image
from samepoint.structures.video import Video

_VERSION = 1  # of the files and of what decides their content
_QUALITY = 92
_SAMPLED = 1 << 16  # bytes at either end of a file that tell it from others
_STALE = 86_400  # seconds after which a build's leftovers are surely no one's
_RECOUNT = 30.0  # seconds after which the packs that others may have added are counted
_COUNTING = 0.01  # share of the time that counting may take: of very many files, or slow ones, it is done more seldom

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CachedVideo:
    """What is known of a video, without its frames.

    Attributes:
        frames: how many can be decoded.
        fps: their rate, as measured over the whole video where it varies.
        shots: half-open ranges of frames.
        offsets: where each frame begins in the pack, and where the last one ends.
        kept: whether there is a pack.
    """

    frames: int
    fps: float
    shots: tuple[Shot, ...]
    offsets: tuple[int, ...]
    kept: bool


class FrameCache:
    """Short-side copies in one folder.

    Args:
        folder: made where it is not there; videos of any number of folders may share it.
        short_side: frames are shrunk to it, smaller ones stay as they are; None: all stay.
        limit: bytes that the packs of the folder may take together. About 40 kB a frame at 256 x 455: 60 MB a minute.
            Processes that build at the same time may exceed it by what each makes in half a minute. Nothing is thrown
            away to make room; packs may be deleted at any time.
        shots: whether to look for shots; else a video is one.
    """

    def __init__(self, folder: str | Path, short_side: int | None, limit: float, shots: bool = True) -> None:
        self.folder, self.short_side, self.limit, self.shots = Path(folder), short_side, limit, shots
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder}: cannot make this cache folder ({error.strerror})") from None
        self._open: dict[Path, Video] = {}
        self._used, self._until = 0, -math.inf  # bytes of all packs, and until when that holds

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}

    def key(self, path: Path) -> str:
        """The entry's name: wherever the video lies, while size, time of change, and both ends of it stay the same."""
        files = list_images(path) if path.is_dir() else [path]
        seen = hashlib.sha256(repr((_VERSION, _QUALITY, self.short_side, self.shots)).encode())
        for file in files:
            status = file.stat()
            seen.update(repr((file.name if path.is_dir() else "", status.st_size, status.st_mtime_ns)).encode())
        with files[0].open("rb") as opened:
            seen.update(opened.read(_SAMPLED))
            opened.seek(-min(_SAMPLED, files[0].stat().st_size), os.SEEK_END)
            seen.update(opened.read())
        return seen.hexdigest()[:32]

    def entry(self, path: Path, key: str) -> CachedVideo | None:
        """The entry of a video, if it is there and need not be made again now that there is room for its pack."""
        try:
            values = json.loads((self.folder / f"{key}.json").read_text(encoding="utf-8"))
            video = CachedVideo(
                int(values["frames"]),
                float(values["fps"]),
                tuple((int(start), int(stop)) for start, stop in values["shots"]),
                tuple(map(int, values["offsets"])),
                (self.folder / f"{key}.jpegs").is_file(),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if len(video.offsets) != video.frames + 1:
            return None
        return None if not video.kept and self.used() + video.offsets[-1] <= self.limit else video

    def build(self, path: Path, key: str) -> CachedVideo:
        """Decodes a video once: makes its entry.

        Raises InputError where it cannot be read, OSError where the disk is full.
        """
        room = self.limit - self.used()
        pack = self.folder / f"{key}.jpegs"
        finder, offsets = ShotFinder(), [0]
        with _quiet():
            video = _video(path)
            with _pack(pack, room) as write:
                for frame in video:
                    data, small = self._encoded(frame)
                    if self.shots:
                        finder.add(small)
                    offsets.append(offsets[-1] + len(data))
                    write(data)
            count = len(offsets) - 1
            times = video.timestamps
        fps = (count - 1) / float(times[-1] - times[0]) if count > 1 and times[-1] > times[0] else video.fps
        shots = finder.shots() if self.shots else [(0, count)]
        entry = CachedVideo(count, fps, tuple(shots), tuple(offsets), pack.is_file())
        if entry.kept:
            self._used += offsets[-1]
        else:
            _log.warning("%s: the cache %s is full; its frames are read from the video itself", path, self.folder)
        with atomic_write(self.folder / f"{key}.json", "w") as file:
            json.dump(asdict(entry), file)
        return entry

    def read(self, path: Path, key: str, entry: CachedVideo, index: int) -> NDArray[np.uint8]:
        """Frame ``index`` at the short side, uint8 RGB (H, W, 3); from the video where there is no pack."""
        picture = None
        try:
            with (self.folder / f"{key}.jpegs").open("rb") as file:
                file.seek(entry.offsets[index])
                picture = _decoded(file.read(entry.offsets[index + 1] - entry.offsets[index]))
        except OSError:
            pass
        if picture is not None:
            return picture
        if path not in self._open:
            while len(self._open) >= 4:
                del self._open[next(iter(self._open))]
            with _quiet():
                self._open[path] = _video(path)
        with _quiet():
            picture = _decoded(self._encoded(self._open[path][index])[0])
        if picture is None:
            raise InputError(f"{path}: frame {index} cannot be read")
        return picture

    def used(self) -> int:
        """Bytes of all packs in the folder: those made here at once, those of other processes when next counted."""
        if time.monotonic() >= self._until:
            began = time.monotonic()
            self._used = self._counted()
            ended = time.monotonic()
            self._until = ended + max(_RECOUNT, (ended - began) / _COUNTING)
        return self._used

    def _counted(self) -> int:
        """Bytes of all packs; removes what killed builds left behind a day ago."""
        total = 0
        for file in os.scandir(self.folder):
            if file.name.endswith(".jpegs"):
                try:
                    status = file.stat()
                    total += status.st_size
                    if file.name.startswith(".") and time.time() - status.st_mtime > _STALE:
                        Path(file.path).unlink()
                except FileNotFoundError:  # another process has just renamed or removed it
                    continue
        return total

    def _encoded(self, frame: NDArray[np.uint8]) -> tuple[bytes, NDArray[np.uint8]]:
        """The frame as a JPEG at the short side, and as it goes in."""
        if self.short_side is not None and min(frame.shape[:2]) > self.short_side:
            height, width = fit_size((frame.shape[0], frame.shape[1]), self.short_side)
            frame = np.asarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        full = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]  # colours are trained on
        done, data = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY, *full])
        if not done:
            raise InputError(f"a frame of {frame.shape[1]}x{frame.shape[0]} cannot be kept as a JPEG")
        return data.tobytes(), frame


def _video(path: Path) -> Video:
    """Of a file or folder; a picture is a video of one frame."""
    return Video(read_image(path)[None]) if path.suffix.lower() in SUFFIXES and path.is_file() else Video(path)


def _decoded(data: bytes) -> NDArray[np.uint8] | None:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    return None if picture is None else np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


@contextmanager
def _pack(path: Path, room: float) -> Iterator[Callable[[bytes], None]]:
    """A function that appends bytes to what becomes ``path`` at the end; nothing does where there is no room."""
    held = 0

    def write(data: bytes) -> None:
        nonlocal held
        held += len(data)
        if held <= room:
            file.write(data)

    with suppress(_NoRoom), atomic_path(path) as temporary, temporary.open("wb") as file:
        yield write
        if held > room:
            raise _NoRoom


class _NoRoom(Exception):
    """Ends the writing of a pack, which then leaves nothing behind."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Damaged videos are used as far as they can be read; the reader's warnings go to the log."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        _log.info("%s", warning.message)
