"""PCK of matched pictures: SPair-71k, SPair-U, PF-PASCAL, PF-WILLOW (benchmarks.md, sections 6.2 to 8).

A point is correct where ||predicted - annotated|| <= alpha * tau. Published figures differ in all of the following, so
that each is an option and a protocol names them together:

- ``tau``: ``img``, the picture's longer side; ``bbox``, the longer side of the object's box; ``kpbox``, the longer side
  of the box around the annotated keypoints; ``kpbox-padded`` (legacy, DHPF and CATs): the largest coordinate plus 1,
  because lists of up to 40 keypoints were padded with -1. All of the picture in which the prediction lies;
- ``space``: ``native``, pixels of the original picture, or ``square<R>``, both axes scaled to R first;
- ``comparison``: ``le`` or ``lt``;
- ``direction``: ``s2t`` asks for the source's keypoints in the target, ``t2s`` the other way round;
- averaging: ``pair``, the mean of the pairs' fractions; ``point``, all points pooled; ``class-pair`` and
  ``class-point``, the mean over classes of either.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samepoint.errors import InputError
from samepoint.evaluation.metrics.sums import Floats, Score, check_name, divide, mean_known

Tau = Literal["img", "bbox", "kpbox", "kpbox-padded"]
Comparison = Literal["le", "lt"]
Direction = Literal["s2t", "t2s"]
Averaging = Literal["pair", "point", "class-pair", "class-point"]

PADDED_LENGTH = 40
"""Length to which the legacy code pads its lists of keypoints."""


def side(space: str) -> int | None:
    """R of ``square<R>``, None for ``native``; InputError for any other name.

    >>> side("square256")
    256
    """
    found = re.fullmatch(r"square([1-9][0-9]*)", space)
    if space != "native" and not found:
        raise InputError(f"unknown space {space!r}: expected 'native' or 'square' and a size, such as 'square256'")
    return int(found[1]) if found else None


@dataclass(frozen=True)
class Protocol:
    """How pairs are asked and scored."""

    name: str
    tau: Tau
    alphas: tuple[float, ...]
    space: str = "native"
    comparison: Comparison = "le"
    direction: Direction = "s2t"
    averaging: tuple[Averaging, ...] = ("pair", "point")
    """Those to report, the first the one to compare with published figures of this protocol."""
    whole_queries: bool = False
    """The points to ask for are cut to whole numbers, in the protocol's space."""

    def __post_init__(self) -> None:
        check_name("tau", self.tau, get_args(Tau))
        check_name("comparison", self.comparison, get_args(Comparison))
        check_name("direction", self.direction, get_args(Direction))
        for averaging in self.averaging:
            check_name("averaging", averaging, get_args(Averaging))
        side(self.space)

    def queries(self, xy: ArrayLike, size: tuple[int, int]) -> Floats:
        """Where a matcher is asked, (N, 2) original pixels, for keypoints (N, 2) of a picture of ``size`` (H, W).

        They are the keypoints themselves, unless the protocol cuts them to whole numbers.

        >>> PROTOCOLS["cats-spair"].queries([[101, 200]], (512, 512)).tolist()
        [[100.0, 200.0]]
        """
        if not self.whole_queries:
            return np.array(xy, np.float64)
        whole, edge = np.trunc(into_space(xy, size, self.space)), side(self.space)
        return whole if edge is None else whole * np.array(size[::-1], np.float64) / edge


SPAIR_ALPHAS = (0.01, 0.05, 0.1, 0.15, 0.2)
PF_ALPHAS = (0.05, 0.1, 0.15)

PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("spair", "bbox", SPAIR_ALPHAS),
        Protocol("cats-spair", "bbox", SPAIR_ALPHAS, "square256", "le", "t2s", ("pair",), whole_queries=True),
        Protocol("pf-pascal", "img", PF_ALPHAS),
        Protocol("pf-pascal-square224", "img", PF_ALPHAS, "square224"),
        Protocol("pf-willow", "kpbox", PF_ALPHAS),
        Protocol("pf-willow-padded", "kpbox-padded", PF_ALPHAS, "square256", averaging=("pair",)),
    )
}
"""Settings by name; ``cats-spair``, ``pf-pascal-square224`` (SCNet) and ``pf-willow-padded`` are legacy."""


def into_space(xy: ArrayLike, size: tuple[int, int], space: str) -> Floats:
    """Points (..., 2) of a picture of ``size`` (H, W) in the coordinates of ``space``.

    >>> into_space([[100, 50]], (100, 200), "square256").tolist()
    [[128.0, 128.0]]
    """
    edge = side(space)
    points = np.array(xy, np.float64)
    return points if edge is None else points * edge / np.array(size[::-1], np.float64)


def pair_length(
    tau: Tau,
    size: tuple[int, int],
    *,
    box: ArrayLike | None = None,
    keypoints: ArrayLike | None = None,
    space: str = "native",
) -> float:
    """The length that alpha is a share of, in the pixels of ``space``.

    Args:
        tau: see the head of this module.
        size: (H, W) of the picture in which the prediction lies.
        box: its object's (x1, y1, x2, y2), for ``bbox``.
        keypoints: its annotated keypoints (N, 2), rows with NaN left out, for ``kpbox`` and ``kpbox-padded``.
        space: ``native`` or ``square<R>``.

    Returns:
        NaN where there is no keypoint for a ``kpbox``.

    Raises:
        InputError: box or keypoints lack or have another shape, an unknown name.

    >>> points = [[50, 20], [150, 80]]
    >>> pair_length("kpbox", (100, 200), keypoints=points), pair_length("kpbox-padded", (100, 200), keypoints=points)
    (100.0, 151.0)
    """
    check_name("tau", tau, get_args(Tau))
    if tau == "img":
        return float(into_space(size[::-1], size, space).max())
    if tau == "bbox":
        if box is None or np.shape(box) != (4,):
            raise InputError(f"tau 'bbox' needs the object's box (x1, y1, x2, y2), got {box!r}")
        corners = into_space(np.reshape(box, (2, 2)), size, space)
        return float((corners[1] - corners[0]).max())
    if keypoints is None or np.ndim(keypoints) != 2 or np.shape(keypoints)[1] != 2:
        raise InputError(f"tau {tau!r} needs the picture's keypoints (N, 2), got {keypoints!r}")
    points = into_space(keypoints, size, space)
    points = points[~np.isnan(points).any(axis=1)]
    if not len(points):
        return float("nan")
    low = points.min(axis=0)
    if tau == "kpbox-padded" and len(points) < PADDED_LENGTH:
        low = np.minimum(low, -1)
    return float((points.max(axis=0) - low).max())


@dataclass(frozen=True)
class PairCounts:
    """What one pair contributes."""

    alphas: tuple[float, ...]
    correct: NDArray[np.int64]
    """(A,) correct points for each alpha."""
    total: int
    """Scored points."""
    unscaled: int = 0
    """Points left out because tau is not above 0."""

    def fractions(self) -> dict[float, float]:
        """alpha -> share of correct points, NaN where nothing was scored."""
        return dict(zip(self.alphas, divide(self.correct, self.total).tolist(), strict=True))


def pair_counts(
    pred_xy: ArrayLike,
    gt_xy: ArrayLike,
    size: tuple[int, int],
    protocol: Protocol,
    *,
    box: ArrayLike | None = None,
    keypoints: ArrayLike | None = None,
) -> PairCounts:
    """Count the correct points of one pair, in the picture in which the predictions lie.

    Args:
        pred_xy: (N, 2) predicted positions, original pixels; NaN (no prediction) is wrong.
        gt_xy: (N, 2) annotated positions in the same pixels; rows with NaN are not annotated and not scored.
        size: (H, W) of that picture.
        protocol: one of ``PROTOCOLS`` or your own.
        box: (x1, y1, x2, y2) of the object there, for ``bbox``.
        keypoints: (M, 2) all keypoints annotated there, for the ``kpbox`` kinds; ``gt_xy`` when None.

    Raises:
        InputError: shapes that do not belong together, a box that is needed and lacks.

    >>> pair_counts([[10, 0]], [[0, 0]], (100, 50), PROTOCOLS["pf-pascal"]).fractions()
    {0.05: 0.0, 0.1: 1.0, 0.15: 1.0}
    """
    guess, truth = np.asarray(pred_xy, np.float64), np.asarray(gt_xy, np.float64)
    if truth.ndim != 2 or truth.shape[1] != 2 or guess.shape != truth.shape:
        raise InputError(f"points must be (N, 2) twice, got {guess.shape} predicted and {truth.shape} annotated")
    length = pair_length(
        protocol.tau, size, box=box, keypoints=truth if keypoints is None else keypoints, space=protocol.space
    )
    annotated = int((~np.isnan(truth).any(axis=1)).sum())
    scored = annotated if length > 0 else 0
    error = np.linalg.norm(into_space(guess - truth, size, protocol.space), axis=1)
    limits = np.array(protocol.alphas, np.float64)[:, None] * length
    near = error < limits if protocol.comparison == "lt" else error <= limits
    return PairCounts(
        alphas=protocol.alphas,
        correct=near.sum(axis=1) if scored else np.zeros(len(protocol.alphas), np.int64),
        total=scored,
        unscaled=annotated - scored,
    )


@dataclass(eq=False)
class SemanticScore(Score):
    """PCK of a set of pairs: all together, for each class, and for each degree of each difficulty."""

    alphas: tuple[float, ...]

    def update(
        self, counts: PairCounts, category: str | None = None, difficulty: Mapping[str, int] | None = None
    ) -> None:
        """Take in one pair.

        Args:
            counts: of the pair.
            category: its class.
            difficulty: such as ``{"viewpoint_variation": 2, "occlusion": 0}``.

        Raises:
            InputError: it was counted at other alphas.
        """
        if counts.alphas != self.alphas:
            raise InputError(f"a pair counted at {counts.alphas} cannot go into a score at {self.alphas}")
        groups = [_ALL]
        if category is not None:
            groups.append(f"{_CLASS}{category}")
        groups += [f"{_DIFFICULTY}{name}={degree}" for name, degree in (difficulty or {}).items()]
        fractions = list(counts.fractions().values())
        for group in groups:
            self.sums.item(f"pair {group}", fractions)
            self.sums.add({f"correct {group}": counts.correct, f"total {group}": counts.total})
        self.sums.count("unscaled", counts.unscaled)

    def compute(self, averaging: Averaging = "pair") -> dict[float, float]:
        """alpha -> fraction; pairs (classes) without a scored point are left out of a mean, NaN if all are.

        Raises:
            InputError: unknown averaging.
        """
        check_name("averaging", averaging, get_args(Averaging))
        if averaging in ("pair", "point"):
            return self._named(self._group(_ALL, averaging))
        classes = [self._group(f"{_CLASS}{name}", averaging.removeprefix("class-")) for name in self.classes()]
        return self._named(mean_known(np.reshape(classes, (-1, len(self.alphas)))))

    def classes(self) -> list[str]:
        """The classes that were met, sorted."""
        return list(self.sums.groups(f"pair {_CLASS}"))

    def per_class(self, averaging: Literal["pair", "point"] = "pair") -> dict[str, dict[float, float]]:
        """class -> alpha -> fraction, by name."""
        return self._groups(_CLASS, averaging)

    def per_difficulty(self, averaging: Literal["pair", "point"] = "pair") -> dict[str, dict[float, float]]:
        """``occlusion=1`` -> alpha -> fraction, by name."""
        return self._groups(_DIFFICULTY, averaging)

    def left_out(self) -> int:
        """How many pairs hold no scored point."""
        return int(self.sums.left_out(f"pair {_ALL}", [0])[0])

    def unscaled(self) -> int:
        """How many points were left out because their pair has no length to compare with."""
        return int(self.sums.total("unscaled"))

    def _groups(self, kind: str, averaging: str) -> dict[str, dict[float, float]]:
        check_name("averaging", averaging, ("pair", "point"))
        return {name: self._named(self._group(f"{kind}{name}", averaging)) for name in self.sums.groups(f"pair {kind}")}

    def _group(self, group: str, averaging: str) -> Floats:
        nothing = np.full(len(self.alphas), np.nan)
        if averaging == "pair":
            return self.sums.mean(f"pair {group}", nothing)
        return divide(self.sums.total(f"correct {group}", nothing), self.sums.total(f"total {group}"))

    def _named(self, values: Floats) -> dict[float, float]:
        return dict(zip(self.alphas, values.tolist(), strict=True))


_ALL, _CLASS, _DIFFICULTY = "all", "class ", "difficulty "
