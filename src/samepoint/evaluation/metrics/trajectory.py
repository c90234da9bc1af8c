"""Survival and median trajectory error of point tracks (Zheng et al., PointOdyssey and PIPs++, ICCV 2023).

**survival**: how long a track lasts, as a share of its frames. A track fails in the first frame in which the point is
visible and the error is above 50 px in a picture of 256x256; that frame and all that follow are lost, whatever happens
in them. The paper averages the number of frames until failure over the video's length.

**MTE**: for each track the median of its errors over the frames in which the point is visible, in px at 256x256 (of an
even number the mean of the middle two), then the mean over tracks. A track without a prediction in most of these frames
has no finite one: it is left out of the mean, and counted.

Ours differ from the paper's runs in what the other TAP-Vid scores ask for: the query's own frame, which is given, does
not count, hidden frames are not judged (TAP-Vid annotates no reliable position there), and queries may start in any
frame. In the mode ``strided`` a track may fail on each side of its query, and lasts from the query outwards. Both are
averaged over the queries of a video, then over videos; what has no frame to score is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike

from samepoint.evaluation.metrics.sums import Floats, Score, check_name, divide, mean_known
from samepoint.evaluation.metrics.tapvid import QueryMode, checked_tracks, evaluated_frames

FAILURE = 50.0
"""Pixels at 256x256; a track fails where its error is above."""

METRICS = ("survival", "MTE")


@dataclass(frozen=True, eq=False)
class TrajectoryErrors:
    """What the N queries of one video contribute."""

    survival: Floats
    """(N,) share of its evaluated frames that each query lasts; NaN without one."""
    median_error: Floats
    """(N,) pixels; NaN without a visible evaluated frame, infinite where most predictions lack."""

    @property
    def lost(self) -> int:
        """Queries whose median error is infinite, which ``MTE`` leaves out."""
        return int(np.isinf(self.median_error).sum())

    def metrics(self) -> dict[str, float]:
        """``survival``, a fraction, and ``MTE``, in pixels: means over the queries, NaN where there is none."""
        finite = np.where(np.isinf(self.median_error), np.nan, self.median_error)
        means = mean_known([self.survival, finite], axis=1)
        return dict(zip(METRICS, means.tolist(), strict=True))


def trajectory_errors(
    query_frame: ArrayLike,
    gt_xy: ArrayLike,
    gt_occluded: ArrayLike,
    pred_xy: ArrayLike,
    mode: QueryMode = "first",
) -> TrajectoryErrors:
    """Survival and median error of the N queries of one video of T frames.

    Args:
        query_frame: (N,) frame of each query.
        gt_xy: (N, T, 2) annotated positions, pixels of a picture of 256x256.
        gt_occluded: bool (N, T).
        pred_xy: (N, T, 2) predicted positions in the same pixels; no prediction (NaN) is infinitely far off.
        mode: ``first`` looks at the frames after the query, ``strided`` at all but the query's.

    Raises:
        InputError: shapes that do not belong together, a query outside the video, an unknown mode.

    >>> truth, hidden = [[[0, 0]] * 4], [[False] * 4]
    >>> trajectory_errors([0], truth, hidden, [[[0, 0], [3, 0], [51, 0], [0, 0]]]).metrics()
    {'survival': 0.3333333333333333, 'MTE': 3.0}
    """
    check_name("query mode", mode, get_args(QueryMode))
    truth, visible, guess, _, start = checked_tracks(query_frame, gt_xy, gt_occluded, pred_xy, gt_occluded)
    evaluated = evaluated_frames(start, visible.shape[1], mode)
    error = np.linalg.norm(guess - truth, axis=-1)
    error[np.isnan(error)] = np.inf

    judged = evaluated & visible
    fine = ~(judged & (error > FAILURE))
    lasts = np.zeros_like(evaluated)
    for row, (frame, good) in enumerate(zip(start, fine, strict=True)):
        lasts[row, frame:] = np.logical_and.accumulate(good[frame:])
        lasts[row, : frame + 1] = np.logical_and.accumulate(good[frame::-1])[::-1]
    median = [np.median(row[use]) if use.any() else np.nan for row, use in zip(error, judged, strict=True)]
    return TrajectoryErrors(
        survival=divide((lasts & evaluated).sum(axis=1), evaluated.sum(axis=1)),
        median_error=np.array(median, np.float64),
    )


@dataclass(eq=False)
class TrajectoryScore(Score):
    """Survival and MTE of a set of videos."""

    def update(self, errors: TrajectoryErrors) -> None:
        """Take in one video."""
        self.sums.item("videos", list(errors.metrics().values()))
        self.sums.count("lost", errors.lost)

    def compute(self) -> dict[str, float]:
        """``survival`` and ``MTE``, means over videos; one that has nothing to score is left out."""
        return dict(zip(METRICS, self.sums.mean("videos", [np.nan] * 2).tolist(), strict=True))

    def left_out(self) -> dict[str, int]:
        """How many videos have nothing to score, for each metric."""
        return dict(zip(METRICS, self.sums.left_out("videos", [0, 0]).tolist(), strict=True))

    def lost(self) -> int:
        """How many queries MTE leaves out, see :class:`TrajectoryErrors`."""
        return int(self.sums.total("lost"))
