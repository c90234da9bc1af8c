"""Looking for points in whole pictures."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from samepoint.geometry import Lattice
from samepoint.tracking.search import candidates, centres

LATTICES = (Lattice(16), Lattice(8), Lattice(4))


def pictures(number: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sizes = [(4, 5), (8, 10), (16, 20)]
    return [F.normalize(torch.randn(number, *size, 12, generator=generator), dim=-1) for size in sizes]


def looks_at(maps: list[torch.Tensor], row: int, column: int, picture: int) -> list[torch.Tensor]:
    """Templates of 9 cells whose middle is a cell of stride 8, and what lies there on the other levels."""
    places = [(row // 2, column // 2), (row, column), (2 * row, 2 * column)]
    templates = []
    for level, (y, x) in zip(maps, places, strict=True):
        cells = torch.zeros(1, 9, level.shape[-1])
        cells[0, 4] = level[picture, y, x]
        templates.append(cells)
    return templates


def test_the_cell_itself_is_the_best() -> None:
    maps = pictures(1)
    found = candidates(LATTICES, looks_at(maps, 4, 6, 0), maps, number=3)
    assert found.shape == (1, 3, 2)
    assert found[0, 0].tolist() == LATTICES[1].to_pixels(torch.tensor([6.0, 4.0])).tolist()
    assert len({tuple(place.tolist()) for place in found[0]}) == 3


def test_each_point_is_sought_in_its_own_picture() -> None:
    maps = pictures(3)
    parts = [looks_at(maps, 2, 2, 2), looks_at(maps, 6, 8, 0), looks_at(maps, 4, 4, 2)]
    looks = [torch.cat(levels) for levels in zip(*parts, strict=True)]
    found = candidates(LATTICES, looks, maps, torch.tensor([2, 0, 2]))[:, 0]
    expected = LATTICES[1].to_pixels(torch.tensor([[2.0, 2.0], [8.0, 6.0], [4.0, 4.0]]))
    torch.testing.assert_close(found, expected)
    alone = candidates(LATTICES, [level[1:2] for level in looks], [level[:1] for level in maps])
    torch.testing.assert_close(alone[:, 0], found[1:2])


def test_coarse_maps_choose_among_cells_that_look_alike_in_the_fine_one() -> None:
    maps = pictures(1)
    looks = looks_at(maps, 2, 2, 0)
    maps[2] = maps[2][:, :1, :1].expand_as(maps[2]).contiguous()
    found = candidates(LATTICES, looks, maps)
    assert found[0, 0].tolist() == LATTICES[1].to_pixels(torch.tensor([2.0, 2.0])).tolist()


def test_centres_are_those_of_the_lattice() -> None:
    level = torch.zeros(2, 3, 4)
    assert centres(Lattice(8), level).tolist() == [[8 * x + 0.5, 8 * y + 0.5] for y in range(2) for x in range(3)]
