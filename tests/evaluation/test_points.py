"""How points are followed under published settings."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from samepoint.correspondence import Window
from samepoint.errors import InputError
from samepoint.evaluation.benchmarks.base import Model
from samepoint.evaluation.benchmarks.points import PUBLISHED, CrwPoints, follow, point_settings
from samepoint.evaluation.names import PROPAGATION, SETTINGS
from samepoint.geometry import Lattice
from samepoint.models.network import PointNetwork
from samepoint.models.weights import save_weights
from samepoint.tracking import MASK_PROTOCOLS
from tests.models.test_network import TINY


def test_published_values() -> None:
    """The tables of memory, window, temperature and size (FGVC, CRW, Spa-then-Temp)."""
    found = {}
    for key, one in PUBLISHED.items():
        p = one.propagation
        found[key] = (one.size, one.stride, p.context, p.window, p.topk, p.temperature, p.sigma, p.read_count)
    circle, square = Window.circle, Window.square
    assert found == {
        ("fgvc", "tapvid"): ((256, 256), None, 5, circle(15), 10, 0.07, 6.0, 5),
        ("fgvc", "badja"): ((320, 512), None, 5, circle(15), 10, 0.07, 6.0, 5),
        ("fgvc", "jhmdb"): ((320, 320), None, 5, circle(15), 10, 0.07, 4.7, 5),
        ("crw", "jhmdb"): ((320, 320), 8, 20, circle(12), 10, 0.05, 4.0, 3),
        ("spa-then-temp", "jhmdb"): ((320, 320), 8, 20, square(5), 10, 0.07, 4.7, 5),
        ("spa-then-temp-stride4", "jhmdb"): ((320, 320), 4, 20, square(12), 10, 0.07, 4.7, 5),
    }
    masks = {
        name: (m.size, m.strides, m.context, m.window, m.topk, m.temperature, m.fill, m.stretch)
        for name, m in MASK_PROTOCOLS.items()
        if name != "samepoint"
    }
    assert masks == {
        "fgvc": (480, (2,), 5, circle(15), 10, 0.07, False, True),
        "crw": (480, (8,), 20, circle(12), 10, 0.05, True, False),
        "spa-then-temp": (480, (8,), 20, square(12), 10, 0.07, False, True),
        "spa-then-temp-stride4": (480, (4,), 20, square(35), 10, 0.07, False, True),
    }
    everywhere = Window.everywhere()
    assert PUBLISHED["crw", "jhmdb"].propagation.first_window == MASK_PROTOCOLS["crw"].first_window == everywhere
    assert {name for name, _ in PUBLISHED} | {"samepoint"} == set(MASK_PROTOCOLS) == {*SETTINGS} - {PROPAGATION}


def test_settings_are_json() -> None:
    for one in PUBLISHED.values():
        assert json.loads(json.dumps(one.describe(), allow_nan=False)) == one.describe()
    first = PUBLISHED["crw", "jhmdb"].describe()["propagation"]["first_window"]
    assert first == {"shape": "everywhere", "size": None}


def test_defaults_suit_the_model() -> None:
    assert point_settings(None, "badja", True).name == "samepoint"
    assert point_settings(None, "badja", True).propagation is None
    assert point_settings(None, "badja", False) is PUBLISHED["fgvc", "badja"]
    with pytest.raises(
        InputError, match="no settings for following points in this benchmark; there are samepoint, propagation, fg"
    ):
        point_settings("crw", "tapvid", True)


@pytest.mark.parametrize("key", PUBLISHED, ids="-".join)
def test_nothing_moves_in_a_still_video(key) -> None:
    """Points are read where they were put; only FGVC's own read-out is off, by its half pixel at stride 2."""
    one = PUBLISHED[key]
    network = PointNetwork(TINY)
    stride = one.stride or 2
    torch.manual_seed(0)
    level = torch.nn.functional.normalize(torch.randn(1, 64 // stride, 64 // stride, 256), dim=3)
    maps = tuple(level if lattice.stride == stride else torch.zeros(1) for lattice in network.lattices)
    xy = 20 + 24 * torch.rand(100, 2)
    method = one.method(network)
    method.add(maps, xy)
    for _ in range(2):
        found, height = method.step(maps)
    off = 0.5 if one.labels == "centred" else 0.0
    # Single points are as coarse as the cells, all of them together are not.
    torch.testing.assert_close((found - xy).mean(0), torch.tensor([off, off]), atol=stride / 10, rtol=0)
    assert (found - xy).abs().max() < stride
    assert height.mean() > 0.6


def test_crw_fills_its_memory_with_the_query_frame() -> None:
    points = CrwPoints((Lattice(8),), PUBLISHED["crw", "jhmdb"].propagation)
    maps = (torch.nn.functional.normalize(torch.randn(1, 6, 6, 4), dim=3),)
    points.add(maps, torch.tensor([[20.0, 20.0]]))
    group = points.groups[0]
    assert [frame is group.first for frame in group.recent] == [True] * 20
    points.step(maps)
    assert [frame is group.first for frame in group.recent] == [True] * 19 + [False]
    # Ten of the 21 copies of the nearest cell take all ten places: what is propagated is that cell's label alone.
    torch.testing.assert_close(group.recent[-1][1], group.first[1])


def test_queries_do_not_depend_on_each_other(tmp_path) -> None:
    """The rule of TAP-Vid, of what is said of their visibility too: each is predicted as if it were alone."""
    torch.manual_seed(0)
    network = PointNetwork(TINY).eval()
    with torch.no_grad():
        network.hindsight.last.weight.normal_(0, 3)
    model = Model(str(save_weights(network, tmp_path / "m.safetensors", {})), "cpu")
    frames = np.random.default_rng(0).integers(0, 256, (5, 32, 48, 3), dtype=np.uint8)
    xy, frame = np.array([[10.0, 9.0], [14.0, 11.0], [30.0, 20.0]]), np.zeros(3, np.int64)
    settings = replace(point_settings("samepoint", "tapvid", True), size=None, short_side=None)
    assert settings.describe()["alone"]
    together = follow(frames, frame, xy, settings, model, backward=True)
    for n in range(3):
        one = follow(frames, frame[n : n + 1], xy[n : n + 1], settings, model, backward=True)
        np.testing.assert_allclose(together["xy"][n], one["xy"][0], atol=1e-3)
        np.testing.assert_allclose(together["confidence"][n], one["confidence"][0], atol=1e-4)
    few = follow(frames, frame, xy, replace(settings, alone=False), model)
    np.testing.assert_array_equal(few["confidence"], together["confidence"])  # rings have the grid for company, too
    # The tracker itself does listen to the others where they are many.
    many = np.concatenate([xy, np.random.default_rng(1).uniform(1, 31, (300, 2))])
    heard, one = (
        follow(frames, np.zeros(n, np.int64), many[:n], replace(settings, alone=False), model) for n in (303, 146)
    )
    assert np.abs(heard["confidence"][:3] - one["confidence"][:3]).max() > 1e-3
    np.testing.assert_allclose(heard["xy"][:3], one["xy"][:3], atol=1e-3)
    assert not any(point_settings(None, family, True).alone for family in ("badja", "jhmdb"))


def test_a_network_without_the_stride_is_told() -> None:
    network = PointNetwork(TINY)
    network.encoder.lattices = (Lattice(16), Lattice(4))
    with pytest.raises(InputError, match="crw: wants a map of stride 8; the model has 16, 4"):
        PUBLISHED["crw", "jhmdb"].method(network)
