"""What a video file is, found by reading it: size, rate, frames, whether it is whole."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import av

from ..errors import InputError
from ..io.videofile import Pictures, _cut_short, describe, video_stream

_FORMATS = {
    "mov": ".mp4",
    "matroska": ".mkv",
    "avi": ".avi",
    "mpegts": ".ts",
    "mpeg": ".mpg",
    "flv": ".flv",
    "ogg": ".ogv",
    "asf": ".wmv",
    "gif": ".gif",
    "m4v": ".m4v",
}
"""FFmpeg's readers of files that hold their video themselves, and the suffix that such a file gets. Playlists (HLS,
DASH, concatenation) name further files and addresses, which opening them would read: they are not among these."""


class Probe(NamedTuple):
    """What reading a file tells."""

    fps: float | None
    width: int  # as displayed
    height: int
    frames: int  # packets; none is decoded but the first
    duration: float | None  # seconds
    suffix: str  # after what the file is, not what it was called
    damage: str | None  # what is missing


def probe(path: Path) -> Probe:
    """Read a file's header, its first frame, and all its packets.

    Raises:
        InputError: it is no video that holds itself, or its first frame cannot be decoded.
    """
    allowed = {"format_whitelist": ",".join(_FORMATS), "protocol_whitelist": "file"}
    try:
        container = av.open(f"file:{path.absolute()}", options=allowed, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError(f"{path.name}: not a video that can be read ({describe(error)})") from None
    with container:
        reader = container.format.name.split(",")[0]
        if reader not in _FORMATS:
            raise InputError(f"{path.name}: not a video file (it reads as {container.format.name})")
        stream = video_stream(container, path.name)
        cut = _cut_short(container, stream, str(path))
        damage = "the file is cut short" if cut else None
        packets, first = 0, None
        try:
            for packet in container.demux(stream):
                if packet.size == 0:
                    continue
                packets += 1
                if packet.is_corrupt:
                    damage = damage or "incomplete data"
                if first is None:
                    first = next(iter(packet.decode()), None)
            first = first or next(iter(stream.decode(None)), None)
        except (av.FFmpegError, OSError) as error:
            damage = damage or describe(error)
        if first is None:
            raise InputError(f"{path.name}: no frame of this video can be decoded")
        height, width = Pictures()(first).shape[:2]
        rate = stream.average_rate or stream.guessed_rate
        fps = float(rate) if rate else None
        if stream.duration is not None and stream.time_base is not None:
            duration: float | None = float(stream.duration * stream.time_base)
        elif container.duration is not None:
            duration = container.duration / av.time_base
        else:
            duration = packets / fps if fps else None
    return Probe(fps, width, height, packets, duration, _FORMATS[reader], damage)


def file_sha256(path: Path) -> str:
    """Hex digest of a file of any size."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
