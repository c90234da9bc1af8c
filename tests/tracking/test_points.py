"""``samepoint.track``: a whole video in one call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

import samepoint
from samepoint.errors import InputError
from samepoint.models.network import PointNetwork
from samepoint.models.resnet import ResNet
from samepoint.models.weights import load_model, save_weights
from samepoint.structures import Queries, Tracks, Video
from samepoint.tracking import PropagatedPoints
from tests.models.test_network import TINY

T, H, W = 5, 32, 48


@pytest.fixture(scope="module")
def tiny() -> PointNetwork:
    """Random weights whose refiner moves the points."""
    torch.manual_seed(0)
    network = PointNetwork(TINY).eval()
    for name, value in network.named_parameters():
        if name.endswith("project.bias"):
            nn.init.normal_(value)
    nn.init.normal_(network.refiner.head.weight, std=0.02)
    return network


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    """A smooth texture that moves by (2, 1) pixels a frame."""
    noise = np.random.default_rng(0).uniform(0, 255, (H + T, W + 2 * T, 3)).astype(np.float32)
    texture = np.clip((cv2.GaussianBlur(noise, (0, 0), 1.5) - 127) * 4 + 127, 0, 255).astype(np.uint8)
    return np.stack([texture[T - t : T - t + H, 2 * (T - t) : 2 * (T - t) + W] for t in range(T)])


def track(video: Any, queries: Queries, model: Any, **options: Any) -> Tracks:
    return samepoint.track(video, queries, model=model, **{"short_side": None, "dtype": torch.float32, **options})


def assert_equal(first: Tracks, second: Tracks, atol: float = 0.0) -> None:
    np.testing.assert_allclose(first.xy, second.xy, atol=atol, rtol=0)
    np.testing.assert_allclose(first.confidence, second.confidence, atol=atol, rtol=0)


QUERIES = Queries([0, 3, 4, 1], [[20.5, 12.25], [30, 20], [8, 8], [40.1, 25]], ("a", "b", "c", "d"))


def test_positions_before_the_query_are_not_known(tiny: PointNetwork, clip: np.ndarray) -> None:
    tracks = track(Video(clip, fps=12), QUERIES, tiny)
    assert (tracks.xy.shape, tracks.fps, tracks.size, tracks.names) == ((4, T, 2), 12, (H, W), ("a", "b", "c", "d"))
    before = np.arange(T)[None] < QUERIES.frame[:, None]
    np.testing.assert_array_equal(np.isnan(tracks.xy).all(axis=2), before)
    np.testing.assert_array_equal(np.isnan(tracks.xy).any(axis=2), before)
    assert not tracks.visible[before].any()
    assert (tracks.confidence[before] == 0).all()
    each = np.arange(4)
    np.testing.assert_array_equal(tracks.xy[each, QUERIES.frame], QUERIES.xy)
    assert (tracks.confidence[each, QUERIES.frame] == 1).all()
    np.testing.assert_array_equal(tracks.visible, tracks.confidence >= 0.5)
    assert np.abs(np.diff(tracks.xy[0], axis=0)).min() > 0  # the network does something


def test_backward_is_forward_on_the_reversed_video(tiny: PointNetwork, clip: np.ndarray) -> None:
    both = track(clip, QUERIES, tiny, backward=True)
    forward = track(clip, QUERIES, tiny)
    reversed_queries = Queries(T - 1 - QUERIES.frame, QUERIES.xy)
    backward = track(clip[::-1], reversed_queries, tiny)
    assert np.isfinite(both.xy).all()
    before = np.arange(T)[None] < QUERIES.frame[:, None]
    np.testing.assert_array_equal(both.xy[~before], forward.xy[~before])
    np.testing.assert_array_equal(both.confidence[~before], forward.confidence[~before])
    np.testing.assert_array_equal(both.xy[before], backward.xy[:, ::-1][before])
    np.testing.assert_array_equal(both.confidence[before], backward.confidence[:, ::-1][before])


def test_progress_counts_every_frame_of_each_direction(tiny: PointNetwork, clip: np.ndarray) -> None:
    for backward, total in ((False, T), (True, 2 * T)):
        calls: list[tuple[int, int | None]] = []
        track(clip, QUERIES, tiny, backward=backward, progress=lambda *call, calls=calls: calls.append(call))
        assert calls == [(done, total) for done in range(1, total + 1)]


def test_an_array_a_video_and_a_folder_give_the_same(tiny: PointNetwork, clip: np.ndarray, tmp_path: Path) -> None:
    for index, frame in enumerate(clip):
        cv2.imwrite(str(tmp_path / f"{index}.png"), frame[..., ::-1])
    first = track(clip, QUERIES, tiny)
    assert_equal(track(Video(clip), QUERIES, tiny), first)
    assert_equal(track(tmp_path, QUERIES, tiny), first)
    assert_equal(track(str(tmp_path), QUERIES, tiny), first)
    assert first.fps == 25


def test_the_same_call_gives_the_same_numbers(tiny: PointNetwork, clip: np.ndarray) -> None:
    for options in ({}, {"short_side": 24}, {"dtype": torch.bfloat16}, {"dtype": None}):
        assert_equal(track(clip, QUERIES, tiny, **options), track(clip, QUERIES, tiny, **options))


def test_a_model_may_be_a_network_or_a_file(tiny: PointNetwork, clip: np.ndarray, tmp_path: Path) -> None:
    path = save_weights(tiny, tmp_path / "tiny.safetensors", {})
    expected = track(clip, QUERIES, load_model(path))
    assert_equal(track(clip, QUERIES, path), expected)
    assert_equal(track(clip, QUERIES, str(path)), expected)


def test_other_points_change_nothing(tiny: PointNetwork, clip: np.ndarray) -> None:
    alone = track(clip, Queries.at([(20.5, 12.25)]), tiny)
    others = np.random.default_rng(1).uniform(0, [W, H], (40, 2))
    among = track(clip, Queries.at(np.concatenate([others[:20], [[20.5, 12.25]], others[20:]])), tiny)
    np.testing.assert_allclose(among.xy[20], alone.xy[0], atol=1e-2)
    np.testing.assert_allclose(among.confidence[20], alone.confidence[0], atol=1e-3)


def test_bare_points_are_of_the_first_frame(tiny: PointNetwork, clip: np.ndarray) -> None:
    known = track(clip, Queries.at([(20, 12), (9, 9)]), model=tiny)
    found = track(clip, [(20, 12), (9, 9)], model=tiny)
    np.testing.assert_array_equal(found.xy, known.xy)
    with pytest.raises(InputError, match=r"points must be \(N, 2\)"):
        track(clip, (20, 12), model=tiny)


def test_points_without_names_are_numbered(tiny: PointNetwork, clip: np.ndarray) -> None:
    assert track(clip, Queries.at([(1, 1), (2, 2)]), tiny).names == ("0", "1")


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        (Queries.at([]), "no query point to follow"),
        (Queries.at([(1, 1), (W + 0.5, 2)]), rf"point 1 \(x=48\.5, y=2\) lies outside the {W}x{H} frame"),
        (Queries.at([(1, -0.5)]), r"point 0 \(x=1, y=-0\.5\) lies outside"),
        (Queries([0, T], [[1, 1], [2, 2]]), rf"point 1: frame {T}, but the video has {T} frames"),
    ],
)
def test_impossible_queries_are_refused_before_any_work(
    tiny: PointNetwork, clip: np.ndarray, queries: Queries, message: str
) -> None:
    calls: list[tuple[int, int | None]] = []
    with pytest.raises(InputError, match=message):
        track(clip, queries, tiny, progress=lambda *call: calls.append(call))
    assert calls == []


def test_a_network_without_a_refiner_is_followed_by_label_propagation(clip: np.ndarray) -> None:
    network = ResNet.fgvc()
    by_default = track(clip, QUERIES, network, short_side=32)
    asked = track(clip, QUERIES, network, short_side=32, method=lambda it: PropagatedPoints(it.lattices))
    np.testing.assert_array_equal(by_default.xy, asked.xy)


def test_impossible_models_are_refused(clip: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown model 'samepoint-bas'.*did you mean samepoint-base"):
        samepoint.track(clip, QUERIES, model="samepoint-bas")
    with pytest.raises(InputError, match="nowhere"):
        samepoint.track(tmp_path / "nowhere.mp4", QUERIES)
