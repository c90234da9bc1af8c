"""PCK against hand-computed cases and a loop over points."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samepoint.errors import InputError
from samepoint.evaluation.pck import PckScore, badja_counts, jhmdb_counts, joint_box_scale, pck_counts


def test_badja_limit_is_strict():
    """A mask of 2,500 px at 0.2 allows less than 10 px."""
    truth = np.zeros((2, 2, 2))
    guess = np.array([[[0, 0], [10, 0]], [[0, 0], [0, 9.99]]])
    counts = badja_counts(guess, truth, np.ones((2, 2)), [2500, 2500])
    np.testing.assert_array_equal(counts.correct, [[0, 1]])
    np.testing.assert_array_equal(counts.total, [1, 1])


def test_badja_visible_scores_joints_seen_at_the_start():
    visible = np.array([[1, 1, 0, 1], [0, 1, 1, 1]], bool)
    zeros = np.zeros((2, 4, 2))
    np.testing.assert_array_equal(badja_counts(zeros, zeros, visible, [9] * 4, "badja-pips").total, [2, 3])
    np.testing.assert_array_equal(badja_counts(zeros, zeros, visible, [9] * 4, "badja-visible").total, [2, 0])


def test_an_empty_mask_is_left_out_and_counted():
    zeros = np.zeros((2, 3, 2))
    counts = badja_counts(zeros, zeros, np.ones((2, 3)), [4, 0, 4])
    assert (counts.total.sum(), counts.unscaled) == (2, 2)


def test_jhmdb_limit_is_not_strict_and_frame_0_is_skipped():
    """A box of 30 x 40 px gives B = 30: an error of 3 px is correct at 0.1."""
    truth = np.tile(np.array([[[5.0, 5]], [[35, 45]]]), (1, 2, 1))
    np.testing.assert_allclose(joint_box_scale(truth), [30, 30])
    guess = truth + np.array([[[99, 0], [3, 0]], [[99, 0], [3.001, 0]]])
    counts = jhmdb_counts(guess, truth, (240, 320))
    np.testing.assert_array_equal(counts.correct, [[1, 0], [1, 1]])
    np.testing.assert_array_equal(counts.total, [1, 1])
    assert counts.fractions() == {0.1: 0.5, 0.2: 1.0}


def test_jhmdb_inside_leaves_out_joints_beyond_the_picture():
    truth = np.array([[[5.0, 5], [320.0, 5]], [[5, 200], [5, 240.5]]])
    np.testing.assert_array_equal(jhmdb_counts(truth, truth, (240, 320), "jhmdb-dev-inside").total, [1, 0])
    np.testing.assert_array_equal(jhmdb_counts(truth, truth, (240, 320), "jhmdb-dev").total, [1, 1])


def test_no_prediction_is_wrong():
    truth = np.zeros((1, 2, 2))
    assert pck_counts(np.full((1, 2, 2), np.nan), truth, [[1, 1]], [5, 5], (1.0,), strict=False).fractions() == {1: 0}


def test_the_score_is_a_mean_over_videos_that_hold_something():
    zeros = np.zeros((3, 4, 2))

    def video(shift, counted):
        return pck_counts(zeros + shift, zeros, np.full((3, 4), counted), [10] * 4, (0.1, 0.2), strict=True)

    score = PckScore({"good": video(0, True)})
    elsewhere = PckScore({"fair": video(1, True), "empty": video(0, False)})
    score.merge(elsewhere)
    assert score.compute() == {0.1: 0.5, 0.2: 1.0}
    assert score.left_out() == 1
    assert math.isnan(elsewhere.videos["empty"].fractions()[0.1])
    with pytest.raises(InputError, match="'fair' is already"):
        score.merge(elsewhere)
    with pytest.raises(InputError, match="'other' was scored at"):
        score.add("other", pck_counts(zeros, zeros, np.ones((3, 4)), [1] * 4, (0.3,), strict=True))
    assert PckScore().compute() == {}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 6), st.booleans())
def test_equal_to_a_loop_over_points(seed, joints, frames, strict):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 9, (joints, frames, 2)).astype(float)
    guess = truth + rng.integers(-3, 4, truth.shape)
    counted, scale = rng.random((joints, frames)) < 0.6, rng.integers(0, 20, frames).astype(float)
    counts = pck_counts(guess, truth, counted, scale, (0.25, 0.5), strict=strict)
    for a, alpha in enumerate((0.25, 0.5)):
        for j in range(joints):
            used = [t for t in range(frames) if counted[j, t] and scale[t] > 0]
            errors = [(math.dist(guess[j, t], truth[j, t]), alpha * scale[t]) for t in used]
            assert counts.correct[a, j] == sum(e < limit or (e == limit and not strict) for e, limit in errors)
            assert counts.total[j] == len(used)


def test_bad_input_is_named():
    zeros = np.zeros((1, 2, 2))
    with pytest.raises(InputError, match=r"\(J, T, 2\) twice"):
        pck_counts(zeros[:, :1], zeros, np.ones((1, 2)), [1, 1], (0.1,), strict=True)
    with pytest.raises(InputError, match="need counted"):
        pck_counts(zeros, zeros, np.ones((1, 2)), [1], (0.1,), strict=True)
    with pytest.raises(InputError, match="badja-fgvc"):
        badja_counts(zeros, zeros, np.ones((1, 2)), [1, 1], "badja-fgvc")
    with pytest.raises(InputError, match="at least one joint"):
        joint_box_scale(np.zeros((0, 2, 2)))
    with pytest.raises(InputError, match="jhmdb-vfs"):
        jhmdb_counts(zeros, zeros, (1, 1), "jhmdb-vfs")
