"""Which frame of a video each labelled picture is."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from samepoint.errors import InputError
from samepoint.io.images import list_images, read_image
from samepoint.structures import Keypoints, Video

_ALIKE = 8.0  # grey levels; pictures taken from a compressed video differ from its frames by about 2
_SMALL = (64, 64)


def _pieces(name: str) -> list[str]:
    return re.split(r"[/\\]", name)


def place_in_video(keypoints: Keypoints, video: Video) -> Keypoints:
    """The same keypoints with ``frame`` counting the frames of ``video``.

    Where the video is a folder of pictures, a labelled picture is the one of its name there. Else it is the frame whose
    number its name ends in, as DeepLabCut names what it extracts; of pictures from several folders, those are taken
    whose folder has the video's name. Of a part of a video, ``video[a:b]``, pictures still name frames of the whole.
    Keypoints with numbers instead of pictures are taken as they are.

    Raises InputError where a picture or a frame is not in the video, or two are the same frame.
    """
    path = Path(video.source) if isinstance(video.source, (str, Path)) else None
    if keypoints.images:
        keypoints = _of_this_video(keypoints, path)
        frames = _in_folder(keypoints, path) if path is not None and path.is_dir() else _by_number(keypoints)
        keypoints = replace(keypoints, frame=_in_part(keypoints, frames, video))
    length = len(video)
    for row in np.flatnonzero(keypoints.frame >= length)[:1]:
        name = f" ({keypoints.images[row]})" if keypoints.images else ""
        raise InputError(
            f"labels of frame {keypoints.frame[row]}{name}, but the video has {length} frames (0..{length - 1})"
        )
    values, counts = np.unique(keypoints.frame, return_counts=True)
    for frame in values[counts > 1][:1]:
        names = [name for name, at in zip(keypoints.images, keypoints.frame, strict=True) if at == frame]
        raise InputError(f"{names[0]} and {names[1]} are both frame {frame} of the video")
    return keypoints


def _of_this_video(keypoints: Keypoints, path: Path | None) -> Keypoints:
    folders = ["/".join(_pieces(name)[:-1]) for name in keypoints.images]
    if len(set(folders)) < 2:
        return keypoints
    wanted = {path.name, path.stem} if path is not None else set()
    rows = [row for row, folder in enumerate(folders) if _pieces(folder)[-1] in wanted]
    if not rows:
        names = ", ".join(sorted(set(folders)))
        raise InputError(f"pictures of several folders ({names[:120]}), none named as the video; expected its name")
    return keypoints.select(rows)


def _in_folder(keypoints: Keypoints, path: Path) -> np.ndarray:
    frames = {picture.name: frame for frame, picture in enumerate(list_images(path))}
    for name in keypoints.images:
        if _pieces(name)[-1] not in frames:
            raise InputError(f"the labelled picture {name} is not in the folder {path}")
    return np.array([frames[_pieces(name)[-1]] for name in keypoints.images], np.int64)


def _by_number(keypoints: Keypoints) -> np.ndarray:
    for row in np.flatnonzero(keypoints.frame < 0)[:1]:
        raise InputError(
            f"the labelled picture {keypoints.images[row]} has no frame number in its name; expected one at the end, "
            "as in img0042.png, or the folder of the pictures as the video"
        )
    return keypoints.frame


def _in_part(keypoints: Keypoints, frames: np.ndarray, video: Video) -> np.ndarray:
    """Frames of the source as frames of the video, which may be a part of it; those beyond its end as they are."""
    chosen = video.source_frames
    if chosen == range(len(chosen)):
        return frames
    for name, frame in zip(keypoints.images, frames, strict=True):
        if frame not in chosen:
            raise InputError(
                f"the labelled picture {name}, frame {frame}, is not in the part of the video that is used"
            )
    return np.array([chosen.index(int(frame)) for frame in frames], np.int64)


def check_pictures(keypoints: Keypoints, video: Video, labels: Path, count: int = 3) -> None:
    """Warn (UserWarning) where a labelled picture, if it lies near the file of labels, looks unlike its frame.

    Names with numbers always fit some frame; only the pictures tell that they come from another video. ``count`` of
    them are compared, spread over the labels.
    """
    if not keypoints.images or (isinstance(video.source, (str, Path)) and Path(video.source).is_dir()):
        return
    roots = [labels.parent, *list(labels.resolve().parents)[1:3]]
    found = [(row, root / "/".join(_pieces(name))) for row, name in enumerate(keypoints.images) for root in roots]
    found = [(row, path) for row, path in found if path.is_file()]
    for index in sorted({round(place) for place in np.linspace(0, len(found) - 1, count)}) if found else []:
        row, path = found[index]
        frame = int(keypoints.frame[row])
        try:
            picture = read_image(path)
        except InputError:
            continue
        difference = np.abs(_small(picture) - _small(video[frame])).mean()
        if difference > _ALIKE:
            warnings.warn(
                f"{path} looks unlike frame {frame} of the video ({difference:.0f} grey levels apart): are these its "
                "labels?",
                UserWarning,
                stacklevel=2,
            )
            return


def _small(frame: np.ndarray) -> np.ndarray:
    return cv2.resize(frame, _SMALL, interpolation=cv2.INTER_AREA).astype(np.float32)
