"""TAP-Vid (DAVIS, Kinetics, RGB-Stacking) and RoboTAP: any point of any object, scored at 256x256."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np

from samepoint.datasets import tapvid as reader
from samepoint.datasets.sharded import TapvidVideo
from samepoint.evaluation.benchmarks.base import Asked, Percentages, Scores, percentages, predicted_xy, rescaled
from samepoint.evaluation.metrics.sums import check_name
from samepoint.evaluation.metrics.tapvid import (
    SCORED_SIZE,
    QueryMode,
    SampledQueries,
    TapvidScore,
    Variant,
    sample_queries_first,
    sample_queries_strided,
    tapvid_counts,
)
from samepoint.evaluation.metrics.trajectory import TrajectoryScore, trajectory_errors
from samepoint.evaluation.predictions import Arrays, Prediction

if TYPE_CHECKING:
    from samepoint.evaluation.benchmarks.points import PointSettings

VARIANTS: tuple[Variant, ...] = get_args(Variant)
_MAIN = ("AJ", "delta_avg", "OA")  # those of single thresholds lack where these do


class TapvidBenchmark:
    """See :class:`~samepoint.evaluation.benchmarks.base.Benchmark`."""

    def __init__(self, name: str, asked: Asked) -> None:
        check_name("query mode", asked.query_mode, get_args(QueryMode))
        check_name("scoring protocol", asked.scoring or "tapvid", VARIANTS)
        self.name, self.asked = cast("reader.Benchmark", name), asked
        self.mode = cast(QueryMode, asked.query_mode)

    def names(self) -> tuple[str, ...]:
        return reader.names(self.asked.root, self.name)

    def missing(self) -> tuple[str, ...]:
        return reader.check(self.asked.root, self.name).missing

    @cached_property
    def follower(self) -> PointSettings:
        from samepoint.evaluation.benchmarks.points import point_settings

        return point_settings(self.asked.settings, "tapvid", self.asked.model.identity.ours, self.asked.search)

    def asks(self) -> dict[str, Any]:
        return {"query_mode": self.mode}

    def settings(self) -> dict[str, Any]:
        return {**self.follower.describe(), "precision": self.asked.model.precision, **self.asks()}

    def ready(self) -> None:
        from samepoint.evaluation.benchmarks.points import check_follower

        check_follower(self.follower, self.asked.model)

    def items(self, only: Collection[str]) -> Iterator[TapvidVideo]:
        return reader.sequences(self.asked.root, self.name, only=only)

    def predict(self, item: TapvidVideo) -> Arrays:
        from samepoint.evaluation.benchmarks.points import follow

        settings = self.follower
        size = settings.size or item.size
        queries = self.queries(item)
        answer = follow(
            item.frames(size, settings.filter),
            queries.frame,
            rescaled(queries.xy, SCORED_SIZE, size),
            settings,
            self.asked.model,
            backward=self.mode == "strided",
        )
        answer["xy"] = rescaled(answer["xy"], size, item.size)
        return {**answer, "query_frame": queries.frame, "track": queries.track, "size": np.array(item.size)}

    def queries(self, item: TapvidVideo) -> SampledQueries:
        """Where and when points are given, pixels of 256x256."""
        sample = sample_queries_first if self.mode == "first" else sample_queries_strided
        return sample(item.scaled_xy(SCORED_SIZE), item.occluded)

    def scorer(self) -> TapvidScorer:
        return TapvidScorer(self)


class TapvidScorer:
    """All three variants, the one asked for first, with survival and median errors beside it."""

    def __init__(self, benchmark: TapvidBenchmark) -> None:
        self.benchmark = benchmark
        first = cast(Variant, benchmark.asked.scoring or "tapvid")
        self.variants = (first, *(variant for variant in VARIANTS if variant != first))
        self.totals = {variant: TapvidScore(variant) for variant in self.variants}
        self.items: dict[str, dict[str, Percentages]] = {variant: {} for variant in self.variants}
        self.trajectory = TrajectoryScore()
        self.unasked = 0
        self.origins: set[str] = set()

    def update(self, item: TapvidVideo, prediction: Prediction) -> None:
        queries = self.benchmark.queries(item)
        truth, hidden = item.scaled_xy(SCORED_SIZE)[queries.track], item.occluded[queries.track]
        prediction.equal("query_frame", queries.frame, "the queries are in")
        prediction.equal("track", queries.track, "the queries are of the tracks")
        guess = rescaled(predicted_xy(prediction, truth.shape[:2], item.size), item.size, SCORED_SIZE)
        self.unasked += len(item.points) - len(np.unique(queries.track))
        self.origins.add(item.origin)
        unseen = ~(prediction.get("confidence", hidden.shape) >= 0.5)
        told = (queries.frame, truth, hidden, guess, unseen)
        for variant in self.variants:
            counts = tapvid_counts(*told, self.benchmark.mode, variant)
            self.totals[variant].update(counts)
            self.items[variant][item.name] = percentages(counts.metrics())
        errors = trajectory_errors(*told[:4], self.benchmark.mode)
        self.trajectory.update(errors)
        self.items[self.variants[0]][item.name].update(_trajectory(errors.metrics()))

    def scores(self) -> list[Scores]:
        found = []
        for variant in self.variants:
            protocol = {
                "name": variant,
                "size": list(SCORED_SIZE),
                "query_mode": self.benchmark.mode,
                "aggregation": {"tapvid": "video", "tapvid-track": "track, video", "tapvid-pooled": "point"}[variant],
                "annotations": " and ".join(sorted(self.origins)),
            }
            total = self.totals[variant]
            found.append(Scores(protocol, percentages(total.compute()), self.items[variant], self._excluded(total)))
        found[0].metrics.update(_trajectory(self.trajectory.compute()))
        found[0].excluded.update(_without(self.trajectory.left_out()))
        found[0].excluded["tracks without MTE, not predicted in most frames"] = self.trajectory.lost()
        return found

    def _excluded(self, total: TapvidScore) -> dict[str, int]:
        left_out = total.left_out()
        return {
            "tracks never visible where queries are taken": self.unasked,
            **_without({name: left_out[name] for name in _MAIN}),
        }


def _without(left_out: Mapping[str, int]) -> dict[str, int]:
    return {f"videos without {name}": count for name, count in left_out.items()}


def _trajectory(metrics: dict[str, float]) -> Percentages:
    """Survival as a percentage, errors in pixels."""
    return {
        key: value
        for name, number in metrics.items()
        for key, value in percentages({name: number}, factor=100.0 if name == "survival" else 1.0).items()
    }
