"""Tracks as a video to watch and as one picture to show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from samepoint.errors import InputError
from samepoint.io.atomic import atomic_path
from samepoint.structures import Tracks
from samepoint.viz.draw import draw_tracks, label, paste, point_colors
from samepoint.viz.writer import VideoWriter

Frames = Iterable[NDArray[np.uint8]]
Progress = Callable[[int, "int | None"], None]

PAPER = 250  # the ground of a contact sheet, a light grey
INK = (60, 60, 66)


def render_tracks(
    video: Frames,
    tracks: Tracks,
    path: str | Path,
    *,
    trail: int | None = None,
    names: bool = False,
    side_by_side: bool = False,
    progress: Progress | None = None,
) -> None:
    """Write the video with its tracks drawn in, H.264 MP4, one frame in memory at a time.

    Args:
        video: the frames that were tracked, (H, W, 3) uint8 RGB: a ``Video`` or any iterable.
        tracks: N points over exactly these frames.
        path: the MP4 to write; it appears, or is replaced, only once it is whole.
        trail: how many frames back the trails reach, 0 for none; by default half a second.
        names: write each point's name beside it.
        side_by_side: put the untouched frame to the left.
        progress: called with (frames done, frames in all).

    Raises:
        InputError: frames and tracks differ in number or size, or the suffix is not ``.mp4``.
    """
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise InputError(f"{path}: a rendered video is an .mp4 file, not {path.suffix or 'without suffix'}")
    length, colors = tracks.xy.shape[1], point_colors(tracks)
    with atomic_path(path) as temporary, VideoWriter(temporary, tracks.fps) as writer:
        for t, frame in _matched(video, tracks):
            drawn = draw_tracks(frame, tracks, t, trail=trail, names=names, colors=colors)
            writer.write(np.hstack([frame, drawn]) if side_by_side else drawn)
            if progress is not None:
                progress(t + 1, length)


def contact_sheet(
    video: Frames,
    tracks: Tracks,
    path: str | Path,
    *,
    frames: int = 8,
    columns: int | None = None,
    cell_width: int = 480,
    trail: int | None = None,
    names: bool = False,
) -> None:
    """Write a PNG with a few frames of the video, evenly spread from the first to the last, and the tracks on them.

    Args:
        video: the frames that were tracked, (H, W, 3) uint8 RGB: a ``Video`` or any iterable.
        tracks: N points over exactly these frames.
        path: the PNG to write; it appears, or is replaced, only once it is whole.
        frames: how many frames to show; all of them where the video has fewer.
        columns: how many stand side by side; by default as many as make the sheet about half as high as wide.
        cell_width: width of a frame on the sheet in pixels; smaller frames keep their own.
        trail: how many frames back the trails reach, 0 for none; by default half a second.
        names: write each point's name beside it.

    Raises:
        InputError: frames and tracks differ in number or size, or ``frames`` or ``columns`` is not positive.
    """
    if frames < 1 or (columns is not None and columns < 1) or cell_width < 16:
        raise InputError(f"a contact sheet of {frames} frames in {columns} columns of {cell_width} px")
    length, (height, width) = tracks.xy.shape[1], tracks.size
    chosen = {round(t) for t in np.linspace(0, length - 1, min(frames, length))}
    colors = point_colors(tracks)
    factor = min(1.0, cell_width / width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    cells = []
    for t, frame in _matched(video, tracks):
        if t in chosen:
            small = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA) if factor < 1 else frame, np.uint8)
            cells.append((draw_tracks(small, tracks, t, trail=trail, names=names, colors=colors), t))
    sheet = _arrange(cells, tracks.fps, columns or _columns(len(cells), size[1] / size[0]))
    with atomic_path(Path(path)) as temporary:
        Image.fromarray(sheet).save(temporary, format="PNG")


def _matched(video: Frames, tracks: Tracks) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Frames with their index, which must be as many and as large as the tracks say."""
    length, size, count = tracks.xy.shape[1], tuple(tracks.size), 0
    for t, frame in enumerate(video):
        if t >= length:
            raise InputError(f"the tracks cover {length} frames, the video has more")
        if frame.shape[:2] != size:
            raise InputError(
                f"the tracks belong to frames of {size[1]}x{size[0]}, frame {t} is {frame.shape[1]}x{frame.shape[0]}"
            )
        yield t, frame
        count = t + 1
    if count < length:
        raise InputError(f"the tracks cover {length} frames, the video has {count}")


def _columns(count: int, aspect: float) -> int:
    """The number of columns without a ragged last row, where there is one, for a sheet near twice as wide as high."""

    def cost(columns: int) -> float:
        rows = -(-count // columns)
        return abs(np.log(columns / (rows * aspect * 2.0))) + 0.5 * (rows * columns - count)

    return min(range(1, count + 1), key=cost)


def _arrange(cells: list[tuple[NDArray[np.uint8], int]], fps: float, columns: int) -> NDArray[np.uint8]:
    height, width = cells[0][0].shape[:2]
    gap = max(6, round(0.03 * width))
    text = max(9, round(0.032 * width))
    caption = round(1.7 * text)
    rows = -(-len(cells) // columns)
    shape = (rows * (height + caption) + (rows + 1) * gap - gap // 2, columns * (width + gap) + gap, 3)
    sheet = np.full(shape, PAPER, np.uint8)
    for i, (cell, t) in enumerate(cells):
        top, left = gap + (i // columns) * (height + caption + gap), gap + (i % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = cell
        patch = label(f"frame {t}  ·  {t / fps:.2f} s", INK, text, outline=False)
        paste(sheet, patch, left, top + height + (caption - patch.shape[0]) // 2 + 1)
    return sheet
