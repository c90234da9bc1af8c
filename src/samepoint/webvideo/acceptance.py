"""Which of the followed places are labels: all that the checks leave, from a seed on until the first that fails."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from .motion_rule import MotionSettings, consistent


class AcceptSettings(BaseModel):
    """What a label must pass in every frame to stay alive. Cells are those of the map that is matched on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    confidence: float = Field(0.5, ge=0, le=1)  # of the method
    cycle: float = Field(2.0, gt=0)  # cells between where a label was and where its match leads back to
    similarity: float = Field(0.3, ge=-1, le=1)  # cosine of a label's features in this frame and the one before
    motion: MotionSettings | None = MotionSettings()  # null: any motion
    lapse: int = Field(1, ge=0)  # frames in which checks may fail between two in which they pass
    survival: int = Field(2, ge=0)  # a label lost in fewer frames than these was never good: its seed alone is kept
    returns: bool = False  # whether a lost label may be found again


@dataclass(frozen=True, eq=False)
class Followed:
    """What N seeds were followed to through T frames; all in pixels of the video, NaN before a seed and after its end.

    Attributes:
        xy: float32 (N, T, 2).
        confidence: float32 (N, T) of the method.
        cycle: float32 (N, T), distance between where a seed was a frame before and where its match leads back to; 0 in
            its first frame.
        similarity: float32 (N, T), cosine with the frame before; 1 in its first frame.
        cell: pixels (x, y) of a cell of the map that is matched on.
        repeats: frames that repeat the one before, never the first; no evidence of anything.
    """

    xy: np.ndarray
    confidence: np.ndarray
    cycle: np.ndarray
    similarity: np.ndarray
    cell: float
    repeats: frozenset[int] = frozenset()

    def at(self, frames: np.ndarray) -> Followed:
        """What there is in some frames, none of which repeats another."""
        parts = (self.xy[:, frames], self.confidence[:, frames], self.cycle[:, frames], self.similarity[:, frames])
        return Followed(*parts, self.cell)


def accepted(followed: Followed, size: tuple[int, int], settings: AcceptSettings) -> np.ndarray:
    """Where the labels are alive, bool (N, T); always in the frame where they begin. A repeat is as what it repeats."""
    if followed.repeats:
        frames = np.arange(followed.xy.shape[1])
        own = np.setdiff1d(frames, sorted(followed.repeats))
        alive = accepted(followed.at(own), size, settings)
        return np.asarray(alive[:, np.searchsorted(own, frames, side="right") - 1])
    passes = _passes(followed, size, settings)
    count, frames = passes.shape
    started = np.isfinite(followed.xy[..., 0]).argmax(1)
    alive = np.zeros((count, frames), bool)
    lost = np.zeros(count, bool)
    for t in range(frames):
        fresh = started == t
        now = (passes[:, t] & ~lost & (started < t)) | fresh
        for span in settings.motion.spans if settings.motion is not None else ():
            if span <= t:
                known = now & ~fresh & (alive[:, t - span] | (settings.returns & passes[:, t - span]))
                now[_astray(followed, np.flatnonzero(known), t - span, t, settings.motion)] = False
        alive[:, t] = now
        if not settings.returns:
            lost |= ~now & (started < t)
    return _long_enough(alive, started, settings)


def _astray(followed: Followed, rows: np.ndarray, first: int, last: int, rule: MotionSettings | None) -> np.ndarray:
    """Those of the labels ``rows`` that moved unlike their surroundings between two frames."""
    if rule is None:
        return rows[:0]
    fits = consistent(followed.xy[rows, first], followed.xy[rows, last], rule, followed.cell)
    return rows[~fits]


def _passes(followed: Followed, size: tuple[int, int], settings: AcceptSettings) -> np.ndarray:
    """Where each label, taken by itself, passes, bool (N, T)."""
    with np.errstate(invalid="ignore"):
        inside = (followed.xy >= 0).all(2) & (followed.xy < (size[1], size[0])).all(2)
        sure = followed.confidence >= settings.confidence
        closed = followed.cycle <= settings.cycle * followed.cell
        passes = inside & sure & closed & (followed.similarity >= settings.similarity)
    return _bridged(passes, settings.lapse) & inside


def _bridged(passes: np.ndarray, lapse: int) -> np.ndarray:
    """``passes`` (N, T) and the gaps in it of up to ``lapse`` frames, which lie between two that pass."""
    bridged = passes.copy()
    for gap in range(1, lapse + 1):
        for start in range(1, passes.shape[1] - gap):
            both = passes[:, start - 1] & passes[:, start + gap]
            bridged[both, start : start + gap] = True
    return bridged


def _long_enough(alive: np.ndarray, started: np.ndarray, settings: AcceptSettings) -> np.ndarray:
    """``alive`` without the lives that end too soon; one that the shot's end cuts short stays."""
    time = np.arange(alive.shape[1])
    soon = (time >= started[:, None]) & (time < started[:, None] + settings.survival)
    early = (soon & ~alive).any(1)
    kept: np.ndarray = alive & ~(early[:, None] & (time != started[:, None]))
    return kept
