"""Samples of TAP-Vid and RoboTAP out of their pickles, one pickle in memory at a time, and the clips they make."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from samepoint.datasets.frames import Filter, checked_name, resize_frames
from samepoint.errors import InputError
from samepoint.io.pickles import load_pickle

Decode = Callable[[int, int], Iterator[NDArray[np.uint8]]]
"""Gives the frames from the first number to before the second, uint8 RGB (H, W, 3)."""

LONGEST = 1000
"""Frames; RoboTAP's longer videos are cut into equal parts."""


@dataclass(frozen=True, eq=False)
class TapvidVideo:
    """One video with its tracks, or one part of a long video; its frames are decoded when asked for."""

    name: str
    size: tuple[int, int]
    """(H, W) of the frames as stored."""
    points: NDArray[np.float64]
    """(N, T, 2) x, y as fractions of width and height; (0, 0) is the outer corner of the first pixel."""
    occluded: NDArray[np.bool_]
    """(N, T) not visible."""
    origin: Literal["pickle", "csv"]
    """Which source; Kinetics' pickles lie half a native pixel to the upper left of its CSV."""
    decode: Decode
    """Decodes frames ``decode(start, stop)`` one at a time; raises InputError where one cannot be."""

    def __len__(self) -> int:
        return self.points.shape[1]

    @property
    def xy(self) -> NDArray[np.float32]:
        """(N, T, 2) raster pixels of the frames as stored."""
        return self.scaled_xy(self.size).astype(np.float32)

    def scaled_xy(self, size: tuple[int, int] = (256, 256)) -> NDArray[np.float64]:
        """(N, T, 2) raster pixels of frames resized to ``size`` (height, width); scores are computed at 256x256."""
        return self.points * (size[1], size[0])

    def frames(self, size: tuple[int, int] | None = (256, 256), method: Filter = "lanczos") -> NDArray[np.uint8]:
        """The frames, uint8 RGB (T, H, W, 3), resized one at a time to ``size`` (H, W) unless it is None.

        ``lanczos`` is the reference reader's filter, ``bilinear`` FGVC's.
        """
        return resize_frames(self.decode(0, len(self)), self.size if size is None else size, method)

    def parts(self, longest: int = LONGEST) -> tuple[TapvidVideo, ...]:
        """The video in as few parts of at most ``longest`` frames as it takes, their lengths as equal as can be."""
        count = -(-len(self) // longest)
        if count <= 1:
            return (self,)
        return tuple(
            TapvidVideo(
                name=f"{self.name}-part{part}",
                size=self.size,
                points=self.points[:, chosen],
                occluded=self.occluded[:, chosen],
                origin=self.origin,
                decode=_later(self.decode, int(chosen[0])),
            )
            for part, chosen in enumerate(np.array_split(np.arange(len(self)), count))
        )


def pickled_videos(
    paths: Sequence[Path], *, prefix: bool, only: Collection[str] | None = None
) -> Iterator[TapvidVideo]:
    """The samples of pickles that hold a dict by name or a list, in the order of the files, sorted within a dict.

    A sample is a dict of ``video`` uint8 (T, H, W, 3) or T pictures as JPEG bytes, ``points`` (N, T, 2) fractions and
    ``occluded`` (N, T). A pickle is let go before the next one is opened, and each sample after its turn.

    Args:
        paths: the pickles.
        prefix: names become ``<pickle>/<name>``; samples of a list are named by their number.
        only: the names that are wanted; pickles that hold none of them stay closed where names have a prefix. A part
            of a long video asks for the whole of it.

    Raises:
        InputError: a pickle cannot be read, or a sample is not as described, naming both.
    """
    for path in paths:
        head = f"{path.stem}/" if prefix else ""
        if only is not None and not any(name.startswith(head) for name in only):
            continue
        samples = _entries(path, load_pickle(path))
        while samples:
            key, sample = samples.pop()
            name = checked_name(head + key, str(path))
            if only is None or any(_asks(wanted, name) for wanted in only):
                yield _video(path, name, sample)
            del sample


def _asks(wanted: str, name: str) -> bool:
    return wanted == name or wanted.startswith(f"{name}-part")


def _entries(path: Path, content: Any) -> list[tuple[str, Any]]:
    """(name, sample) from the last to the first, so that each can be popped and forgotten."""
    if isinstance(content, dict):
        for key in content:
            if not isinstance(key, str):
                raise InputError(f"{path}: a sample is named {key!r}; expected text")
        entries = sorted(content.items(), key=lambda entry: entry[0])
    elif isinstance(content, (list, tuple)):
        entries = [(f"{index:04d}", sample) for index, sample in enumerate(content)]
    else:
        raise InputError(f"{path}: holds {type(content).__name__}; expected a dict or a list of samples")
    if not entries:
        raise InputError(f"{path}: holds no sample")
    return entries[::-1]


def _video(path: Path, name: str, sample: Any) -> TapvidVideo:
    where = f"{path}, sample {name!r}"
    if not isinstance(sample, dict) or not {"video", "points", "occluded"} <= sample.keys():
        raise InputError(f"{where}: expected a dict of video, points and occluded")
    points, occluded = checked_tracks(sample["points"], sample["occluded"], where)
    video = sample["video"]
    if isinstance(video, np.ndarray) and video.dtype == np.uint8 and video.ndim == 4 and video.shape[3] == 3:
        count, size, decode = len(video), video.shape[1:3], _array(video)
    else:
        listed = isinstance(video, (list, tuple)) or (isinstance(video, np.ndarray) and video.ndim == 1)
        pictures = list(video) if listed else []
        if not pictures or not all(isinstance(picture, bytes) for picture in pictures):
            raise InputError(f"{where}: video must be uint8 (T, H, W, 3), or T pictures as JPEG bytes")
        count, size = len(pictures), _decoded(pictures[0], f"{where}, frame 0", None).shape[:2]
        decode = _jpegs(pictures, size, where)
    if count != points.shape[1] or 0 in (count, *size):
        raise InputError(f"{where}: {count} frames of {size[1]}x{size[0]}, but tracks of {points.shape[1]} frames")
    return TapvidVideo(name, (size[0], size[1]), points, occluded, "pickle", decode)


def checked_tracks(points: Any, occluded: Any, where: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Points float64 (N, T, 2) and occluded bool (N, T), if that is what they are.

    Raises InputError also where a visible point is not in or just beside the picture: pixels given as fractions would
    go unnoticed otherwise.
    """
    if not isinstance(points, np.ndarray) or points.dtype.kind not in "fiu" or points.ndim != 3 or points.shape[2] != 2:
        raise InputError(f"{where}: points must be numbers (N, T, 2)")
    shape = points.shape[:2]
    if not isinstance(occluded, np.ndarray) or occluded.dtype.kind not in "biuf" or occluded.shape != shape:
        raise InputError(f"{where}: occluded must be truth values {shape}, as points are {points.shape}")
    if not ((occluded == 0) | (occluded == 1)).all():
        raise InputError(f"{where}: occluded holds other values than 0 and 1")
    hidden = occluded.astype(bool)
    exact = points.astype(np.float64)
    if not (np.abs(exact[~hidden] - 0.5) <= 1).all():
        raise InputError(f"{where}: a visible point is far outside the picture; expected fractions of width and height")
    return exact, hidden


def _later(decode: Decode, offset: int) -> Decode:
    return lambda start, stop: decode(offset + start, offset + stop)


def _array(video: NDArray[np.uint8]) -> Decode:
    return lambda start, stop: iter(video[start:stop])


def _jpegs(pictures: Sequence[bytes], size: tuple[int, ...], where: str) -> Decode:
    return lambda start, stop: (_decoded(pictures[t], f"{where}, frame {t}", size) for t in range(start, stop))


def _decoded(data: bytes, where: str, size: tuple[int, ...] | None) -> NDArray[np.uint8]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, which does not concern the pixels
            with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as picture:
                frame = np.array(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise InputError(f"{where}: not a JPEG picture ({error})") from None
    if size is not None and frame.shape[:2] != size:
        raise InputError(f"{where}: is {frame.shape[1]}x{frame.shape[0]}, the first frame {size[1]}x{size[0]}")
    return frame
