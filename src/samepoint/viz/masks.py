"""Draw masks on frames: each object filled with its colour, see-through, inside a bright line."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import zip_longest
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from samepoint.errors import InputError
from samepoint.io.atomic import atomic_path
from samepoint.structures.masks import davis_palette
from samepoint.viz.writer import VideoWriter

Frames = Iterable[NDArray[np.uint8]]


def draw_masks(
    frame: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    *,
    palette: NDArray[np.uint8] | None = None,
    opacity: float = 0.5,
) -> NDArray[np.uint8]:
    """A copy of a frame with the objects of ``labels`` drawn on it; the background stays as it is.

    Args:
        frame: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8, 0 background.
        palette: (256, 3) uint8 RGB; DAVIS's by default.
        opacity: of the fill, 0 to 1; the line is opaque.

    Raises:
        InputError: frame and labels differ in size, or the opacity is out of range.

    >>> draw_masks(np.zeros((3, 3, 3), np.uint8), np.ones((3, 3), np.uint8), opacity=0.25)[1, 1].tolist()
    [32, 0, 0]
    """
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise InputError(f"a frame is uint8 (H, W, 3); got {frame.dtype} {frame.shape}")
    if labels.dtype != np.uint8 or labels.shape != frame.shape[:2]:
        raise InputError(f"labels of a frame of {frame.shape[:2]} are uint8 of that shape; got {labels.shape}")
    if not 0 <= opacity <= 1:
        raise InputError(f"opacity: {opacity} given, 0 to 1 expected")
    colours = davis_palette() if palette is None else palette
    object_ = labels > 0
    filled = cv2.addWeighted(frame, 1 - opacity, colours[labels], opacity, 0)
    drawn = np.where(object_[..., None], filled, frame)
    line = object_ & _edge(labels, max(1, round(min(labels.shape) / 240)))
    drawn[line] = _bright(colours)[labels[line]]
    return np.asarray(drawn, np.uint8)


def render_masks(
    video: Frames,
    masks: Frames,
    path: str | Path,
    fps: float,
    *,
    palette: NDArray[np.uint8] | None = None,
    opacity: float = 0.5,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write the video with its masks drawn in, H.264 MP4, one frame in memory at a time.

    Args:
        video: frames (H, W, 3) uint8 RGB.
        masks: as many labels (H, W) uint8, such as ``Masks.labels``.
        path: the MP4 to write; it appears, or is replaced, only once it is whole.
        fps: frames a second.
        palette: (256, 3) uint8 RGB; DAVIS's by default.
        opacity: of the fill.
        progress: called with the frames done.

    Raises:
        InputError: frames and masks differ in number or size, or the suffix is not ``.mp4``.
    """
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise InputError(f"{path}: a rendered video is an .mp4 file, not {path.suffix or 'without suffix'}")
    with atomic_path(path) as temporary, VideoWriter(temporary, fps) as writer:
        for done, (frame, labels) in enumerate(zip_longest(video, masks)):
            if frame is None or labels is None:
                raise InputError(f"the video and its masks differ in length; only {done} frames have both")
            writer.write(draw_masks(frame, labels, palette=palette, opacity=opacity))
            if progress is not None:
                progress(done + 1)


def _edge(labels: NDArray[np.uint8], width: int) -> NDArray[np.bool_]:
    """Pixels within ``width`` of another label; the border of the picture is none."""
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    return np.asarray(cv2.dilate(labels, kernel) != cv2.erode(labels, kernel))


def _bright(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same hues as bright as they get; black becomes white."""
    peak = colours.max(axis=1, keepdims=True).astype(np.float64)
    return np.where(peak > 0, np.round(colours * (255 / np.maximum(peak, 1))), 255).astype(np.uint8)
