"""Clips of scenes whose cuts, fades and repeats are known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from samepoint.webvideo.rows import Row
from tests.io.clips import encode

SIZE = (96, 128)


def scene(count: int, seed: int, speed: float = 2.0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A texture in colours of its own under a moving camera, uint8 (count, H, W, 3)."""
    rng = np.random.default_rng(seed)
    colour = np.array([(200, 60, 50), (50, 160, 70), (60, 70, 210), (190, 180, 60)][seed % 4])
    reach = size[1] + int(speed * count) + 1
    grain = rng.integers(-50, 51, (size[0] // 8, reach // 8 + 1, 3)) + colour
    wide = cv2.resize(grain.clip(0, 255).astype(np.uint8), (reach, size[0]), interpolation=cv2.INTER_CUBIC)
    return np.stack([wide[:, int(speed * t) : int(speed * t) + size[1]] for t in range(count)])


def black(count: int) -> np.ndarray:
    return np.zeros((count, *SIZE, 3), np.uint8)


def fade(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Frames of ``first`` turn steadily into those of ``last``."""
    share = (np.arange(1, len(first) + 1) / (len(first) + 1))[:, None, None, None]
    return np.round(first * (1 - share) + last * share).astype(np.uint8)


def video(folder: Path, frames: np.ndarray | list[np.ndarray], lossy: bool = False) -> Row:
    """A row of the table of videos and its file, without loss unless asked for."""
    options = {"crf": "28"} if lossy else {"qp": "0"}
    encode(
        folder / "clip.mp4",
        np.concatenate(frames) if isinstance(frames, list) else frames,
        pixels="yuv420p" if lossy else "yuv444p",
        options=options,
    )
    return {"video": "clip", "class": "horse", "path": "clip.mp4", "status": "ok"}
