"""Pictures to match: files, frames of videos, arrays or Pillow's, decoded small and known by their own size."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import InputError
from ..io.images import SUFFIXES, list_images, open_image, read_reduced
from ..structures import Video

LONGEST = 1280
"""Longer side, in pixels, at which pictures are kept: finer than any matcher works, and enough to draw on."""


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture.

    rgb: uint8 (h, w, 3), upright, scaled down where its longer side exceeds :data:`LONGEST`. size: its own (H, W) as
    displayed, in whose pixels points are given and found. name: what files and messages call it.
    """

    rgb: NDArray[np.uint8]
    size: tuple[int, int]
    name: str = ""

    def mirrored(self) -> Picture:
        """Left and right exchanged: x becomes W - x."""
        return replace(self, rgb=np.ascontiguousarray(self.rgb[:, ::-1]))


PictureSource = str | Path | np.ndarray | Image.Image | Picture
"""A path, ``clip.mp4@FRAME``, an array uint8 (H, W, 3) or (H, W), a Pillow image, or a :class:`Picture`."""


def open_picture(source: PictureSource, name: str = "") -> Picture:
    """Read a picture.

    Args:
        source: a file, its EXIF rotation applied, 16 bits cut to 8, alpha dropped; ``clip.mp4@12`` or ``anim.gif@12``:
            a frame of a video or of an animated picture; uint8 RGB (H, W, 3) or grey (H, W); an image of Pillow's.
        name: what it is called where it has no path.

    Raises:
        InputError: no such file, neither a picture nor a video, a video without a frame, no such frame, a picture that
            is empty, damaged or too large to decode, or an array of another kind.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, Image.Image):
        return Picture(*read_reduced(source, LONGEST), name)
    if isinstance(source, np.ndarray):
        return _from_array(source, name)
    if not isinstance(source, (str, Path)):
        raise InputError(
            f"a picture must be a path, a uint8 array or an image of Pillow's, got {type(source).__name__}"
        )
    path, frame = split_frame(str(source))
    if path.is_dir():
        if frame is None:
            raise InputError(f"{path}: is a folder; expected a picture, or its picture number n as {path}@n")
        return _from_folder(path, frame, str(source))
    if _is_picture(path):
        return Picture(*read_reduced(path, LONGEST, frame), str(source))
    if frame is None:
        Video(path)  # says so where it is no video either
        raise InputError(f"{path}: is a video; say which frame, for example {path}@0")
    return _from_video(path, frame, str(source))


def split_frame(text: str) -> tuple[Path, int | None]:
    """``PATH`` or ``PATH@FRAME``; a file whose own name ends like that is taken as it is.

    >>> split_frame("clip.mp4@12")
    (PosixPath('clip.mp4'), 12)
    """
    match = re.fullmatch(r"(.+)@([+-]?\d+)", text, re.DOTALL)
    if "\0" in text:
        raise InputError(f"{text!r}: not a path")
    if match is None or Path(text).exists():
        return Path(text), None
    frame = int(match[2])
    if frame < 0:
        raise InputError(f"{text}: frames count from 0, {frame} is negative")
    return Path(match[1]), frame


def _is_picture(path: Path) -> bool:
    """Whether it is one, or else perhaps a video; raises InputError where it is missing, empty or a damaged picture."""
    try:
        with open_image(path) as image:
            return image.format != "MPEG"  # Pillow knows the size of these videos, and no more
    except InputError:
        if path.suffix.lower() in (*SUFFIXES, ".gif", ".avif") or not path.is_file() or not path.stat().st_size:
            raise
        return False


def _from_folder(path: Path, number: int, name: str) -> Picture:
    """That picture alone: unlike a video's frames, the others may have other sizes."""
    files = list_images(path)
    if number >= len(files):
        raise InputError(f"{path}: no picture {number}; it has {len(files)}, counted from 0")
    return Picture(*read_reduced(files[number], LONGEST), name)


def _from_video(path: Path, frame: int, name: str) -> Picture:
    try:
        rgb = Video(path)[frame]
    except IndexError as error:
        raise InputError(f"{path}: {error}") from None
    return _from_array(rgb, name)


def _from_array(array: np.ndarray, name: str) -> Picture:
    what = name or "a picture"
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise InputError(f"{what} must be uint8 (H, W, 3) or (H, W), got {array.dtype} {array.shape}")
    if 0 in array.shape:
        raise InputError(f"{what} of the shape {array.shape} is empty")
    rgb = np.repeat(array[..., None], 3, axis=2) if array.ndim == 2 else array[..., :3]
    height, width = rgb.shape[:2]
    scale = min(1.0, LONGEST / max(height, width))
    if scale < 1:
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        rgb = np.asarray(cv2.resize(np.ascontiguousarray(rgb), small, interpolation=cv2.INTER_AREA), np.uint8)
    return Picture(np.ascontiguousarray(rgb), (height, width), name)
