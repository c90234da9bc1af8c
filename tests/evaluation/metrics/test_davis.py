"""J, F and J&F against the official code's output, hand values and a slow reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samepoint.errors import InputError
from samepoint.evaluation.metrics.davis import (
    METRICS,
    DavisScore,
    boundary_similarity,
    decay,
    outline,
    recall,
    region_similarity,
    sequence_scores,
    tolerance,
)
from tests.reference.mask_metrics import slow_decay, slow_f, slow_j, slow_outline, slow_recall, slow_sequence
from tests.shared import shared_path


def square(top, left, size=(480, 854), side=100):
    mask = np.zeros(size, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_the_official_scores_are_reproduced():
    with np.load(shared_path("golden", "davis_metrics.npz")) as golden:
        for guess, real, j, f in zip(golden["prediction"], golden["gt"], golden["J"], golden["F"], strict=True):
            assert region_similarity(guess, real) == pytest.approx(j, abs=1e-9)
            assert boundary_similarity(guess, real) == pytest.approx(f, abs=1e-9)


@pytest.mark.parametrize(("shift", "j", "f"), [(4, 0.923077, 1), (20, 0.666667, 0.485), (0, 1, 1)])
def test_hand_values_of_a_shifted_square(shift, j, f):
    """Section 5.2, rows 100 to 199 and columns 200 to 299."""
    guess, real = square(100, 200 + shift), square(100, 200)
    assert region_similarity(guess, real) == pytest.approx(j, abs=5e-7)
    assert boundary_similarity(guess, real) == pytest.approx(f, abs=5e-7)


def test_empty_masks():
    empty, full = np.zeros((60, 80), bool), square(10, 10, (60, 80), 30)
    assert (region_similarity(empty, empty), boundary_similarity(empty, empty)) == (1, 1)
    assert (region_similarity(empty, full), boundary_similarity(empty, full)) == (0, 0)
    assert (region_similarity(full, empty), boundary_similarity(full, empty)) == (0, 0)
    # A mask that fills the picture has no outline either.
    assert boundary_similarity(np.ones((60, 80)), empty) == 1


def test_last_row_and_column_look_one_way_only():
    mask = np.zeros((3, 3), bool)
    mask[2, 1] = mask[0, 2] = True
    np.testing.assert_array_equal(outline(mask), [[0, 1, 1], [1, 1, 0], [1, 1, 0]])


def test_the_tolerance_follows_the_picture():
    assert [tolerance(size) for size in ((480, 854), (120, 200), (240, 320), (1080, 1920))] == [8, 2, 4, 18]


def test_recall_and_decay():
    assert recall([0.5, 0.51, 1, 0]) == 0.5
    assert decay([0.7]) == 0
    # Five frames are cut at 0, 1, 2, 3, 4: the first bin holds frames 0 and 1, the last 3 and 4.
    assert decay([1, 0.5, 9, 0.25, 0]) == pytest.approx(0.75 - 0.125)
    assert np.isnan([recall([]), decay([])]).all()


def test_first_and_last_frame_are_dropped():
    real = np.stack([square(10, 10, (60, 80), 20)] * 4).astype(np.uint8)
    guess = real.copy()
    guess[[0, -1]] = 0
    assert sequence_scores(guess, real).metrics()["J&F"] == 1
    assert sequence_scores(guess, real * 255, "davis2016").metrics()["J&F"] == 1
    scores = sequence_scores(guess, real, "masks")
    np.testing.assert_array_equal(scores.J, [[1, 1, 0]])


def test_void_is_background_and_missing_objects_are_empty():
    real = np.zeros((3, 20, 30), np.uint8)
    real[:, 2:8, 2:8], real[:, 2:8, 20:26], real[:, 12:18, 2:8] = 1, 3, 255
    guess = np.where(real == 1, real, 0)
    scores = sequence_scores(guess, real)
    np.testing.assert_array_equal(scores.J, [[1], [1], [0]])
    np.testing.assert_array_equal(scores.F, [[1], [1], [0]])
    guess[1, 12:18, 2:8] = 1
    assert sequence_scores(guess, real).J[0, 0] == 0.5


def test_objects_weigh_the_same_whatever_their_sequence():
    """Three objects in one sequence (1, 0, 0) and one in another (1): half, not two thirds."""
    many = np.zeros((3, 9, 40), np.uint8)
    many[:, 2:7, 2:7], many[:, 2:7, 12:17], many[:, 2:7, 22:27] = 1, 2, 3
    one = np.where(many == 1, many, 0)
    score, elsewhere = DavisScore(), DavisScore()
    assert np.isnan(score.compute()["J&F"])
    score.update(sequence_scores(one, many))
    elsewhere.update(sequence_scores(one, one))
    elsewhere.update(sequence_scores(one[:2], one[:2]))
    elsewhere.update(sequence_scores(one * 0, one * 0))
    score.merge(elsewhere)
    result = score.compute()
    assert result == {"J&F": 0.5} | dict.fromkeys(METRICS, 0.5) | {"J_decay": 0, "F_decay": 0}
    assert (score.left_out(), score.without_objects()) == (1, 1)


def random_masks(rng, frames, shape, labels):
    """Blocks of labels, so that masks have insides; now and then an empty frame."""
    small = rng.integers(0, labels + 1, (frames, 4, 5))
    masks = np.kron(small, np.ones((3, 4), int))[:, : shape[0], : shape[1]].astype(np.uint8)
    masks[rng.random(frames) < 0.2] = 0
    return masks


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    frames=st.integers(1, 8),
    shape=st.tuples(st.integers(1, 12), st.integers(1, 20)),
    protocol=st.sampled_from(["davis2017", "davis2016", "masks"]),
)
def test_equal_to_the_slow_reference(seed, frames, shape, protocol):
    rng = np.random.default_rng(seed)
    real = random_masks(rng, frames, shape, 2)
    count = int(real[0].max())
    guess = np.minimum(random_masks(rng, frames, shape, 2), count)
    real[rng.random(real.shape) < 0.1] = 255
    if protocol == "davis2017":
        count = max((int(value) for value in real[0].ravel() if value != 255), default=0)
        guess = np.minimum(guess, count)
    objects = sequence_scores(guess, real, protocol).objects()
    expected = np.array(slow_sequence(guess, real, protocol), float).reshape(-1, 6)
    np.testing.assert_allclose(objects, expected, rtol=0, atol=1e-12)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 40), share=st.sampled_from([0.0, 0.02, 0.5, 1.0]))
def test_single_masks_equal_the_slow_reference(seed, rows, share):
    """Up to 40 x 200, where the tolerance is 2 px, with lone pixels."""
    rng = np.random.default_rng(seed)
    guess, real = (rng.random((rows, 5 * rows)) < s for s in (share, 0.02))
    assert {tuple(p) for p in np.argwhere(outline(guess))} == slow_outline(guess)
    assert region_similarity(guess, real) == pytest.approx(slow_j(guess, real), abs=1e-12)
    assert boundary_similarity(guess, real) == pytest.approx(slow_f(guess, real), abs=1e-12)


@settings(max_examples=60)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=120))
def test_recall_and_decay_equal_the_slow_reference(values):
    assert recall(values) == pytest.approx(slow_recall(values), abs=1e-12)
    assert decay(values) == pytest.approx(slow_decay(values), abs=1e-12)


def test_bad_input_is_named():
    masks = np.zeros((3, 4, 5), np.uint8)
    masks[0, 0, 0] = 1
    wrong = masks.copy()
    wrong[2, 1, 1] = 2
    with pytest.raises(InputError, match="frame 2 of the prediction holds label 2, expected 0 to 1"):
        sequence_scores(wrong, masks)
    with pytest.raises(InputError, match="label -1"):
        sequence_scores(masks.astype(int) - 1, masks)
    with pytest.raises(InputError, match="whole numbers, got float64"):
        sequence_scores(masks * 0.5, masks)
    with pytest.raises(InputError, match=r"\(3, 4, 5\) predicted and \(2, 4, 5\)"):
        sequence_scores(masks, masks[:2])
    with pytest.raises(InputError, match="expected one of davis2017"):
        sequence_scores(masks, masks, "davis")
    with pytest.raises(InputError, match=r"\(H, W\) twice"):
        region_similarity(masks, masks)
