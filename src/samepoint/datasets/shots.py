"""Where the shots of a video begin and end, in one pass and little memory: enough to keep training clips within one.

Hard cuts: both colours and edges change (Lienhart, "Comparison of automatic shot boundary detection algorithms", SPIE
1999) by more than a threshold that adapts to the motion around (Yusoff, Christmas and Kittler, BMVC 2000), and what
comes before stays unlike what comes after, which a flash does not. Gradual transitions: in the middle of a dissolve or
fade a frame is a mixture of the frames before and after (the production model of Hampapur, Jain and Weymouth, 1995),
which it is not in a pan. Wipes and cuts between shots of fewer than three frames may be missed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Shot = tuple[int, int]
"""First frame, and the one after the last."""

_SIZE = (32, 24)  # (width, height) that frames are compared at
_BINS = 8  # of each of the three colour channels
_FAINT = 0.02  # edges and contrast that count as none
_MIDDLE = np.array([0, 0.5, 0.5], np.float32)
_STRETCH = np.array([1, 2.5, 2.5], np.float32)  # chroma seldom leaves the middle 40 % of its range
_REACH = 3  # frames on either side of a cut that must differ too; a flash of fewer is no cut
_AROUND = 8  # frames on either side that the threshold adapts to
_CUT = 0.25  # least difference of a cut
_ABOVE = 0.15  # by how much, and
_TIMES = 1.6  # how many times it exceeds what is common around it
_SPANS = (6, 12, 24)  # half lengths of gradual transitions that are looked for, in frames
_GRADUAL = 0.25  # least difference between both ends of one
_OTHER = 0.5  # least loss of correlation between them
_PURE = 0.95  # a mixture with more of one end than this is that end
_UNMIXED = 0.3  # what a mixture of both ends may leave unexplained, as a share of their difference


class _Look(NamedTuple):
    """What is kept of a frame."""

    lab: NDArray[np.float32]  # (24, 32, 3), 0..1
    edges: NDArray[np.float32]  # (24, 32)
    colours: NDArray[np.float32]  # (4, 512), a histogram for each quarter of the frame


class ShotFinder:
    """Frames go in one after another, shots come out at the end; holds 49 thumbnails and a few numbers a frame."""

    def __init__(self) -> None:
        self._looks: deque[_Look] = deque(maxlen=2 * _SPANS[-1] + 1)
        self._differences: list[list[float]] = []  # from the frame 1, 2, 3 before
        self._mixtures: list[tuple[int, int]] = []  # gradual transitions: first frame, and the one after the last

    def add(self, frame: NDArray[np.uint8]) -> None:
        """The next frame, uint8 RGB (H, W, 3)."""
        look, held = _look(frame), len(self._looks)
        differences = [_difference(self._looks[-back], look) for back in range(1, min(_REACH, held) + 1)]
        self._differences.append(differences + [0.0] * (_REACH - len(differences)))
        self._looks.append(look)
        newest = len(self._differences) - 1
        for span in _SPANS:
            if held >= 2 * span:
                found = _transition([self._looks[at * span // 2 - 2 * span - 1] for at in range(5)])
                if found is not None:
                    start, stop = (newest - 2 * span + at * span // 2 for at in found)
                    self._mixtures.append((start + 1, stop))

    def shots(self) -> list[Shot]:
        """The shots so far, in order; frames of a gradual transition lie in none of them."""
        count = len(self._differences)
        table = np.array(self._differences, np.float64).reshape(count, _REACH)
        cuts = _cuts(table)
        blocked = np.zeros(count, bool)
        for start, stop in self._mixtures:
            if not any(start <= cut < stop for cut in cuts):
                blocked[start:stop] = True
        within = np.concatenate([[False], ~blocked, [False]])
        begins = {t for t in range(count) if within[t + 1] and (not within[t] or t in cuts)}
        ends = {t for t in range(1, count + 1) if within[t] and (not within[t + 1] or t in cuts)}
        return list(zip(sorted(begins), sorted(ends), strict=True))


def find_shots(frames: Iterable[NDArray[np.uint8]]) -> list[Shot]:
    """The shots of a video, frames uint8 RGB (H, W, 3), as half-open ranges in order; none without frames.

    A ``Video`` may be given; it is read once.

    >>> find_shots(np.repeat(np.uint8([0, 255])[:, None, None, None], 10, 0) * np.ones((1, 32, 32, 3), np.uint8))
    [(0, 10), (10, 20)]
    """
    finder = ShotFinder()
    for frame in frames:
        finder.add(frame)
    return finder.shots()


def _look(frame: NDArray[np.uint8]) -> _Look:
    small = cv2.resize(frame, (2 * _SIZE[0], 2 * _SIZE[1]), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    lab = ((lab + np.array([0, 100, 100])) / np.array([100, 200, 200])).astype(np.float32)
    grey = lab[..., 0]
    edges = np.hypot(cv2.Sobel(grey, -1, 1, 0), cv2.Sobel(grey, -1, 0, 1))
    edges = cv2.resize(cv2.blur(edges, (5, 5)), _SIZE, interpolation=cv2.INTER_AREA)
    return _Look(cv2.resize(lab, _SIZE, interpolation=cv2.INTER_AREA), edges, _histograms(lab))


def _histograms(lab: NDArray[np.float32]) -> NDArray[np.float32]:
    """Shares of the colours in each quarter of the frame.

    Each pixel is spread over the two nearest bins of a channel, so that light may drift a little.
    """
    stretched = (lab - _MIDDLE) * _STRETCH + _MIDDLE
    at = np.clip(stretched, 0, 1) * (_BINS - 1)
    low = np.minimum(at.astype(np.int32), _BINS - 2)
    shares = np.stack([1 - (at - low), at - low])
    quarter = 2 * (np.arange(len(lab)) >= _SIZE[1])[:, None] + (np.arange(lab.shape[1]) >= _SIZE[0])
    place = quarter * _BINS**3 + low @ np.array([_BINS**2, _BINS, 1])
    places = [place + (i * _BINS + j) * _BINS + k for i, j, k in np.ndindex(2, 2, 2)]
    weights = [shares[i, ..., 0] * shares[j, ..., 1] * shares[k, ..., 2] for i, j, k in np.ndindex(2, 2, 2)]
    counts = np.bincount(np.ravel(places), np.ravel(weights), 4 * _BINS**3)
    return (counts.reshape(4, -1) * 4 / place.size).astype(np.float32)


def _difference(a: _Look, b: _Look) -> float:
    """0 for the same frame, 1 for nothing in common: large where colours and structure (or every pixel) change."""
    colours = 1 - float(np.minimum(a.colours, b.colours).sum(1).mean())
    edges = float(np.abs(a.edges - b.edges).sum() / (a.edges.sum() + b.edges.sum() + _FAINT * a.edges.size))
    pixels = min(1.0, 4 * float(np.abs(a.lab - b.lab).mean()))
    return float(np.sqrt(max(colours, 0.0) * max(edges, pixels)))


def _unlike(a: _Look, b: _Look) -> float:
    """1 minus the correlation of the lightness: near 0 where only the light changes, 1 for another scene or none."""
    first, second = (look.lab[..., 0] - look.lab[..., 0].mean() for look in (a, b))
    common = float((first * second).mean())
    return 1 - common / (float(np.sqrt((first**2).mean() * (second**2).mean())) + _FAINT**2)


def _cuts(table: NDArray[np.float64]) -> set[int]:
    """First frames of shots after a hard cut; ``table`` (T, 3): differences from the frames 1, 2 and 3 before."""
    count = len(table)
    score = np.zeros(count)
    for t in range(1, count):
        # All pairs that lie on both sides of the boundary; those with its own two frames suffice.
        across = [table[t, back] for back in range(_REACH) if t - back - 1 >= 0]
        across += [table[t + back, back] for back in range(1, _REACH) if t + back < count]
        score[t] = min(across)
    cuts: set[int] = set()
    for t in np.flatnonzero(score >= _CUT).tolist():
        low, high = max(1, t - _AROUND), min(count, t + _AROUND + 1)
        others = np.delete(table[low:high, 0], t - low)
        usual = float(np.median(others)) if others.size else 0.0
        near = score[max(0, t - _REACH + 1) : t + _REACH]
        if score[t] >= near.max() and score[t] > max(usual + _ABOVE, _TIMES * usual):
            cuts.add(t)
    return cuts


def _transition(looks: list[_Look]) -> tuple[int, int] | None:
    """Which of five frames are the last before and the first after a steady turn of the first into the last."""
    first, last = looks[0], looks[-1]
    if _difference(first, last) < _GRADUAL or _unlike(first, last) < _OTHER:
        return None
    change = (first.lab - last.lab).ravel()
    energy = float(change @ change)
    shares = []
    for look in looks[1:4]:
        offset = (look.lab - last.lab).ravel()
        share = float(offset @ change) / energy
        rest = offset - share * change
        if float(rest @ rest) > _UNMIXED**2 * energy:
            return None
        shares.append(share)
    if not (0.25 < shares[1] < 0.75 and shares[0] > shares[1] + 0.1 and shares[1] > shares[2] + 0.1):
        return None
    return int(shares[0] > _PURE), 4 - int(shares[2] < 1 - _PURE)
