"""The picture that stands for a candidate: its thumbnail, or the first frame of a file."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import InputError
from ..io.videofile import Pictures, open_container, video_stream
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


def frames_at(path: Path, shares: Sequence[float]) -> list[NDArray[np.uint8]]:
    """Frames uint8 RGB (H, W, 3) at these shares of a file's length; fewer or none where they cannot be decoded.

    Found by time, without reading the rest of the file; a file whose stated length is wrong is read as a whole.
    """
    try:
        found = [_frame_at(path, share) for share in shares]
        if all(frame is not None for frame in found):
            return [frame for frame in found if frame is not None]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of damage, which the row states
            video = Video(path)
            return [video[int(share * (len(video) - 1))] for share in shares]
    except (InputError, av.FFmpegError, OSError):
        return []


def stated_duration(path: Path) -> float | None:
    """Seconds that a file's header says it lasts; None where it does not, or cannot be opened."""
    try:
        with open_container(str(path)) as container:
            stream = video_stream(container, str(path))
            if stream.duration is not None and stream.time_base is not None:
                return float(stream.duration * stream.time_base)
            return None if container.duration is None else container.duration / av.time_base
    except (InputError, av.FFmpegError, OSError):
        return None


def _frame_at(path: Path, share: float) -> NDArray[np.uint8] | None:
    with open_container(str(path)) as container:
        stream = video_stream(container, str(path))
        length, base = stream.duration, stream.time_base
        if length is None and container.duration is not None and base is not None:
            length = int(container.duration / av.time_base / base)
        if not length:
            return None
        wanted = (stream.start_time or 0) + int(share * length)
        if share > 0:
            container.seek(wanted, stream=stream, backward=True)
        for frame in container.decode(stream):
            if frame.pts is None:
                return None
            if share == 0 or frame.pts + (frame.duration or 1) > wanted:
                return Pictures()(frame)
    return None
