"""A network that is quick, and protocols at a working size that suits pictures of a few pixels."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from samepoint.evaluation.benchmarks import points
from samepoint.models.network import PointNetwork
from samepoint.models.weights import save_weights
from samepoint.tracking import MASK_PROTOCOLS
from tests.models.test_network import TINY


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A weight file of the smallest network, random."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    return str(save_weights(PointNetwork(TINY).eval(), path, {}))


@pytest.fixture
def small_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own settings work at a short side of 48."""
    real = points.point_settings

    def small(*asked):  # type: ignore[no-untyped-def]
        return replace(real(*asked), short_side=48)

    monkeypatch.setattr(points, "point_settings", small)
    monkeypatch.setitem(MASK_PROTOCOLS, "samepoint", replace(MASK_PROTOCOLS["samepoint"], size=48))
