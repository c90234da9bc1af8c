"""Any folder of videos as clips to train on: shots respected, frame gaps drawn, cached copies at a short side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Gap:
    """Time between neighbouring frames of a clip, one draw a clip.

    Attributes:
        between: drawn evenly from this range, ends included.
        weights: one of these gaps, each drawn in proportion to its weight; takes the place of ``between``.
        unit: ``frames`` or ``seconds`` (rounded to whole frames at the video's own rate, at least 1).
    """

    between: tuple[float, float] = (1, 5)
    weights: Mapping[float, float] | None = None
    unit: Literal["frames", "seconds"] = "frames"


class VideoFolder:
    """Clips of the videos, and folders of pictures, below a folder.

    Args:
        root: the folder, searched recursively.
        frames: T, frames of a clip.
        gap: time between them.
        seed: with the index it decides a clip.
        short_side: frames are kept and given at this short side; None: as they are.
        cache: folder for copies at the short side; one in the user's cache folder when None.
        cache_gb: copies stop growing here; frames of further videos are read from their files, slower but the same.
    """

    def __init__(
        self,
        root: str | Path,
        frames: int = 2,
        gap: Gap = Gap(),
        seed: int = 0,
        short_side: int | None = 256,
        cache: str | Path | None = None,
        cache_gb: float = 20.0,
    ) -> None:
        raise NotImplementedError

    def __len__(self) -> int:
        """Videos that clips are taken from."""
        raise NotImplementedError

    def clip(self, index: int) -> np.ndarray:
        """Clip ``index`` >= 0, uint8 RGB (T, H, W, 3): the same in every process and order."""
        raise NotImplementedError
