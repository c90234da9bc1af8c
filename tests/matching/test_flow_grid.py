"""Keypoints written as flow and flow read at points: exact for affine warps, the published faults by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from samepoint.errors import InputError
from samepoint.matching.flow_grid import cell_centres, enlarge_flow, keypoints_to_flow, read_flow
from samepoint.models.flow_readout import centres, corner_weights, sample_cells, soft_argmax
from tests.reference import matcher as reference
from tests.shared import shared_path


@pytest.mark.parametrize("grid", [16, 32])
def test_the_published_rule_is_reproduced(grid: int) -> None:
    golden = np.load(shared_path("golden", "keypoints_to_flow.npz"))
    points = [torch.from_numpy(golden[name]) for name in ("source_xy", "target_xy")]
    flow, mask = keypoints_to_flow(*points, grid, geometry="legacy")
    np.testing.assert_allclose(flow.numpy(), golden[f"flow_{grid}"], atol=1e-6)
    assert torch.equal(mask, (flow != 0).any(dim=0))


AFFINE = [
    ([[1.1, 0.1], [-0.08, 0.93]], [4.0, -6.0]),
    ([[0.85, -0.2], [0.15, 1.05]], [20.0, 3.0]),
    ([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0]),
]


def warped(xy: Tensor, matrix: list, shift: list) -> Tensor:
    return (xy - 128) @ torch.tensor(matrix).T + 128 + torch.tensor(shift)


@pytest.mark.parametrize("grid", [16, 20, 24, 32, 17])
@pytest.mark.parametrize(("matrix", "shift"), AFFINE)
def test_a_perfect_flow_is_read_back(grid: int, matrix: list, shift: list) -> None:
    """Acceptance check 7: the flow of every pixel written on the grid and read at points 20 px from the border."""
    y, x = torch.meshgrid(torch.arange(0.5, 256, 2), torch.arange(0.5, 256, 2), indexing="ij")
    target = torch.stack([x, y], dim=-1).reshape(-1, 2)
    flow, mask = keypoints_to_flow(warped(target, matrix, shift), target, grid)
    assert bool(mask.all())
    points = 20 + 216 * torch.rand(200, 2, generator=torch.Generator().manual_seed(0))
    read = read_flow(flow, points, (grid, grid), (256, 256), (256, 256))
    error = (read - warped(points, matrix, shift)).norm(dim=1)
    # Boxes at the border are cut and their means lie inwards, which cells next to it feel.
    assert error.mean() < 0.1
    assert error.quantile(0.9) < 0.2
    own = cell_centres((grid, grid), (256, 256)).reshape(-1, 2)
    exact = ((warped(own, matrix, shift) - own) * grid / 256).T.unflatten(1, (grid, grid))
    everywhere = 256 * torch.rand(200, 2, generator=torch.Generator().manual_seed(1))
    error = (
        read_flow(exact, everywhere, (grid, grid), (256, 256), (256, 256)) - warped(everywhere, matrix, shift)
    ).norm(dim=1)
    assert error.mean() < 1
    error = (read_flow(exact, points, (grid, grid), (256, 256), (256, 256)) - warped(points, matrix, shift)).norm(dim=1)
    assert error.max() < 1e-3


@pytest.mark.parametrize(("grid", "low", "high"), [(16, 0, 0.01), (20, 2, 4), (24, 2, 4), (32, 0, 0.01)])
def test_the_published_grid_misses_by_what_is_said_of_it(grid: int, low: float, high: float) -> None:
    """Training divides by 256 // f and evaluation multiplies by 256 / f, on centres that do not cover the picture."""
    random = np.random.default_rng(0)
    own = cell_centres((grid, grid), (256, 256), "legacy").reshape(-1, 2)
    errors = []
    for _ in range(40):
        matrix, shift = (np.eye(2) + random.normal(0, 0.12, (2, 2))).tolist(), random.uniform(-25, 25, 2).tolist()
        flow = ((warped(own, matrix, shift) - own) / (256 // grid)).T.unflatten(1, (grid, grid))
        points = torch.from_numpy(random.uniform(20, 236, (50, 2))).float()
        read = read_flow(flow, points, (grid, grid), (256, 256), (256, 256))
        errors.append((read - warped(points, matrix, shift)).norm(dim=1).mean().item())
    assert low <= np.mean(errors) <= high


def test_two_points_in_a_box_give_the_mean_of_their_displacements() -> None:
    """Acceptance check 8; the published rule mixes the last source with the mean of the targets."""
    target = torch.tensor([[124.0, 136], [148, 136]])
    source = target + torch.tensor([[16.0, 0], [0, 32]])
    flow, mask = keypoints_to_flow(source, target, 16)
    # Cell (8, 8) is centred at 136, 136: both are 12 away.
    assert flow[:, 8, 8].tolist() == pytest.approx([0.5, 1])
    assert bool(mask[8, 8])
    published, _ = keypoints_to_flow(source, target, 16, geometry="legacy")
    assert published[:, 8, 8].tolist() == pytest.approx([(148 - 136) / 16, (168 - 136) / 16])


def test_a_displacement_of_zero_is_a_label() -> None:
    """Acceptance check 9."""
    points = torch.tensor([[40.0, 40]])
    flow, mask = keypoints_to_flow(points, points, 16)
    assert not flow.any()
    assert mask.sum() == 9  # those centred at 24, 40 and 56 on either axis
    _, masked = keypoints_to_flow(points, points, 16, valid=torch.tensor([False]))
    assert not masked.any()


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(3, 7), st.integers(3, 7), st.integers(0, 6))
def test_equals_the_reference_on_any_shape(seed: int, rows: int, columns: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    sizes = (90, 150), (120, 60)
    source, target = (torch.rand(count, 2, generator=generator) * torch.tensor([size[1], size[0]]) for size in sizes)
    flow, mask = keypoints_to_flow(
        source, target, (rows, columns), source_grid=(5, 4), source_size=sizes[0], target_size=sizes[1], box=0.2
    )
    expected, covered = reference.keypoints_to_flow(
        source.double().numpy(), target.double().numpy(), (rows, columns), (5, 4), *sizes, 0.2
    )
    np.testing.assert_array_equal(mask.numpy(), covered)
    np.testing.assert_allclose(flow.numpy(), expected, atol=1e-4)


def test_batches_with_missing_points() -> None:
    source, target = torch.rand(3, 5, 2) * 256, torch.rand(3, 5, 2) * 256
    valid = torch.rand(3, 5) > 0.4
    holes = source.masked_fill(~valid[..., None], float("nan"))
    flow, mask = keypoints_to_flow(holes, target, 8, valid=valid)
    unsaid, _ = keypoints_to_flow(holes, target, 8)
    assert torch.equal(flow, unsaid)  # what is not finite never counts
    for index in range(3):
        kept = valid[index]
        one, its = keypoints_to_flow(source[index, kept], target[index, kept], 8)
        torch.testing.assert_close(flow[index], one)
        assert torch.equal(mask[index], its)


def test_every_pixel_equals_reading_at_it() -> None:
    flow = torch.randn(2, 5, 7)
    sizes = (60, 44), (30, 70)
    dense = enlarge_flow(flow, (6, 4), *sizes)
    own = centres(sizes[1])
    read = read_flow(flow, own, (6, 4), *sizes)
    torch.testing.assert_close((own + dense.flatten(1).T), read, atol=1e-3, rtol=0)


def test_misuse_is_explained() -> None:
    points = torch.zeros(3, 2)
    with pytest.raises(InputError, match="two of"):
        keypoints_to_flow(points, torch.zeros(2, 2), 8)
    with pytest.raises(InputError, match=r"valid must be \(3,\)"):
        keypoints_to_flow(points, points, 8, valid=torch.ones(2, dtype=torch.bool))
    assert not keypoints_to_flow(points[:0], points[:0], 8, geometry="legacy")[1].any()
    with pytest.raises(InputError, match="square grids on 256"):
        keypoints_to_flow(points, points, (8, 9), geometry="legacy")
    with pytest.raises(InputError, match="square grids on 256"):
        keypoints_to_flow(points, points, 8, geometry="legacy", source_size=(256, 300))


@pytest.mark.parametrize("kernel", [None, 2.0])
def test_soft_argmax_of_a_single_peak_is_exact(kernel: float | None) -> None:
    """Acceptance check 13, on grids that differ: cell (1, 3) of the source for every cell of the target."""
    refined = torch.zeros(1, 20, 6)
    refined[0, 8] = 1
    flow = soft_argmax(refined, (4, 5), (2, 3), 0.02, kernel)
    own = cell_centres((2, 3), (4, 5))  # in cells of the source
    torch.testing.assert_close(
        flow[0].permute(1, 2, 0) + own, torch.tensor([3.5, 1.5]).expand(2, 3, 2), atol=1e-4, rtol=0
    )
    same = soft_argmax(torch.eye(9)[None], (3, 3), (3, 3), 0.02, kernel)
    assert same.abs().max() < 1e-4


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.booleans())
def test_soft_argmax_equals_the_reference(seed: int, weighed: bool) -> None:
    refined = torch.rand(1, 12, 10, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    kernel = 1.3 if weighed else None
    flow = soft_argmax(refined, (3, 4), (5, 2), 0.1, kernel)
    expected = reference.soft_argmax(refined[0].numpy(), (3, 4), (5, 2), 0.1, kernel)
    np.testing.assert_allclose(flow[0].numpy(), expected, atol=1e-9)


def test_soft_argmax_has_the_right_gradient() -> None:
    refined = torch.rand(1, 6, 4, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: soft_argmax(x, (2, 3), (2, 2), 0.1), refined)


@settings(max_examples=30)
@given(st.integers(1, 6), st.integers(1, 6), st.floats(0, 1), st.floats(0, 1))
def test_corner_weights_are_what_sampling_uses(rows: int, columns: int, x: float, y: float) -> None:
    maps = torch.arange(rows * columns, dtype=torch.float32).reshape(1, rows, columns)
    place = torch.tensor([[x, y]])
    index, weight = corner_weights(place, (rows, columns))
    assert weight.sum().item() == pytest.approx(1, abs=1e-5)
    got = (maps.flatten()[index] * weight).sum().item()
    assert got == pytest.approx(sample_cells(maps, place).item(), abs=1e-3)
