"""Coordinates and read-out: where a value is put is where it is read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from samepoint.geometry import (
    Lattice,
    fit_size,
    gather_patches,
    gaussian_maps,
    lerp_grid,
    read_peak,
    read_peak_published,
    sample_patches,
    upsample_lattice,
)
from samepoint.models.network import NetworkConfig, PointNetwork
from samepoint.models.resnet import ResNet


@given(st.sampled_from([1, 2, 4, 14, 16]), st.floats(0, 8), st.floats(-50, 2000))
def test_pixels_and_cells_are_inverse(stride: int, offset: float, x: float) -> None:
    lattice = Lattice(stride, offset)
    there = lattice.to_pixels(lattice.to_cells(torch.tensor(x, dtype=torch.float64)))
    assert abs(there.item() - x) < 1e-9


@pytest.mark.parametrize("name", ["fgvc", "resnet", "ours"])
def test_cells_lie_where_the_lattice_says(name: str) -> None:
    """What a cell sees lies symmetrically around the place that the lattice gives it."""
    torch.manual_seed(0)
    network = {
        "fgvc": ResNet.fgvc,
        "resnet": lambda: ResNet(18, outputs=(1, 2)),
        "ours": lambda: PointNetwork(NetworkConfig(stem=8, widths=(8, 8, 8), blocks=1, pyramid=8)),
    }[name]().eval()
    size = 128
    checked = 0
    for level, lattice in enumerate(network.lattices):
        x = torch.randn(1, 3, size, size, requires_grad=True)
        cell = size // 2 // lattice.stride
        centre = lattice.to_pixels(torch.tensor(float(cell))) - 0.5
        (gradient,) = torch.autograd.grad(network.features(x)[level][0, :, cell, cell].pow(3).sum(), x)
        seen = torch.nonzero(gradient[0].abs().sum(0) > 0)
        low, high = seen.min(0).values, seen.max(0).values
        if (low > 0).all() and (high < size - 1).all():
            # Dead units may trim the field by a pixel or two; a wrong offset would shift it by half a stride.
            assert ((low + high) / 2 - centre).abs().max() <= max(0.5, lattice.stride / 4)
            checked += 1
    assert checked


def test_upsampling_keeps_cells_in_place() -> None:
    rows = torch.arange(5.0)[:, None].expand(5, 7)
    fine = upsample_lattice(rows[None, None], (10, 13))[0, 0]
    assert fine.shape == (10, 13)
    expected = torch.minimum(torch.arange(10.0) / 2, torch.tensor(4.0))
    torch.testing.assert_close(fine[:, 0], expected)


def test_patches_equal_the_map_inside_and_zero_outside() -> None:
    features = torch.arange(2 * 4 * 5 * 3, dtype=torch.float32).reshape(2, 4, 5, 3)
    blocks, valid = gather_patches(features, torch.tensor([[3, -1]]), 3, torch.tensor([1]))
    blocks, valid = blocks.reshape(3, 3, 3), valid.reshape(3, 3)
    assert valid.tolist() == [[0, 0, 0], [1, 1, 0], [1, 1, 0]]
    torch.testing.assert_close(blocks[1, 0], features[1, 0, 3])
    assert blocks[0].abs().sum() == 0
    assert blocks[:, 2].abs().sum() == 0


@settings(max_examples=30)
@given(st.floats(3, 12), st.floats(3, 9))
def test_patches_are_exact_on_a_plane(x: float, y: float) -> None:
    rows, columns = torch.meshgrid(torch.arange(14.0), torch.arange(16.0), indexing="ij")
    plane = torch.stack([columns, rows], dim=-1)[None]
    patch = sample_patches(plane, torch.tensor([[x, y]]), 2).reshape(5, 5, 2)
    torch.testing.assert_close(patch[2, 2], torch.tensor([x, y]), atol=1e-4, rtol=0)
    torch.testing.assert_close(patch[0, 4], torch.tensor([x + 2, y - 2]), atol=1e-4, rtol=0)


def test_lerp_by_hand() -> None:
    grid = torch.tensor([[0.0, 10.0], [20.0, 30.0]])[None]
    assert lerp_grid(grid, torch.tensor([[0.25, 0.5]])).item() == pytest.approx(12.5)


@settings(max_examples=60)
@given(st.floats(2, 37), st.floats(2, 25), st.floats(1.0, 4.0))
def test_the_peak_of_a_gaussian_is_read_exactly(u: float, v: float, sigma: float) -> None:
    maps = gaussian_maps(torch.tensor([[u, v]], dtype=torch.float64), (28, 40), sigma)
    peak, height = read_peak(maps)
    assert np.abs(peak.numpy() - [[u, v]]).max() < 1e-6
    assert 0 < height.item() <= 1


def test_peaks_at_the_border_of_flat_and_of_empty_maps() -> None:
    maps = torch.zeros(3, 4, 5)
    maps[0, 0, 4] = 1.0
    maps[1] = 0.5
    peak, height = read_peak(maps)
    torch.testing.assert_close(peak[0], torch.tensor([4.0, 0.0]))
    assert torch.isfinite(peak).all()
    assert height.tolist() == [1.0, 0.5, 0.0]
    assert read_peak(maps[:0])[0].shape == (0, 2)


def test_published_read_out_by_hand() -> None:
    maps = torch.zeros(2, 3, 4)
    maps[0, 1, 1], maps[0, 1, 2] = 0.75, 0.25
    xy = read_peak_published(maps)
    assert xy.tolist() == [[1.25, 1.0], [-1.0, -1.0]]


def test_fit_size_keeps_the_aspect() -> None:
    assert fit_size((240, 320), 480) == (480, 640)
    assert fit_size((1080, 607), 256) == (455, 256)
    assert fit_size((37, 53), None) == (37, 53)
    assert fit_size((16, 256), 480) == (480, 7680)


def test_fit_size_bounds_a_strip() -> None:
    height, width = fit_size((16, 2000), 480)
    assert height * width == pytest.approx(16 * 480**2, rel=0.01)
    assert width / height == pytest.approx(125, rel=0.01)


def test_of_no_places_there_are_no_patches() -> None:
    features, batch = torch.rand(2, 4, 5, 3, requires_grad=True), torch.zeros(0, dtype=torch.long)
    blocks, valid = gather_patches(features, torch.zeros(0, 2, dtype=torch.long), 3, batch)
    assert (blocks.shape, valid.shape) == ((0, 9, 3), (0, 9))
    samples = sample_patches(features, torch.zeros(0, 2), 1, batch)
    assert samples.shape == (0, 9, 3)
    samples.sum().backward()
    assert features.grad is not None
    assert (features.grad == 0).all()
