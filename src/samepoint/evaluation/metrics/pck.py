"""Percentage of correct keypoints (PCK) on videos: BADJA's animal joints and JHMDB's human joints.

A joint is correct where its error is below a share ``alpha`` of a length that belongs to the frame: the root of the
animal's mask area (BADJA, strict) or 0.6 of the diagonal of the box around the annotated joints (JHMDB, not strict).
Protocols have names, which decide what is scored and how it is averaged (benchmarks.md, sections 3.2 and 4.2):

| protocol | frame 0 | scored joints | average |
|---|---|---|---|
| ``badja-pips`` | no | visible | each video's fraction, then mean |
| ``badja-visible`` | no | visible, there and in the first annotated frame | as above |
| ``badja-3px`` | no | visible; the limit is 3 px instead | as above |
| ``badja-fgvc`` | counted | visible; annotation truncated to whole pixels | all points pooled |
| ``jhmdb-strict`` | no | annotated inside the picture, there and in frame 0 | each joint's fraction, then mean |
| ``jhmdb-vfs`` | counted | predicted x > 0 | as above |
| ``jhmdb-crw`` | no | predicted x >= 0 | as above |
| ``jhmdb-tapnet`` | counted | annotated inside the picture in frame 0 | as above |
| ``jhmdb-dev`` | no | all | each video's fraction, then mean |
| ``jhmdb-dev-inside`` | no | annotated inside the picture | as above |

In frame 0 the joints are given: ``badja-fgvc``, ``jhmdb-vfs`` and ``jhmdb-tapnet`` count it as their authors did, and
are therefore legacy; nothing else is told by their figures. ``jhmdb-dev...`` are ours for the development clips.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samepoint.errors import InputError
from samepoint.evaluation.metrics.sums import Floats, Score, check_name, divide, mean_known

BadjaProtocol = Literal["badja-pips", "badja-visible", "badja-3px", "badja-fgvc"]
JhmdbProtocol = Literal["jhmdb-strict", "jhmdb-vfs", "jhmdb-crw", "jhmdb-tapnet", "jhmdb-dev", "jhmdb-dev-inside"]
Average = Literal["video", "joint", "point"]

FIRST_FRAME_COUNTS = ("badja-fgvc", "jhmdb-vfs", "jhmdb-tapnet")
"""Legacy protocols that score frame 0, where the joints are given."""

BADJA_ALPHAS = (0.2,)
BADJA_PIXELS = (3.0,)
JHMDB_ALPHAS = (0.1, 0.2, 0.3, 0.4, 0.5)

AVERAGES: dict[str, Average] = {
    **dict.fromkeys(get_args(BadjaProtocol), "video"),
    **dict.fromkeys(get_args(JhmdbProtocol), "joint"),
    "badja-fgvc": "point",
    "jhmdb-dev": "video",
    "jhmdb-dev-inside": "video",
}
"""Over what each protocol takes the plain mean of fractions; ``point`` pools everything into one fraction."""


@dataclass(frozen=True)
class PckCounts:
    """What one video contributes."""

    alphas: tuple[float, ...]
    """Shares of the frame's length; limits in pixels for ``badja-3px``."""
    correct: NDArray[np.int64]
    """(A, J) correct points for each alpha and joint."""
    total: NDArray[np.int64]
    """(J,) scored points of each joint."""
    unscaled: int = 0
    """Points left out because their frame has no length to compare with (an empty mask, one single joint)."""

    def fractions(self) -> dict[float, float]:
        """alpha -> share of correct points over all joints and frames of the video, NaN where nothing was scored."""
        return dict(zip(self.alphas, divide(self.correct.sum(axis=1), self.total.sum()).tolist(), strict=True))


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
        InputError: shapes that do not belong together, an annotated position to score that is not finite.

    >>> pck_counts([[[0, 0], [3, 0]]], [[[0, 0], [0, 0]]], [[False, True]], [30, 30], (0.1,), strict=False).fractions()
    {0.1: 1.0}
    """
    guess, truth = _joints(pred_xy, gt_xy)
    use, length = np.asarray(counted, bool), np.asarray(scale, np.float64)
    if use.shape != truth.shape[:2] or length.shape != truth.shape[1:2]:
        raise InputError(
            f"joints of shape {truth.shape} need counted {truth.shape[:2]} and scale {truth.shape[1:2]}, "
            f"got {use.shape} and {length.shape}"
        )
    if not np.isfinite(truth[use]).all():
        raise InputError("an annotated joint is to be scored but its position is not a number")
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
    alphas: tuple[float, ...] | None = None,
) -> PckCounts:
    """Count BADJA's joints over the annotated frames of one sequence.

    Args:
        pred_xy: (J, A, 2) predicted positions in the A annotated frames, the first of which holds the queries.
        gt_xy: (J, A, 2) annotated positions, in the same pixels as the masks (officially of 320x512 pictures).
        visible: bool (J, A) as annotated.
        mask_area: (A,) mask pixels above 0 in each frame; an error must be below ``alpha`` times the root of it.
            ``badja-3px`` needs it for nothing but the number of frames.
        protocol: see the head of this module.
        alphas: shares of the root of the mask area, 0.2 (the published one) when None; for ``badja-3px`` limits in
            pixels, 3 when None, which no publication describes exactly: ours is strict, over what ``badja-pips``
            scores.

    Raises:
        InputError: shapes that do not belong together, an unknown protocol.
    """
    check_name("BADJA protocol", protocol, get_args(BadjaProtocol))
    truth = np.asarray(gt_xy, np.float64)
    counted, scale = np.array(visible, bool), np.sqrt(np.asarray(mask_area, np.float64))
    if protocol == "badja-fgvc":
        # Whole numbers of full resolution times 4/15 and 8/27: rounding must not turn an exact 8 into 7.
        truth = np.trunc(truth + np.copysign(1e-3, truth))
    if protocol == "badja-visible":
        counted &= counted[:, :1]
    if protocol not in FIRST_FRAME_COUNTS:
        counted[:, :1] = False
    if protocol == "badja-3px":
        return pck_counts(pred_xy, truth, counted, np.ones_like(scale), alphas or BADJA_PIXELS, strict=True)
    return pck_counts(pred_xy, truth, counted, scale, alphas or BADJA_ALPHAS, strict=True)


def joint_box_scale(xy: ArrayLike, within: ArrayLike | None = None) -> Floats:
    """JHMDB's length of each frame, 0.6 sqrt(w^2 + h^2) of the box around the joints; (J, T, 2) -> (T,), in pixels.

    Args:
        xy: (J, T, 2) annotated positions.
        within: bool (J, T), the joints that the box holds; all when None. A frame without any has length 0.

    Raises:
        InputError: shapes that do not belong together, no joint at all.

    >>> joint_box_scale([[[0, 0]], [[30, 40]]]).tolist()
    [30.0]
    """
    joints = np.asarray(xy, np.float64)
    if joints.ndim != 3 or joints.shape[-1] != 2 or not len(joints):
        raise InputError(f"joints must be (J, T, 2) with at least one joint, got {joints.shape}")
    use = np.ones(joints.shape[:2], bool) if within is None else np.asarray(within, bool)
    if use.shape != joints.shape[:2]:
        raise InputError(f"joints of shape {joints.shape} need within {joints.shape[:2]}, got {use.shape}")
    high = np.where(use[..., None], joints, -np.inf).max(axis=0)
    low = np.where(use[..., None], joints, np.inf).min(axis=0)
    return np.where(use.any(axis=0), 0.6 * np.hypot(high[:, 0] - low[:, 0], high[:, 1] - low[:, 1]), 0.0)


def jhmdb_counts(
    pred_xy: ArrayLike,
    gt_xy: ArrayLike,
    size: tuple[int, int],
    protocol: JhmdbProtocol = "jhmdb-strict",
    alphas: tuple[float, ...] = JHMDB_ALPHAS,
) -> PckCounts:
    """Count a JHMDB clip's joints; an error may equal the limit.

    The published protocols think in whole-numbered pixel centres, raster pixels less 0.5 (``jhmdb-tapnet`` in MATLAB's,
    raster pixels plus 0.5); this function converts. A missing prediction (NaN) is wrong, except that ``jhmdb-vfs`` and
    ``jhmdb-crw`` do not count it.

    Args:
        pred_xy: (J, T, 2) predicted positions, raster pixels of the clip.
        gt_xy: (J, T, 2) annotated positions, which may lie outside the picture.
        size: (H, W) of the picture.
        protocol: see the head of this module. The box for the length holds the scored joints (published protocols),
            those annotated inside the picture (``jhmdb-strict``), or all (``jhmdb-dev...``).
        alphas: shares of :func:`joint_box_scale`.

    Raises:
        InputError: shapes that do not belong together, an unknown protocol.
    """
    check_name("JHMDB protocol", protocol, get_args(JhmdbProtocol))
    guess, truth = _joints(pred_xy, gt_xy)
    inside = np.asarray(((truth >= 0) & (truth <= size[::-1])).all(axis=-1), bool)
    everything = np.ones(truth.shape[:2], bool)
    x = guess[..., 0] - 0.5
    if protocol == "jhmdb-vfs":
        counted = boxed = everything & (x > 0)
    elif protocol == "jhmdb-crw":
        counted = boxed = everything & (x >= 0)
    elif protocol == "jhmdb-tapnet":
        start = truth[:, :1] + 0.5
        counted = boxed = everything & ((start >= 0) & (start < size[::-1])).all(axis=-1)
    elif protocol == "jhmdb-strict":
        counted, boxed = inside & inside[:, :1], inside
    else:
        counted, boxed = inside if protocol == "jhmdb-dev-inside" else everything, everything
    scale = joint_box_scale(truth, boxed)
    counted = counted.copy()
    if protocol not in FIRST_FRAME_COUNTS:
        counted[:, :1] = False
    return pck_counts(guess, truth, counted, scale, alphas, strict=False)


@dataclass(eq=False)
class PckScore(Score):
    """PCK of a set of videos, averaged as the protocol says (``AVERAGES``)."""

    protocol: BadjaProtocol | JhmdbProtocol
    alphas: tuple[float, ...] | None = None
    """Those that the counts must have; when None, the protocol's own."""

    def __post_init__(self) -> None:
        check_name("PCK protocol", self.protocol, tuple(AVERAGES))
        if self.alphas is None:
            own = BADJA_ALPHAS if self.protocol.startswith("badja") else JHMDB_ALPHAS
            self.alphas = BADJA_PIXELS if self.protocol == "badja-3px" else own

    def update(self, counts: PckCounts) -> None:
        """Take in one video.

        Raises:
            InputError: it was counted at other alphas or, where joints are averaged, has another number of joints.
        """
        if counts.alphas != self.alphas:
            raise InputError(f"a video counted at {counts.alphas} cannot go into a score at {self.alphas}")
        average = AVERAGES[self.protocol]
        if average == "video":
            self.sums.item("videos", list(counts.fractions().values()))
        else:
            joint = average == "joint"
            correct = counts.correct if joint else counts.correct.sum(axis=1, keepdims=True)
            total = counts.total if joint else counts.total.sum(keepdims=True)
            self.sums.add({"correct": correct, "total": total})
        self.sums.count("unscaled", counts.unscaled)

    def compute(self) -> dict[float, float]:
        """alpha -> fraction; what has no scored point is left out of the mean, NaN if everything has none."""
        alphas = self.alphas or ()
        nothing = np.full(len(alphas), math.nan)
        if AVERAGES[self.protocol] == "video":
            means = self.sums.mean("videos", nothing)
        else:
            means = mean_known(
                divide(self.sums.total("correct", nothing[:, None]), self.sums.total("total", [0])), axis=1
            )
        return dict(zip(alphas, means.tolist(), strict=True))

    def left_out(self) -> int:
        """How many videos (joints, where these are averaged) the mean leaves out because nothing in them is scored."""
        if AVERAGES[self.protocol] == "video":
            return int(self.sums.left_out("videos", [0])[0])
        return int((self.sums.total("total", []) == 0).sum())

    def unscaled(self) -> int:
        """How many points were left out because their frame has no length to compare with."""
        return int(self.sums.total("unscaled"))


def _joints(pred_xy: ArrayLike, gt_xy: ArrayLike) -> tuple[Floats, Floats]:
    guess, truth = np.asarray(pred_xy, np.float64), np.asarray(gt_xy, np.float64)
    if truth.ndim != 3 or truth.shape[-1] != 2 or guess.shape != truth.shape:
        raise InputError(f"joints must be (J, T, 2) twice, got {guess.shape} predicted and {truth.shape} annotated")
    return guess, truth
