"""How far objects moved, and windows that grow for those that are fast."""

from dataclasses import replace

import pytest
import torch

from samepoint.correspondence import Window
from samepoint.errors import InputError
from samepoint.tracking import MaskSettings
from samepoint.tracking.motion import displacement, pooled
from samepoint.tracking.propagated_masks import Cells, PropagatedMasks

SIZE = (48, 96)
SETTINGS = MaskSettings(
    context=3, window=Window.circle(8), topk=1, fill=False, appearance=0, trusted=None, own_window=None
)


def descriptors(seed: int) -> torch.Tensor:
    return torch.randn(32, *SIZE, generator=torch.Generator().manual_seed(seed))


GROUND, THING, OTHER = descriptors(0), descriptors(1), descriptors(2)


def scene(left: int, other: int | None = None) -> torch.Tensor:
    """A thing of 16x16 cells, and perhaps another below it, before a background that stays."""
    picture = GROUND.clone()
    picture[:, 4:20, left : left + 16] = THING[:, :16, :16]
    if other is not None:
        picture[:, 28:44, other : other + 16] = OTHER[:, :16, :16]
    return picture


def labels(left: int, other: int | None = None) -> torch.Tensor:
    soft = torch.zeros(3, *SIZE)
    soft[1, 4:20, left : left + 16] = 1
    if other is not None:
        soft[2, 28:44, other : other + 16] = 1
    soft[0] = 1 - soft[1:].sum(0)
    return soft


@pytest.mark.parametrize(("left", "moved"), [(8, 0), (12, 4), (48, 40), (80, 72)])
def test_displacement_of_one(left: int, moved: int) -> None:
    assert displacement(pooled(scene(8)), pooled(scene(left)), labels(8)) == moved


def test_displacement_is_of_the_one_that_moved_farthest() -> None:
    assert displacement(pooled(scene(8, 8)), pooled(scene(16, 40)), labels(8, 8)) == 32
    assert displacement(pooled(scene(8, 8)), pooled(scene(56, 8)), labels(8, 8)) == 48


def test_what_is_hidden_or_small_or_unknown_has_not_moved() -> None:
    assert displacement(pooled(scene(8)), pooled(GROUND), labels(8)) <= 4  # edges may match edges
    few = torch.zeros(2, *SIZE)
    few[1, 4:12, 8:12] = 1  # two coarse cells
    few[0] = 1 - few[1]
    assert displacement(pooled(scene(8)), pooled(scene(40)), few) == 0
    assert displacement(pooled(scene(8)), pooled(scene(40)), torch.ones(1, *SIZE)) == 0
    tiny = torch.rand(4, 3, 9)
    assert displacement(pooled(tiny), pooled(tiny), torch.ones(2, 3, 9)) == 0


def test_pooled_is_the_mean_of_unit_descriptors() -> None:
    found = pooled(GROUND)
    assert found.shape == (32, 12, 24)
    mean = (GROUND / GROUND.norm(dim=0))[:, 8:12, 20:24].mean((1, 2))
    torch.testing.assert_close(found[:, 2, 5], mean / mean.norm())


def follow(settings: MaskSettings, lefts: list[int]) -> list[float]:
    """The share of the thing's cells that are found in each frame after the first."""
    method, found = PropagatedMasks(settings), []
    method.give(0, Cells(scene(lefts[0])), {1: labels(lefts[0])[1]})
    for frame, left in enumerate(lefts[1:], 1):
        soft = method.step(frame, Cells(scene(left)))
        found.append(float((soft[1] * labels(left)[1]).sum() / 256))
    return found


@pytest.mark.parametrize("filled", [True, False])
def test_what_moves_fast_is_found_at_any_time(filled: bool) -> None:
    lefts = [8, 48, 48, 48, 48, 48, 80]
    plain = replace(SETTINGS, fill=filled)
    assert min(follow(plain, lefts)) > 0.9
    assert max(follow(replace(plain, fast_window=None), lefts)) < 0.1


def test_windows_grow_no_farther_than_said() -> None:
    assert max(follow(replace(SETTINGS, fast_window=20.0), [8, 48, 48])) < 0.1
    assert min(follow(replace(SETTINGS, fast_window=20.0), [8, 24, 40])) > 0.9


def test_windows_stay_as_they_are_for_what_is_slow() -> None:
    method = PropagatedMasks(SETTINGS)
    method.give(0, Cells(scene(8)), {1: labels(8)[1]})
    now = Cells(scene(12))
    assert method._windows(1, now, list(method.recent)) == [SETTINGS.window, SETTINGS.window]


def test_old_anchors_keep_their_window() -> None:
    """Far back a thing may have been anywhere; a wide window would find what only looks alike."""
    method = PropagatedMasks(SETTINGS)
    method.give(0, Cells(scene(8)), {1: labels(8)[1]})
    for frame in range(1, 5):
        method.step(frame, Cells(scene(8)))
    wide = method._windows(5, Cells(scene(48)), list(method.recent))
    assert [window.size for window in wide] == [8, 45, 45, 45]


@pytest.mark.parametrize("value", [0.0, -3.0, float("inf"), float("nan")])
def test_a_fast_window_is_a_radius(value: float) -> None:
    with pytest.raises(InputError, match="fast_window"):
        MaskSettings(fast_window=value)
