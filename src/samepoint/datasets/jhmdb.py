"""JHMDB clips (Jhuang et al., ICCV 2013) as a folder ``<action>/<clip>.avi`` with ``<clip>.npz`` beside it.

The archive holds ``mask``, the person in every frame (``numpy.packbits`` along the rows of a bool array of
``mask_shape``), and for some clips ``joints_xy`` (T, 15, 2), index coordinates with pixel centres at integers.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from samepoint.errors import InputError
from samepoint.structures import Video

JOINTS = 15


@dataclass(frozen=True, eq=False)
class JhmdbClip:
    """One clip. Video and annotation may differ in length: :meth:`frames` cuts both to the common one."""

    name: str
    """``<action>/<clip>``."""
    video_path: Path
    masks: NDArray[np.bool_]
    """(T, H, W) the person, at the size of the video."""
    joints_xy: NDArray[np.float32] | None
    """(15, T, 2) raster pixels, possibly outside the picture; None where the clip has no joints."""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the frames."""
        return self.masks.shape[1], self.masks.shape[2]

    def frames(self) -> NDArray[np.uint8]:
        """The first frames of the video, uint8 RGB (t, H, W, 3), at most as many as are annotated.

        The count in these files' headers is wrong, so that the length is known after decoding only. Cut the
        annotation to it: ``clip.joints_xy[:, :len(frames)]``.

        Raises:
            InputError: the video cannot be read, or its size is not that of the masks.
        """
        pictures = []
        for picture in Video(self.video_path):
            pictures.append(picture)
            if len(pictures) == len(self.masks):
                break
        if not pictures or pictures[0].shape[:2] != self.size:
            shape = pictures[0].shape if pictures else "no frame"
            raise InputError(f"{self.video_path}: holds {shape}, its annotation has frames of {self.size}")
        return np.stack(pictures)


def read_jhmdb(root: str | Path, *, with_joints: bool = False) -> Iterator[JhmdbClip]:
    """Read the clips below ``root`` (the folder of actions), sorted by action and name.

    Args:
        root: the folder.
        with_joints: skip the clips without joints.

    Raises:
        InputError: no clip there, a video or its archive is missing, or an archive cannot be used.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected <action>/<clip>.avi in it")
    videos = sorted(folder.glob("*/*.avi"))
    if not videos:
        raise InputError(f"{folder}: no <action>/<clip>.avi in it")
    for video in videos:
        clip = _read_clip(video)
        if clip.joints_xy is not None or not with_joints:
            yield clip


def _read_clip(video: Path) -> JhmdbClip:
    path = video.with_suffix(".npz")
    if not path.is_file():
        raise InputError(f"{path}: missing; the clip's masks and joints were expected there")
    try:
        with np.load(path, allow_pickle=False) as archive:
            shape = tuple(int(n) for n in archive["mask_shape"])
            masks = np.unpackbits(archive["mask"], axis=-1, count=shape[-1]).astype(bool).reshape(shape)
            joints = archive["joints_xy"].astype(np.float32) if "joints_xy" in archive else None
    except (OSError, KeyError, ValueError, TypeError, IndexError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not an archive of mask, mask_shape and joints_xy ({error})") from error
    if masks.ndim != 3:
        raise InputError(f"{path}: masks have shape {masks.shape}, expected (frames, height, width)")
    if joints is not None:
        if joints.shape[1:] != (JOINTS, 2):
            raise InputError(f"{path}: joints have shape {joints.shape}, expected (frames, {JOINTS}, 2)")
        length = min(len(joints), len(masks))
        masks = masks[:length]
        joints = np.ascontiguousarray(joints[:length].swapaxes(0, 1)) + np.float32(0.5)
    return JhmdbClip(f"{video.parent.name}/{video.stem}", video, masks, joints)
