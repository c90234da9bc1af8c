"""The baselines where the motion is known, and the command on data that is here."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from benchmarks.baselines import dis_flow, lucas_kanade
from benchmarks.clips import LabelledClip

from benchmarks import accuracy
from samepoint.structures import Queries, Tracks
from tests.shared import shared_path

SHIFT = np.array([1.5, -0.75], np.float32)


@pytest.fixture(scope="module")
def moving():
    """Six frames of a smooth random texture that moves by ``SHIFT`` a frame."""
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.uniform(0, 255, (160, 160, 3)).astype(np.float32), (0, 0), 2.0)
    texture = np.clip((texture - 127) * 6 + 127, 0, 255)
    frames = []
    for t in range(6):
        move = np.array([[1, 0, SHIFT[0] * t], [0, 1, SHIFT[1] * t]], np.float32)
        frames.append(cv2.warpAffine(texture, move, (160, 160), flags=cv2.INTER_CUBIC)[16:144, 16:144])
    return np.stack(frames).round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(("tracker", "tolerance"), [(lucas_kanade, 0.1), (dis_flow, 0.35)])
def test_known_motion_is_followed_from_any_frame(moving, tracker, tolerance):
    queries = Queries(np.array([0, 2]), np.array([[50.25, 70.5], [64, 64]]), ("a", "b"))
    tracks = tracker(moving, queries)
    assert (tracks.size, tracks.names, tracks.xy.shape) == ((128, 128), ("a", "b"), (2, 6, 2))
    assert np.isnan(tracks.xy[1, :2]).all()
    assert not tracks.visible[1, :2].any()
    time = np.arange(6)[:, None]
    np.testing.assert_allclose(tracks.xy[0], queries.xy[0] + SHIFT * time, atol=tolerance)
    np.testing.assert_allclose(tracks.xy[1, 2:], queries.xy[1] + SHIFT * (time[2:] - 2), atol=tolerance)
    assert tracks.visible[0].all()
    assert tracks.visible[1, 2:].all()


@pytest.mark.parametrize("tracker", [lucas_kanade, dis_flow])
def test_most_points_are_hidden_by_a_cut(moving, tracker):
    cut = moving.copy()
    cut[3:] = cut[3:, ::-1, ::-1]
    tracks = tracker(cut, Queries.grid(6, (128, 128)))
    assert tracks.visible[:, 2].mean() > 0.9
    assert tracks.visible[:, 3].mean() < 0.5


@pytest.mark.parametrize("tracker", [lucas_kanade, dis_flow])
def test_a_point_outside_is_hidden(moving, tracker):
    tracks = tracker(moving, Queries.at([(125.5, 64)]))
    np.testing.assert_array_equal(tracks.visible[0], tracks.xy[0, :, 0] <= 128)
    assert not tracks.visible[0].all()


def standing(frames, queries):
    """A tracker that never moves."""
    xy = np.repeat(queries.xy[:, None], len(frames), axis=1)
    return Tracks.from_confidence(xy, np.ones(xy.shape[:2], np.float32), 25.0, frames.shape[1:3])


def test_points_outside_are_moved_in_and_back_unless_the_tracker_needs_no_help(moving):
    points = np.array([[-3.0, 64.0], [64, 130]], np.float32)
    asked = []

    def spy(frames, queries):
        asked.append(queries.xy)
        return standing(frames, queries)

    answer = accuracy.follow(accuracy.Clock(spy), moving, points)
    np.testing.assert_allclose(answer, np.repeat(points[:, None], 6, axis=1))
    np.testing.assert_allclose(asked[0], [[0.5, 64], [64, 127.5]])
    answer = accuracy.follow(accuracy.Clock(dis_flow), moving, points)
    np.testing.assert_allclose(answer[:, 0], points)


def test_clips_are_scored_beside_calling_everything_visible(moving):
    queries = Queries.at([(20, 20), (30, 30)])
    truth = standing(moving, queries).xy
    visible = np.array([[True] * 6, [True] * 3 + [False] * 3])
    clips = [LabelledClip("one", moving, queries, truth, visible)]

    def knowing(frames, queries):
        return Tracks.from_confidence(truth, visible, 25.0, (128, 128))

    result = accuracy.evaluate_clips(knowing, clips)
    assert result["metrics"]["OA"] == result["metrics"]["AJ"] == 100
    assert result["metrics"]["OA all visible"] == result["per_item"]["one"]["OA all visible"] == pytest.approx(70)
    assert accuracy.evaluate_clips(standing, clips)["metrics"]["OA"] == pytest.approx(70)
    text = accuracy.table("rendered", {"standing": result})
    assert "| one | 100.0 | 100.0 | 100.0 | 70.0 | 70.0 |" in text


def test_lucas_kanade_reaches_its_measured_score_on_badja():
    """The owner of the data measured 63.3 on the camel, with this protocol."""
    shared_path("data", "badja")
    result = accuracy.evaluate_badja(lucas_kanade, shared_path("data"), limit=1)
    assert list(result["per_item"]) == ["camel"]
    assert result["metrics"]["PCK@0.2"] == pytest.approx(63.3, abs=0.7)


def test_the_command_writes_its_results(tmp_path, capsys):
    data = shared_path("data")
    shared_path("data", "jhmdb", "dev")
    output = tmp_path / "results.json"
    arguments = ["--data", str(data), "--sets", "jhmdb", "--trackers", "lucas-kanade", "--limit", "2"]
    assert accuracy.main([*arguments, "-o", str(output)]) == 0
    assert "PCK@0.1 lucas-kanade" in capsys.readouterr().out
    report = json.loads(output.read_text())["sets"]["jhmdb"]["lucas-kanade"]
    assert len(report["per_item"]) == 2
    assert 0 < report["metrics"]["PCK@0.1"] <= report["metrics"]["PCK@0.2"] <= 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sets", "kinetics"], "unknown set 'kinetics'"),
        (["--trackers", "raft"], "unknown tracker 'raft'"),
        (["--sets", "badja", "--trackers", "dis-flow"], "joint_annotations: no such folder"),
        (["-o", "nowhere/r.json"], "there is no folder"),
    ],
)
def test_bad_use_is_named(tmp_path, capsys, arguments, message):
    assert accuracy.main(["--data", str(tmp_path), *arguments]) == 2
    assert message in capsys.readouterr().err
