"""How each frame of a video looks beside the ones before: black, blank, the same, moved; a few numbers a frame."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..datasets.shots import Shot
from .frames import Frame

_CELL = 8  # pixels of a side, for what repeats
_COARSE = (32, 24)  # (width, height), for what stands still
_SIDE = 64  # short side that motion is measured at, and
_UNIT = 256  # the one that its pixels are those of
_DIMMED = 0.5  # share of a shot's usual contrast below which a frame beside a blank one is faded


class Limits(NamedTuple):
    """Limits, in levels of 8 bits; the settings of shots explain them."""

    black: float
    flat: float
    same: float
    still: float


class Look(NamedTuple):
    """What is kept of a frame."""

    black: bool
    blank: bool
    contrast: float
    repeats: bool
    moved: bool
    flow: float  # pixels of a copy whose short side is 256, mean length, from the last frame that repeats none


class Looks:
    """Frames go in one after another; holds a few thumbnails, and a few numbers a frame."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._looks: list[Look] = []
        self._fine: NDArray[np.uint8] | None = None  # grey, of the last frame that repeats none
        self._small: NDArray[np.uint8] | None = None
        self._coarse: NDArray[np.uint8] | None = None  # of the last frame in which something had moved

    def __len__(self) -> int:
        return len(self._looks)

    def add(self, frame: Frame) -> Look:
        """The next frame, uint8 RGB (H, W, 3), all of one size."""
        fine = _grey(frame)
        small, coarse = _shrunk(fine, _side(fine.shape)), _shrunk(fine, _COARSE)
        contrast = float(small.std())
        # A slow pan must not pass for copies, so the frame compared with is the last one that was no copy itself.
        repeats = self._fine is not None and _most_changed(self._fine, fine) <= self._limits.same
        flow = 0.0
        if not repeats:
            if self._small is not None:
                flow = _flow(self._small, small)
            self._fine, self._small = fine, small
        moved = self._coarse is None or int(cv2.absdiff(self._coarse, coarse).max()) > self._limits.still
        if moved:
            self._coarse = coarse
        dark = bool(np.percentile(small, 99) < self._limits.black)
        look = Look(dark, dark or contrast < self._limits.flat, contrast, repeats, moved, flow)
        self._looks.append(look)
        return look

    def kinds(self, cuts: Collection[int], between: Sequence[Shot]) -> list[str | None]:
        """For each frame ``black``, ``faded``, or None.

        Faded are blank frames that are not black, frames beside a blank stretch with less than half the usual contrast
        of their shot, and those of ``between``.
        """
        kinds: list[str | None] = [("black" if at.black else "faded") if at.blank else None for at in self._looks]
        for start, end in between:
            kinds[start:end] = [kind or "faded" for kind in kinds[start:end]]
        contrast = np.array([at.contrast for at in self._looks])
        edges = [t for t in range(1, len(kinds)) if t in cuts or (kinds[t] is None) != (kinds[t - 1] is None)]
        blank = [kind is not None for kind in kinds]
        for start, end in zip([0, *edges], [*edges, len(kinds)], strict=True):
            if blank[start]:
                continue
            dim = (contrast[start:end] < _DIMMED * np.median(contrast[start:end])).tolist()
            if start > 0 and blank[start - 1]:
                for t in range(start, start + _run(dim)):
                    kinds[t] = "faded"
            if end < len(kinds) and blank[end]:
                for t in range(end - _run(dim[::-1]), end):
                    kinds[t] = "faded"
        return kinds

    def repeats(self, start: int, end: int) -> list[int]:
        """The frames of a shot that repeat the one before them."""
        return [t for t in range(start + 1, end) if self._looks[t].repeats]

    def static(self, start: int, end: int) -> bool:
        """Whether nothing moves in a shot."""
        return not any(look.moved for look in self._looks[start + 1 : end])

    def motion(self, start: int, end: int) -> float | None:
        """Mean length of the flow from frame to frame, in pixels of a copy whose short side is 256."""
        if end - start < 2:
            return None
        return round(sum(look.flow for look in self._looks[start + 1 : end]) / (end - start - 1), 4)


def _run(flags: Sequence[bool]) -> int:
    """How many of the first are set.

    >>> _run([True, True, False, True])
    2
    """
    return next((index for index, flag in enumerate(flags) if not flag), len(flags))


def _grey(frame: Frame) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)


def _side(shape: tuple[int, ...]) -> tuple[int, int]:
    """(width, height) with the short side at most 64."""
    scale = min(1.0, _SIDE / min(shape[:2]))
    return max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))


def _shrunk(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _most_changed(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """The mean change of the cell that changes most: encoding blurs a copy everywhere, motion moves an edge."""
    change = cv2.absdiff(a, b).astype(np.float32)
    cells = max(1, a.shape[1] // _CELL), max(1, a.shape[0] // _CELL)
    return float(cv2.resize(change, cells, interpolation=cv2.INTER_AREA).max())


def _flow(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    flow = cv2.calcOpticalFlowFarneback(a, b, None, 0.5, 3, 9, 2, 5, 1.1, 0)  # type: ignore[call-overload]
    return float(np.hypot(flow[..., 0], flow[..., 1]).mean()) * _UNIT / min(a.shape)
