"""Quality against cost: what each setting does, counted in work and not in time."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import samepoint
from samepoint.correspondence import affinity
from samepoint.errors import InputError
from samepoint.models.network import PointNetwork
from samepoint.models.resnet import ResNet
from samepoint.structures import Queries
from samepoint.tracking import (
    QUALITIES,
    PointTracker,
    PropagatedPoints,
    PropagationSettings,
    Quality,
    RefinedPoints,
    RefineSettings,
)
from tests.models.test_network import TINY

NAMES: list[Quality] = ["fast", "balanced", "best"]


@pytest.fixture(scope="module")
def tiny() -> PointNetwork:
    torch.manual_seed(0)
    return PointNetwork(TINY).eval()


def frames(count: int = 2, height: int = 24, width: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def test_balanced_is_what_is_done_without_asking(tiny: PointNetwork) -> None:
    assert list(QUALITIES) == NAMES
    balanced = QUALITIES["balanced"]
    assert (balanced.short_side, balanced.refine, balanced.propagation) == (
        480,
        RefineSettings(),
        PropagationSettings(),
    )
    for tracker in (PointTracker(tiny), PointTracker(tiny, quality="balanced")):
        assert tracker.short_side == 480
        assert isinstance(tracker.method, RefinedPoints)
        assert tracker.method.settings == RefineSettings()


def test_each_quality_reaches_the_methods(tiny: PointNetwork) -> None:
    for name in NAMES:
        refined, propagated = PointTracker(tiny, quality=name).method, PointTracker(ResNet(), quality=name).method
        assert isinstance(refined, RefinedPoints)
        assert isinstance(propagated, PropagatedPoints)
        assert refined.settings == QUALITIES[name].refine
        assert propagated.settings == QUALITIES[name].propagation


@pytest.mark.parametrize("which", ["encoder", "refiner", "propagation"])
def test_better_is_more_work(tiny: PointNetwork, monkeypatch: pytest.MonkeyPatch, which: str) -> None:
    """Pixels encoded, refinements made, key frames searched: more from each quality to the next."""
    work = {}
    for name in NAMES:
        counted: list[int] = []
        tracker = PointTracker(tiny, quality=name, short_side="auto" if which == "encoder" else None)
        if which == "encoder":
            features = tracker.network.encoder.features

            def encode(x: Tensor, counted: list[int] = counted, features: Any = features) -> tuple[Tensor, ...]:
                counted.append(x[0, 0].numel())
                # The same maps from a small part: only the size of the work is of interest.
                return features(x[:, :, :32, :32])

            with monkeypatch.context() as patch:
                patch.setattr(tracker.network, "features", encode)
                tracker.add(Queries.at([(0.5, 0.5)]))
                tracker.step(frames()[0])
        elif which == "refiner":
            refiner = tracker.network.refiner.forward

            def refine(*arguments: Any, counted: list[int] = counted, refiner: Any = refiner) -> Any:
                result = refiner(*arguments)
                counted.append(len(result[0]))
                return result

            with monkeypatch.context() as patch:
                patch.setattr(tracker.network.refiner, "forward", refine)
                tracker.add(Queries.at([(10, 10)]))
                for frame in frames(2):
                    tracker.step(frame)
        else:

            def search(query: Tensor, keys: list[Tensor], *rest: Any, counted: list[int] = counted, **more: Any) -> Any:
                counted.append(len(keys))
                return affinity(query, keys, *rest, **more)

            with monkeypatch.context() as patch:
                patch.setattr("samepoint.tracking.nearby.affinity", search)
                tracker.add(Queries.at([(10, 10)]))
                for frame in frames(10):
                    tracker.step(frame)
        work[name] = max(counted)
    assert work["fast"] < work["balanced"] < work["best"]
    expected = {
        "encoder": [320 * 427, 480 * 640, 640 * 853],
        "refiner": [QUALITIES[name].refine.iterations for name in NAMES],
        "propagation": [QUALITIES[name].refine.context for name in NAMES],
    }
    assert list(work.values()) == expected[which]


def test_a_short_side_that_is_asked_for_stands(tiny: PointNetwork) -> None:
    assert PointTracker(tiny, quality="fast", short_side=200).short_side == 200
    assert PointTracker(tiny, quality="best", short_side=None).short_side is None
    assert PointTracker(tiny, quality="best").short_side == QUALITIES["best"].short_side


def test_track_takes_it(tiny: PointNetwork) -> None:
    clip, queries = frames(3), Queries.at([(10, 10), (20.5, 8)])
    options = {"model": tiny, "ring": 0, "short_side": None, "dtype": torch.float32}
    plain = samepoint.track(clip, queries, **options)
    for name in NAMES:
        tracker = PointTracker(tiny, quality=name, short_side=None, dtype=torch.float32)
        tracker.add(queries)
        expected = [tracker.step(frame).xy for frame in clip]
        found = samepoint.track(clip, queries, quality=name, **options)
        np.testing.assert_array_equal(found.xy, np.stack(expected, axis=1))
        if name == "balanced":
            np.testing.assert_array_equal(found.xy, plain.xy)


def test_the_guide_has_the_same_table() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "tracking.md").read_text()
    listed = re.findall(
        r"^\| `(\w+)` \| (\d+) \| (\d+) \| (\d+) \| (?:none|up to ([\d,]+) points) \|$", text, re.MULTILINE
    )
    known = [
        (name, each.short_side, each.refine.iterations, each.refine.context, each.ring_points)
        for name, each in QUALITIES.items()
    ]
    numbers = [(name, *(int(number.replace(",", "") or 0) for number in row)) for name, *row in listed]
    assert numbers == known


def test_misuse_is_explained(tiny: PointNetwork) -> None:
    queries: Any = Queries.at([(1, 1)])
    with pytest.raises(InputError, match="unknown quality 'good'; expected one of fast, balanced, best"):
        samepoint.track(frames(), queries, model=tiny, quality="good")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="unknown quality 'good'"):
        PointTracker(tiny, quality="good")  # type: ignore[arg-type]
    for side in (0, -5, 15, 2.5, "480"):
        with pytest.raises(InputError, match=r"short_side: .* given; expected pixels, 16 or more"):
            PointTracker(tiny, short_side=side)  # type: ignore[arg-type]
    method = PropagatedPoints(tiny.lattices)
    with pytest.raises(InputError, match="quality 'fast' is for the default method"):
        PointTracker(tiny, method=method, quality="fast")
