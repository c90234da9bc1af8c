"""Pictures in and out, and folders of them in natural order."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from samepoint.errors import InputError
from samepoint.io.atomic import atomic_path

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_ORIENTATION = 0x0112  # EXIF tag; values 5 to 8 swap the sides


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sorting key under which runs of digits count as numbers.

    >>> sorted(["img10.png", "img2.png"], key=natural_key)
    ['img2.png', 'img10.png']
    """
    parts = re.split(r"([0-9]+)", name)
    keys = [(0, int(part), part) if place % 2 else (1, 0, part.casefold()) for place, part in enumerate(parts)]
    return (*keys, (2, 0, name))


def list_images(folder: str | Path) -> list[Path]:
    """The pictures directly in ``folder``, in natural order; hidden files and other kinds are passed over."""
    found = [
        path
        for path in Path(folder).iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
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
        raise InputError(f"{path}: not a picture that can be read") from None
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: cannot read this picture ({error})") from None


def image_size(path: str | Path) -> tuple[int, int]:
    """(H, W) as displayed, EXIF rotation applied, from the header alone."""
    with open_image(Path(path)) as image:
        width, height = image.size
        return (width, height) if image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8) else (height, width)


def read_image(path: str | Path) -> np.ndarray:
    """A picture as uint8 RGB (H, W, 3): EXIF rotation applied, 16 bits cut to 8, alpha dropped.

    Raises InputError where there is no readable picture.
    """
    with open_image(Path(path)) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I"):
            deep = np.asarray(upright).clip(0, 65535)
            return np.repeat((deep >> 8).astype(np.uint8)[..., None], 3, axis=2)
        if upright.mode == "P":
            upright = upright.convert("RGBA")
        return np.array(upright.convert("RGB"))


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write uint8 RGB (H, W, 3) or grey (H, W), in the format of the suffix; whole or not at all."""
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: unknown picture format {path.suffix!r}; expected one of {', '.join(SUFFIXES)}")
    if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)):
        raise InputError(f"a picture must be uint8 (H, W, 3) or (H, W), got {image.dtype} {image.shape}")
    with atomic_path(path) as temporary:
        Image.fromarray(image).save(temporary)
