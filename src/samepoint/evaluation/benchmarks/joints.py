"""BADJA's animal joints and JHMDB's human joints, given in the first annotated frame."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np

from samepoint.datasets import badja, jhmdb
from samepoint.datasets.badja import BadjaSequence
from samepoint.datasets.jhmdb import JhmdbClip
from samepoint.evaluation.benchmarks.base import Asked, Percentages, Scores, percentages, predicted_xy, rescaled
from samepoint.evaluation.metrics.pck import (
    AVERAGES,
    FIRST_FRAME_COUNTS,
    BadjaProtocol,
    JhmdbProtocol,
    PckCounts,
    PckScore,
    badja_counts,
    jhmdb_counts,
)
from samepoint.evaluation.metrics.sums import check_name
from samepoint.evaluation.predictions import Arrays, Prediction

if TYPE_CHECKING:
    from samepoint.evaluation.benchmarks.points import PointSettings

BADJA_PROTOCOLS: tuple[BadjaProtocol, ...] = get_args(BadjaProtocol)
JHMDB_PROTOCOLS: tuple[JhmdbProtocol, ...] = get_args(JhmdbProtocol)
_SCORED = badja.SCORED_SIZE


class BadjaBenchmark:
    """See :class:`~samepoint.evaluation.benchmarks.base.Benchmark`. All 20 joints that have a place are followed."""

    def __init__(self, asked: Asked) -> None:
        check_name("scoring protocol", asked.scoring or "badja-pips", BADJA_PROTOCOLS)
        self.asked = asked

    def names(self) -> tuple[str, ...]:
        return badja.names(self.asked.root)

    def missing(self) -> tuple[str, ...]:
        return badja.check(self.asked.root).missing

    @cached_property
    def follower(self) -> PointSettings:
        from samepoint.evaluation.benchmarks.points import point_settings

        return point_settings(self.asked.settings, "badja", self.asked.model.identity.ours, self.asked.search)

    def asks(self) -> dict[str, Any]:
        return {}

    def settings(self) -> dict[str, Any]:
        return {**self.follower.describe(), "precision": self.asked.model.precision}

    def ready(self) -> None:
        from samepoint.evaluation.benchmarks.points import check_follower

        check_follower(self.follower, self.asked.model)

    def items(self, only: Collection[str]) -> Iterator[BadjaSequence]:
        return iter(badja.sequences(self.asked.root, only=only))

    def predict(self, item: BadjaSequence) -> Arrays:
        from samepoint.evaluation.benchmarks.points import follow

        start = item.protocol_xy(_SCORED)[:, 0]
        frame = np.zeros(len(start), np.int64)
        answer = follow(item.frames(_SCORED), frame, start, self.follower, self.asked.model)
        answer["xy"] = rescaled(answer["xy"], _SCORED, item.size)
        return {**answer, "query_frame": frame, "size": np.array(item.size)}

    def scorer(self) -> BadjaScorer:
        return BadjaScorer(self.asked.scoring)


class BadjaScorer:
    """Every protocol, the one asked for first."""

    def __init__(self, first: str | None) -> None:
        self.pck = _Pck(cast(BadjaProtocol, first or "badja-pips"), BADJA_PROTOCOLS)
        self.resolutions: set[str] = set()

    def update(self, item: BadjaSequence, prediction: Prediction) -> None:
        truth, areas = item.protocol_xy(_SCORED), item.masks(_SCORED).sum(axis=(1, 2))
        found = predicted_xy(prediction, (len(truth), len(item.frame_paths)), item.size)
        guess = rescaled(found, item.size, _SCORED)[:, item.annotated]
        self.resolutions.add(item.resolution)
        for protocol in BADJA_PROTOCOLS:
            self.pck.update(protocol, item.name, badja_counts(guess, truth, item.visible, areas, protocol))

    def scores(self) -> list[Scores]:
        return self.pck.scores(list(_SCORED), {"resolution": " and ".join(sorted(self.resolutions))})


class JhmdbJoints:
    """See :class:`~samepoint.evaluation.benchmarks.base.Benchmark`. Joints that lie outside are followed as well."""

    def __init__(self, asked: Asked) -> None:
        check_name("scoring protocol", asked.scoring or "jhmdb-strict", JHMDB_PROTOCOLS)
        self.asked = asked

    def names(self) -> tuple[str, ...]:
        return tuple(clip.name for clip in jhmdb.sequences(self.asked.root, with_joints=True))

    def missing(self) -> tuple[str, ...]:
        return jhmdb.check(self.asked.root).missing

    @cached_property
    def follower(self) -> PointSettings:
        from samepoint.evaluation.benchmarks.points import point_settings

        return point_settings(self.asked.settings, "jhmdb", self.asked.model.identity.ours, self.asked.search)

    def asks(self) -> dict[str, Any]:
        return {}

    def settings(self) -> dict[str, Any]:
        return {**self.follower.describe(), "precision": self.asked.model.precision}

    def ready(self) -> None:
        from samepoint.evaluation.benchmarks.points import check_follower

        check_follower(self.follower, self.asked.model)

    def items(self, only: Collection[str]) -> Iterator[JhmdbClip]:
        return jhmdb.sequences(self.asked.root, with_joints=True, only=only)

    def predict(self, item: JhmdbClip) -> Arrays:
        from samepoint.evaluation.benchmarks.points import follow, resized

        frames = resized(item.frames(), self.follower)
        size = (frames.shape[1], frames.shape[2])
        start = rescaled(_joints(item)[:, 0], item.size, size)
        frame = np.zeros(len(start), np.int64)
        answer = follow(frames, frame, start, self.follower, self.asked.model)
        answer["xy"] = rescaled(answer["xy"], size, item.size)
        return {**answer, "query_frame": frame, "size": np.array(item.size)}

    def scorer(self) -> JhmdbScorer:
        return JhmdbScorer(self.asked.scoring)


class JhmdbScorer:
    """Every protocol, the one asked for first."""

    def __init__(self, first: str | None) -> None:
        self.pck = _Pck(cast(JhmdbProtocol, first or "jhmdb-strict"), JHMDB_PROTOCOLS)

    def update(self, item: JhmdbClip, prediction: Prediction) -> None:
        truth = _joints(item)
        length = annotated_frames(item, prediction.get("xy", (len(truth), None, 2)).shape[1])
        guess, truth = predicted_xy(prediction, (len(truth), length), item.size), truth[:, :length]
        for protocol in JHMDB_PROTOCOLS:
            self.pck.update(protocol, item.name, jhmdb_counts(guess, truth, item.size, protocol))

    def scores(self) -> list[Scores]:
        return self.pck.scores(None, {})


class _Pck:
    """PCK under several protocols, each item's and the set's."""

    def __init__(self, first: Any, protocols: tuple[Any, ...]) -> None:
        self.protocols = (first, *(protocol for protocol in protocols if protocol != first))
        self.totals = {protocol: PckScore(protocol) for protocol in self.protocols}
        self.items: dict[str, dict[str, Percentages]] = {protocol: {} for protocol in self.protocols}

    def update(self, protocol: str, item: str, counts: PckCounts) -> None:
        self.totals[protocol].update(counts)
        self.items[protocol][item] = percentages(counts.fractions(), _pattern(protocol))

    def scores(self, size: list[int] | None, more: dict[str, str]) -> list[Scores]:
        """``more`` is what else the protocols have to say."""
        found = []
        for protocol in self.protocols:
            facts = {
                "name": protocol,
                "size": size,
                "query_mode": "first",
                "aggregation": AVERAGES[protocol],
                "frame_0": protocol in FIRST_FRAME_COUNTS,
                **more,
            }
            total = self.totals[protocol]
            metrics = percentages(total.compute(), _pattern(protocol))
            found.append(Scores(facts, metrics, self.items[protocol], _excluded(total)))
        return found


def _excluded(total: PckScore) -> dict[str, int]:
    average = AVERAGES[total.protocol]
    means = {} if average == "point" else {f"{average}s without a scored point": total.left_out()}
    return {**means, "points in frames without a length to compare with": total.unscaled()}


def annotated_frames(item: JhmdbClip, predicted: int) -> int:
    """How many frames an item has: all that are annotated, or as many as its video, which may end earlier."""
    if predicted == item.length or item.source.is_dir():
        return item.length
    return len(item.frames())  # told by decoding only, see there


def _pattern(protocol: str) -> str:
    return "delta_{:g}px" if protocol == "badja-3px" else "PCK@{:g}"


def _joints(item: JhmdbClip) -> Any:
    assert item.joints_xy is not None  # the reader was asked for clips with joints
    return item.joints_xy
