"""JHMDB: clips of people with joints and masks (Jhuang et al., ICCV 2013), in the official layout or a plain one.

Official: ``joint_positions/<action>/<clip>/joint_positions.mat`` with ``pos_img`` (2, 15, T), 1-based index
coordinates; ``Rename_Images/<action>/<clip>/00001.png``; ``puppet_mask/<action>/<clip>/puppet_mask.mat`` with
``part_mask`` (H, W, T) where it was downloaded; the test split in ``val_list.txt`` or
``splits/<action>_test_split1.txt``.

Plain: ``<action>/<clip>.avi`` with ``<clip>.npz`` beside it: ``mask``, the person in every frame (``numpy.packbits``
along the rows of a bool array of ``mask_shape``), and for some clips ``joints_xy`` (T, 15, 2), index coordinates with
pixel centres at integers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from samepoint.datasets.check import Check, listed, some
from samepoint.datasets.frames import checked_name, folder_of, read_frames
from samepoint.errors import InputError
from samepoint.io.images import image_size, list_images, visible
from samepoint.io.matlab import read_mat
from samepoint.structures import Video

JOINTS = 15

TEST_CLIPS = 268
"""Clips of the test part of split 1, on which the published figures were measured."""

_WHERE = (
    "get joint_positions, Rename_Images, splits and puppet_mask from jhmdb.is.tue.mpg.de, 'Download' "
    "(joint_positions.zip, Rename_Images.tar.gz, splits.zip, puppet_mask.zip)"
)
_EXPECTED = "joint_positions/ and Rename_Images/, or <action>/<clip>.avi"


@dataclass(frozen=True, eq=False)
class JhmdbClip:
    """One clip. Frames and annotation may differ in length: :meth:`frames` cuts both to the common one."""

    name: str
    """``<action>/<clip>``."""
    source: Path
    """The video file, or the folder of pictures."""
    length: int
    """T, how many frames are annotated."""
    joints_xy: NDArray[np.float32] | None
    """(15, T, 2) raster pixels, possibly outside the picture; None where the clip has no joints."""
    mask_path: Path | None
    """Where the masks are stored; None where there are none."""

    @cached_property
    def size(self) -> tuple[int, int]:
        """(H, W) of the frames."""
        if self.source.is_dir():
            return image_size(_pictures(self.source, self.length)[0])
        return Video(self.source).size

    @cached_property
    def masks(self) -> NDArray[np.bool_] | None:
        """(T, H, W) the person, at the size of the frames; None where there are none.

        Raises:
            InputError: the file cannot be used.
        """
        if self.mask_path is None:
            return None
        if self.mask_path.suffix == ".npz":
            return _read_archive(self.mask_path)[0]
        return _read_puppet(self.mask_path, self.length, self.size)

    def frames(self) -> NDArray[np.uint8]:
        """The annotated frames, uint8 RGB (t, H, W, 3); t is T, or less where a video file ends earlier.

        The count in these videos' headers is wrong, so that the length is known after decoding only. Cut the
        annotation to it: ``clip.joints_xy[:, :len(frames)]``.

        Raises:
            InputError: the frames cannot be read, or their size is not that of the masks.
        """
        if self.source.is_dir():
            return read_frames(_pictures(self.source, self.length), None, "bilinear")
        pictures = []
        for picture in Video(self.source):
            pictures.append(picture)
            if len(pictures) == self.length:
                break
        size = self.size if self.masks is None else self.masks.shape[1:]
        if not pictures or pictures[0].shape[:2] != size:
            shape = pictures[0].shape if pictures else "no frame"
            raise InputError(f"{self.source}: holds {shape}, its annotation has frames of {size}")
        return np.stack(pictures)


def names(root: str | Path, *, split: Literal["test", "all"] = "test") -> tuple[str, ...]:
    """The clips that are there with all their files, ``<action>/<clip>``, sorted.

    Args:
        root: the folder in the official layout, a folder ``<action>/<clip>.avi``, or one whose ``dev/`` is that.
        split: the test part of split 1, or everything; without a list, and in the plain layout, everything.

    Raises:
        InputError: no clip there, or a list cannot be used.
    """
    return tuple(clip.name for clip in sequences(root, split=split))


def sequences(
    root: str | Path,
    *,
    split: Literal["test", "all"] = "test",
    with_joints: bool = False,
    only: Collection[str] | None = None,
) -> Iterator[JhmdbClip]:
    """The clips of :func:`names`, or of these the ones in ``only``; frames and masks are read when asked for.

    Args:
        root: as in :func:`names`.
        split: as in :func:`names`.
        with_joints: skip the clips without joints.
        only: which clips.

    Raises:
        InputError: as :func:`names`; also where one that is asked for lacks a file or cannot be used.
    """
    folder = _folder(root)
    known = _present(folder, split)
    for name in only or ():
        if name not in known:
            raise InputError(f"{folder}: no clip {name!r} in the {split} split")
    refused = []
    chosen = [name for name in known if only is None or name in only]
    for name in chosen:
        try:
            clip = _clip(folder, name)
        except InputError as error:
            if only is not None:
                raise
            refused.append(error)
        else:
            if clip.joints_xy is not None or not with_joints:
                yield clip
    if refused and len(refused) == len(chosen):
        raise refused[0]


def read_jhmdb(root: str | Path, *, with_joints: bool = False) -> Iterator[JhmdbClip]:
    """:func:`sequences` of the test split."""
    return sequences(root, with_joints=with_joints)


def check(root: str | Path) -> Check:
    """What of the test part of split 1 lies below ``root``, in either layout."""
    try:
        folder = _folder(root)
        official = _official(folder)
        wanted = _test_split(folder) if official else None
        present = _annotated(folder) if official else _present(folder, "all")
    except InputError as error:
        return Check("jhmdb", Path(root), 0, (f"{error}; {_WHERE}",), ())
    missing, usable = [], []
    for name in present if wanted is None else wanted:
        lack = _lacking(folder, name) if official else None
        if lack is None:
            try:
                usable.append(_clip(folder, name))
            except InputError as error:
                lack = str(error)
        if lack is not None:
            missing.append(lack)
    if missing:
        missing = [f"clips {some(missing)}; {_WHERE}"]
    joints = sum(clip.joints_xy is not None for clip in usable)
    masks = sum(clip.mask_path is not None for clip in usable)
    notes = [f"{joints} clips with joints, {masks} with masks"]
    if not official:
        notes.append("videos with archives, not the official layout: figures are not comparable with published ones")
        if len(present) < TEST_CLIPS:
            missing.append(f"{TEST_CLIPS - len(present)} of {TEST_CLIPS} test clips; {_WHERE}")
    elif wanted is None:
        missing.append(f"val_list.txt or splits/<action>_test_split1.txt: which clips are the test; {_WHERE}")
    elif len(wanted) != TEST_CLIPS:
        missing.append(f"{TEST_CLIPS - len(wanted)} of {TEST_CLIPS} test clips are not in the lists; {_WHERE}")
    if official and not masks:
        notes.append("no puppet_mask/: masks cannot be scored, joints can")
    return Check("jhmdb", folder, len(usable), tuple(missing), tuple(notes))


def _folder(root: str | Path) -> Path:
    """The folder itself, or its ``dev/`` where the clips lie there."""
    folder = folder_of(root, _EXPECTED)
    if not _official(folder) and not _videos(folder) and (folder / "dev").is_dir():
        return folder / "dev"
    return folder


def _official(folder: Path) -> bool:
    return (folder / "joint_positions").is_dir() or (folder / "Rename_Images").is_dir()


def _videos(folder: Path) -> list[Path]:
    return visible(folder.glob("*/*.avi"))


def _annotated(folder: Path) -> tuple[str, ...]:
    paths = sorted((folder / "joint_positions").glob("*/*/joint_positions.mat"))
    return tuple(f"{path.parent.parent.name}/{path.parent.name}" for path in paths)


def _present(folder: Path, split: str) -> tuple[str, ...]:
    """The clips of the split of which something is there. Raises InputError where there is none."""
    if not _official(folder):
        videos = _videos(folder)
        if not videos:
            raise InputError(f"{folder}: no <action>/<clip>.avi in it")
        return tuple(f"{video.parent.name}/{video.stem}" for video in videos)
    wanted = _test_split(folder) if split == "test" else None
    found = tuple(name for name in (_annotated(folder) if wanted is None else wanted) if not _lacking(folder, name))
    if not found:
        raise InputError(f"{folder}: no clip of the {split} split has both joint_positions and Rename_Images")
    return found


def _lacking(folder: Path, name: str) -> str | None:
    """Which file or folder of a clip is not there."""
    annotation = folder / "joint_positions" / name / "joint_positions.mat"
    if not annotation.is_file():
        return str(annotation)
    pictures = folder / "Rename_Images" / name
    return None if pictures.is_dir() else str(pictures)


def _test_split(folder: Path) -> tuple[str, ...] | None:
    """The clips that ``val_list.txt`` or else the files of split 1 name, sorted; None without either."""
    found = set()
    path = folder / "val_list.txt"
    if path.is_file():
        for number, line in listed(path, _WHERE):
            place, words = f"{path}, line {number}", line.split()
            parts = PurePosixPath(words[0]).parts
            if len(words) != 2 or len(parts) < 3 or parts[-1] != "joint_positions.mat":
                raise InputError(f"{place}: {line!r}; expected '.../<action>/<clip>/joint_positions.mat <pictures>'")
            found.add(checked_name("/".join(parts[-3:-1]), place))
        return tuple(sorted(found))
    paths = visible((folder / "splits").glob("*_test_split1.txt"))
    for path in paths:
        action = path.name.removesuffix("_test_split1.txt")
        for number, line in listed(path, _WHERE):
            place, words = f"{path}, line {number}", line.rsplit(None, 1)
            if len(words) != 2 or not words[0].endswith(".avi") or words[1] not in ("1", "2"):
                raise InputError(f"{place}: {line!r}; expected '<clip>.avi' and 1 (train) or 2 (test)")
            if words[1] == "2":
                found.add(checked_name(f"{action}/{words[0].removesuffix('.avi')}", place))
    return tuple(sorted(found)) if paths else None


def _clip(folder: Path, name: str) -> JhmdbClip:
    """Raises InputError where its annotation cannot be used or, in the official layout, a picture lacks."""
    if not _official(folder):
        return _plain_clip(folder, name)
    clip = _official_clip(folder, name)
    _pictures(clip.source, clip.length)
    return clip


def _official_clip(folder: Path, name: str) -> JhmdbClip:
    path = folder / "joint_positions" / name / "joint_positions.mat"
    joints = read_mat(path).get("pos_img")
    if joints is None:
        raise InputError(f"{path}: no pos_img in it")
    if joints.ndim == 2:  # MATLAB drops the last side where it is 1
        joints = joints[..., None]
    if joints.ndim != 3 or joints.shape[:2] != (2, JOINTS) or not joints.shape[2]:
        raise InputError(f"{path}: pos_img has shape {joints.shape}, expected (2, {JOINTS}, frames)")
    _check_places(joints, f"{path}: pos_img")
    mask = folder / "puppet_mask" / name / "puppet_mask.mat"
    return JhmdbClip(
        name=name,
        source=folder / "Rename_Images" / name,
        length=joints.shape[2],
        joints_xy=np.ascontiguousarray(joints.transpose(1, 2, 0) - 0.5, dtype=np.float32),  # 1 is the first centre
        mask_path=mask if mask.is_file() else None,
    )


def _pictures(folder: Path, length: int) -> list[Path]:
    """The first ``length`` pictures, which carry the annotation; a clip may have more."""
    paths = [path for path in list_images(folder) if path.suffix.lower() == ".png"]
    for number, path in enumerate(paths[:length], 1):
        if not path.stem.isdecimal() or int(path.stem) != number:
            raise InputError(f"{folder / f'{number:05d}.png'}: missing; found {path.name} in its place")
    if len(paths) < length:
        raise InputError(f"{folder / f'{len(paths) + 1:05d}.png'}: missing; {length} frames are annotated")
    return paths[:length]


def _read_puppet(path: Path, length: int, size: tuple[int, int]) -> NDArray[np.bool_]:
    masks = read_mat(path).get("part_mask")
    if masks is None:
        raise InputError(f"{path}: no part_mask in it")
    if masks.ndim == 2:
        masks = masks[..., None]
    if masks.ndim != 3 or masks.shape[:2] != size or masks.shape[2] < length:
        raise InputError(f"{path}: part_mask has shape {masks.shape}, expected {(*size, length)}")
    return np.ascontiguousarray(masks[..., :length].transpose(2, 0, 1) > 0)


def _plain_clip(folder: Path, name: str) -> JhmdbClip:
    video = folder / f"{name}.avi"
    path = folder / f"{name}.npz"
    if not path.is_file():
        raise InputError(f"{path}: missing; the clip's masks and joints were expected there")
    masks, joints = _read_archive(path)
    return JhmdbClip(name, video, len(masks), joints, path)


def _read_archive(path: Path) -> tuple[NDArray[np.bool_], NDArray[np.float32] | None]:
    """Masks (T, H, W) and joints (15, T, 2), both of the common length."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            shape = tuple(int(n) for n in archive["mask_shape"])
            packed, joints = archive["mask"], archive.get("joints_xy")
            if packed.shape != (*shape[:-1], -(-shape[-1] // 8)):
                raise ValueError(f"mask has shape {packed.shape}, mask_shape says {shape}")
            masks = np.unpackbits(packed, axis=-1, count=shape[-1]).astype(bool)
    except Exception as error:  # a damaged archive raises whatever zlib, zipfile or numpy run into
        raise InputError(f"{path}: not an archive of mask, mask_shape and joints_xy ({error})") from None
    if masks.ndim != 3:
        raise InputError(f"{path}: masks have shape {masks.shape}, expected (frames, height, width)")
    if joints is None:
        return masks, None
    if joints.shape[1:] != (JOINTS, 2):
        raise InputError(f"{path}: joints have shape {joints.shape}, expected (frames, {JOINTS}, 2)")
    _check_places(joints, f"{path}: joints_xy")
    length = min(len(joints), len(masks))
    return masks[:length], np.ascontiguousarray(joints[:length].swapaxes(0, 1), np.float32) + np.float32(0.5)


def _check_places(joints: NDArray[np.generic], what: str) -> None:
    """Joints may lie outside the picture, but not in another world."""
    if joints.dtype.kind not in "fiu" or not (np.abs(joints.astype(np.float64)) < 1e6).all():
        raise InputError(f"{what} holds what is no place in pixels")
