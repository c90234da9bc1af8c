from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samepoint.webvideo.motion_rule import (
    MotionSettings,
    consistent,
    dominant_residuals,
    foreground_weights,
    residuals,
)
from tests.reference.web_labels import slow_residual

RULE = MotionSettings()
GRID = np.stack(np.meshgrid(np.arange(20.0), np.arange(20.0)), -1).reshape(-1, 2) * 16 + 8
MIDDLE = np.array([160.0, 160.0])


def test_residuals_agree_with_a_solve_for_each_point() -> None:
    rng = np.random.default_rng(3)
    before = rng.random((30, 2)) * 100
    after = before + rng.normal(0, 3, (30, 2))
    found, around = residuals(before, after, MotionSettings(neighbours=9, mates=5))
    slow = [slow_residual(before, after, point, 9, 5) for point in range(30)]
    np.testing.assert_allclose(found, slow, atol=1e-9)
    assert around.shape == (30, 9)
    assert all(point not in around[point] for point in range(30))


@pytest.mark.parametrize("motion", [(0.0, 0.0), (3.0, -7.0), (40.0, 0.0)])
def test_what_moves_as_one_is_kept_standing_still_included(motion: tuple[float, float]) -> None:
    assert consistent(GRID, GRID + motion, RULE, 4).all()


@settings(max_examples=25)
@given(st.floats(-0.05, 0.05), st.floats(-0.05, 0.05), st.floats(-0.05, 0.05), st.floats(-0.05, 0.05))
def test_affine_motion_is_kept(a: float, b: float, c: float, d: float) -> None:
    after = GRID + (GRID - MIDDLE) @ np.array([[a, b], [c, d]]) + (5, 2)
    assert consistent(GRID, after, RULE, 4).all()


@pytest.mark.parametrize("share", [0.12, 0.39])
def test_an_object_that_moves_before_a_still_background_is_kept_to_its_corners(share: float) -> None:
    half = 160 * np.sqrt(share)
    inside = (np.abs(GRID - MIDDLE) < half).all(1)
    assert abs(inside.mean() - share) < 0.05
    after = GRID + np.where(inside[:, None], [8.0, 0.0], 0.0)
    assert consistent(GRID, after, RULE, 4).all()


@pytest.mark.parametrize("moving", [(0.0, 0.0), (6.0, 3.0)])
def test_wrong_matches_go_and_nothing_else(moving: tuple[float, float]) -> None:
    rng = np.random.default_rng(0)
    after = GRID + moving + rng.normal(0, 0.3, GRID.shape)
    wrong = rng.choice(400, 20, replace=False)
    angle = rng.random(20) * 2 * np.pi
    after[wrong] += 30 * np.stack([np.cos(angle), np.sin(angle)], 1)
    kept = consistent(GRID, after, RULE, 4)
    assert not kept[wrong].any()
    assert np.delete(kept, wrong).mean() > 0.98


def test_residuals_below_the_floor_pass_and_above_it_do_not() -> None:
    after = GRID.copy()
    after[210] += (3.9, 0)
    assert consistent(GRID, after, RULE, 4).all()
    after[210] += (0.2, 0)
    assert np.flatnonzero(~consistent(GRID, after, RULE, 4)).tolist() == [210]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_say_nothing_of_one_another(count: int) -> None:
    after = GRID[:count] + np.arange(count)[:, None] * 50
    assert consistent(GRID[:count], after, RULE).tolist() == [True] * count


def test_the_dominant_motion_is_that_of_most_however_far_the_rest_moves() -> None:
    after = GRID + (GRID - MIDDLE) * 0.03 + (4, 0)
    own = GRID[:, 0] < 100
    after[own] += (0, 25)
    away = dominant_residuals(GRID, after)
    np.testing.assert_allclose(away[~own], 0, atol=0.1)
    np.testing.assert_allclose(away[own], 25, atol=0.5)


def test_foreground_is_what_moves_by_itself() -> None:
    own = (np.abs(GRID - MIDDLE) < 50).all(1)
    time = np.arange(6)[None, :, None]
    xy = GRID[:, None] + time * np.where(own[:, None, None], [5.0, 1.0], [2.0, 0.0])
    xy[7, 1:] = np.nan
    weights = foreground_weights(xy, 0.25)
    assert weights[own].min() > 0.9
    assert weights[~own].max() < 0.1
    assert weights[7] == 0
    assert weights.dtype == np.float32
