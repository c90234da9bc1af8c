"""Clips that the tests encode themselves. Each frame is told apart by its pictures: a gradient and a moving bar."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter


def moving(count: int, height: int = 48, width: int = 64) -> np.ndarray:
    """uint8 RGB (count, height, width, 3), every frame another."""
    frames = np.zeros((count, height, width, 3), np.uint8)
    for index in range(count):
        frames[index, ..., 0] = np.linspace(0, 255, width, dtype=np.uint8)
        frames[index, ..., 1] = np.linspace(0, 255, height, dtype=np.uint8)[:, None]
        frames[index, ..., 2] = (index * 37) % 256
        at = (index * 3) % (width - 6)
        frames[index, :, at : at + 6] = (255, 255, 0)
    return frames


def encode(
    path: Path,
    frames: np.ndarray,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    ticks: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 1000),
    options: dict[str, str] | None = None,
    rate: int = 25,
    movflags: str | None = None,
) -> Path:
    """Write a clip with PyAV; ``ticks`` are the frames' times in ``time_base``, even at ``rate`` where not given."""
    container_options = {} if movflags is None else {"movflags": movflags}
    with av.open(str(path), "w", options=container_options) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], pixels
        if ticks is not None:
            stream.codec_context.time_base = time_base
        for index, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgba" if image.shape[2] == 4 else "rgb24")
            if ticks is not None:
                frame.pts, frame.time_base = ticks[index], time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def rotate(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Write the display matrix (a, b, c, d) into the track header of an MP4, as a phone does."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # version 0: 40 bytes of flags, times, id, duration, layer, volume
    a, b, c, d = (value << 16 for value in matrix)
    for place, value in enumerate((a, b, 0, c, d, 0, 0, 0, 1 << 30)):
        data[at + 4 * place : at + 4 * place + 4] = value.to_bytes(4, "big", signed=True)
    path.write_bytes(data)
    return path


def sequential(path: Path) -> list[np.ndarray]:
    """All frames by the plainest means: the reference for seeking."""
    scaler = VideoReformatter()
    with av.open(str(path)) as container:
        return [scaler.reformat(frame, format="rgb24").to_ndarray() for frame in container.decode(video=0)]
