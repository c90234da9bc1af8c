"""Soft-label matching and the visibility that goes with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from samepoint.errors import InputError
from samepoint.training.losses import occlusion_bound, soft_target_loss, visible_by_flow
from tests.reference import losses as reference


def maps(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def constant(x: float, y: float, *size: int) -> Tensor:
    return torch.tensor([x, y], dtype=torch.float64).expand(1, *size, 2)


def one_hot(size: int) -> Tensor:
    return 100 * torch.eye(size * size, dtype=torch.float64).reshape(1, size * size, size, size)


def everywhere(flow: Tensor) -> Tensor:
    return torch.ones(flow.shape[:3], dtype=torch.bool)


def test_zero_flow_costs_the_entropy_of_the_label() -> None:
    """Check 6: every cell alike to itself only, so each softmax has one logit 1 / 0.07 among zeros."""
    feature, flow = one_hot(8), constant(0, 0, 16, 16)
    got = soft_target_loss(feature, feature, flow, everywhere(flow), feature, radius=24, label_temperature=0.07)
    peak = np.exp(1 / 0.07)
    p, q = peak / (peak + 63), 1 / (peak + 63)
    assert got.item() == pytest.approx(-p * np.log(p) - 63 * q * np.log(q), rel=1e-9)


def test_constant_flow_is_found_at_the_published_offset() -> None:
    """Check 7: flow (6, -4) px is offset (dy, dx) = (-2, +3); cells whose match leaves the map do not count.

    A target that is the reference moved that way matches its label perfectly; moved any other way it does not.
    """
    source, flow = one_hot(10), constant(6, -4, 20, 20)
    costs = {}
    for dy in (-3, -2, -1):
        for dx in (2, 3, 4):
            moved = torch.roll(source, (-dy, -dx), (2, 3))  # target(p) = reference(p + (dy, dx))
            costs[dy, dx] = soft_target_loss(moved, source, flow, everywhere(flow), radius=24).item()
    assert costs[-2, 3] < 0.01
    assert all(cost > 10 for offset, cost in costs.items() if offset != (-2, 3))


def test_only_cells_whose_match_is_in_window_and_map_have_a_gradient() -> None:
    target, source, flow = maps(1, 4, 6, 6).requires_grad_(), maps(1, 4, 6, 6, seed=1), constant(6, -4, 12, 12).clone()
    flow[0, 4, 0] = torch.nan
    flow[0, 6, 2, 0] = 7.0  # 3.5 cells: out of the window
    visible = everywhere(flow)
    visible[0, 10, 0] = False
    soft_target_loss(target, source, flow, visible, radius=3).backward()
    assert target.grad is not None
    moved = target.grad[0].abs().sum(dim=0) > 0
    expected = torch.zeros(6, 6, dtype=torch.bool)
    expected[2:, :3] = True
    expected[2, 0] = expected[3, 1] = expected[5, 0] = False
    assert torch.equal(moved, expected)
    assert bool(target.grad.isfinite().all())


def test_nothing_visible_costs_nothing() -> None:
    target, source = maps(1, 4, 3, 3).requires_grad_(), maps(1, 4, 3, 3, seed=1).requires_grad_()
    flow = constant(torch.nan, 0, 6, 6)
    loss = soft_target_loss(target, source, flow, everywhere(flow), radius=2)
    loss.backward()
    assert loss.item() == 0
    for each in (target, source):
        assert each.grad is not None
        assert bool((each.grad == 0).all())


CASES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"label_temperature": 0.035}),
    ({"label_temperature": 0.1, "legacy": True}, {"label_temperature": 0.1, "masked": False}),
    ({"teacher_norm": "height", "legacy": True}, {"label_temperature": 0.07, "teacher_axis": 1, "masked": False}),
    ({"label": "gaussian"}, {"label": "gaussian", "sigma": 3.0}),
    ({"label": "gaussian", "sigma": 1.0, "legacy": True}, {"label": "gaussian", "sigma": 1.0, "masked": False}),
    (
        {"label": "teacher_gaussian", "label_temperature": 0.1},
        {"label": "both", "sigma": 6.0, "label_temperature": 0.1},
    ),
]


@pytest.mark.parametrize(("options", "described"), CASES)
def test_equals_the_reference(options: dict[str, Any], described: dict[str, Any]) -> None:
    target, source, teacher = maps(2, 5, 5, 4), maps(2, 5, 5, 4, seed=1), maps(2, 7, 5, 4, seed=2)
    flow = 2 * maps(2, 10, 8, 2, seed=3)
    visible = maps(2, 10, 8, seed=4) > -1
    got = soft_target_loss(target, source, flow, visible, teacher, radius=2, rows=2, temperature=0.2, **options)
    parts = [
        reference.soft_target(
            *(each.numpy() for each in (target[b], source[b], flow[b], visible[b], teacher[b])),
            radius=2,
            stride=2,
            temperature=0.2,
            **({"label_temperature": 1.0} | described),
        )
        for b in range(2)
    ]
    assert 5 < sum(count for _, count in parts) < 35
    assert got.item() == pytest.approx(sum(s for s, _ in parts) / sum(n for _, n in parts), rel=1e-6)


def test_without_a_teacher_the_student_is_its_own_detached() -> None:
    target, source, flow = maps(1, 4, 4, 4), maps(1, 4, 4, 4, seed=1).requires_grad_(), constant(2, 0, 8, 8)
    own = soft_target_loss(target, source, flow, everywhere(flow), radius=2)
    given_ = soft_target_loss(target, source, flow, everywhere(flow), source.detach(), radius=2)
    assert own.item() == given_.item()
    torch.testing.assert_close(torch.autograd.grad(own, source), torch.autograd.grad(given_, source))


def test_no_gradient_reaches_the_teacher() -> None:
    target, teacher, flow = maps(1, 4, 4, 4).requires_grad_(), maps(1, 4, 4, 4).requires_grad_(), constant(0, 0, 8, 8)
    soft_target_loss(target, target.detach(), flow, everywhere(flow), teacher, radius=1).backward()
    assert teacher.grad is None


@pytest.mark.parametrize("legacy", [False, True])
def test_gradients(legacy: bool) -> None:
    target, source = (maps(1, 3, 3, 4, seed=s).requires_grad_() for s in (0, 1))
    teacher, flow = maps(1, 2, 3, 4, seed=2), maps(1, 6, 8, 2, seed=3)

    def loss(query: Tensor, key: Tensor) -> Tensor:
        return soft_target_loss(query, key, flow, everywhere(flow), teacher, radius=1, legacy=legacy, rows=2)

    assert torch.autograd.gradcheck(loss, (target, source))


def test_chunks_change_nothing() -> None:
    results = []
    for rows in (1, 4, 7, None):
        target, source = (maps(2, 4, 7, 5, seed=s).requires_grad_() for s in (0, 1))
        flow = 2 * maps(2, 14, 10, 2, seed=3)
        loss = soft_target_loss(target, source, flow, everywhere(flow), radius=3, rows=rows)
        results.append((loss, *torch.autograd.grad(loss, (target, source))))
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-12, atol=1e-12)


def test_misuse_is_explained() -> None:
    feature, flow = maps(1, 3, 4, 4), constant(0, 0, 8, 8)
    seen = everywhere(flow)
    with pytest.raises(InputError, match="label: expected one of teacher, gaussian"):
        soft_target_loss(feature, feature, flow, seen, label="sharp")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="teacher_norm"):
        soft_target_loss(feature, feature, flow, seen, teacher_norm="width")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="student's cells"):
        soft_target_loss(feature, feature, flow, seen, maps(1, 3, 2, 2))
    with pytest.raises(InputError, match="bool"):
        soft_target_loss(feature, feature, flow, seen.float())
    with pytest.raises(InputError, match="visible"):
        soft_target_loss(feature, feature, flow, seen[:, :4])
    with pytest.raises(InputError, match="sigma"):
        soft_target_loss(feature, feature, flow, seen, label="gaussian", sigma=0)
    with pytest.raises(InputError, match="temperature"):
        soft_target_loss(feature, feature, flow, seen, temperature=0)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_bound_does_not_depend_on_the_direction(sign: float) -> None:
    """Check 8."""
    flow = torch.tensor([20.0, 20.0]) * sign
    assert occlusion_bound(flow, -flow).item() == 16.5


def test_visible_by_hand() -> None:
    """All move 2 px right; the way back of one pixel is wrong by 1 px (bound 0.5 + 0.01 (4 + 9) = 0.63)."""
    flow, back = constant(2, 0, 3, 6), constant(-2, 0, 3, 6).clone()
    back[0, 1, 4, 0] = -3.0
    expected = torch.ones(1, 3, 6, dtype=torch.bool)
    expected[:, :, 4:] = False  # gone over the border
    expected[0, 1, 2] = False
    assert torch.equal(visible_by_flow(flow, back), expected)
    back[0, 1, 4, 0] = -2.7
    expected[0, 1, 2] = True
    assert torch.equal(visible_by_flow(flow, back), expected)


def test_the_last_pixels_count_and_unknown_flow_does_not() -> None:
    still = constant(0, 0, 4, 5).clone()
    assert bool(visible_by_flow(still, still).all())
    still[0, 1, 1] = torch.nan
    still[0, 3, 0] = torch.inf
    seen = visible_by_flow(still, constant(0, 0, 4, 5))
    assert int((~seen).sum()) == 2
    assert not bool(seen[0, 1, 1])
    assert not bool(seen[0, 3, 0])
    with pytest.raises(InputError, match="alike"):
        visible_by_flow(still, still[:, :2])


@settings(max_examples=15)
@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(1, 6))
def test_visible_equals_the_reference(seed: int, height: int, width: int) -> None:
    flow = 2 * maps(1, height, width, 2, seed=seed)
    back = -flow + 0.5 * maps(1, height, width, 2, seed=seed + 1)
    expected = reference.visible(flow[0].numpy(), back[0].numpy())
    np.testing.assert_array_equal(visible_by_flow(flow, back)[0].numpy(), expected)
