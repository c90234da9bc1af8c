"""Dense local correlation against loops and against the full masked matrix."""

from __future__ import annotations

import pytest
import torch

from samepoint.correspondence import local_correlation
from samepoint.errors import InputError


def maps(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*shape, generator=generator), torch.randn(*shape, generator=generator)


def dense(query: torch.Tensor, key: torch.Tensor, radius: int, outside: float) -> torch.Tensor:
    """From all pairs of cells: one picture (C, H, W)."""
    _, height, width = query.shape
    pairs = torch.einsum("cyx,cuv->yxuv", query, key)
    out = torch.full(((2 * radius + 1) ** 2, height, width), outside)
    for y in range(height):
        for x in range(width):
            for dy in range(-radius, radius + 1):
                for dx in range(-radius, radius + 1):
                    if 0 <= y + dy < height and 0 <= x + dx < width:
                        k = (dy + radius) * (2 * radius + 1) + dx + radius
                        out[k, y, x] = pairs[y, x, y + dy, x + dx]
    return out


@pytest.mark.parametrize("outside", [0.0, -torch.inf])
@pytest.mark.parametrize(("size", "radius"), [((9, 13), 3), ((5, 4), 6), ((6, 7), 0)])
def test_equals_all_pairs(size: tuple[int, int], radius: int, outside: float) -> None:
    query, key = maps(2, 11, *size)
    found = local_correlation(query, key, radius, outside)
    for b in range(2):
        torch.testing.assert_close(found[b], dense(query[b], key[b], radius, outside), rtol=1e-5, atol=1e-5)


def test_odd_size_of_the_specification() -> None:
    query, key = maps(1, 8, 37, 53)
    found = local_correlation(query, key, 3)
    assert found.shape == (1, 49, 37, 53)
    shifted = torch.nn.functional.pad(key, (3, 3, 3, 3))
    for k, dy, dx in ((0, -3, -3), (24, 0, 0), (46, 3, 1)):
        expected = (query * shifted[:, :, 3 + dy : 40 + dy, 3 + dx : 56 + dx]).sum(dim=1)
        torch.testing.assert_close(found[:, k], expected, rtol=1e-5, atol=1e-5)


def test_published_offsets() -> None:
    """A map moved by (-2, +3) cells peaks at k = 1105 for R = 24; one not moved at 1200."""
    query, _ = maps(1, 64, 10, 10)
    query = torch.nn.functional.normalize(query, dim=1)
    for dy, dx, k in ((-2, 3, 1105), (0, 0, 1200)):
        found = local_correlation(query, torch.roll(query, (dy, dx), (2, 3)), 24)
        assert bool((found[0, :, 3:8, 0:6].argmax(dim=0) == k).all())


@pytest.mark.parametrize("outside", [0.0, -50.0])
def test_gradients(outside: float) -> None:
    query, key = (each.double().requires_grad_() for each in maps(2, 3, 4, 5))
    assert torch.autograd.gradcheck(lambda q, k: local_correlation(q, k, 2, outside), (query, key))


def test_masked_softmax_has_finite_gradients() -> None:
    query, key = (each.requires_grad_() for each in maps(1, 3, 4, 5))
    local_correlation(query, key, 2, -torch.inf).softmax(dim=1).square().sum().backward()
    assert query.grad is not None
    assert bool(query.grad.isfinite().all())


@pytest.mark.parametrize("outside", [0.0, -torch.inf])
@pytest.mark.parametrize(("row", "count"), [(0, 2), (3, 1), (2, 4), (6, 3), (0, 9)])
def test_a_slice_of_rows_is_that_slice_of_the_whole(row: int, count: int, outside: float) -> None:
    query, key = maps(2, 3, 9, 4)
    whole = local_correlation(query, key, 2, outside)
    part = local_correlation(query[:, :, row : row + count], key, 2, outside, row=row)
    torch.testing.assert_close(part, whole[:, :, row : row + count])


@pytest.mark.parametrize(("row", "count"), [(0, 1), (1, 2), (3, 1)])
def test_gradients_of_a_slice(row: int, count: int) -> None:
    query, key = (each.double().requires_grad_() for each in maps(1, 2, 4, 3))
    query = query[:, :, row : row + count].detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda q, k: local_correlation(q, k, 1, row=row), (query, key))


def test_misuse_is_explained() -> None:
    query, key = maps(1, 3, 4, 5)
    with pytest.raises(InputError, match="alike"):
        local_correlation(query, key[:, :2], 1)
    with pytest.raises(InputError, match="radius"):
        local_correlation(query, key, -1)
    with pytest.raises(InputError, match="alike"):
        local_correlation(query[:, :, :2], key, 1)
    with pytest.raises(InputError, match="rows 3 to 5 do not lie within the key's 4"):
        local_correlation(query[:, :, :2], key, 1, row=3)
