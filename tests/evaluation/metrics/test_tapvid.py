"""TAP-Vid scores against the official code's output, hand-computed cases and a slow reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samepoint.errors import InputError
from samepoint.evaluation.metrics.tapvid import (
    TapvidScore,
    sample_queries_first,
    sample_queries_strided,
    tapvid_counts,
    tapvid_metrics,
    to_raster,
)
from tests.reference.tapvid_metrics import slow_metrics, slow_track_metrics
from tests.shared import shared_path

OFFICIAL = {"AJ": "average_jaccard", "delta_avg": "average_pts_within_thresh", "OA": "occlusion_accuracy"}
OFFICIAL |= {f"delta_{d}": f"pts_within_{d}" for d in (1, 2, 4, 8, 16)}
OFFICIAL |= {f"J_{d}": f"jaccard_{d}" for d in (1, 2, 4, 8, 16)}


@pytest.fixture(scope="module")
def golden():
    with np.load(shared_path("golden", "tapvid_metrics.npz")) as archive:
        return dict(archive)


@pytest.mark.parametrize("mode", ["first", "strided"])
def test_the_official_scores_are_reproduced(golden, mode):
    fields = ("gt_xy", "gt_occluded", "pred_xy", "pred_occluded")
    arrays = [golden[f"{mode}_{name}"] for name in fields]
    scores = tapvid_metrics(golden[f"{mode}_query_tyx"][:, 0], *arrays, mode)
    assert set(scores) == set(OFFICIAL)
    for ours, theirs in OFFICIAL.items():
        assert scores[ours] == pytest.approx(float(golden[f"{mode}_metric_{theirs}"]), abs=1e-9), ours


@pytest.mark.parametrize(("mode", "sample"), [("first", sample_queries_first), ("strided", sample_queries_strided)])
def test_the_official_queries_are_sampled(golden, mode, sample):
    queries = sample(golden["points_xy"], golden["occluded"])
    expected = golden[f"{mode}_query_tyx"]
    np.testing.assert_array_equal(queries.frame, expected[:, 0])
    np.testing.assert_allclose(queries.xy, expected[:, :0:-1], atol=1e-9)
    np.testing.assert_allclose(golden["points_xy"][queries.track], golden[f"{mode}_gt_xy"], atol=1e-9)
    np.testing.assert_array_equal(golden["occluded"][queries.track], golden[f"{mode}_gt_occluded"])


def one_track(query):
    """Rows 2 and 3 of the acceptance tests: visible 1,1,0,1, said visible 1,1,1,0, errors 0.5 and 3 px."""
    truth = np.zeros((1, 4, 2))
    guess = truth + np.array([[0, 0], [0.5, 0], [0, 0], [0, 3]])
    return np.array([query]), truth, np.array([[0, 0, 1, 0]], bool), guess, np.array([[0, 0, 0, 1]], bool)


def test_hand_computed_track_queried_in_frame_0():
    scores = tapvid_metrics(*one_track(0))
    assert [scores[f"delta_{d}"] for d in (1, 2, 4, 8, 16)] == [0.5, 0.5, 1, 1, 1]
    assert scores["delta_avg"] == pytest.approx(0.8)
    assert scores["OA"] == pytest.approx(1 / 3)
    assert scores["AJ"] == pytest.approx(1 / 3)


def test_hand_computed_track_queried_in_frame_1():
    first = tapvid_metrics(*one_track(1))
    assert (first["delta_avg"], first["OA"], first["AJ"]) == pytest.approx((0.6, 0, 0))
    strided = tapvid_metrics(*one_track(1), "strided")
    assert (strided["delta_avg"], strided["OA"], strided["AJ"]) == pytest.approx((0.8, 1 / 3, 1 / 3))


def test_an_error_of_exactly_a_threshold_is_outside():
    guess = np.array([[[0, 0], [4, 0]]], np.float32)
    scores = tapvid_metrics([0], np.zeros((1, 2, 2)), np.zeros((1, 2), bool), guess, np.zeros((1, 2), bool))
    assert (scores["delta_4"], scores["delta_8"]) == (0, 1)


def visible_video(tracks, error, variant="tapvid"):
    truth = np.zeros((tracks, 3, 2))
    hidden = np.zeros((tracks, 3), bool)
    return tapvid_counts(np.zeros(tracks), truth, hidden, truth + error, hidden, variant=variant)


@pytest.mark.parametrize(("variant", "expected"), [("tapvid", 0.5), ("tapvid-track", 0.5), ("tapvid-pooled", 0.1)])
def test_videos_weigh_the_same_unless_pooled(variant, expected):
    """Row 5 of the acceptance tests."""
    score, elsewhere = TapvidScore(variant), TapvidScore(variant)
    score.update(visible_video(1, 0, variant))
    elsewhere.update(visible_video(9, 100, variant))
    score.merge(elsewhere)
    assert score.compute()["delta_avg"] == pytest.approx(expected)
    with pytest.raises(InputError, match="counts for"):
        score.update(visible_video(1, 0, "tapvid" if variant != "tapvid" else "tapvid-track"))


def test_tracks_weigh_the_same_in_the_legacy_variant():
    """A track of one visible frame (right) beside one of three (wrong): a quarter when pooled, half by track."""
    truth, hidden = np.zeros((2, 4, 2)), np.array([[0, 0, 1, 1], [0, 0, 0, 0]], bool)
    guess = truth + np.array([[[0]], [[99]]])
    arguments = ([0, 0], truth, hidden, guess, hidden)
    assert tapvid_metrics(*arguments)["delta_avg"] == 0.25
    assert tapvid_metrics(*arguments, variant="tapvid-track")["delta_avg"] == 0.5


def test_the_legacy_variant_scores_frames_before_the_query():
    """Hidden before its query in frame 2 and wrongly called visible there: official OA 1, legacy 1/3."""
    truth, hidden = np.zeros((1, 4, 2)), np.array([[1, 1, 0, 0]], bool)
    shown = np.zeros((1, 4), bool)
    official = tapvid_metrics([2], truth, hidden, truth, shown)
    legacy = tapvid_metrics([2], truth, hidden, truth, shown, variant="tapvid-track")
    assert (official["OA"], official["AJ"], official["delta_avg"]) == (1, 1, 1)
    assert (legacy["OA"], legacy["AJ"], legacy["delta_avg"]) == pytest.approx((1 / 3, 1 / 3, 1))


def test_corners_become_the_raster_of_256():
    """Row 6: points (0, 0) and (1, 1) of a 480 x 854 video."""
    np.testing.assert_array_equal(to_raster([[0, 0], [1, 1]]), [[0, 0], [256, 256]])
    np.testing.assert_array_equal(to_raster([[0.5, 0.25]], (480, 854)), [[427, 120]])


def test_truth_fed_back_is_perfect():
    rng = np.random.default_rng(0)
    truth, hidden = rng.uniform(0, 256, (6, 9, 2)), rng.random((6, 9)) < 0.3
    for mode, sample in (("first", sample_queries_first), ("strided", sample_queries_strided)):
        queries = sample(truth, hidden)
        points, gone = truth[queries.track], hidden[queries.track]
        assert set(tapvid_metrics(queries.frame, points, gone, points, gone, mode).values()) == {1.0}


def test_everything_said_hidden():
    """AJ is 0 and OA the share of hidden points, as section 2.3 states."""
    rng = np.random.default_rng(1)
    truth, hidden = rng.uniform(0, 256, (6, 9, 2)), rng.random((6, 9)) < 0.3
    scores = tapvid_metrics(np.zeros(6), truth, hidden, truth, np.ones_like(hidden))
    assert scores["AJ"] == 0
    assert scores["OA"] == pytest.approx(hidden[:, 1:].mean())


@pytest.mark.parametrize("variant", ["tapvid", "tapvid-track"])
def test_a_video_with_nothing_to_score_is_left_out_and_counted(variant):
    one = np.zeros((1, 1))
    score = TapvidScore(variant)
    assert np.isnan(score.compute()["OA"])
    assert score.left_out()["AJ"] == 0
    score.update(tapvid_counts([0], np.zeros((1, 1, 2)), one, np.zeros((1, 1, 2)), one, variant=variant))
    assert np.isnan(score.compute()["AJ"])
    score.update(visible_video(2, 0, variant))
    assert score.compute()["AJ"] == 1.0
    assert score.left_out()["AJ"] == 1


def test_nothing_at_all_is_nan_when_pooled():
    assert np.isnan(list(TapvidScore("tapvid-pooled").compute().values())).all()


@settings(max_examples=80)
@given(
    seed=st.integers(0, 2**32 - 1),
    tracks=st.integers(0, 5),
    frames=st.integers(1, 8),
    share_hidden=st.sampled_from([0.0, 0.4, 1.0]),
    share_said=st.sampled_from([0.0, 0.5, 1.0]),
    mode=st.sampled_from(["first", "strided"]),
)
def test_equal_to_the_slow_reference(seed, tracks, frames, share_hidden, share_said, mode):
    rng = np.random.default_rng(seed)
    query = rng.integers(0, frames, tracks)
    truth = rng.uniform(0, 30, (tracks, frames, 2))
    guess = truth + np.round(rng.normal(0, 4, truth.shape))
    hidden, said = rng.random((tracks, frames)) < share_hidden, rng.random((tracks, frames)) < share_said
    scores = tapvid_metrics(query, truth, hidden, guess, said, mode)
    expected = slow_metrics(query, truth, hidden, guess, said, mode)
    assert set(scores) == set(expected)
    legacy = tapvid_metrics(query, truth, hidden, guess, said, mode, "tapvid-track")
    by_track = slow_track_metrics(query, truth, hidden, guess, said)
    for name, value in expected.items():
        assert scores[name] == pytest.approx(value, abs=1e-12, nan_ok=True), name
        assert legacy[name] == pytest.approx(by_track[name], abs=1e-12, nan_ok=True), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "last"}, "'last': expected one of first, strided"),
        ({"variant": "pips2"}, "'pips2': expected one of tapvid"),
        ({"query_frame": [np.nan]}, "frame is not a number"),
        ({"gt_xy": np.full((1, 4, 2), np.nan)}, "position is not a number"),
        ({"query_frame": [9]}, "outside the video"),
        ({"query_frame": [0, 1]}, r"expected \(1,\)"),
        ({"pred_xy": np.zeros((1, 5, 2)), "pred_occluded": np.zeros((1, 5))}, "must be equal"),
        ({"gt_occluded": np.zeros((1, 3))}, r"\(N, T, 2\)"),
    ],
)
def test_bad_input_is_named(change, message):
    good = dict(zip(("query_frame", "gt_xy", "gt_occluded", "pred_xy", "pred_occluded"), one_track(0), strict=True))
    with pytest.raises(InputError, match=message):
        tapvid_metrics(**(good | change))


def test_stride_must_be_positive():
    with pytest.raises(InputError, match="stride"):
        sample_queries_strided(np.zeros((1, 3, 2)), np.zeros((1, 3)), stride=0)
