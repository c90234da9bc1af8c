"""``samepoint.propagate_keypoints``: what comes from which label."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from samepoint.errors import InputError, LiveError
from samepoint.io.keypoints import place_in_video
from samepoint.models.network import PointNetwork
from samepoint.structures import Keypoints, Queries, Video
from samepoint.structures.keypoints import HIDDEN
from samepoint.tracking.keypoints import propagate_keypoints, suggest_frames
from samepoint.tracking.tracker import TrackState
from tests.models.test_network import TINY

T, H, W = 11, 40, 60
VIDEO = np.zeros((T, H, W, 3), np.uint8)
NAN = [np.nan, np.nan]


class Drift:
    """Moves every point by ``by`` in each step, whatever the frames show; a tenth of the confidence goes with it."""

    def __init__(self, by: tuple[float, float]) -> None:
        self.by, self.frame, self.next = np.float32(by), -1, 0
        self.points: dict[int, tuple[np.ndarray, float]] = {}
        self.seen: list[int] = []

    def step(self, frame: np.ndarray) -> TrackState:
        self.frame += 1
        self.seen.append(int(frame[0, 0, 0]))
        self.points = {point: (xy + self.by, sure * 0.9) for point, (xy, sure) in self.points.items()}
        ids = np.array(list(self.points), np.int64)
        xy = np.array([self.points[i][0] for i in ids.tolist()], np.float32).reshape(-1, 2)
        sure = np.array([self.points[i][1] for i in ids.tolist()], np.float32)
        return TrackState(self.frame, ids, xy, sure >= 0.5, sure)

    def add(self, queries: Queries) -> np.ndarray:
        assert (queries.frame == self.frame).all()
        ids = np.arange(self.next, self.next + len(queries))
        self.next += len(queries)
        self.points |= {int(i): (xy, 1.0) for i, xy in zip(ids, queries.xy, strict=True)}
        return ids

    def remove(self, ids: list[int]) -> None:
        for i in ids:
            del self.points[i]


def carry(labels: Keypoints, ahead: tuple[float, float], behind: tuple[float, float], **options) -> Keypoints:
    trackers = iter([Drift(ahead), Drift(behind)])
    return propagate_keypoints(VIDEO, labels, tracker=lambda: next(trackers), **options)  # type: ignore[arg-type]


def test_from_both_sides_and_beyond() -> None:
    labels = Keypoints([2, 8], [[[[10, 10]]], [[[16, 10]]]], ("nose",))
    found = carry(labels, (1, 0), (-1, 0))
    np.testing.assert_array_equal(found.frame, np.arange(T))
    np.testing.assert_allclose(found.xy[:, 0, 0], np.stack([np.arange(8, 19), np.full(11, 10)], axis=1), atol=1e-5)
    np.testing.assert_allclose(found.confidence[[0, 1, 2, 8, 9, 10], 0, 0], [0.81, 0.9, 1, 1, 0.9, 0.81], rtol=1e-5)
    np.testing.assert_allclose(found.confidence[5], 0.9**3, rtol=1e-5)
    # One step from a label that side counts 0.9 * 5 to the other's 0.9 ** 5 * 1.
    share = 0.9 * 5 / (0.9 * 5 + 0.9**5)
    np.testing.assert_allclose(found.confidence[3], share * 0.9 + (1 - share) * 0.9**5, rtol=1e-5)
    assert found.labelled[:, 0, 0].nonzero()[0].tolist() == [2, 8]


def test_labels_stay_exactly_and_end_what_was_followed() -> None:
    labels = Keypoints([2, 8], np.array([[[[10.123456, 10]]], [[[50.654321, 30]]]]), ("nose",))
    found = carry(labels, (1, 0), (-1, 0))
    np.testing.assert_array_equal(found.xy[[2, 8]], labels.xy)
    # Far apart the nearer side is taken, not the middle, and neither is trusted.
    np.testing.assert_allclose(found.xy[3, 0, 0], [11.123456, 10], atol=1e-3)
    np.testing.assert_allclose(found.xy[7, 0, 0], [49.654321, 30], atol=1e-3)
    assert (found.confidence[3:8] < 1e-3).all()
    np.testing.assert_allclose(found.xy[9, 0, 0], [51.654321, 30], rtol=1e-6)


def test_a_little_disagreement_costs_some_confidence() -> None:
    # 0.8 px is 0.02 of the shorter side: half as sure.
    labels = Keypoints([4, 6], [[[[10, 10]]], [[[10.8, 10]]]], ("nose",))
    found = carry(labels, (0, 0), (0, 0))
    np.testing.assert_allclose(found.xy[5, 0, 0], [10.4, 10], rtol=1e-5)
    np.testing.assert_allclose(found.confidence[5], 0.45, rtol=1e-4)


def test_missing_joints_stay_missing_until_labelled() -> None:
    labels = Keypoints([2, 8], [[[[10, 10], NAN]], [[NAN, [30, 20]]]], ("nose", "tail"))
    found = carry(labels, (1, 0), (-1, 0))
    assert np.flatnonzero(found.known[:, 0, 0]).tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert np.flatnonzero(found.known[:, 0, 1]).tolist() == [3, 4, 5, 6, 7, 8, 9, 10]
    assert (found.confidence[~found.known] == 0).all()
    # What nobody labelled ends nothing: an individual without any joint in a frame, an interpolated position.
    silent = replace(labels, labelled=np.array([[[True, False]], [[False, True]]]))
    assert carry(silent, (1, 0), (-1, 0)).known.all()


def test_hidden_and_outside_labels() -> None:
    labels = Keypoints([5], [[[[10, 10], [20, 20]]]], ("nose", "tail"), visible=[[[False, True]]])
    found = carry(labels, (0, 0), (0, 0))
    assert (found.confidence[6:, 0, 0] <= HIDDEN).all()
    assert not found.visible[:, 0, 0].any()
    assert found.visible[6:9, 0, 1].all()
    assert found.confidence[5, 0, 0] == 1
    tracks = found.to_tracks(25, (48, 64))
    np.testing.assert_array_equal(tracks.visible, found.visible[:, 0].T)
    outside = Keypoints([0, 5], [[[[10, 10]]], [[[-2, 10]]]], ("nose",))
    found = carry(outside, (0, 0), (0, 0))
    assert found.xy[5].ravel().tolist() == [-2, 10]
    assert np.flatnonzero(found.known[:, 0, 0]).tolist() == [0, 1, 2, 3, 4, 5]


def test_each_direction_reads_only_what_it_needs() -> None:
    video = np.broadcast_to(np.arange(T, dtype=np.uint8)[:, None, None, None], VIDEO.shape).copy()
    trackers = [Drift((0, 0)), Drift((0, 0))]
    queue, calls = iter(trackers), []
    labels = Keypoints([3, 7], np.full((2, 1, 1, 2), 9), ("nose",))
    propagate_keypoints(
        Video(video),
        labels,
        tracker=lambda: next(queue),
        progress=lambda *call: calls.append(call),  # type: ignore
    )
    assert trackers[0].seen == list(range(3, T))
    assert trackers[1].seen == list(range(7, -1, -1))
    assert calls == [(done, 16) for done in range(1, 17)]


def test_a_network_finds_the_way_back(tmp_path: Path) -> None:
    """The real tracker: random weights, frames from a folder, whose names the result bears."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    for index in range(4):
        cv2.imwrite(str(tmp_path / f"img{index * 3}.png"), rng.integers(0, 255, (32, 48, 3), np.uint8))
    labels = Keypoints([1], [[[[20.5, 12.25], NAN]]], ("nose", "tail"), images=("labeled-data/x/img3.png",))
    found = propagate_keypoints(tmp_path, labels, model=PointNetwork(TINY).eval(), short_side=None, dtype=torch.float32)
    assert found.images == tuple(f"labeled-data/x/img{index * 3}.png" for index in range(4))
    assert found.known[:, 0].tolist() == [[True, False]] * 4
    np.testing.assert_array_equal(found.xy[1], labels.xy[0])
    assert found.size == (32, 48)
    part = Video(tmp_path)[2:0:-1]
    found = propagate_keypoints(part, place_in_video(labels, part), model=PointNetwork(TINY).eval(), short_side=None)
    assert found.images == ("labeled-data/x/img6.png", "labeled-data/x/img3.png")


def test_bad_labels() -> None:
    one = Keypoints([1], [[[[5, 5]]]], ("nose",))
    for labels, message in [
        (replace(one, frame=[T]), "labels of frame 11, but the video has 11 frames"),
        (replace(one, frame=[-1], images=("a.png",)), "labels of frame -1"),
        (replace(one, xy=np.full((1, 1, 1, 2), np.nan), visible=None), "no labelled joint"),
        (replace(one, labelled=np.zeros((1, 1, 1), bool)), "no labelled joint"),
        (replace(one, xy=[[[[500, 5]]]]), r"frame 1, nose \(x=500, y=5\) lies far outside the 60x40 frame"),
        (replace(one, xy=[[[[-1, 5]]]]), "every labelled joint lies outside"),
    ]:
        with pytest.raises(InputError, match=message):
            carry(labels, (0, 0), (0, 0))


def test_a_live_video_is_refused() -> None:
    video = Video(VIDEO)
    object.__setattr__(video, "is_live", True)
    with pytest.raises(LiveError):
        propagate_keypoints(video, Keypoints([1], [[[[5, 5]]]], ("nose",)))


def test_suggestions_are_the_least_sure_spread_out() -> None:
    sure = np.ones((100, 1, 2), np.float32)
    sure[40:60] = np.linspace(0.2, 0.4, 20)[:, None, None]
    sure[45, 0, 1] = 0.01
    sure[80] = 0.5
    points = Keypoints(np.arange(100), np.ones((100, 1, 2, 2)), ("nose", "tail"), confidence=sure, labelled=sure == 1)
    found = suggest_frames(points, 3)
    assert found[0].frame == 45
    assert found[0].joint == "tail"
    assert found[0].confidence == pytest.approx((sure[45, 0, 0] + 0.01) / 2)
    assert min(abs(a.frame - b.frame) for a in found for b in found if a is not b) > 100 // 24
    assert [one.confidence for one in found] == sorted(one.confidence for one in found)
    assert len(suggest_frames(points, 1000)) == 21
    assert suggest_frames(points, 0) == []
    with pytest.raises(InputError, match="-1 suggestions"):
        suggest_frames(points, -1)
