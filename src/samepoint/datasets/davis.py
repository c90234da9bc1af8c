"""DAVIS: videos with object masks, 2016 (Perazzi et al., CVPR 2016) and 2017 (Pont-Tuset et al., arXiv 1704.00675).

    JPEGImages/<resolution>/<sequence>/00000.jpg    Annotations/<resolution>/<sequence>/00000.png
    ImageSets/2017/val.txt (2017: a name a line)    ImageSets/480p/val.txt (2016: a picture and a mask a line)

2017 stores object numbers in palette PNGs, 255 where nothing is said; 2016 one object, 0 or 255, in grey or palette
PNGs. Without a list every sequence found is used, sorted.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from samepoint.datasets.check import Check, listed, some
from samepoint.datasets.frames import Filter, checked_name, folder_of, numbered, read_frames, read_stored
from samepoint.errors import InputError
from samepoint.io.images import image_size, list_images
from samepoint.structures import Video

Benchmark = Literal["davis-2016", "davis-2017"]
Resolution = Literal["480p", "full"]

VOID = 255
"""Label of pixels about which 2017 says nothing."""

EXPECTED = {"davis-2016": (20, 1376), "davis-2017": (30, 1999)}
"""Sequences and frames of the official ``val`` lists."""

RESOLUTIONS = ("480p", "Full-Resolution", "1080p")
"""Folders of the official archives; 1080p is 2016's word for the full one."""

FULL: Literal["full"] = "full"
"""Asks for whichever of the two full ones is there."""

_LISTS = {
    "davis-2016": ("ImageSets/{resolution}/{split}.txt", "ImageSets/2016/{split}.txt"),
    "davis-2017": ("ImageSets/2017/{split}.txt",),
}
_WHERE = {
    "davis-2016": "davischallenge.org, DAVIS 2016, 'Download DAVIS' (DAVIS-data.zip)",
    "davis-2017": "davischallenge.org, DAVIS 2017, TrainVal, 'Images and Annotations' "
    "(DAVIS-2017-trainval-480p.zip or DAVIS-2017-trainval-Full-Resolution.zip)",
}


@dataclass(frozen=True, eq=False)
class DavisSequence:
    """One sequence; pictures are read when asked for."""

    name: str
    benchmark: Benchmark
    frame_paths: tuple[Path, ...]
    """T pictures."""
    mask_paths: tuple[Path, ...]
    """T masks."""

    def __len__(self) -> int:
        return len(self.frame_paths)

    @cached_property
    def size(self) -> tuple[int, int]:
        """(H, W) of the frames, from the header of the first."""
        return image_size(self.frame_paths[0])

    @property
    def video(self) -> Video:
        """The frames one after the other."""
        return Video(self.frame_paths[0].parent)

    def frames(self, size: tuple[int, int] | None = None, method: Filter = "bilinear") -> NDArray[np.uint8]:
        """All frames, uint8 RGB (T, H, W, 3), resized unless ``size`` is None. Raises InputError as the pictures do."""
        return read_frames(self.frame_paths, size, method)

    def mask(self, index: int) -> NDArray[np.uint8]:
        """Labels (H, W) of one frame: 0 background, 1 to K objects, 255 void; of 2016 the labels 0 and 1 alone.

        Raises:
            InputError: the mask cannot be read, is of another size than the frames, holds what is not a mask of this
                benchmark, or is the first and shows no object.
        """
        path = self.mask_paths[index]
        labels = self._labels(path, *self._stored(index))
        if index == 0 and not _objects(labels).any():
            void = "; 255 is void, not an object" if labels.any() else ""
            raise InputError(f"{path}: no object in a sequence's first mask, which says what is followed{void}")
        return labels

    def _stored(self, index: int) -> tuple[NDArray[np.uint8], str]:
        """A mask's values and kind, see :func:`read_stored`, its size checked."""
        path = self.mask_paths[index]
        stored, kind = read_stored(path)
        if stored.shape != self.size:
            raise InputError(f"{path}: is {stored.shape[1]}x{stored.shape[0]}, its frame {self.size[1]}x{self.size[0]}")
        return stored, kind

    def _labels(self, path: Path, stored: NDArray[np.uint8], kind: str) -> NDArray[np.uint8]:
        top = int(stored.max(initial=0))
        if self.benchmark == "davis-2017":
            if kind == "grey" and top == VOID and not _objects(stored).any():
                raise InputError(f"{path}: grey 0 and 255 as in DAVIS-2016; expected a palette PNG of object numbers")
            return stored
        if kind == "palette":
            if not self._is_black_and_white:  # 2017's annotation: every object belongs to the foreground
                return _objects(stored).astype(np.uint8)
            if _objects(stored).any():
                raise InputError(f"{path}: labels beside 0 and 255, which are all that the first mask holds")
            return (stored == VOID).astype(np.uint8)
        if 1 < top < 128:
            raise InputError(f"{path}: grey levels up to {top}; expected 0 and 255")
        return (stored >= min(max(top, 1), 128)).astype(np.uint8)

    @cached_property
    def _is_black_and_white(self) -> bool:
        """Whether 255 is the object of a palette PNG: it is the first mask's only value above 0.

        Later masks do not tell: of 2017's objects nothing but void may be left in a frame.
        """
        stored = self._stored(0)[0]
        return bool(stored.any()) and not _objects(stored).any()

    def masks(self) -> NDArray[np.uint8]:
        """Labels (T, H, W), see :meth:`mask`."""
        return np.stack([self.mask(index) for index in range(len(self))])

    @cached_property
    def objects(self) -> int:
        """K, the largest label of the first frame, which decides what is scored."""
        first = self.mask(0)
        return int(first[first != VOID].max(initial=0))


def names(
    root: str | Path, benchmark: Benchmark = "davis-2017", *, split: str = "val", resolution: str | None = None
) -> tuple[str, ...]:
    """The sequences of the split that are there with all frames and masks, sorted; all of them without a list.

    Args:
        root: the folder that holds ``JPEGImages/``.
        benchmark: whose list and masks.
        split: the list's name.
        resolution: one of ``RESOLUTIONS``, or ``full``; the first of them that is there when None.

    Raises:
        InputError: nothing there, or a list cannot be used.
    """
    return tuple(sequence.name for sequence in sequences(root, benchmark, split=split, resolution=resolution))


def sequences(
    root: str | Path,
    benchmark: Benchmark = "davis-2017",
    *,
    split: str = "val",
    resolution: str | None = None,
    only: Collection[str] | None = None,
) -> tuple[DavisSequence, ...]:
    """The sequences of :func:`names`, or of these the ones in ``only``; no picture is read.

    Raises:
        InputError: as :func:`names`; also where one that is asked for lacks a frame or a mask.
    """
    folder, resolution = _layout(root, benchmark, resolution)
    present, wanted = _present(folder, resolution), _listed(folder, benchmark, split, resolution)
    chosen = present if wanted is None else tuple(name for name in wanted if name in present)
    known, refused = _sorted_out(folder, benchmark, resolution, chosen)
    if not known:
        why = f": {next(iter(refused.values()))}" if refused else ""
        raise InputError(
            f"{folder}: no sequence of {benchmark} {split} has JPEGImages and Annotations at {resolution}{why}"
        )
    for name in only or ():
        if name not in known:
            raise InputError(refused.get(name, f"{folder}: no sequence {name!r}; there are {', '.join(known)}"))
    return tuple(sequence for name, sequence in known.items() if only is None or name in only)


def resolution_of(root: str | Path, benchmark: Benchmark = "davis-2017", resolution: str | None = None) -> Resolution:
    """Which of the two resolutions :func:`names` takes, whatever its folder is called. Raises InputError as it does."""
    return "480p" if _layout(root, benchmark, resolution)[1] == "480p" else FULL


def check(root: str | Path, benchmark: Benchmark = "davis-2017", resolution: str | None = None) -> Check:
    """What of the split ``val`` lies below ``root`` (the folder that holds ``JPEGImages/``), see :func:`names`."""
    where = f"get {_WHERE[benchmark]}"
    count, frames_expected = EXPECTED[benchmark]
    try:
        folder, resolution = _layout(root, benchmark, resolution)
        wanted = _listed(folder, benchmark, "val", resolution)
    except InputError as error:
        return Check(benchmark, Path(root), 0, (f"{error}; {where}",), ())
    present = _present(folder, resolution)
    missing, notes, frames, usable = [], [f"resolution {resolution}"], 0, 0
    chosen = present if wanted is None else tuple(name for name in wanted if name in present)
    known, refused = _sorted_out(folder, benchmark, resolution, chosen)
    broken = list(refused.values())
    for sequence in known.values():
        try:
            sequence.mask(0)
        except InputError as error:
            broken.append(str(error))
        else:
            usable += 1
            frames += len(sequence)
    missing.extend(broken[:3])
    if broken[3:]:
        missing.append(f"{len(broken) - 3} more sequences that cannot be used")
    if wanted is None:
        place = _LISTS[benchmark][0].format(resolution=resolution, split="val")
        notes.append(f"no {place}: every sequence found is used, the official list has {count}")
        if len(present) < count:
            missing.append(f"{count - len(present)} of the {count} sequences of val; {where}")
    else:
        absent = [name for name in wanted if name not in present]
        if absent:
            missing.append(f"of the {len(wanted)} listed sequences {some(absent)}; {where}")
        if len(wanted) != count:
            notes.append(f"the list names {len(wanted)} sequences, the official one {count}")
    notes.append(f"{frames} frames in {usable} sequences; official: {frames_expected} in {count}")
    return Check(benchmark, folder, usable, tuple(missing), tuple(notes))


def _layout(root: str | Path, benchmark: str, resolution: str | None) -> tuple[Path, str]:
    if benchmark not in get_args(Benchmark):
        raise InputError(f"unknown benchmark {benchmark!r}; expected one of {', '.join(get_args(Benchmark))}")
    folder = folder_of(root, "DAVIS's JPEGImages/ and Annotations/")
    if resolution not in (None, FULL, *RESOLUTIONS):
        raise InputError(f"unknown resolution {resolution!r}; expected one of {', '.join((*RESOLUTIONS, FULL))}")
    choices: tuple[str, ...] = RESOLUTIONS
    if resolution is not None:
        choices = RESOLUTIONS[1:] if resolution == FULL else (resolution,)
    for choice in choices:
        if (folder / "JPEGImages" / choice).is_dir():
            return folder, choice
    raise InputError(f"{folder / 'JPEGImages'}: no folder {' or '.join(choices)} in it")


def _objects(stored: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels of an object's number, neither background nor void."""
    return (stored > 0) & (stored < VOID)


def _listed(folder: Path, benchmark: str, split: str, resolution: str) -> tuple[str, ...] | None:
    """The names in the split's list, sorted; None without one."""
    places = [folder / place.format(resolution=resolution, split=split) for place in _LISTS[benchmark]]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return None
    found = set()
    for number, line in listed(path, f"get {_WHERE[benchmark]}"):
        place = f"{path}, line {number}"
        words = line.split()
        if len(words) == 1 and "/" not in words[0]:
            name = words[0]
        elif len(words) == 2 and all(len(PurePosixPath(word).parts) > 1 for word in words):
            name = PurePosixPath(words[0]).parent.name
        else:
            raise InputError(f"{place}: {line!r}; expected a sequence's name, or the paths of a picture and its mask")
        found.add(checked_name(name, place))
    if not found:
        raise InputError(f"{path}: names no sequence")
    return tuple(sorted(found))


def _present(folder: Path, resolution: str) -> tuple[str, ...]:
    masks = folder / "Annotations" / resolution
    pictures = sorted((folder / "JPEGImages" / resolution).iterdir())
    return tuple(path.name for path in pictures if path.is_dir() and (masks / path.name).is_dir())


def _sorted_out(
    folder: Path, benchmark: Benchmark, resolution: str, chosen: Collection[str]
) -> tuple[dict[str, DavisSequence], dict[str, str]]:
    """The sequences that are complete, by name, and why the others are not."""
    complete, refused = {}, {}
    for name in chosen:
        try:
            complete[name] = _sequence(folder, benchmark, resolution, name)
        except InputError as error:
            refused[name] = str(error)
    return complete, refused


def _sequence(folder: Path, benchmark: Benchmark, resolution: str, name: str) -> DavisSequence:
    frames = numbered(folder / "JPEGImages" / resolution / name, ".jpg")
    for path in list_images(frames[0].parent):
        if path not in frames:  # a video made of the folder would have a frame without a mask
            raise InputError(f"{path}: expected the frames 00000.jpg, 00001.jpg, ... and no other picture")
    masks = tuple(folder / "Annotations" / resolution / name / f"{path.stem}.png" for path in frames)
    for path in masks:
        if not path.is_file():
            raise InputError(f"{path}: missing; every frame needs its mask")
    return DavisSequence(name, benchmark, frames, masks)
