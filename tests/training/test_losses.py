"""Objectives: hand-computed cases and gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from samepoint.models.refiner import Estimate
from samepoint.training.losses import matching_loss, refinement_loss


def test_matching_loss_of_a_certain_match_is_zero_and_of_a_uniform_one_log_cells() -> None:
    target = torch.tensor([[2.0, 1.0]])
    logits = torch.zeros(1, 3, 4)
    assert matching_loss(logits, target, torch.tensor([True])).item() == pytest.approx(math.log(12), rel=1e-5)
    logits[0, 1, 2] = 100.0
    assert matching_loss(logits, target, torch.tensor([True])).item() == pytest.approx(0, abs=1e-6)


def test_matching_target_lies_between_cells() -> None:
    """The loss is least where the softmax has the bilinear weights: its value is then their entropy."""
    weights = torch.tensor([0.75 * 0.5, 0.25 * 0.5, 0.75 * 0.5, 0.25 * 0.5])
    logits = torch.full((1, 3, 4), -60.0)
    for (row, column), weight in zip([(1, 1), (1, 2), (2, 1), (2, 2)], weights, strict=True):
        logits[0, row, column] = weight.log()
    loss = matching_loss(logits, torch.tensor([[1.25, 1.5]]), torch.tensor([True]))
    assert loss.item() == pytest.approx(-(weights * weights.log()).sum().item(), rel=1e-4)


def test_matching_loss_leaves_out_hidden_and_outside_points() -> None:
    logits = torch.randn(4, 3, 4, requires_grad=True)
    target = torch.tensor([[1.0, 1.0], [5.0, 1.0], [1.0, -0.1], [float("nan"), 0.0]])
    loss = matching_loss(logits, target, torch.tensor([False, True, True, True]))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert logits.grad.abs().sum() == 0


def test_matching_loss_gradient() -> None:
    logits = torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([[1.3, 2.2], [4.0, 0.0], [0.5, 3.0]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: matching_loss(x, target, torch.tensor([True, True, False])), logits)


def estimate(xy: list[list[float]], log_error: float, logit: float) -> Estimate:
    count = len(xy)
    return Estimate(torch.tensor(xy), torch.full((count,), log_error), torch.full((count,), logit))


def test_refinement_loss_by_hand() -> None:
    truth, visible = torch.tensor([[3.0, 4.0]]), torch.tensor([True])
    got = refinement_loss([estimate([[0.0, 0.0]], 0.0, 0.0)], truth, visible)
    assert got.item() == pytest.approx(5 + 0.05 * 5 + math.log(2), rel=1e-3)


def test_a_guess_that_ended_elsewhere_must_not_be_believed() -> None:
    truth, visible = torch.tensor([[30.0, 40.0]]), torch.tensor([True])
    sure, unsure = (refinement_loss([estimate([[0.0, 0.0]], 3.0, logit)], truth, visible) for logit in (4.0, -4.0))
    assert unsure < sure


def test_hidden_points_hardly_pull_and_unknown_ones_not_at_all() -> None:
    xy = torch.zeros(3, 2, requires_grad=True)
    truth = torch.tensor([[2.0, 0.0], [2.0, 0.0], [float("nan"), 0.0]])
    visible = torch.tensor([True, False, False])
    refinement_loss([Estimate(xy, torch.zeros(3), torch.zeros(3))], truth, visible).backward()
    assert xy.grad is not None
    pull = xy.grad.norm(dim=1)
    assert pull[0] > 10 * pull[1] > 0
    assert pull[2] == 0


def test_refinement_loss_gradient() -> None:
    truth = torch.tensor([[1.0, 2.0], [3.0, 1.0]], dtype=torch.float64)
    visible = torch.tensor([True, False])

    def loss(xy: Tensor, log_error: Tensor, logit: Tensor) -> Tensor:
        return refinement_loss([Estimate(xy, log_error, logit)], truth, visible)

    inputs = [torch.randn(2, 2), torch.randn(2), torch.randn(2)]
    assert torch.autograd.gradcheck(loss, [value.double().requires_grad_() for value in inputs])


def test_refinement_loss_of_no_points_is_zero_with_zero_gradient() -> None:
    weight = torch.ones(4, requires_grad=True)
    out = torch.ones(0, 4) * weight
    estimates = [Estimate(out[:, :2], out[:, 2], out[:, 3])] * 2
    loss = refinement_loss(estimates, torch.zeros(0, 2), torch.zeros(0, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert weight.grad is not None
    assert (weight.grad == 0).all()
