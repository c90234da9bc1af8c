"""Sums over items and processes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samepoint.errors import InputError
from samepoint.evaluation.metrics.sums import Score, Sums, divide, mean_known


@settings(max_examples=60)
@given(st.lists(st.one_of(st.floats(0, 1), st.floats(0, 500), st.just(float("nan"))), max_size=30), st.randoms())
def test_neither_order_nor_sharing_changes_a_bit(values, random):
    whole, total = Sums(), Sums()
    for value in values:
        whole.item("x", [value, 1 - value])
    shuffled = list(values)
    random.shuffle(shuffled)
    for process in range(3):
        part = Sums()
        for value in shuffled[process::3]:
            part.item("x", [value, 1 - value])
        total.add(part.arrays)
    np.testing.assert_array_equal(whole.mean("x"), total.mean("x"))
    known = [value for value in values if value == value]
    if values:
        expected = [np.mean(known), 1 - np.mean(known)] if known else [np.nan] * 2
        np.testing.assert_allclose(whole.mean("x"), expected, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(whole.left_out("x"), [len(values) - len(known)] * 2)


@pytest.mark.parametrize("value", [0.0, 1.0, 1 / 3, 0.1, 2 / 3, 1e-9, 123.456])
def test_one_item_is_its_own_mean(value):
    sums = Sums()
    sums.item("x", value)
    assert sums.mean("x") == pytest.approx(value, rel=0, abs=2**-57)


def test_an_infinite_error_stays_infinite():
    sums = Sums()
    sums.item("x", [np.inf, 1.0])
    sums.item("x", [2.0, 2.0])
    np.testing.assert_array_equal(sums.mean("x"), [np.inf, 1.5])


def test_what_one_side_never_met_counts_as_zero():
    sums = Sums()
    sums.count("a", 1)
    sums.add({"a": [2, 3][0], "b": [4, 5]})
    assert sums.total("a") == 3
    np.testing.assert_array_equal(sums.total("b"), [4, 5])
    assert (sums.total("c", 7), list(sums.groups("")), sums.left_out("c")) == (7, ["a", "b"], 0)
    with pytest.raises(InputError, match=r"'b' of shape \(3,\) to shape \(2,\)"):
        sums.add({"a": 1, "b": [1, 1, 1]})
    assert sums.total("a") == 3


@dataclass(eq=False)
class Other(Score):
    """A score with a setting."""

    limit: float = 0.5


def test_state_is_a_copy_of_float64_arrays():
    score = Other()
    score.sums.count("n", 3)
    score.sums.item("x", 0.5)
    state = score.state()
    assert all(array.dtype == np.float64 for array in state.values())
    state["n"] += 1
    assert score.sums.total("n") == 3
    other = Other()
    other.add_state(score.state())
    other.merge(score)
    other.sums.count("n", 1)
    assert (other.sums.total("n"), score.sums.total("n")) == (7, 3)


def test_other_settings_are_refused():
    with pytest.raises(InputError, match=r"Other\(limit=0.4\) into Other\(limit=0.5\)"):
        Other().merge(Other(0.4))
    with pytest.raises(InputError, match="different settings"):
        Other().merge(Score())


def test_empty_denominators_are_nan():
    np.testing.assert_array_equal(divide([[1, 2]], [[0], [2]]), [[np.nan, np.nan], [0.5, 1]])
    np.testing.assert_array_equal(mean_known([[np.nan, 1], [np.nan, 3]]), [np.nan, 2])
    assert np.isnan(mean_known([]))
