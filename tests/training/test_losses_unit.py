"""Unit vectors of the losses: exact where there is a direction, without gradient where there is none."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from samepoint.models.encoder import SHORTEST
from samepoint.training.losses import cycle_loss
from samepoint.training.losses.unit import unit


def test_what_has_a_direction_gets_length_one() -> None:
    values = torch.randn(3, 5, 4) + SHORTEST
    assert torch.equal(unit(values, dim=1), F.normalize(values, dim=1))


def test_what_is_next_to_nothing_is_nothing() -> None:
    values = torch.tensor([[0.0, 2.0], [0.0, 0.0], [0.0, SHORTEST / 2]], requires_grad=True)
    result = unit(values, dim=1)
    assert result.tolist() == [[0, 1], [0, 0], [0, 0]]
    (1e6 * result).sum().backward()
    assert values.grad is not None
    assert values.grad[0].norm() > 0
    assert (values.grad[1:] == 0).all()


def test_dead_cells_do_not_explode_a_loss() -> None:
    """Normalised twice here, so that the gradient was divided by next to nothing twice."""
    torch.manual_seed(0)
    maps = torch.randn(1, 2, 8, 6, 6)
    maps[:, :, :, 2:4] *= 1e-14
    maps.requires_grad_(True)
    cycle_loss(maps, None, samples=None).backward()
    assert maps.grad is not None
    assert maps.grad.norm() < 100
