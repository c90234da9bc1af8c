"""The picture that stands for a candidate: its thumbnail, or the first frame of a file."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import InputError
from ..structures import Video
from .attempts import persist
from .network import NetworkSettings
from .outcomes import LimitError, Outcome

_LARGEST = 32_000_000
"""Pixels of a thumbnail; a small file can claim any number of them."""
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF")

_log = logging.getLogger(__name__)


def thumbnail(url: str | None, settings: NetworkSettings) -> NDArray[np.uint8] | None:
    """The picture behind a URL, uint8 RGB (H, W, 3); None where it cannot be had."""
    if url is None:
        return None
    found = persist(lambda: _fetched(url, settings), settings)
    if isinstance(found, Outcome):
        _log.info("thumbnail %s: %s", url, found.reason)
        return None
    return found


def _fetched(url: str, settings: NetworkSettings) -> NDArray[np.uint8]:
    from .ytdlp import client

    with client(settings) as ydl, ydl.urlopen(url) as answer:
        data = answer.read()
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > _LARGEST:
                raise LimitError("too large", f"a thumbnail of {image.width}x{image.height}")
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise LimitError("broken", f"not a picture ({error})") from None


def first_frame(path: Path) -> NDArray[np.uint8] | None:
    """A file's first frame, uint8 RGB (H, W, 3); None where it has none."""
    try:
        return next(iter(Video(path)))
    except InputError:
        return None
