"""PCK of picture pairs against hand-computed cases and a loop over points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samepoint.errors import InputError
from samepoint.evaluation.metrics.semantic import (
    PROTOCOLS,
    Protocol,
    SemanticScore,
    into_space,
    pair_counts,
    pair_length,
)
from tests.reference.pck_metrics import slow_pair

WILLOW = np.array([[50.0, 20], [150, 80], [100, 50]])


def test_lengths_by_keypoints():
    """Row 11: x range 50 to 150, y range 20 to 80."""
    assert pair_length("kpbox", (300, 300), keypoints=WILLOW) == 100
    assert pair_length("kpbox-padded", (300, 300), keypoints=WILLOW) == 151


def test_padding_ends_at_forty_keypoints():
    points = np.tile(WILLOW, (14, 1))
    assert pair_length("kpbox-padded", (300, 300), keypoints=points[:39]) == 151
    assert pair_length("kpbox-padded", (300, 300), keypoints=points[:40]) == 100


def test_lengths_in_each_space():
    assert pair_length("img", (100, 200)) == 200
    assert pair_length("img", (100, 200), space="square224") == 224
    assert pair_length("bbox", (100, 200), box=(10, 20, 60, 90)) == 70
    assert pair_length("bbox", (100, 200), box=(10, 20, 60, 90), space="square200") == 140
    assert pair_length("kpbox", (100, 200), keypoints=[[0, 0], [50, 20], [np.nan, 99]]) == 50
    assert np.isnan(pair_length("kpbox", (100, 200), keypoints=np.full((2, 2), np.nan)))


@pytest.mark.parametrize(("comparison", "expected"), [("le", 1), ("lt", 0)])
def test_equality_is_what_the_comparison_says(comparison, expected):
    """Row 4: an error of 4 px at a limit of 4 px."""
    protocol = Protocol("own", "img", (0.5,), comparison=comparison)
    assert pair_counts([[4, 0]], [[0, 0]], (8, 8), protocol).fractions() == {0.5: expected}


def test_a_square_makes_the_disc_an_ellipse():
    """In 100 x 200, 10 px along x are 12.8 of 256 and 10 px along y are 25.6, the limit 25.6."""
    native, square = Protocol("n", "img", (0.06,)), Protocol("s", "img", (0.06,), "square256")
    guess = [[11, 0], [0, 11]]
    np.testing.assert_array_equal(pair_counts(guess, np.zeros((2, 2)), (100, 200), native).correct, [2])
    np.testing.assert_array_equal(pair_counts(guess, np.zeros((2, 2)), (100, 200), square).correct, [1])
    np.testing.assert_allclose(into_space(guess, (100, 200), "square256"), [[14.08, 0], [0, 28.16]])


def test_the_legacy_protocol_cuts_its_queries():
    """101 of 512 is 50.5 of 256, cut to 50, which is 100 of 512; the direction is from target to source."""
    legacy = PROTOCOLS["cats-spair"]
    assert (legacy.direction, legacy.averaging, legacy.space) == ("t2s", ("pair",), "square256")
    np.testing.assert_allclose(legacy.queries([[101, 200.9]], (512, 512)), [[100, 200]])
    np.testing.assert_array_equal(PROTOCOLS["spair"].queries([[101, 200.9]], (512, 512)), [[101, 200.9]])


def test_points_without_annotation_or_length_are_not_scored():
    protocol = PROTOCOLS["pf-willow"]
    gap = WILLOW.copy()
    gap[2] = np.nan
    counts = pair_counts(np.where(np.isnan(gap), 0, gap), gap, (300, 300), protocol)
    assert (counts.total, counts.unscaled, counts.fractions()[0.1]) == (2, 0, 1)
    single = pair_counts(WILLOW[:1], WILLOW[:1], (300, 300), protocol)
    assert (single.total, single.unscaled) == (0, 1)
    assert np.isnan(single.fractions()[0.1])
    whole = pair_counts(WILLOW[:1], WILLOW[:1], (300, 300), protocol, keypoints=WILLOW)
    assert whole.total == 1
    assert pair_counts([[np.nan, 5]], WILLOW[:1], (9, 9), PROTOCOLS["pf-pascal"]).fractions()[0.1] == 0


def pair(correct, total):
    """A pair with so many correct points of so many, at two alphas."""
    guess = np.where(np.arange(total) < correct, 0, 99)[:, None] * np.ones(2)
    return pair_counts(guess, np.zeros((total, 2)), (100, 100), Protocol("p", "img", (0.1, 0.2)))


def test_averages_classes_and_difficulties():
    """Cats 1/1 and 0/3, a dog 2/4, a bird without a point."""
    pairs = [(1, 1, "cat", 0), (0, 3, "cat", 2), (2, 4, "dog", 2), (0, 0, "bird", 1)]
    score = SemanticScore((0.1, 0.2))
    assert np.isnan([*score.compute().values(), *score.compute("class-point").values()]).all()
    for correct, total, category, degree in pairs:
        part = SemanticScore((0.1, 0.2))
        part.update(pair(correct, total), category, {"occlusion": degree})
        score.merge(part)
    means = {
        "pair": (1 + 0 + 1 / 2) / 3,
        "point": 3 / 8,
        "class-pair": (1 / 2 + 1 / 2) / 2,
        "class-point": (1 / 4 + 1 / 2) / 2,
    }
    for averaging, value in means.items():
        assert score.compute(averaging) == {0.1: pytest.approx(value), 0.2: pytest.approx(value)}
    assert score.classes() == ["bird", "cat", "dog"]
    assert score.per_class("point")["cat"] == {0.1: 0.25, 0.2: 0.25}
    assert np.isnan(score.per_class()["bird"][0.1])
    assert score.per_difficulty()["occlusion=2"][0.1] == 0.25
    assert list(score.per_difficulty("point")) == ["occlusion=0", "occlusion=1", "occlusion=2"]
    assert (score.left_out(), score.unscaled()) == (1, 0)


def test_truth_fed_back_is_perfect():
    """Row 1, whatever the protocol."""
    for protocol in PROTOCOLS.values():
        score = SemanticScore(protocol.alphas)
        score.update(pair_counts(WILLOW, WILLOW, (300, 200), protocol, box=(40, 10, 160, 90)), "duck(S)")
        for averaging in protocol.averaging:
            assert set(score.compute(averaging).values()) == {1.0}


@settings(max_examples=100)
@given(
    seed=st.integers(0, 2**32 - 1),
    number=st.integers(0, 6),
    tau=st.sampled_from(["img", "bbox", "kpbox", "kpbox-padded"]),
    space=st.sampled_from(["native", "square64", "square20"]),
    comparison=st.sampled_from(["le", "lt"]),
)
def test_equal_to_the_slow_reference(seed, number, tau, space, comparison):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 20, (number, 2)).astype(float)
    guess = truth + rng.integers(-5, 6, truth.shape)
    truth[rng.random(number) < 0.2] = np.nan
    guess[rng.random(number) < 0.2] = np.nan
    size, box = tuple(int(n) for n in rng.integers(5, 25, 2)), (1, 2, *rng.integers(3, 20, 2).tolist())
    protocol = Protocol("own", tau, (0.25, 0.5), space, comparison)
    counts = pair_counts(guess, truth, size, protocol, box=box)
    for alpha, correct in zip((0.25, 0.5), counts.correct, strict=True):
        assert (correct, counts.total) == slow_pair(guess, truth, size, box, tau, space, comparison, alpha)


def test_bad_input_is_named():
    zeros = np.zeros((2, 2))
    with pytest.raises(InputError, match=r"needs the object's box \(x1, y1, x2, y2\), got None"):
        pair_counts(zeros, zeros, (9, 9), PROTOCOLS["spair"])
    with pytest.raises(InputError, match=r"needs the picture's keypoints \(N, 2\)"):
        pair_length("kpbox", (9, 9))
    with pytest.raises(InputError, match=r"\(1, 2\) predicted and \(2, 2\) annotated"):
        pair_counts(zeros[:1], zeros, (9, 9), PROTOCOLS["pf-pascal"])
    with pytest.raises(InputError, match="unknown space 'square': expected 'native' or"):
        into_space(zeros, (9, 9), "square")
    with pytest.raises(InputError, match="unknown tau 'box': expected one of img"):
        Protocol("own", "box", (0.1,))
    with pytest.raises(InputError, match="unknown comparison"):
        Protocol("own", "img", (0.1,), comparison="<")
    with pytest.raises(InputError, match="unknown averaging 'pairs'"):
        SemanticScore((0.1,)).compute("pairs")
    with pytest.raises(InputError, match="counted at"):
        SemanticScore((0.1,)).update(pair(1, 1))
    with pytest.raises(InputError, match="different settings"):
        SemanticScore((0.1,)).merge(SemanticScore((0.2,)))
