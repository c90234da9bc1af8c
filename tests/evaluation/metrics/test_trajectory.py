"""Survival and median trajectory error against hand-computed cases and a slow reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samepoint.errors import InputError
from samepoint.evaluation.metrics.trajectory import TrajectoryScore, trajectory_errors
from tests.reference.tapvid_metrics import slow_trajectories


def errors_of(distances, hidden=None, query=0, mode="first"):
    """One track whose prediction lies so far from the truth in each frame."""
    truth = np.zeros((1, len(distances), 2))
    guess = truth + np.array(distances, float)[:, None] * [0.6, 0.8]
    gone = np.zeros((1, len(distances)), bool) if hidden is None else np.array([hidden], bool)
    return trajectory_errors([query], truth, gone, guess, mode).metrics()


def test_a_track_lasts_until_its_error_is_above_50_px():
    assert errors_of([0, 50, 1, 1, 1])["survival"] == 1
    assert errors_of([0, 1, 1, 50.1, 1])["survival"] == 0.5
    assert errors_of([0, 99, 1, 1, 1])["survival"] == 0


def test_hidden_frames_are_not_judged():
    scores = errors_of([0, 99, 1, 3, 2], [0, 1, 0, 0, 0])
    assert scores == {"survival": 1.0, "MTE": 2.0}


def test_strided_tracks_last_outwards_from_the_query():
    """Frames 1 and 3 hold, then 0 and 4 fail: two of four."""
    scores = errors_of([60, 2, 0, 4, 70], query=2, mode="strided")
    assert scores == {"survival": 0.5, "MTE": pytest.approx(32)}
    assert errors_of([60, 2, 0, 4, 70], query=2) == {"survival": 0.5, "MTE": pytest.approx(37)}


def test_no_prediction_is_infinitely_far():
    assert errors_of([0, np.nan, 1, 3]) == {"survival": 0.0, "MTE": 3.0}


def test_a_track_that_is_mostly_not_predicted_has_no_median_error_and_is_counted():
    truth = np.zeros((2, 4, 2))
    guess = truth + np.array([3, 4])
    guess[0, 1:3] = np.nan
    errors = trajectory_errors([0, 0], truth, np.zeros((2, 4), bool), guess)
    assert errors.metrics() == {"survival": 0.5, "MTE": 5.0}
    score = TrajectoryScore()
    score.update(errors)
    score.update(trajectory_errors([0], truth[:1], np.zeros((1, 4), bool), guess[:1]))
    assert score.compute()["MTE"] == 5.0
    assert (score.lost(), score.left_out()) == (2, {"survival": 0, "MTE": 1})


def test_means_over_videos_leave_out_what_has_no_frame():
    truth = np.zeros((1, 3, 2))
    hidden = np.zeros((1, 3), bool)
    score, elsewhere = TrajectoryScore(), TrajectoryScore()
    assert np.isnan(score.compute()["MTE"])
    score.update(trajectory_errors([0], truth, hidden, truth + 3))
    elsewhere.update(trajectory_errors([0], truth, ~hidden, truth))
    elsewhere.update(trajectory_errors([2], truth, hidden, truth))
    score.merge(elsewhere)
    assert score.compute() == {"survival": 1.0, "MTE": pytest.approx(np.hypot(3, 3))}
    assert score.left_out() == {"survival": 1, "MTE": 2}


@settings(max_examples=80)
@given(
    seed=st.integers(0, 2**32 - 1),
    tracks=st.integers(0, 4),
    frames=st.integers(1, 8),
    share_hidden=st.sampled_from([0.0, 0.4, 1.0]),
    mode=st.sampled_from(["first", "strided"]),
)
def test_equal_to_the_slow_reference(seed, tracks, frames, share_hidden, mode):
    rng = np.random.default_rng(seed)
    query = rng.integers(0, frames, tracks)
    truth = rng.uniform(0, 256, (tracks, frames, 2))
    guess = truth + rng.normal(0, 25, truth.shape)
    hidden = rng.random((tracks, frames)) < share_hidden
    scores = trajectory_errors(query, truth, hidden, guess, mode).metrics()
    expected = slow_trajectories(query, truth, hidden, guess, mode)
    assert tuple(scores.values()) == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_bad_input_is_named():
    zeros = np.zeros((1, 2, 2))
    with pytest.raises(InputError, match="'last': expected one of first, strided"):
        trajectory_errors([0], zeros, np.zeros((1, 2)), zeros, "last")
    with pytest.raises(InputError, match=r"got \(1, 1, 2\) beside \(1, 2\)"):
        trajectory_errors([0], zeros, np.zeros((1, 2)), zeros[:, :1])
