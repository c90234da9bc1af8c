"""PCK against hand-computed cases and a loop over points."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samepoint.errors import InputError
from samepoint.evaluation.metrics.pck import (
    AVERAGES,
    FIRST_FRAME_COUNTS,
    PckScore,
    badja_counts,
    jhmdb_counts,
    joint_box_scale,
    pck_counts,
)
from tests.reference.pck_metrics import slow_badja, slow_jhmdb


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
    counts = jhmdb_counts(guess, truth, (240, 320), "jhmdb-dev", (0.1, 0.2))
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


@pytest.mark.parametrize("protocol", sorted(AVERAGES))
def test_truth_fed_back_is_perfect(protocol):
    """Row 1, whatever the protocol."""
    truth = np.random.default_rng(3).integers(20, 200, (15, 6, 2)).astype(float)
    if protocol.startswith("badja"):
        counts = badja_counts(truth, truth, np.ones((15, 6)), [900] * 6, protocol)
    else:
        counts = jhmdb_counts(truth, truth, (240, 320), protocol)
    score = PckScore(protocol)
    score.update(counts)
    assert set(score.compute().values()) == {1.0}
    assert counts.total.sum() == 15 * (6 if protocol in FIRST_FRAME_COUNTS else 5)


def test_badja_counts_frame_0_only_by_its_legacy_name():
    """Two of two joints are given in frame 0, one of two is right in frame 1."""
    zeros = np.zeros((2, 2, 2))
    guess = np.array([[[0, 0], [0, 0]], [[0, 0], [50, 0]]])
    seen = np.ones((2, 2))
    assert badja_counts(guess, zeros, seen, [100, 100], "badja-pips").fractions() == {0.2: 0.5}
    assert badja_counts(guess, zeros, seen, [100, 100], "badja-fgvc").fractions() == {0.2: 0.75}


def test_badja_fgvc_truncates_the_annotation():
    """y = 27 of 1080 rows is exactly 8 at 320, which float32 may miss by a hair; y = 26 is 7.7, cut to 7."""
    truth = np.array(
        [[[0, 0], [0, np.float32(27) * np.float32(320 / 1080)], [0, np.nextafter(8, 0)], [0, 26 * 8 / 27]]]
    )
    guess = np.array([[[0, 0], [0, 9.999], [0, 9.999], [0, 8.999]]])
    counts = badja_counts(guess, truth, np.ones((1, 4)), [100] * 4, "badja-fgvc")
    np.testing.assert_array_equal(counts.correct, [[4]])
    counts = badja_counts(guess + np.array([0, 0.002]), truth, np.ones((1, 4)), [100] * 4, "badja-fgvc")
    np.testing.assert_array_equal(counts.correct, [[1]])


def test_badja_3px_needs_no_mask():
    truth = np.zeros((1, 4, 2))
    guess = truth + np.array([[[0, 0], [2.99, 0], [3, 0], [0, 1]]])
    assert badja_counts(guess, truth, np.ones((1, 4)), [0, 0, 9, 9], "badja-3px").fractions() == {3.0: 2 / 3}


def test_what_each_jhmdb_protocol_counts():
    """Joint 1 leaves the picture in frame 1, joint 2 starts outside; joint 0 is predicted at x = 0.5 in frame 2."""
    truth = np.array([[[5.0, 5]] * 3, [[300, 200], [400, 200], [300, 200]], [[-9, 9], [9, 9], [9, 9]]])
    guess = truth.copy()
    guess[0, 2] = [0.5, 5]
    guess[1, 1] = np.nan
    expected = {
        "jhmdb-vfs": [2, 2, 2],
        "jhmdb-crw": [2, 1, 2],
        "jhmdb-tapnet": [3, 3, 0],
        "jhmdb-strict": [2, 1, 0],
        "jhmdb-dev": [2, 2, 2],
        "jhmdb-dev-inside": [2, 1, 2],
    }
    for protocol, total in expected.items():
        np.testing.assert_array_equal(jhmdb_counts(guess, truth, (240, 320), protocol).total, total, protocol)


def test_jhmdb_position_of_matlab():
    """Row 7: pos_img 1.0 is raster 0.5, which is inside for every protocol."""
    truth = np.tile(np.array([[[1.0, 1.0]], [[31.0, 41.0]]]) - 0.5, (1, 2, 1))
    for protocol in ("jhmdb-strict", "jhmdb-tapnet", "jhmdb-dev-inside"):
        assert jhmdb_counts(truth, truth, (240, 320), protocol).total[0] > 0


def test_a_box_without_extent_is_left_out_and_counted():
    """In frame 1 one single joint is inside: there is no length."""
    truth = np.array([[[5.0, 5], [5, 5], [5, 5]], [[50, 50], [-50, 50], [50, 50]]])
    counts = jhmdb_counts(truth, truth, (240, 320), "jhmdb-strict")
    assert (counts.total.tolist(), counts.unscaled) == ([1, 1], 1)
    score = PckScore("jhmdb-strict")
    score.update(counts)
    assert (score.unscaled(), score.left_out(), score.compute()[0.1]) == (1, 0, 1.0)


def counted(correct, total, alphas=(0.2,)):
    """Counts of joints with so many correct points of so many."""
    truth = np.zeros((len(total), max([*total, 1]), 2))
    use = np.arange(truth.shape[1]) < np.array(total)[:, None]
    guess = truth + np.where(np.arange(truth.shape[1]) < np.array(correct)[:, None], 0, 99)[..., None]
    return pck_counts(guess, truth, use, [10] * truth.shape[1], alphas, strict=True)


@pytest.mark.parametrize(
    ("protocol", "expected", "left_out"),
    [("badja-pips", (1 / 3 + 1) / 2, 1), ("badja-fgvc", 2 / 4, 0), ("jhmdb-strict", (2 / 3 + 0) / 2, 1)],
)
def test_protocols_average_videos_points_or_joints(protocol, expected, left_out):
    """Videos of 1/3 and 1/1 and an empty one; joints of 2/3 and 0/1 and one never scored."""
    videos = [counted([1, 0, 0], [2, 1, 0]), counted([1, 0, 0], [1, 0, 0]), counted([0, 0, 0], [0, 0, 0])]
    whole, parts = PckScore(protocol, (0.2,)), [PckScore(protocol, (0.2,)) for _ in videos]
    assert math.isnan(whole.compute()[0.2])
    for video, part in zip(videos, parts, strict=True):
        part.update(video)
        whole.merge(part)
    assert whole.compute() == {0.2: pytest.approx(expected)}
    assert whole.left_out() == left_out


def test_scores_that_do_not_belong_together_are_refused():
    score = PckScore("jhmdb-vfs", (0.2,))
    score.update(counted([1], [1]))
    with pytest.raises(InputError, match="counted at"):
        score.update(counted([1], [1], (0.3,)))
    with pytest.raises(InputError, match="shape"):
        score.update(counted([1, 1], [1, 1]))
    with pytest.raises(InputError, match="different settings"):
        score.merge(PckScore("jhmdb-crw", (0.2,)))
    with pytest.raises(InputError, match="jhmdb-vsf"):
        PckScore("jhmdb-vsf")
    assert PckScore("badja-3px").compute().keys() == {3.0}


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    frames=st.integers(1, 5),
    share_visible=st.sampled_from([0.0, 0.6, 1.0]),
    protocol=st.sampled_from(["badja-pips", "badja-visible", "badja-3px", "badja-fgvc"]),
)
def test_badja_equals_its_slow_reference(seed, frames, share_visible, protocol):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 1080, (4, frames, 2)) * 8 / 27
    guess = truth + rng.integers(-4, 5, truth.shape)
    guess[rng.random((4, frames)) < 0.1] = np.nan
    visible = rng.random((4, frames)) < share_visible
    area = rng.integers(0, 500, frames) * (rng.random(frames) < 0.8)
    counts = badja_counts(guess, truth, visible, area, protocol)
    assert (counts.correct.sum(), counts.total.sum()) == slow_badja(guess, truth, visible, area, protocol)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    frames=st.integers(1, 4),
    protocol=st.sampled_from(
        ["jhmdb-vfs", "jhmdb-crw", "jhmdb-tapnet", "jhmdb-strict", "jhmdb-dev", "jhmdb-dev-inside"]
    ),
)
def test_jhmdb_equals_its_slow_reference(seed, frames, protocol):
    rng = np.random.default_rng(seed)
    truth = rng.integers(-4, 24, (3, frames, 2)) + rng.choice([0, 0.5], (3, frames, 2))
    guess = truth + rng.integers(-3, 4, truth.shape)
    guess[rng.random((3, frames)) < 0.2] = rng.choice([np.nan, -1, 0, 0.5])
    counts = jhmdb_counts(guess, truth, (16, 20), protocol, (0.2,))
    expected = slow_jhmdb(guess, truth, (16, 20), protocol, 0.2)
    np.testing.assert_array_equal(np.stack([counts.correct[0], counts.total], axis=1), expected)


@settings(max_examples=60)
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
    with pytest.raises(InputError, match="unknown BADJA protocol 'badja': expected one of badja-pips"):
        badja_counts(zeros, zeros, np.ones((1, 2)), [1, 1], "badja")
    with pytest.raises(InputError, match="not a number"):
        badja_counts(zeros, zeros + np.nan, np.ones((1, 2)), [1, 1])
    with pytest.raises(InputError, match="need within"):
        joint_box_scale(zeros, np.ones((2, 2)))
    with pytest.raises(InputError, match="at least one joint"):
        joint_box_scale(np.zeros((0, 2, 2)))
    with pytest.raises(InputError, match="unknown JHMDB protocol 'jhmdb'"):
        jhmdb_counts(zeros, zeros, (1, 1), "jhmdb")
