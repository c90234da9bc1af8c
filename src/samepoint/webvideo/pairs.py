"""Pairs of frames of labelled shots and the points that correspond in them, drawn evenly over classes and shots."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from ..errors import InputError
from .label_file import Labels
from .legacy_labels import open_labels
from .rows import Row

_HELD = 64  # shots whose labels are kept in memory


class PairSettings(BaseModel):
    """Which pairs are drawn."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    points: int = Field(40, ge=1)  # of a pair at most
    least: int = Field(4, ge=1)  # of a pair at least; a pair with fewer is drawn again
    gap: tuple[int, int | None] = (1, None)  # fewest and most frames between the two
    power: float = 0.0  # a gap g is drawn with a chance proportional to g**power: 0 evenly, -1 near frames mostly
    source: Literal["any", "first"] = "any"  # any two frames, or the shot's first and a later one, as published
    swap: float = Field(0.5, ge=0, le=1)  # chance that the later frame comes first
    balance: Literal["class", "shot", "pair"] = "class"  # classes count alike, then shots; shots; or every pair
    foreground: float = Field(0.0, ge=0, le=1)  # how much foreground weights decide which points are taken
    tries: int = Field(50, ge=1)  # pairs drawn in vain before it is an error


class Pair(NamedTuple):
    """Two frames of a shot and what corresponds in them."""

    shot: Row
    frame_i: int  # numbers in the video
    frame_j: int
    points_i: np.ndarray  # float32 (n, 2) pixels of the video
    points_j: np.ndarray
    confidence: np.ndarray  # float32 (n,), the smaller of both frames'


def correspondences(labels: Labels, first: int, second: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What corresponds in two frames of a shot, frame 0 its first.

    Returns:
        Points (n, 2) in both frames, their confidence (n,), and which labels they are (n,).

    Raises:
        InputError: a frame that has no labels.
    """
    for frame in (first, second):
        if not 0 <= frame < labels.frames:
            raise InputError(f"frame {frame}: the shot has labels in frames 0 to {labels.frames - 1}")
    rows = labels.between(first, second)
    confidence = np.minimum(labels.confidence[rows, first], labels.confidence[rows, second])
    return labels.xy[rows, first], labels.xy[rows, second], confidence, rows
