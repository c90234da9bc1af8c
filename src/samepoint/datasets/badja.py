"""BADJA: animal joints on DAVIS videos (Biggs et al., ACCV 2018).

The folder holds ``badja/joint_annotations/<animal>.json``; frames and masks lie in ``badja/`` or ``davis/`` beside it,
as ``JPEGImages/<resolution>/<animal>/00000.jpg`` and ``Annotations/<resolution>/<animal>/00000.png``. Annotations are
integers (row, column) in full resolution, 1920x1080.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from samepoint.errors import InputError

JOINTS = (8, 9, 10, 12, 13, 14, 15, 18, 19, 20, 22, 23, 24, 25, 28, 31, 32, 33, 35, 36)
"""The 20 of 37 joints that the benchmark uses."""

FULL_SIZE = (1080, 1920)
"""(H, W) of the pictures that were annotated."""

SCORED_SIZE = (320, 512)
"""(H, W) at which the published protocols track and score."""

_FOLDERS = ("badja", "davis")
_RESOLUTIONS = ("480p", "Full-Resolution")


@dataclass(frozen=True, eq=False)
class BadjaSequence:
    """One animal: every frame between the first and the last annotated one."""

    name: str
    frame_paths: tuple[Path, ...]
    """T pictures."""
    mask_paths: tuple[Path, ...]
    """A masks, of the annotated frames."""
    annotated: NDArray[np.int64]
    """(A,) which of the T frames are annotated; the first is frame 0, the last frame T - 1."""
    annotation_xy: NDArray[np.float32]
    """(J, A, 2) joints as annotated, integers (x, y) in full resolution."""
    visible: NDArray[np.bool_]
    """(J, A) joints that are to be scored."""

    @cached_property
    def size(self) -> tuple[int, int]:
        """(H, W) of the frames."""
        with Image.open(self.frame_paths[0]) as picture:
            return picture.height, picture.width

    @property
    def joints_xy(self) -> NDArray[np.float32]:
        """(J, A, 2) raster pixels of the frames; an annotated integer means the centre of that pixel."""
        return (self.annotation_xy + np.float32(0.5)) * _factor(self.size)

    def protocol_xy(self, size: tuple[int, int] = SCORED_SIZE) -> NDArray[np.float32]:
        """(J, A, 2) raster pixels of frames resized to ``size`` as the published protocols scale them.

        They multiply the integers as they are, which puts every joint half a full-resolution pixel to the upper left
        of its raster position (0.13 px at 320x512).
        """
        return self.annotation_xy * _factor(size)

    def frames(self, size: tuple[int, int] | None = SCORED_SIZE) -> NDArray[np.uint8]:
        """The T frames, uint8 RGB (T, H, W, 3), resized to ``size`` (H, W) by bilinear sampling unless it is None."""
        return np.stack([_resized(_picture(path, "RGB"), size, cv2.INTER_LINEAR) for path in self.frame_paths])

    def masks(self, size: tuple[int, int] | None = SCORED_SIZE) -> NDArray[np.bool_]:
        """(A, H, W) the animal and whatever is marked with it (riders) in the annotated frames, nearest sampling."""
        return np.stack([_resized(_picture(path, None), size, cv2.INTER_NEAREST) for path in self.mask_paths]) > 0


def read_badja(root: str | Path, names: tuple[str, ...] | None = None) -> Iterator[BadjaSequence]:
    """Read the animals below ``root`` (the folder that holds ``badja/``), sorted by name.

    Args:
        root: the folder.
        names: which animals; all that are annotated when None.

    Raises:
        InputError: a folder, an annotation, a frame or a mask is missing, or an annotation cannot be used.
    """
    folder = Path(root) / "badja" / "joint_annotations"
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected BADJA's joint annotations there")
    known = tuple(sorted(path.stem for path in folder.glob("*.json")))
    if not known:
        raise InputError(f"{folder}: no <animal>.json in it")
    for name in known if names is None else names:
        if name not in known:
            raise InputError(f"{folder}: no annotation of {name!r}; there are {', '.join(known)}")
        yield _read_sequence(Path(root), folder / f"{name}.json")


def _read_sequence(root: Path, path: Path) -> BadjaSequence:
    name = path.stem
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        numbers = np.array([int(Path(entry["image_path"]).stem) for entry in entries], np.int64)
        joints = np.array([[entry["joints"][j] for j in JOINTS] for entry in entries], np.float32)
        visible = np.array([[entry["visibility"][j] for j in JOINTS] for entry in entries], bool)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise InputError(f"{path}: not a BADJA annotation ({type(error).__name__}: {error})") from error
    if joints.shape != (len(numbers), len(JOINTS), 2) or not len(numbers) or (np.diff(numbers) <= 0).any():
        raise InputError(f"{path}: expected frames in rising order with 37 joints (row, column) each")
    frames = _folder(root, "JPEGImages", name)
    masks = _folder(root, "Annotations", name)
    return BadjaSequence(
        name=name,
        frame_paths=tuple(_file(frames / f"{t:05d}.jpg") for t in range(numbers[0], numbers[-1] + 1)),
        mask_paths=tuple(_file(masks / f"{t:05d}.png") for t in numbers),
        annotated=numbers - numbers[0],
        annotation_xy=np.ascontiguousarray(joints[..., ::-1].swapaxes(0, 1)),
        visible=np.ascontiguousarray(visible.T),
    )


def _folder(root: Path, kind: str, name: str) -> Path:
    places = [root / folder / kind / resolution / name for folder in _FOLDERS for resolution in _RESOLUTIONS]
    for place in places:
        if place.is_dir():
            return place
    raise InputError(f"{name}: no {kind} folder; looked for {', '.join(map(str, places))}")


def _file(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path}: missing; every frame between the first and last annotated one is needed")
    return path


def _factor(size: tuple[int, int]) -> NDArray[np.float32]:
    return np.array([size[1] / FULL_SIZE[1], size[0] / FULL_SIZE[0]], np.float32)


def _picture(path: Path, mode: str | None) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert(mode) if mode else picture)
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a picture ({error})") from error


def _resized(picture: NDArray[Any], size: tuple[int, int] | None, interpolation: int) -> NDArray[Any]:
    return picture if size is None else cv2.resize(picture, size[::-1], interpolation=interpolation)
