"""Propagation of single points equals propagation of whole maps where the points are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from samepoint.correspondence import Window, affinity, propagate
from samepoint.geometry import Lattice, gaussian_maps, read_peak
from samepoint.tracking.nearby import NearbyPropagation

LATTICE = Lattice(4)
SIZE = (30, 36)
START = torch.tensor([[60.3, 58.1], [70.9, 61.7], [8.9, 7.1]])


def frames(count: int, shift: int) -> list[Tensor]:
    """Maps (h, w, C) of random descriptors that move right by whole cells."""
    base = torch.randn(*SIZE, 24, generator=torch.Generator().manual_seed(0))
    return [torch.roll(base, shift * t, 1) for t in range(count)]


def guide(**settings: float) -> NearbyPropagation:
    return NearbyPropagation(LATTICE, context=3, radius=6, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_peaks_equal_those_of_whole_maps(shift: int) -> None:
    maps = frames(7, shift)
    near = guide()
    near.start(maps[0], START)
    whole = [gaussian_maps(LATTICE.to_cells(START), SIZE, 1.5)]
    xy = START
    for t in range(1, 7):
        past = range(max(0, t - 3), t)
        found = affinity(maps[t].permute(2, 0, 1), [maps[i].permute(2, 0, 1) for i in past], Window.circle(6))
        whole.append(propagate(found, [whole[i] for i in past]))
        expected, height = read_peak(whole[t])
        xy, mass = near.step(maps[t], xy)
        torch.testing.assert_close(xy, LATTICE.to_pixels(expected), atol=0.02, rtol=0)
        torch.testing.assert_close(mass, height, atol=1e-3, rtol=0)
        torch.testing.assert_close(xy, START + torch.tensor([4.0 * shift * t, 0.0]), atol=0.1, rtol=0)


def test_points_come_and_go_without_touching_the_others() -> None:
    maps = frames(5, 1)
    alone, shared = guide(), guide()
    alone.start(maps[0], START[:1])
    shared.start(maps[0], START)
    xy_alone, xy_shared = START[:1], START
    for t in range(1, 5):
        xy_alone, _ = alone.step(maps[t], xy_alone)
        xy_shared, _ = shared.step(maps[t], xy_shared)
        torch.testing.assert_close(xy_shared[:1], xy_alone, atol=1e-4, rtol=0)
        if t == 2:
            mask = torch.tensor([True, False, True])
            shared.keep(mask)
            shared.add(torch.tensor([[80.5, 80.5]]))
            xy_shared = torch.cat([xy_shared[mask], torch.tensor([[80.5, 80.5]])])
    torch.testing.assert_close(xy_shared[2], torch.tensor([88.5, 80.5]), atol=0.1, rtol=0)


def test_a_corrected_label_is_carried_on_from_its_new_place() -> None:
    maps = frames(3, 0)
    near = guide()
    near.start(maps[0], START)
    xy, _ = near.step(maps[1], START)
    moved = xy + torch.tensor([9.0, 5.0])
    near.correct(torch.tensor([False, True, False]), moved)
    near.keys.popleft()
    after, _ = near.step(maps[2], xy)
    expected = torch.where(torch.tensor([[False], [True], [False]]), moved, xy)
    torch.testing.assert_close(after, expected, atol=0.1, rtol=0)


def test_a_label_that_finds_no_like_has_no_mass() -> None:
    maps = frames(2, 0)
    near = guide()
    near.start(maps[0], START)
    elsewhere = torch.roll(maps[1], 15, 1)
    _, mass = near.step(elsewhere, START)
    near.start(maps[0], START)
    _, seen = near.step(maps[1], START)
    assert (mass < 0.7 * seen).all()


def test_before_the_first_point_there_is_nothing_to_forget() -> None:
    guide().keep(torch.zeros(0, dtype=torch.bool, device="meta"))  # whatever device the points will be on


def test_a_point_of_whose_label_nothing_is_left_stays_where_it_was() -> None:
    """Far outside the picture no cell is there to carry it."""
    maps = frames(3, 0)
    near = guide()
    near.start(maps[0], START)
    gone = torch.tensor([[-300.0, 420.0]])
    for level in maps[1:]:
        xy, mass = near.step(level, torch.cat([START[:2], gone]))
        assert mass[2] == 0
        assert torch.equal(xy[2], gone[0])
        assert (mass[:2] > 0).all()
