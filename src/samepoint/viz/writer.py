"""H.264 in MP4 as every browser plays it, written frame by frame."""

from __future__ import annotations

import warnings
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from numpy.typing import NDArray

from samepoint.errors import InputError

BT709 = 1  # the same number in H.264's colour matrix, primaries and transfer (ITU-T H.273)
LIMITED_RANGE = 1
SLOWEST = 0.01  # frames a second


class VideoWriter:
    """A context manager that encodes RGB frames: H.264, yuv420p, BT.709, index at the head of the file.

    Frames of odd height or width gain one row or column, a copy of the last, since 4:2:0 video has even sides.
    An exception inside the context leaves an unusable file: write to a temporary name and rename it.

    Args:
        path: the file, MP4 whatever its suffix.
        fps: frames a second; 30000/1001 and the like are kept exactly. Fewer than 0.01 become 0.01, with a UserWarning.
        crf: constant quality, lower is better; 18 looks like the source.

    Raises:
        InputError: ``fps`` is not between 0 and 100,000, or a frame differs in shape from the first.
    """

    def __init__(self, path: str | Path, fps: float, *, crf: int = 18) -> None:
        if not 0 < fps <= 100_000:
            raise InputError(f"cannot write a video at {fps} frames a second")
        if fps < SLOWEST:
            message = f"a video cannot be as slow as {fps:g} frames a second; it is written at {SLOWEST}"
            warnings.warn(message, UserWarning, stacklevel=2)
        self._rate = Fraction(max(fps, SLOWEST)).limit_denominator(1001)
        self._crf = crf
        self._shape: tuple[int, ...] | None = None
        self._container = av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})
        self._stream = self._container.add_stream("libx264", rate=self._rate)

    def __enter__(self) -> VideoWriter:
        return self

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Add a frame, (H, W, 3) uint8 RGB."""
        if self._shape is None:
            self._start(frame)
        elif frame.shape != self._shape:
            raise InputError(f"a frame of shape {frame.shape} in a video of frames {self._shape}")
        height, width = frame.shape[:2]
        if height % 2 or width % 2:
            frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture = picture.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        self._container.mux(self._stream.encode(picture))

    def _start(self, frame: NDArray[np.uint8]) -> None:
        self._shape = frame.shape
        height, width = frame.shape[:2]
        stream = self._stream
        stream.height, stream.width = height + height % 2, width + width % 2
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(self._crf), "preset": "veryfast"}
        context = stream.codec_context
        # Without these tags players guess the matrix from the height, and the colours shift.
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED_RANGE

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._shape is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()
