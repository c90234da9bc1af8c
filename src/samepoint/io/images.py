"""Pictures in and out, and folders of them in natural order."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from samepoint.errors import InputError
from samepoint.io.atomic import atomic_path

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_ORIENTATION = 0x0112  # EXIF tag; values 5 to 8 swap the sides
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
LARGEST = 100_000_000
"""Pixels of a picture that are decoded at a time; a JPEG is reduced while it is decoded."""


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sorting key under which runs of digits count as numbers.

    >>> sorted(["img10.png", "img2.png"], key=natural_key)
    ['img2.png', 'img10.png']
    """
    parts = re.split(r"([0-9]+)", name)
    keys = [(0, int(part), part) if place % 2 else (1, 0, part.casefold()) for place, part in enumerate(parts)]
    return (*keys, (2, 0, name))


def visible(paths: Iterable[Path]) -> list[Path]:
    """Sorted, without hidden files: ``.DS_Store``, or the ``._name`` that macOS puts beside each file on other disks.

    >>> [path.name for path in visible([Path("b.png"), Path("._a.png"), Path("a.png")])]
    ['a.png', 'b.png']
    """
    return sorted(path for path in paths if not path.name.startswith("."))


def list_images(folder: str | Path) -> list[Path]:
    """The pictures directly in ``folder``, in natural order; hidden files and other kinds are passed over."""
    found = [path for path in visible(Path(folder).iterdir()) if path.suffix.lower() in SUFFIXES and path.is_file()]
    return sorted(found, key=lambda path: natural_key(path.name))


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """The picture as Pillow has it, decoded within the block. Raises InputError where it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd EXIF and metadata, which do not concern the pixels
            with Image.open(path) as image:
                yield image
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; expected a picture") from None
    except UnidentifiedImageError:
        what = "not a picture that can be read" if path.stat().st_size else "is empty; expected a picture"
        raise InputError(f"{path}: {what}") from None
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: cannot read this picture ({error})") from None


def image_size(path: str | Path) -> tuple[int, int]:
    """(H, W) as displayed, EXIF rotation applied, from the header alone."""
    with open_image(Path(path)) as image:
        return _displayed_size(image)


class Header(NamedTuple):
    """What a picture says of itself before it is decoded."""

    size: tuple[int, int]
    """(H, W) as displayed."""
    pictures: int
    """How many there are in the file: the pages of a TIFF, the frames of an animation."""
    deep: bool
    """One channel of more than 8 bits."""


def read_header(path: Path) -> Header:
    with open_image(path) as image:
        return Header(_displayed_size(image), _pictures(image), image.mode.startswith("I"))


def brightest(path: Path) -> int:
    """The largest value that is stored in a picture of one channel."""
    with open_image(path) as image:
        return int(np.asarray(image).max())


def _displayed_size(image: Image.Image) -> tuple[int, int]:
    """(H, W) upright, of an image that is not decoded yet."""
    width, height = image.size
    # Pillow turns a TIFF itself, and says the size after that.
    turned = image.format != "TIFF" and image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
    return (width, height) if turned else (height, width)


def read_image(path: str | Path) -> np.ndarray:
    """A picture as uint8 RGB (H, W, 3): EXIF rotation applied, 16 bits cut to 8, alpha dropped.

    Raises InputError where there is no readable picture.
    """
    with open_image(Path(path)) as image:
        return np.array(_rgb(ImageOps.exif_transpose(image)))


def _rgb(image: Image.Image) -> Image.Image:
    """In mode RGB, 16 bits cut to 8, alpha dropped. Raises ValueError where its values have no fixed range."""
    if image.mode == "F":
        raise ValueError("its values are floating-point numbers; expected 8 or 16 bits")
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8)).convert("RGB")
    return (image.convert("RGBA") if image.mode == "P" else image).convert("RGB")


class Reduced(NamedTuple):
    """A picture and how large it really is."""

    rgb: np.ndarray
    """uint8 (h, w, 3), upright; its corners are those of the whole picture."""
    size: tuple[int, int]
    """(H, W) as displayed."""


def read_reduced(source: str | Path | Image.Image, longest: int, frame: int | None = None) -> Reduced:
    """A picture no larger than it is needed: decoded small where its format can, in bounded memory.

    Args:
        source: a file, or an image of Pillow's, which stays as it is.
        longest: the longer side, in pixels, of what is returned, where the picture is larger.
        frame: which picture of an animated file; None: the first, with a UserWarning where there are more.

    Raises:
        InputError: no readable picture, no such frame, or one of more than :data:`LARGEST` pixels that cannot be
            reduced while it is decoded.
    """
    if not isinstance(source, Image.Image):
        with open_image(Path(source)) as image:
            several = _select(image, frame, str(source))
            reduced = _reduced(image, longest, str(source))
        if several and frame is None:
            warnings.warn(
                f"{source}: is animated; the first picture is taken (another: {source}@FRAME)", UserWarning, 2
            )
        return reduced
    if 0 in source.size:
        raise InputError(f"a picture of {source.size[0]}x{source.size[1]} pixels is empty")
    try:
        return _reduced(source.copy(), longest, "the picture")
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise InputError(f"cannot read this picture ({error})") from None


def _pictures(image: Image.Image) -> int:
    """How many there are in its file."""
    # Phones store previews and depth beside the one picture of an MPO.
    return 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))


def _select(image: Image.Image, frame: int | None, name: str) -> bool:
    """Go to a picture of an animated file; whether there are several."""
    count = _pictures(image)
    if frame is not None and not 0 <= frame < count:
        raise InputError(f"{name}: has {count} picture{'s' * (count > 1)} (0..{count - 1}), frame {frame} is asked for")
    if frame:
        image.seek(frame)
    return count > 1


def _reduced(image: Image.Image, longest: int, name: str) -> Reduced:
    stored, size = image.size, _displayed_size(image)
    scale = min(1.0, longest / max(size))
    wanted = (max(1, round(stored[0] * scale)), max(1, round(stored[1] * scale)))
    image.draft(None, wanted)
    if image.width * image.height > LARGEST:
        raise InputError(
            f"{name}: has {stored[0]}x{stored[1]} pixels, more than {LARGEST // 10**6} megapixels; save it smaller"
        )
    image.load()
    if image.size != stored:
        # What a decoder reduces is rounded up to whole pixels: the picture's far corner lies within the last ones.
        step = max(-(-stored[0] // image.width), -(-stored[1] // image.height))
        part = (stored[0] / step, stored[1] / step)
    else:
        part = stored
    rgb = _rgb(image)
    if rgb.size != wanted:
        rgb = rgb.resize(wanted, Image.Resampling.BILINEAR, (0, 0, min(part[0], rgb.width), min(part[1], rgb.height)))
    turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    return Reduced(np.array(rgb if turn is None else rgb.transpose(turn)), size)


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write uint8 RGB (H, W, 3) or grey (H, W), in the format of the suffix; whole or not at all."""
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: unknown picture format {path.suffix!r}; expected one of {', '.join(SUFFIXES)}")
    if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)):
        raise InputError(f"a picture must be uint8 (H, W, 3) or (H, W), got {image.dtype} {image.shape}")
    with atomic_path(path) as temporary:
        Image.fromarray(image).save(temporary)
