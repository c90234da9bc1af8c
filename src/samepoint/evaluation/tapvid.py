"""TAP-Vid: how queries are taken from annotated tracks, and the official scores (Doersch et al., NeurIPS 2022).

Coordinates are raster pixels of the scoring picture, 256x256 in the official leagues. The variant is named ``tapvid``:
counts pooled over the queries and frames of a video, then the plain mean over videos.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samepoint.errors import InputError

THRESHOLDS = (1, 2, 4, 8, 16)
"""Distances in pixels, strict: an error of exactly 4 px is not within 4."""

QueryMode = Literal["first", "strided"]


class SampledQueries(NamedTuple):
    """M queries taken from N tracks: ``track`` says which track each query belongs to."""

    frame: NDArray[np.int64]
    """(M,) frame of the query."""
    xy: NDArray[np.float64]
    """(M, 2) position there, as annotated."""
    track: NDArray[np.int64]
    """(M,) row of the annotated track."""


def sample_queries_first(xy: ArrayLike, occluded: ArrayLike) -> SampledQueries:
    """One query a track, in the first frame where it is visible; tracks that are never visible are dropped.

    Args:
        xy: (N, T, 2) annotated positions.
        occluded: bool (N, T), true where hidden.

    Raises:
        InputError: shapes that do not belong together.

    >>> sample_queries_first([[[1, 2], [3, 4]], [[0, 0], [0, 0]]], [[True, False], [True, True]]).xy.tolist()
    [[3.0, 4.0]]
    """
    points, visible = _annotation(xy, occluded)
    track = np.flatnonzero(visible.any(axis=1))
    frame = visible[track].argmax(axis=1) if track.size else np.zeros(0, np.int64)
    return SampledQueries(frame, points[track, frame], track)


def sample_queries_strided(xy: ArrayLike, occluded: ArrayLike, stride: int = 5) -> SampledQueries:
    """In frames 0, ``stride``, 2 ``stride``, ... one query for each track visible there (5 is the official stride).

    Arguments and errors as in :func:`sample_queries_first`.

    >>> sample_queries_strided([[[1, 2]] * 6], [[False] * 6]).frame.tolist()
    [0, 5]
    """
    if stride < 1:
        raise InputError(f"stride must be at least 1, got {stride}")
    points, visible = _annotation(xy, occluded)
    step, track = np.nonzero(visible[:, ::stride].T)
    frame = step * stride
    return SampledQueries(frame, points[track, frame], track)


@dataclass(frozen=True)
class TapvidCounts:
    """What one video contributes; counts of several videos add up to those of the variant ``tapvid-pooled``."""

    evaluated: int
    """Points (query and frame) that are scored."""
    agree: int
    """Of these, predicted visibility equal to the annotated one."""
    visible: int
    """Of these, annotated as visible."""
    within: tuple[int, ...]
    """Visible and closer than each threshold, whatever visibility was predicted."""
    true_positive: tuple[int, ...]
    """Visible, closer than each threshold and predicted visible."""
    false_positive: tuple[int, ...]
    """Predicted visible, but hidden or not closer than each threshold."""

    def __add__(self, other: TapvidCounts) -> TapvidCounts:
        return TapvidCounts(
            self.evaluated + other.evaluated,
            self.agree + other.agree,
            self.visible + other.visible,
            _add(self.within, other.within),
            _add(self.true_positive, other.true_positive),
            _add(self.false_positive, other.false_positive),
        )

    def metrics(self) -> dict[str, float]:
        """``AJ``, ``delta_avg``, ``OA``, ``delta_1`` ... ``delta_16``, ``J_1`` ... ``J_16`` as fractions.

        A score whose denominator is empty (no visible point, no evaluated frame) is NaN.
        """
        delta = [_ratio(hit, self.visible) for hit in self.within]
        jaccard = [
            _ratio(hit, self.visible + wrong)
            for hit, wrong in zip(self.true_positive, self.false_positive, strict=True)
        ]
        scores = {
            "AJ": sum(jaccard) / len(jaccard),
            "delta_avg": sum(delta) / len(delta),
            "OA": _ratio(self.agree, self.evaluated),
        }
        scores |= {f"delta_{d}": value for d, value in zip(THRESHOLDS, delta, strict=True)}
        scores |= {f"J_{d}": value for d, value in zip(THRESHOLDS, jaccard, strict=True)}
        return scores


def tapvid_counts(
    query_frame: ArrayLike,
    gt_xy: ArrayLike,
    gt_occluded: ArrayLike,
    pred_xy: ArrayLike,
    pred_occluded: ArrayLike,
    mode: QueryMode = "first",
) -> TapvidCounts:
    """Counts of one video with N queries and T frames.

    Args:
        query_frame: (N,) frame of each query; a fraction is rounded half to even, as the official code does.
        gt_xy: (N, T, 2) annotated positions, pixels of the scoring picture.
        gt_occluded: bool (N, T).
        pred_xy: (N, T, 2) predicted positions; NaN counts as wrong where it is scored.
        pred_occluded: bool (N, T).
        mode: ``first`` scores the frames after the query, ``strided`` all frames but the query's.

    Raises:
        InputError: shapes that do not belong together, a query outside the video, an unknown mode.
    """
    if mode not in ("first", "strided"):
        raise InputError(f"unknown query mode {mode!r}: expected 'first' or 'strided'")
    truth, visible = _annotation(gt_xy, gt_occluded)
    guess, shown = _annotation(pred_xy, pred_occluded)
    if guess.shape != truth.shape:
        raise InputError(f"predicted tracks have shape {guess.shape}, annotated ones {truth.shape}: must be equal")
    n, frames = visible.shape
    start = np.rint(np.asarray(query_frame, np.float64)).astype(np.int64)
    if start.shape != (n,):
        raise InputError(f"query frames have shape {start.shape}, expected ({n},)")
    if n and (start.min() < 0 or start.max() >= frames):
        raise InputError(f"query frames {start.min()} to {start.max()} lie outside the video's 0 to {frames - 1}")

    time = np.arange(frames)
    evaluated = time > start[:, None] if mode == "first" else time != start[:, None]
    distance2 = np.square(guess - truth).sum(axis=-1)
    seen = evaluated & visible
    said = evaluated & shown
    near = [distance2 < d * d for d in THRESHOLDS]
    return TapvidCounts(
        evaluated=int(evaluated.sum()),
        agree=int((evaluated & (visible == shown)).sum()),
        visible=int(seen.sum()),
        within=tuple(int((seen & close).sum()) for close in near),
        true_positive=tuple(int((seen & close & shown).sum()) for close in near),
        false_positive=tuple(int((said & ~(visible & close)).sum()) for close in near),
    )


def tapvid_metrics(
    query_frame: ArrayLike,
    gt_xy: ArrayLike,
    gt_occluded: ArrayLike,
    pred_xy: ArrayLike,
    pred_occluded: ArrayLike,
    mode: QueryMode = "first",
) -> dict[str, float]:
    """The official scores of one video as fractions; arguments of :func:`tapvid_counts`.

    >>> scores = tapvid_metrics([0], [[[5, 5], [6, 5]]], [[False, False]], [[[5, 5], [9, 5]]], [[False, False]])
    >>> round(scores["delta_avg"], 3), round(scores["AJ"], 3), scores["OA"]
    (0.6, 0.6, 1.0)
    """
    return tapvid_counts(query_frame, gt_xy, gt_occluded, pred_xy, pred_occluded, mode).metrics()


@dataclass
class TapvidScore:
    """Scores of a set of videos. Its state is the list of the videos' counts: processes join theirs with ``merge``."""

    videos: dict[str, TapvidCounts] = field(default_factory=dict)

    def add(self, name: str, counts: TapvidCounts) -> None:
        """Take in one video; a name may come once (InputError)."""
        if name in self.videos:
            raise InputError(f"video {name!r} is already scored")
        self.videos[name] = counts

    def merge(self, other: TapvidScore) -> None:
        """Take in the videos that another process scored."""
        for name, counts in other.videos.items():
            self.add(name, counts)

    def compute(self) -> dict[str, float]:
        """Variant ``tapvid``: mean over videos, as fractions. A video whose score is NaN is left out."""
        rows = [counts.metrics() for counts in self.videos.values()]
        return {key: _mean(row[key] for row in rows) for key in _KEYS}

    def left_out(self) -> dict[str, int]:
        """How many videos each mean leaves out because they hold nothing to score."""
        rows = [counts.metrics() for counts in self.videos.values()]
        return {key: sum(math.isnan(row[key]) for row in rows) for key in _KEYS}

    def pooled(self) -> dict[str, float]:
        """Variant ``tapvid-pooled``: all points of all videos together, as fractions."""
        return sum(self.videos.values(), _NOTHING).metrics()


def _annotation(xy: Any, occluded: Any) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    points, hidden = np.asarray(xy, np.float64), np.asarray(occluded)
    if points.ndim != 3 or points.shape[-1] != 2 or hidden.shape != points.shape[:2]:
        raise InputError(f"tracks must be (N, T, 2) beside (N, T), got {points.shape} beside {hidden.shape}")
    return points, ~hidden.astype(bool)


def _add(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(first, second, strict=True))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


_ZEROS = (0,) * len(THRESHOLDS)
_NOTHING = TapvidCounts(0, 0, 0, _ZEROS, _ZEROS, _ZEROS)
_KEYS = tuple(_NOTHING.metrics())
