"""What the readers of videos share: pictures resized as the protocols say, stored mask values, names."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from samepoint.errors import InputError
from samepoint.io.images import read_image, visible

Filter = Literal["lanczos", "bilinear", "nearest"]
"""``lanczos``: with antialias, Pillow's; ``bilinear``: half-pixel centres, no antialias; ``nearest``: for masks."""

_OPENCV = {"bilinear": cv2.INTER_LINEAR, "nearest": cv2.INTER_NEAREST}


def resize_picture(picture: NDArray[Any], size: tuple[int, int] | None, method: Filter) -> NDArray[Any]:
    """One picture uint8 (H, W) or (H, W, 3) at ``size`` (height, width), the aspect ignored; as it is where None.

    >>> resize_picture(np.zeros((4, 6, 3), np.uint8), (2, 2), "lanczos").shape
    (2, 2, 3)
    """
    if method not in get_args(Filter):
        raise InputError(f"unknown filter {method!r}; expected one of {', '.join(get_args(Filter))}")
    if size is None or size == picture.shape[:2]:
        return picture
    if method == "lanczos":
        return np.asarray(Image.fromarray(picture).resize(size[::-1], Image.Resampling.LANCZOS))
    return cv2.resize(picture, size[::-1], interpolation=_OPENCV[method])


def resize_frames(
    frames: Iterable[NDArray[np.uint8]], size: tuple[int, int] = (256, 256), method: Filter = "lanczos"
) -> NDArray[np.uint8]:
    """Frames uint8 RGB (T, H, W, 3), or an iterator of them, at ``size`` (height, width), one at a time.

    ``lanczos`` is what the reference reader of TAP-Vid does, ``bilinear`` (without antialias) what FGVC did.
    """
    pictures = [resize_picture(frame, size, method) for frame in frames]
    return np.stack(pictures) if pictures else np.zeros((0, *size, 3), np.uint8)


def read_frames(paths: Iterable[Path], size: tuple[int, int] | None, method: Filter) -> NDArray[np.uint8]:
    """The pictures as uint8 RGB (T, H, W, 3), resized unless ``size`` is None.

    Raises InputError where one cannot be read or is of another size than the first.
    """
    pictures: list[NDArray[np.uint8]] = []
    native: tuple[int, ...] | None = None
    for path in paths:
        picture = read_image(path)
        native = native or picture.shape
        if picture.shape != native:
            raise InputError(f"{path}: is {_sides(picture.shape)}, expected {_sides(native)} as the first frame")
        pictures.append(resize_picture(picture, size, method))
    return np.stack(pictures)


def read_stored(path: Path) -> tuple[NDArray[np.uint8], str]:
    """A mask's values as they are stored, uint8 (H, W), and how: ``palette`` numbers or ``grey`` levels.

    Raises InputError for anything else: colours are no labels, and turning them into labels has cost others the score.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, which does not concern the values
            with Image.open(path) as picture:
                if picture.mode not in ("P", "L", "1"):
                    raise InputError(f"{path}: a picture of mode {picture.mode}; expected palette or 8-bit grey")
                kind = "palette" if picture.mode == "P" else "grey"
                return np.array(picture.convert("L") if picture.mode == "1" else picture), kind
    except FileNotFoundError:
        raise InputError(f"{path}: missing") from None
    except InputError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: cannot be read as a picture ({error})") from None


def numbered(folder: Path, suffix: str) -> tuple[Path, ...]:
    """The files ``00000<suffix>``, ``00001<suffix>``, ... of a folder, in order.

    Raises InputError where there is none, one is not named by a number, or one lacks between the first and the last.
    """
    paths = visible(folder.glob(f"*{suffix}"))
    if not paths:
        raise InputError(f"{folder}: no *{suffix} in it")
    for path in paths:
        if not re.fullmatch(r"[0-9]{1,9}", path.stem):
            raise InputError(f"{path}: expected files named by their number, 00000{suffix}, 00001{suffix}, ...")
    paths.sort(key=lambda path: int(path.stem))
    first = int(paths[0].stem)
    for number, path in enumerate(paths, first):
        if int(path.stem) != number:
            raise InputError(f"{folder / f'{number:0{len(paths[0].stem)}d}{suffix}'}: missing")
    return tuple(paths)


def checked_name(name: Any, where: str) -> str:
    """A name from a file, which is to name other files: parts joined by ``/``, none of them leading elsewhere.

    >>> checked_name("run/clip_1", "list.txt")
    'run/clip_1'
    """
    if not isinstance(name, str) or re.search(r"[\\\x00-\x1f\x7f\ud800-\udfff]", name):
        raise InputError(f"{where}: {name!r} cannot name a file")
    if any(part in ("", ".", "..") or len(part.encode()) > 200 for part in name.split("/")):
        raise InputError(f"{where}: {name!r} cannot name a file")
    return name


def folder_of(root: str | Path, expected: str) -> Path:
    """The root as a path. Raises InputError where it is no folder."""
    folder = Path(root)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected {expected} in it")
    return folder


def _sides(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
