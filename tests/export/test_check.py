"""Agreement of outputs, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from samepoint.export import Agreement, agreement
from samepoint.export.check import milliseconds


def test_differences_are_shares_of_the_largest_value_and_the_worst_output_counts() -> None:
    expected = [np.array([2.0, -4.0]), np.array([10.0, 0.0])]
    found = agreement(expected, [np.array([2.0, -3.0]), np.array([10.0, 1.0])])
    assert found == Agreement(difference=0.25, mean=0.125)
    assert agreement(expected, expected) == Agreement(0.0, 0.0)


def test_a_value_that_is_no_number_is_no_agreement() -> None:
    assert agreement([np.ones(2)], [np.array([1.0, np.nan])]).difference == np.inf


def test_cells_are_compared_by_their_directions_and_matches() -> None:
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(2, 16, 5, 6))
    same = agreement([maps], [maps * 2], 1)
    assert (same.cosine, same.matches) == (pytest.approx(1.0), 1.0)
    turned = maps.copy()
    turned[1] = turned[1, :, ::-1]  # the second picture upside down: other cells match, but those of the middle row
    other = agreement([maps], [turned], 1)
    assert other.matches is not None
    assert other.matches < 0.5
    assert other.cosine is not None
    assert other.cosine < 0.8


def test_the_worst_of_two_trials() -> None:
    first, second = Agreement(0.1, 0.05, 0.9, None), Agreement(0.2, 0.01, 0.8, 0.5)
    assert first.worst(second) == Agreement(0.2, 0.05, 0.8, 0.5)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        agreement([np.ones(2)], [np.ones(3)])
    with pytest.raises(ValueError, match="zip"):
        agreement([np.ones(2)], [])


def test_the_first_call_is_not_timed() -> None:
    calls: list[int] = []
    assert milliseconds(lambda: calls.append(1), 3) >= 0
    assert len(calls) == 4
