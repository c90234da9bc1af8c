"""J, F and J&F of masks (Perazzi et al., CVPR 2016; Pont-Tuset et al., 2017; benchmarks.md, section 5.2).

J is the overlap of two masks, F the agreement of their outlines within a tolerance of 0.8 % of the picture's diagonal,
J&F the mean of both. Protocols:

- ``davis2017``: objects 1 ... K, K the largest label of the annotation's first frame; void (255) is background there;
  first and last frame dropped; means over all objects of all sequences, not over sequences;
- ``davis2016``: one object, whatever is not 0 (255 included); first and last frame dropped;
- ``masks`` (ours, for JHMDB's development clips): one object as in ``davis2016``; only the first frame dropped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from samepoint.errors import InputError
from samepoint.evaluation.metrics.sums import Floats, Score, check_name, mean_known

Protocol = Literal["davis2017", "davis2016", "masks"]

VOID = 255
TOLERANCE = 0.008
"""How far apart outlines may lie, as a share of the picture's diagonal."""
RECALL_LIMIT = 0.5
BINS = 4

METRICS = ("J_mean", "J_recall", "J_decay", "F_mean", "F_recall", "F_decay")


def region_similarity(prediction: ArrayLike, truth: ArrayLike) -> float:
    """J: intersection over union of two masks (H, W), true where not 0; 1 where both are empty.

    >>> region_similarity([[1, 1, 0]], [[0, 1, 1]])
    0.3333333333333333
    """
    guess, real = _pair(prediction, truth)
    union = int(np.count_nonzero(guess | real))
    return int(np.count_nonzero(guess & real)) / union if union else 1.0


def outline(mask: ArrayLike) -> NDArray[np.bool_]:
    """bool (H, W): pixels that differ from their right, lower or lower right neighbour; there is none beyond the edge.

    >>> outline([[0, 0, 0], [0, 1, 0], [0, 0, 0]]).astype(int).tolist()
    [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    """
    inside = np.asarray(mask, bool)
    edge = np.zeros_like(inside)
    edge[:, :-1] = inside[:, :-1] != inside[:, 1:]
    edge[:-1] |= inside[:-1] != inside[1:]
    edge[:-1, :-1] |= inside[:-1, :-1] != inside[1:, 1:]
    return edge


def tolerance(size: tuple[int, int]) -> int:
    """Pixels by which outlines may differ in a picture of ``size`` (H, W).

    >>> tolerance((480, 854))
    8
    """
    return math.ceil(TOLERANCE * math.hypot(*size))


def boundary_similarity(prediction: ArrayLike, truth: ArrayLike) -> float:
    """F of two masks (H, W): harmonic mean of the shares of either outline that lie near the other one.

    An outline that is absent on one side only gives 0, on both sides 1.

    >>> boundary_similarity([[0, 1, 1, 1]], [[0, 0, 1, 1]])
    1.0
    """
    guess, real = (outline(mask) for mask in _pair(prediction, truth))
    here, there = int(np.count_nonzero(guess)), int(np.count_nonzero(real))
    if not here or not there:
        return float(here == there)
    radius = tolerance(guess.shape)
    window = _around(guess | real)
    guess, real = guess[window], real[window]
    precision = int(np.count_nonzero(guess & _grown(real, radius))) / here
    recall = int(np.count_nonzero(real & _grown(guess, radius))) / there
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def recall(values: ArrayLike) -> float:
    """Share of frames whose score is above 0.5; NaN without a frame."""
    scores = np.asarray(values, np.float64)
    return float((scores > RECALL_LIMIT).mean()) if scores.size else math.nan


def decay(values: ArrayLike) -> float:
    """How much is lost: the mean of the first quarter of the frames less that of the last one; NaN without a frame.

    Quarters are cut at ``round(linspace(1, n, 5) + 1e-10) - 1`` and share the frames at which they are cut.

    >>> decay([1, 1, 1, 1, 0, 0, 0, 0])
    1.0
    """
    scores = np.asarray(values, np.float64)
    if not scores.size:
        return math.nan
    edges = (np.round(np.linspace(1, scores.size, BINS + 1) + 1e-10) - 1).astype(np.int64)
    return float(scores[edges[0] : edges[1] + 1].mean() - scores[edges[-2] : edges[-1] + 1].mean())


@dataclass(frozen=True, eq=False)
class SequenceScores:
    """J and F of the K objects of one sequence in its n scored frames."""

    J: Floats
    """(K, n)."""
    F: Floats
    """(K, n)."""

    def objects(self) -> Floats:
        """(K, 6) ``METRICS`` of each object; NaN without a scored frame."""
        rows = [
            [value for scores in pair for value in (mean_known(scores), recall(scores), decay(scores))]
            for pair in zip(self.J, self.F, strict=True)
        ]
        return np.array(rows, np.float64).reshape(-1, len(METRICS))

    def metrics(self) -> dict[str, float]:
        """``J&F`` and ``METRICS``, means over the objects, NaN where there is nothing to score."""
        return _named(mean_known(self.objects()))


def sequence_scores(prediction: ArrayLike, truth: ArrayLike, protocol: Protocol = "davis2017") -> SequenceScores:
    """Score the masks of one sequence of T frames.

    Args:
        prediction: labels (T, H, W), whole numbers or bool. An object that is nowhere is an empty mask.
        truth: annotated labels (T, H, W).
        protocol: see the head of this module.

    Raises:
        InputError: shapes that differ, labels that are no whole numbers, a predicted label above K (``davis2017``), an
            unknown protocol.
    """
    check_name("mask protocol", protocol, get_args(Protocol))
    guess, real = np.asarray(prediction), np.asarray(truth)
    if guess.shape != real.shape or real.ndim != 3:
        raise InputError(f"masks must be (T, H, W) twice, got {guess.shape} predicted and {real.shape} annotated")
    for what, labels in (("predicted", guess), ("annotated", real)):
        if labels.dtype.kind not in "bui":
            raise InputError(f"{what} masks must hold whole numbers, got {labels.dtype}")
    if protocol == "davis2017":
        real = np.where(real == VOID, 0, real)
        count = int(real[0].max(initial=0)) if len(real) else 0
        _check_labels(guess, count)
    else:
        guess, real, count = guess != 0, real != 0, 1
    frames = range(1, len(real) if protocol == "masks" else len(real) - 1)
    scores = np.array(
        [
            [[score(guess[t] == k, real[t] == k) for t in frames] for k in range(1, count + 1)]
            for score in (region_similarity, boundary_similarity)
        ],
        np.float64,
    ).reshape(2, count, len(frames))
    return SequenceScores(J=scores[0], F=scores[1])


@dataclass(eq=False)
class DavisScore(Score):
    """J, F and J&F of a set of sequences: means over all objects, which are sequences where there is one in each."""

    def update(self, scores: SequenceScores) -> None:
        """Take in one sequence."""
        objects = scores.objects()
        for row in objects:
            self.sums.item("objects", row)
        self.sums.count("without objects", not len(objects))

    def compute(self) -> dict[str, float]:
        """``J&F`` and ``METRICS`` as fractions; objects without a scored frame are left out, NaN if all are."""
        return _named(self.sums.mean("objects", np.full(len(METRICS), np.nan)))

    def left_out(self) -> int:
        """How many objects have no scored frame (sequences of one or two)."""
        return int(self.sums.left_out("objects", [0])[0])

    def without_objects(self) -> int:
        """How many sequences have no object in their first frame."""
        return int(self.sums.total("without objects"))


def _named(values: Floats) -> dict[str, float]:
    scores = dict(zip(METRICS, values.tolist(), strict=True))
    return {"J&F": (scores["J_mean"] + scores["F_mean"]) / 2, **scores}


def _pair(prediction: ArrayLike, truth: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    guess, real = np.asarray(prediction, bool), np.asarray(truth, bool)
    if guess.shape != real.shape or real.ndim != 2:
        raise InputError(f"masks must be (H, W) twice, got {guess.shape} predicted and {real.shape} annotated")
    return guess, real


def _check_labels(guess: NDArray[Any], count: int) -> None:
    for frame, labels in enumerate(guess):
        for label in (int(labels.min(initial=0)), int(labels.max(initial=0))):
            if not 0 <= label <= count:
                raise InputError(f"frame {frame} of the prediction holds label {label}, expected 0 to {count}")


def _around(marks: NDArray[np.bool_]) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(marks.any(axis=1)), np.flatnonzero(marks.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _grown(marks: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Pixels at most ``radius`` away from a mark: dilation with the disk dx^2 + dy^2 <= radius^2."""
    offset = np.arange(-radius, radius + 1)
    disk = (offset[:, None] ** 2 + offset**2 <= radius**2).astype(np.uint8)
    return cv2.dilate(marks.astype(np.uint8), disk).astype(bool)
