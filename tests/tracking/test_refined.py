"""The default method on an untrained network: what holds whatever the weights say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from samepoint.models.network import PointNetwork
from samepoint.models.refiner import Estimate
from samepoint.models.visibility import EVIDENCE
from samepoint.structures import Queries
from samepoint.tracking import PointTracker, RefinedPoints, RefineSettings
from tests.models.test_network import TINY


@pytest.fixture
def network() -> PointNetwork:
    torch.manual_seed(0)
    return PointNetwork(TINY).eval()


def estimate(xy: list[float], error: float, logit: float) -> Estimate:
    return Estimate(torch.tensor([xy]), torch.tensor([error]).log(), torch.tensor([logit]))


def test_estimate_and_propagated_place_are_weighed_by_their_certainty(network: PointNetwork) -> None:
    method = RefinedPoints(network, RefineSettings(guess_error=2.0, agree=1e6))
    fused = method._fuse(estimate([13, 10], 1.0, 50.0), torch.tensor([[10.0, 10.0]]))
    torch.testing.assert_close(fused, torch.tensor([[10 + 3 * 0.8, 10.0]]), atol=1e-3, rtol=0)


def test_one_that_is_far_off_is_not_averaged_in(network: PointNetwork) -> None:
    method = RefinedPoints(network)
    fused = method._fuse(estimate([10, 10], 0.5, 8.0), torch.tensor([[90.0, 70.0]]))
    assert (fused - torch.tensor([[10.0, 10.0]])).norm() < 0.5


def test_an_unsure_refiner_leaves_the_propagated_place(network: PointNetwork) -> None:
    method = RefinedPoints(network)
    fused = method._fuse(estimate([30, 10], 20.0, -6.0), torch.tensor([[12.0, 9.0]]))
    assert (fused - torch.tensor([[12.0, 9.0]])).norm() < 0.5


def test_many_points_are_refined_in_parts_that_make_no_difference(
    network: PointNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.nn.init.normal_(network.refiner.head.weight, std=0.1)
    frames = np.random.default_rng(0).integers(0, 256, (4, 48, 64, 3), dtype=np.uint8)

    def follow() -> np.ndarray:
        tracker = PointTracker(network, method=RefinedPoints(network), short_side=None)
        tracker.add(Queries.grid(3, (48, 64)))
        return np.stack([tracker.step(frame).xy for frame in frames])

    whole = follow()
    monkeypatch.setattr("samepoint.tracking.refined._TOGETHER", 2)
    np.testing.assert_allclose(follow(), whole, atol=1e-3)


def test_evidence_has_a_column_for_each_name_and_stays_finite(network: PointNetwork) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 48, 64, 3), dtype=np.uint8)
    method = RefinedPoints(network)
    tracker = PointTracker(network, method=method, short_side=None)
    tracker.add(Queries.grid(3, (48, 64)))
    for frame in frames:
        state = tracker.step(frame)
        assert np.isfinite(state.xy).all()
    assert method.evidence.shape == (9, len(EVIDENCE))
    assert torch.isfinite(method.evidence).all()


def test_memory_is_a_few_maps_and_patches(network: PointNetwork) -> None:
    method = RefinedPoints(network, RefineSettings(context=3))
    tracker = PointTracker(network, method=method, short_side=None)
    tracker.add(Queries.at([(20, 20), (30, 30)]))
    for _ in range(12):
        tracker.step(np.zeros((40, 48, 3), np.uint8))
    assert len(method.guide.keys) == 3
    assert all(len(level) == 2 for level in (*method.query, *method.last))
