"""Percentage of correct keypoints (PCK) on videos: BADJA's animal joints and JHMDB's human joints.

A joint is correct where its error is below a share ``alpha`` of a length that belongs to the frame: the root of the
animal's mask area (BADJA, strict) or 0.6 of the diagonal of the box around the annotated joints (JHMDB, not strict).
The first frame is never scored: there the joints are given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samepoint.errors import InputError

BadjaProtocol = Literal["badja-pips", "badja-visible"]
JhmdbProtocol = Literal["jhmdb-dev", "jhmdb-dev-inside"]


@dataclass(frozen=True)
class PckCounts:
    """What one video contributes."""

    alphas: tuple[float, ...]
    correct: NDArray[np.int64]
    """(A, J) correct points for each alpha and joint."""
    total: NDArray[np.int64]
    """(J,) scored points of each joint."""
    unscaled: int = 0
    """Points left out because their frame has no length to compare with (an empty mask, one single joint)."""

    def fractions(self) -> dict[float, float]:
        """alpha -> share of correct points over all joints and frames of the video, NaN where nothing was scored."""
        whole = int(self.total.sum())
        return {
            alpha: int(hits.sum()) / whole if whole else math.nan
            for alpha, hits in zip(self.alphas, self.correct, strict=True)
        }


def pck_counts(
    pred_xy: ArrayLike,
    gt_xy: ArrayLike,
    counted: ArrayLike,
    scale: ArrayLike,
    alphas: tuple[float, ...],
    *,
    strict: bool,
) -> PckCounts:
    """Count the correct joints of one video.

    Args:
        pred_xy: (J, T, 2) predicted positions in pixels; NaN (no prediction) is wrong.
        gt_xy: (J, T, 2) annotated positions in the same pixels.
        counted: bool (J, T), the points to score.
        scale: (T,) length of each frame in pixels; where it is not above 0, the points are left out and counted.
        alphas: shares of that length.
        strict: whether an error must be below the limit (``lt``) or may equal it (``le``).

    Raises:
        InputError: shapes that do not belong together.

    >>> pck_counts([[[0, 0], [3, 0]]], [[[0, 0], [0, 0]]], [[False, True]], [30, 30], (0.1,), strict=False).fractions()
    {0.1: 1.0}
    """
    guess, truth = np.asarray(pred_xy, np.float64), np.asarray(gt_xy, np.float64)
    use, length = np.asarray(counted, bool), np.asarray(scale, np.float64)
    if truth.ndim != 3 or truth.shape[-1] != 2 or guess.shape != truth.shape:
        raise InputError(f"joints must be (J, T, 2) twice, got {guess.shape} predicted and {truth.shape} annotated")
    if use.shape != truth.shape[:2] or length.shape != truth.shape[1:2]:
        raise InputError(
            f"joints of shape {truth.shape} need counted {truth.shape[:2]} and scale {truth.shape[1:2]}, "
            f"got {use.shape} and {length.shape}"
        )
    measured = use & (length > 0)
    error = np.linalg.norm(guess - truth, axis=-1)
    limits = np.asarray(alphas, np.float64)[:, None, None] * length
    near = error < limits if strict else error <= limits
    return PckCounts(
        alphas=tuple(alphas),
        correct=(near & measured).sum(axis=-1),
        total=measured.sum(axis=-1),
        unscaled=int((use & ~measured).sum()),
    )


def badja_counts(
    pred_xy: ArrayLike,
    gt_xy: ArrayLike,
    visible: ArrayLike,
    mask_area: ArrayLike,
    protocol: BadjaProtocol = "badja-pips",
    alphas: tuple[float, ...] = (0.2,),
) -> PckCounts:
    """Count BADJA's joints over the annotated frames of one sequence (benchmarks.md, section 4.2).

    Args:
        pred_xy: (J, A, 2) predicted positions in the A annotated frames, the first of which holds the queries.
        gt_xy: (J, A, 2) annotated positions, in the same pixels as the masks (officially of 320x512 pictures).
        visible: bool (J, A) as annotated.
        mask_area: (A,) mask pixels above 0 in each frame; an error must be below ``alpha`` times the root of it.
        protocol: ``badja-visible`` scores only the joints that are visible in the first annotated frame.
        alphas: shares of the root of the mask area; 0.2 is the published one.

    Raises:
        InputError: shapes that do not belong together, an unknown protocol.
    """
    if protocol not in ("badja-pips", "badja-visible"):
        raise InputError(f"unknown BADJA protocol {protocol!r}: expected 'badja-pips' or 'badja-visible'")
    counted = np.array(visible, bool)
    if protocol == "badja-visible":
        counted &= counted[:, :1]
    counted[:, :1] = False
    return pck_counts(pred_xy, gt_xy, counted, np.sqrt(np.asarray(mask_area, np.float64)), alphas, strict=True)


def joint_box_scale(xy: ArrayLike) -> NDArray[np.float64]:
    """JHMDB's length of each frame, 0.6 sqrt(w^2 + h^2) of the box around the joints; (J, T, 2) -> (T,), in pixels.

    >>> joint_box_scale([[[0, 0]], [[30, 40]]]).tolist()
    [30.0]
    """
    joints = np.asarray(xy, np.float64)
    if joints.ndim != 3 or joints.shape[-1] != 2 or not len(joints):
        raise InputError(f"joints must be (J, T, 2) with at least one joint, got {joints.shape}")
    extent = joints.max(axis=0) - joints.min(axis=0)
    return 0.6 * np.hypot(extent[:, 0], extent[:, 1])


def jhmdb_counts(
    pred_xy: ArrayLike,
    gt_xy: ArrayLike,
    size: tuple[int, int],
    protocol: JhmdbProtocol = "jhmdb-dev",
    alphas: tuple[float, ...] = (0.1, 0.2),
) -> PckCounts:
    """Count a JHMDB clip's joints by the development protocols, which are not the published ones.

    Args:
        pred_xy: (J, T, 2) predicted positions, pixels.
        gt_xy: (J, T, 2) annotated positions, which may lie outside the picture.
        size: (H, W) of the picture.
        protocol: ``jhmdb-dev`` scores every joint; ``jhmdb-dev-inside`` those whose annotated position lies inside.
        alphas: shares of :func:`joint_box_scale`, of all joints.

    Raises:
        InputError: shapes that do not belong together, an unknown protocol.
    """
    if protocol not in ("jhmdb-dev", "jhmdb-dev-inside"):
        raise InputError(f"unknown JHMDB protocol {protocol!r}: expected 'jhmdb-dev' or 'jhmdb-dev-inside'")
    truth = np.asarray(gt_xy, np.float64)
    scale = joint_box_scale(truth)
    counted = np.ones(truth.shape[:2], bool)
    if protocol == "jhmdb-dev-inside":
        counted &= ((truth >= 0) & (truth <= size[::-1])).all(axis=-1)
    counted[:, :1] = False
    return pck_counts(pred_xy, truth, counted, scale, alphas, strict=False)


@dataclass
class PckScore:
    """PCK of a set of videos. Its state is the list of the videos' counts: processes join theirs with ``merge``."""

    videos: dict[str, PckCounts] = field(default_factory=dict)

    def add(self, name: str, counts: PckCounts) -> None:
        """Take in one video; a name may come once, and all videos have the same alphas (InputError)."""
        if name in self.videos:
            raise InputError(f"video {name!r} is already scored")
        for known in self.videos.values():
            if known.alphas != counts.alphas:
                raise InputError(f"video {name!r} was scored at {counts.alphas}, the others at {known.alphas}")
        self.videos[name] = counts

    def merge(self, other: PckScore) -> None:
        """Take in the videos that another process scored."""
        for name, counts in other.videos.items():
            self.add(name, counts)

    def compute(self) -> dict[float, float]:
        """alpha -> plain mean of the videos' fractions; a video without a scored point is left out."""
        rows = [counts.fractions() for counts in self.videos.values() if counts.total.sum()]
        alphas = next(iter(self.videos.values())).alphas if self.videos else ()
        return {alpha: math.fsum(row[alpha] for row in rows) / len(rows) if rows else math.nan for alpha in alphas}

    def left_out(self) -> int:
        """How many videos the mean leaves out because nothing in them is scored."""
        return sum(not counts.total.sum() for counts in self.videos.values())
