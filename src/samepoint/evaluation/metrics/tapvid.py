"""TAP-Vid: how queries are taken from annotated tracks, and the official scores (Doersch et al., NeurIPS 2022).

Coordinates are raster pixels of the scoring picture, 256x256 in the official leagues. Variants of the same scores:

- ``tapvid``, the official one: counts pooled over the queries and frames of a video, then the plain mean over videos;
- ``tapvid-track`` (legacy, FGVC): the scores of each query, their mean over the queries of a video (what has nothing to
  score left out), then over videos; every frame but the query's is scored in both modes, also those before it;
- ``tapvid-pooled``: the points of all videos together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samepoint.errors import InputError
from samepoint.evaluation.metrics.sums import Floats, Score, check_name, divide, mean_known

THRESHOLDS = (1, 2, 4, 8, 16)
"""Distances in pixels, strict: an error of exactly 4 px is not within 4."""

SCORED_SIZE = (256, 256)
"""(H, W) of the picture in which the official scores are taken, whatever the tracker's input was."""

QueryMode = Literal["first", "strided"]
Variant = Literal["tapvid", "tapvid-track", "tapvid-pooled"]


def to_raster(points: ArrayLike, size: tuple[int, int] = SCORED_SIZE) -> Floats:
    """The annotation's (..., 2) points, (x, y) in [0, 1], in raster pixels of a picture of ``size`` (H, W).

    >>> to_raster([[0, 0], [1, 1]]).tolist()
    [[0.0, 0.0], [256.0, 256.0]]
    """
    return np.asarray(points, np.float64) * np.array(size[::-1], np.float64)


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


@dataclass(frozen=True, eq=False)
class TapvidCounts:
    """What the N queries of one video contribute; the last axis of the wide arrays is that of ``THRESHOLDS``."""

    variant: Variant
    evaluated: NDArray[np.int64]
    """(N,) frames that are scored."""
    agree: NDArray[np.int64]
    """(N,) of these, predicted visibility equal to the annotated one."""
    visible: NDArray[np.int64]
    """(N,) of these, annotated as visible."""
    within: NDArray[np.int64]
    """(N, 5) visible and closer than each threshold, whatever visibility was predicted."""
    true_positive: NDArray[np.int64]
    """(N, 5) visible, closer than each threshold and predicted visible."""
    false_positive: NDArray[np.int64]
    """(N, 5) predicted visible, but hidden or not closer than each threshold."""

    def metrics(self) -> dict[str, float]:
        """``AJ``, ``delta_avg``, ``OA``, ``delta_1`` ... ``delta_16``, ``J_1`` ... ``J_16`` of the video as fractions.

        A score whose denominator is empty (no visible point, no evaluated frame) is NaN.
        """
        return dict(zip(METRICS, self.scores().tolist(), strict=True))

    def scores(self) -> Floats:
        """(13,) what :meth:`metrics` says, in the order of ``METRICS``."""
        if self.variant == "tapvid-track":
            return mean_known(_scores(*self._parts()))
        return _scores(*self.totals())

    def totals(self) -> tuple[NDArray[np.int64], ...]:
        """The counts summed over the queries, in the order of the fields: three numbers, then three of (5,)."""
        return tuple(part.sum(axis=0) for part in self._parts())

    def _parts(self) -> tuple[NDArray[np.int64], ...]:
        return self.evaluated, self.agree, self.visible, self.within, self.true_positive, self.false_positive


def tapvid_counts(
    query_frame: ArrayLike,
    gt_xy: ArrayLike,
    gt_occluded: ArrayLike,
    pred_xy: ArrayLike,
    pred_occluded: ArrayLike,
    mode: QueryMode = "first",
    variant: Variant = "tapvid",
) -> TapvidCounts:
    """Counts of one video with N queries and T frames.

    Args:
        query_frame: (N,) frame of each query; a fraction is rounded half to even, as the official code does.
        gt_xy: (N, T, 2) annotated positions, pixels of the scoring picture.
        gt_occluded: bool (N, T).
        pred_xy: (N, T, 2) predicted positions; NaN counts as wrong where it is scored.
        pred_occluded: bool (N, T).
        mode: ``first`` scores the frames after the query, ``strided`` all frames but the query's.
        variant: how the scores will be averaged; ``tapvid-track`` scores all frames but the query's in both modes.

    Raises:
        InputError: shapes that do not belong together, a query outside the video, an unknown mode or variant.
    """
    check_name("query mode", mode, get_args(QueryMode))
    check_name("TAP-Vid variant", variant, get_args(Variant))
    truth, visible, guess, shown, start = checked_tracks(query_frame, gt_xy, gt_occluded, pred_xy, pred_occluded)
    evaluated = evaluated_frames(start, visible.shape[1], "strided" if variant == "tapvid-track" else mode)
    distance2 = np.square(guess - truth).sum(axis=-1)
    near = distance2[..., None] < np.square(THRESHOLDS)
    seen, said = evaluated & visible, evaluated & shown
    close = visible[..., None] & near
    return TapvidCounts(
        variant=variant,
        evaluated=evaluated.sum(axis=1),
        agree=(evaluated & (visible == shown)).sum(axis=1),
        visible=seen.sum(axis=1),
        within=(evaluated[..., None] & close).sum(axis=1),
        true_positive=(said[..., None] & close).sum(axis=1),
        false_positive=(said[..., None] & ~close).sum(axis=1),
    )


def tapvid_metrics(
    query_frame: ArrayLike,
    gt_xy: ArrayLike,
    gt_occluded: ArrayLike,
    pred_xy: ArrayLike,
    pred_occluded: ArrayLike,
    mode: QueryMode = "first",
    variant: Variant = "tapvid",
) -> dict[str, float]:
    """The scores of one video as fractions; arguments of :func:`tapvid_counts`.

    >>> scores = tapvid_metrics([0], [[[5, 5], [6, 5]]], [[False, False]], [[[5, 5], [9, 5]]], [[False, False]])
    >>> round(scores["delta_avg"], 3), round(scores["AJ"], 3), scores["OA"]
    (0.6, 0.6, 1.0)
    """
    return tapvid_counts(query_frame, gt_xy, gt_occluded, pred_xy, pred_occluded, mode, variant).metrics()


@dataclass(eq=False)
class TapvidScore(Score):
    """Scores of a set of videos."""

    variant: Variant = "tapvid"

    def update(self, counts: TapvidCounts) -> None:
        """Take in one video.

        Raises:
            InputError: its counts were taken for another variant.
        """
        if counts.variant != self.variant:
            raise InputError(f"counts for {counts.variant!r} do not go into a score of {self.variant!r}")
        self.sums.item("videos", counts.scores())
        for name, total in zip(_COUNTS, counts.totals(), strict=True):
            self.sums.count(name, total)

    def compute(self) -> dict[str, float]:
        """The scores as fractions. A video that has nothing to score is left out of a mean; NaN if all are."""
        if self.variant == "tapvid-pooled":
            wide = np.zeros(len(THRESHOLDS))
            scores = _scores(
                *(self.sums.total(name, default) for name, default in zip(_COUNTS, [0] * 3 + [wide] * 3, strict=True))
            )
        else:
            scores = self.sums.mean("videos", np.full(len(METRICS), np.nan))
        return dict(zip(METRICS, scores.tolist(), strict=True))

    def left_out(self) -> dict[str, int]:
        """How many videos have nothing to score, for each metric."""
        return dict(zip(METRICS, self.sums.left_out("videos", np.zeros(len(METRICS))).tolist(), strict=True))


def evaluated_frames(query_frame: NDArray[np.int64], frames: int, mode: QueryMode) -> NDArray[np.bool_]:
    """bool (N, T): the frames after each query (``first``), or all but the query's own (``strided``).

    >>> evaluated_frames(np.array([1]), 3, "first").tolist(), evaluated_frames(np.array([1]), 3, "strided").tolist()
    ([[False, False, True]], [[True, False, True]])
    """
    time, start = np.arange(frames), np.asarray(query_frame)[:, None]
    return time > start if mode == "first" else time != start


def checked_tracks(
    query_frame: ArrayLike, gt_xy: ArrayLike, gt_occluded: ArrayLike, pred_xy: ArrayLike, pred_occluded: ArrayLike
) -> tuple[Floats, NDArray[np.bool_], Floats, NDArray[np.bool_], NDArray[np.int64]]:
    """Annotated positions and visibility, predicted ones, and the queries' frames as whole numbers.

    Raises:
        InputError: shapes that do not belong together, an annotated position of a visible point that is not finite, a
            query outside the video.
    """
    truth, visible = _annotation(gt_xy, gt_occluded)
    guess, shown = _annotation(pred_xy, pred_occluded)
    if guess.shape != truth.shape:
        raise InputError(f"predicted tracks have shape {guess.shape}, annotated ones {truth.shape}: must be equal")
    if not np.isfinite(truth[visible]).all():
        raise InputError("an annotated point is visible but its position is not a number")
    n, frames = visible.shape
    asked = np.asarray(query_frame, np.float64)
    if asked.shape != (n,):
        raise InputError(f"query frames have shape {asked.shape}, expected ({n},)")
    if not np.isfinite(asked).all():
        raise InputError("a query's frame is not a number")
    start = np.rint(asked).astype(np.int64)
    if n and (start.min() < 0 or start.max() >= frames):
        raise InputError(f"query frames {start.min()} to {start.max()} lie outside the video's 0 to {frames - 1}")
    return truth, visible, guess, shown, start


def _scores(
    evaluated: ArrayLike,
    agree: ArrayLike,
    visible: ArrayLike,
    within: ArrayLike,
    true_positive: ArrayLike,
    false_positive: ArrayLike,
) -> Floats:
    """(..., 13) scores in the order of ``METRICS`` from counts (...,) and (..., 5)."""
    seen = np.asarray(visible, np.float64)[..., None]
    delta = divide(within, seen)
    jaccard = divide(true_positive, seen + np.asarray(false_positive))
    summary = [jaccard.mean(axis=-1), delta.mean(axis=-1), divide(agree, evaluated)]
    return np.concatenate([np.stack(summary, axis=-1), delta, jaccard], axis=-1)


def _annotation(xy: Any, occluded: Any) -> tuple[Floats, NDArray[np.bool_]]:
    points, hidden = np.asarray(xy, np.float64), np.asarray(occluded)
    if points.ndim != 3 or points.shape[-1] != 2 or hidden.shape != points.shape[:2]:
        raise InputError(f"tracks must be (N, T, 2) beside (N, T), got {points.shape} beside {hidden.shape}")
    return points, ~hidden.astype(bool)


METRICS = ("AJ", "delta_avg", "OA", *(f"delta_{d}" for d in THRESHOLDS), *(f"J_{d}" for d in THRESHOLDS))
"""Names of the scores, in the order in which they are computed."""

_COUNTS = ("evaluated", "agree", "visible", "within", "true_positive", "false_positive")
