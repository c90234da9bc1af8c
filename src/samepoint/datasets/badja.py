"""BADJA: animal joints on DAVIS videos (Biggs et al., ACCV 2018).

The folder holds ``joint_annotations/<animal>.json``, or ``badja/`` does in it. Frames and masks lie as
``{JPEGImages,Annotations}/{Full-Resolution,480p}/<animal>/00000.{jpg,png}`` in the folder, in its ``DAVIS/``, or in
``davis/`` beside it; those of the extra videos where the annotation says (``extra_videos/...``). Annotations are
integers (row, column) in full resolution, 1920x1080.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samepoint.datasets.check import Check
from samepoint.datasets.frames import checked_name, folder_of, read_frames, read_stored, resize_picture
from samepoint.errors import InputError
from samepoint.io.images import image_size, list_images, visible

JOINTS = (8, 9, 10, 12, 13, 14, 15, 18, 19, 20, 22, 23, 24, 25, 28, 31, 32, 33, 35, 36)
"""The 20 of 37 joints that the benchmark uses."""

FULL_SIZE = (1080, 1920)
"""(H, W) of the DAVIS pictures that were annotated."""

SCORED_SIZE = (320, 512)
"""(H, W) at which the published protocols track and score."""

EXPECTED = {
    "bear": (17, 300),
    "camel": (18, 331),
    "cows": (21, 393),
    "dog": (12, 191),
    "dog-agility": (5, 38),
    "horsejump-high": (10, 169),
    "horsejump-low": (12, 210),
}
"""The 7 animals of the published figures: annotated frames, and visible joints among the 20."""

_ANNOTATED = 37
_RESOLUTIONS = ("Full-Resolution", "480p")
_EXTRA = "extra_videos/"
_WHERE_JOINTS = "get joint_annotations/ from github.com/benjiebob/BADJA"
_WHERE_FRAMES = (
    "get DAVIS 2017, TrainVal, 'Images and Annotations', from davischallenge.org "
    "(DAVIS-2017-trainval-Full-Resolution.zip or DAVIS-2017-trainval-480p.zip)"
)


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
    extra: bool = False
    """One of the videos that are not DAVIS's and not part of the published figures."""

    @cached_property
    def size(self) -> tuple[int, int]:
        """(H, W) of the frames."""
        return image_size(self.frame_paths[0])

    @property
    def resolution(self) -> str:
        """``480p`` or ``full``, whichever the frames are there in."""
        return "480p" if self.frame_paths[0].parent.parent.name == "480p" else "full"

    @property
    def full_size(self) -> tuple[int, int]:
        """(H, W) of the pictures that were annotated; an extra video has its frames at that size alone."""
        return self.size if self.extra else FULL_SIZE

    @property
    def joints_xy(self) -> NDArray[np.float32]:
        """(J, A, 2) raster pixels of the frames; an annotated integer means the centre of that pixel."""
        return (self.annotation_xy + np.float32(0.5)) * self._factor(self.size)

    def protocol_xy(self, size: tuple[int, int] = SCORED_SIZE) -> NDArray[np.float32]:
        """(J, A, 2) raster pixels of frames resized to ``size`` as the published protocols scale them.

        They multiply the integers as they are, which puts every joint half a full-resolution pixel to the upper left
        of its raster position (0.13 px at 320x512).
        """
        return self.annotation_xy * self._factor(size)

    def frames(self, size: tuple[int, int] | None = SCORED_SIZE) -> NDArray[np.uint8]:
        """The T frames, uint8 RGB (T, H, W, 3), resized to ``size`` (H, W) by bilinear sampling unless it is None."""
        return read_frames(self.frame_paths, size, "bilinear")

    def masks(self, size: tuple[int, int] | None = SCORED_SIZE) -> NDArray[np.bool_]:
        """(A, H, W) the animal and whatever is marked with it (riders) in the annotated frames, nearest sampling."""
        masks: list[NDArray[np.bool_]] = []
        for path in self.mask_paths:
            mask = read_stored(path)[0]
            if masks and size is None and mask.shape != masks[0].shape:
                raise InputError(f"{path}: its size is not that of the other masks")
            masks.append(resize_picture(mask, size, "nearest") > 0)
        return np.stack(masks)

    def _factor(self, size: tuple[int, int]) -> NDArray[np.float32]:
        return np.array([size[1] / self.full_size[1], size[0] / self.full_size[0]], np.float32)


def names(root: str | Path, *, extra: bool = False) -> tuple[str, ...]:
    """The animals that are annotated and have all their frames and masks, sorted.

    Args:
        root: the folder that holds ``joint_annotations/``, or ``badja/`` with it.
        extra: the extra videos too, which are not part of the published figures.

    Raises:
        InputError: none there.
    """
    return tuple(animal.name for animal in sequences(root, extra=extra))


def sequences(
    root: str | Path, *, extra: bool = False, only: Collection[str] | None = None
) -> tuple[BadjaSequence, ...]:
    """The animals of :func:`names`, or of these the ones in ``only``; no picture is decoded.

    Raises:
        InputError: as :func:`names`; also where one that is asked for lacks a frame or a mask.
    """
    folder = _folder(root)
    known, refused = _sorted_out(folder, extra)
    if not known:
        why = f": {next(iter(refused.values()))}" if refused else ""
        raise InputError(f"{folder}: no annotated animal has frames and masks{why}; {_WHERE_FRAMES}")
    for name in only or ():
        if name not in known:
            why = f" ({refused[name]})" if name in refused else ""
            raise InputError(f"{root}: no animal {name!r} with frames and masks; there are {', '.join(known)}{why}")
    return tuple(animal for name, animal in known.items() if only is None or name in only)


def read_badja(root: str | Path, names: tuple[str, ...] | None = None) -> Iterator[BadjaSequence]:
    """Read animals below ``root``, sorted by name.

    Args:
        root: the folder that holds ``joint_annotations/``, or ``badja/`` with it.
        names: which animals; all that are annotated when None.

    Raises:
        InputError: a folder, an annotation, a frame or a mask is missing, or an annotation cannot be used.
    """
    folder = _folder(root)
    paths = {path.stem: path for path in _annotations(folder)}
    for name in paths if names is None else names:
        if name not in paths:
            raise InputError(f"{folder}: no annotation of {name!r}; there are {', '.join(paths)}")
        yield _sequence(folder, _read_note(paths[name]))


def check(root: str | Path) -> Check:
    """Which of the 7 animals of the published figures lie below ``root``, and whether they are complete."""
    try:
        folder = _folder(root)
        paths = {path.stem: path for path in _annotations(folder)}
    except InputError as error:
        return Check("badja", Path(root), 0, (f"{error}; {_WHERE_JOINTS}",), ())
    missing, notes, found = [], [], []
    for name in sorted(EXPECTED.keys() | paths.keys()):
        if name not in paths:
            missing.append(f"{folder / f'{name}.json'}; {_WHERE_JOINTS}")
            continue
        try:
            note = _read_note(paths[name])
            if note.extra and not _here(folder, note):
                notes.append(f"{name}: an extra video that is not here and not part of the published figures")
                continue
            sequence = _sequence(folder, note)
        except InputError as error:
            missing.append(f"{error}; {_WHERE_FRAMES}")
            continue
        counts = len(sequence.annotated), int(sequence.visible.sum())
        if counts != EXPECTED.get(name, counts):
            notes.append(f"{name}: {counts} annotated frames and visible joints, published {EXPECTED[name]}")
        if name in EXPECTED:
            found.append(f"{name} {sequence.size[1]}x{sequence.size[0]}")
        else:
            notes.append(f"{name}: not part of the published figures of {len(EXPECTED)} animals")
    notes.append(f"frames of {', '.join(found) or 'no animal'}; the joints were placed at 1920x1080")
    return Check("badja", folder.parent, len(found), tuple(missing), tuple(notes))


@dataclass(frozen=True, eq=False)
class _Note:
    """One annotation file, as far as it does not ask for pictures."""

    path: Path
    frames: tuple[Path, ...]
    """(A,) as the file names them."""
    masks: tuple[Path, ...]
    """(A,) of an extra video as the file names them, of another the names alone."""
    joints: NDArray[np.float32]
    """(J, A, 2) x, y"""
    visible: NDArray[np.bool_]

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def extra(self) -> bool:
        return self.frames[0].as_posix().startswith(_EXTRA)


def _folder(root: str | Path) -> Path:
    """The folder of the annotations."""
    for folder in (Path(root) / "joint_annotations", Path(root) / "badja" / "joint_annotations"):
        if folder.is_dir():
            return folder
    folder_of(root, "BADJA's joint_annotations/")
    raise InputError(f"{Path(root) / 'joint_annotations'}: no such folder; expected BADJA's joint annotations there")


def _annotations(folder: Path) -> list[Path]:
    paths = visible(folder.glob("*.json"))
    if not paths:
        raise InputError(f"{folder}: no <animal>.json in it")
    return paths


def _read_note(path: Path) -> _Note:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        frames = tuple(Path(checked_name(entry["image_path"], str(path))) for entry in entries)
        masks = tuple(Path(checked_name(_mask_of(entry), str(path))) for entry in entries)
        numbers = [_number(frame) for frame in frames]
        joints = np.array([_chosen(entry["joints"], _place) for entry in entries], np.float32)
        visible = np.array([_chosen(entry["visibility"], _flag) for entry in entries], bool)
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise InputError(f"{path}: not a BADJA annotation ({type(error).__name__}: {error})") from None
    if not numbers or any(later <= earlier for earlier, later in pairwise(numbers)):
        raise InputError(f"{path}: expected frames in rising order with 37 joints (row, column) each")
    if len({frame.parent for frame in frames}) > 1:
        raise InputError(f"{path}: its frames lie in several folders; expected one")
    return _Note(path, frames, masks, np.ascontiguousarray(joints[..., ::-1].swapaxes(0, 1)), visible.T.copy())


def _mask_of(entry: dict[str, Any]) -> str:
    """Where the mask lies; DAVIS's are known by their number."""
    if entry["image_path"].startswith(_EXTRA):
        return entry["segmentation_path"]
    return f"Annotations/{_number(Path(entry['image_path'])):05d}.png"


def _chosen(values: Any, read: Any) -> list[Any]:
    if not isinstance(values, list) or len(values) != _ANNOTATED:
        raise ValueError(f"expected lists of {_ANNOTATED} joints")
    return [read(values[joint]) for joint in JOINTS]


def _place(value: Any) -> list[float]:
    if not isinstance(value, list) or len(value) != 2 or not all(type(side) in (int, float) for side in value):
        raise ValueError(f"joint {value!r}, expected [row, column]")
    if not all(abs(side) < 1e6 for side in value):
        raise ValueError(f"joint {value!r} is not in a picture")
    return value


def _flag(value: Any) -> bool:
    if value not in (0, 1):
        raise ValueError(f"visibility {value!r}, expected true or false")
    return bool(value)


def _number(frame: Path) -> int:
    """The digits at the end of a frame's name."""
    digits = re.search(r"[0-9]{1,9}$", frame.stem)
    if digits is None:
        raise ValueError(f"frame {frame.name!r} has no number")
    return int(digits.group())


def _here(folder: Path, note: _Note) -> bool:
    return all(any(place.is_dir() for place in _places(folder, note, kind)) for kind in ("JPEGImages", "Annotations"))


def _places(folder: Path, note: _Note, kind: str) -> list[Path]:
    """Where frames or masks may lie; of an extra video, where the annotation says."""
    base = folder.parent
    if note.extra:
        return [base / (note.frames[0] if kind == "JPEGImages" else note.masks[0]).parent]
    roots = (base, base / "DAVIS", base.parent / "davis", base.parent / "DAVIS")
    return [root / kind / resolution / note.name for resolution in _RESOLUTIONS for root in roots]


def _sorted_out(folder: Path, extra: bool) -> tuple[dict[str, BadjaSequence], dict[str, str]]:
    """The animals that are complete, by name, and why the others are not."""
    complete, refused = {}, {}
    for path in _annotations(folder):
        try:
            note = _read_note(path)
            if extra or not note.extra:
                complete[note.name] = _sequence(folder, note)
        except InputError as error:
            refused[path.stem] = str(error)
    return complete, refused


def _sequence(folder: Path, note: _Note) -> BadjaSequence:
    pictures, masks = _existing(folder, note, "JPEGImages"), _existing(folder, note, "Annotations")
    frames = _pictures(pictures, note)
    places = {_number(path): index for index, path in enumerate(frames)}
    return BadjaSequence(
        name=note.name,
        frame_paths=frames,
        mask_paths=tuple(_file(masks / mask.name) for mask in note.masks),
        annotated=np.array([places[_number(frame)] for frame in note.frames], np.int64),
        annotation_xy=note.joints,
        visible=note.visible,
        extra=note.extra,
    )


def _existing(folder: Path, note: _Note, kind: str) -> Path:
    places = _places(folder, note, kind)
    for place in places:
        if place.is_dir():
            return place
    raise InputError(f"{note.name}: no {kind} folder; looked for {', '.join(map(str, places))}")


def _pictures(place: Path, note: _Note) -> tuple[Path, ...]:
    """Every frame from the first to the last annotated one."""
    first, last = note.frames[0], note.frames[-1]
    if not note.extra:
        return tuple(_file(place / f"{number:05d}.jpg") for number in range(_number(first), _number(last) + 1))
    for frame in note.frames:
        _file(place / frame.name)
    names = [path.name for path in list_images(place)]  # these videos are numbered in their own ways
    return tuple(place / name for name in names[names.index(first.name) : names.index(last.name) + 1])


def _file(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path}: missing; every frame between the first and last annotated one is needed")
    return path
