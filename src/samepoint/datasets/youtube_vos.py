"""YouTube-VOS 2018 (Xu et al., ECCV 2018) as clips to train on.

    train/JPEGImages/<id>/00000.jpg, 00005.jpg, ...     every 5th frame of the video, 6 a second
    train/Annotations/<id>/00000.png, ...               palette pictures of object numbers
    train/meta.json                                     {"videos": {id: {"objects": {number: {"category": ...}}}}}

``valid`` and ``test`` are of the same form. Only the frames are needed: without annotations and ``meta.json`` clips are
unlabelled.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from samepoint.datasets.check import Check, listed, some
from samepoint.errors import InputError
from samepoint.io.images import list_images, read_image

SPLITS = ("train", "valid", "test")
VIDEOS = 3_471
"""Training videos."""
FPS = 6.0
SOURCE = "get it from youtube-vos.org (registration needed)"


@dataclass(frozen=True)
class VosClip:
    """One video's frames in the order of time. Consecutive ones lie 5 source frames apart, seldom more."""

    name: str
    frame_paths: tuple[Path, ...]
    mask_paths: Mapping[str, Path] = field(default_factory=dict)
    """Annotations by the stem of their frame; empty where there are none."""
    categories: Mapping[int, str] = field(default_factory=dict)
    """What each object number is, where ``meta.json`` tells."""

    def __len__(self) -> int:
        return len(self.frame_paths)

    def frame(self, index: int) -> NDArray[np.uint8]:
        """Frame ``index``, uint8 RGB (H, W, 3)."""
        return read_image(self.frame_paths[index])

    def mask(self, index: int) -> NDArray[np.uint8] | None:
        """Object numbers of frame ``index``, uint8 (H, W), 0 the background; None where it is not annotated.

        Raises InputError where the annotation is not a palette or grey picture.
        """
        path = self.mask_paths.get(self.frame_paths[index].stem)
        if path is None:
            return None
        try:
            with Image.open(path) as picture:
                if picture.mode not in ("P", "L"):
                    raise InputError(f"{path}: picture of mode {picture.mode}; expected a palette of object numbers")
                return np.array(picture)
        except (OSError, ValueError, SyntaxError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path}: cannot be read as a picture ({error})") from None


def clips(root: str | Path, split: str = "train", index: str | Path | None = None) -> list[VosClip]:
    """The clips of a split, sorted by name; pictures are read when asked for.

    Args:
        root: the folder that holds ``train``.
        split: ``train``, ``valid`` or ``test``.
        index: a JSON file ``{id: [frame names]}`` that says which videos and frames to use; all found when None.

    Raises:
        InputError: no frame there, the index names what is not there, or a file cannot be read.
    """
    if split not in SPLITS:
        raise InputError(f"split {split!r} is not known; expected one of {', '.join(SPLITS)}")
    folder = Path(root) / split
    frames = folder / "JPEGImages"
    if not frames.is_dir():
        raise InputError(f"{frames}: no such folder; expected <id>/<frame>.jpg in it; {SOURCE}")
    chosen = _listed_frames(Path(index), frames) if index is not None else _found_frames(frames)
    if not chosen:
        raise InputError(f"{frames}: no <id>/<frame>.jpg in it; {SOURCE}")
    categories = _categories(folder / "meta.json")
    return [
        VosClip(name, paths, _masks(folder / "Annotations" / name), categories.get(name, {}))
        for name, paths in sorted(chosen.items())
    ]


def check(root: Path) -> Check:
    """What of the training split is there."""
    notes = ["licence: its own terms, research use; the standard archive has 6 frames a second"]
    try:
        found = clips(root)
    except InputError as error:
        return Check("youtube-vos", root, 0, (str(error),), tuple(notes))
    missing = []
    if len(found) < VIDEOS:
        missing.append(f"train: {len(found):,} videos, expected {VIDEOS:,}; {SOURCE}")
    bare = [clip.name for clip in found if not clip.mask_paths]
    if bare:
        notes.append(f"annotations: {some(bare)}; clips are usable without")
    return Check("youtube-vos", root, len(found), tuple(missing), tuple(notes))


def _found_frames(frames: Path) -> dict[str, tuple[Path, ...]]:
    found = {path.name: tuple(list_images(path)) for path in frames.iterdir() if path.is_dir()}
    return {name: paths for name, paths in found.items() if paths}


def _listed_frames(index: Path, frames: Path) -> dict[str, tuple[Path, ...]]:
    content = _json(index)
    if not isinstance(content, dict):
        raise InputError(f"{index}: expected a JSON object {{id: [frame names]}}")
    chosen = {}
    for name, names in content.items():
        if (
            not isinstance(names, list)
            or not names
            or not all(isinstance(n, str) and _plain(n) for n in [name, *names])
        ):
            raise InputError(f"{index}: {name[:60]!r}: expected a list of file names of frames")
        paths = tuple(frames / name / (n if n.endswith(".jpg") else f"{n}.jpg") for n in names)
        absent = [path.name for path in paths if not path.is_file()]
        if absent:
            raise InputError(f"{index}: {name!r}: {some(absent)} in {frames / name}; {SOURCE}")
        chosen[name] = paths
    return chosen


def _plain(name: str) -> bool:
    return bool(name) and not set("/\\\0") & set(name) and name not in (".", "..")


def _masks(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob("*.png"))}


def _categories(path: Path) -> dict[str, dict[int, str]]:
    if not path.is_file():
        return {}
    content = _json(path)
    try:
        return {name: _objects(video["objects"]) for name, video in content["videos"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: not YouTube-VOS's list of videos and objects ({error!r})") from None


def _objects(things: Any) -> dict[int, str]:
    """Categories by number; ValueError where that is not written as a palette counts, or a category is no text."""
    found = {}
    for number, thing in things.items():
        category = thing.get("category", "")
        if not re.fullmatch(r"[1-9][0-9]{0,2}", number) or int(number) > 255 or not isinstance(category, str):
            raise ValueError(f"object {number[:20]!r}")
        found[int(number)] = category
    return found


def _json(path: Path) -> Any:
    text = "\n".join(line for _, line in listed(path, SOURCE))
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON file ({error})") from None
