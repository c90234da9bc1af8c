"""Channel dropout and colour reconstruction."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from samepoint.errors import InputError
from samepoint.training.losses import drop_channel, reconstruct_colour, reconstruction_loss
from tests.reference import losses as reference


def maps(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def one_hot(size: int = 16, gain: float = 100.0) -> Tensor:
    """Each of size^2 cells another channel."""
    return torch.eye(size * size).reshape(1, size * size, size, size) * gain


def test_dropped_channel_by_hand() -> None:
    frames = maps(2, 2, 3, 4, 5)
    before = frames.clone()
    dropped, channel = drop_channel(frames, None, channel=2)
    assert channel == 2
    assert bool((dropped[:, :, 2] == 0).all())
    torch.testing.assert_close(dropped[:, :, :2], 1.5 * before[:, :, :2])
    assert torch.equal(frames, before)


def test_one_draw_a_batch_never_lightness() -> None:
    generator = torch.Generator().manual_seed(3)
    drawn = []
    for _ in range(40):
        dropped, channel = drop_channel(torch.ones(3, 3, 2, 2), generator)
        assert [int(c) for c in (dropped == 0).all(dim=0).flatten(1).all(dim=1).nonzero()] == [channel]
        assert int((dropped == 0).sum()) == 3 * 4
        drawn.append(channel)
    assert set(drawn) == {1, 2}
    assert 10 < drawn.count(1) < 30
    with pytest.raises(InputError, match="channel 1"):
        drop_channel(torch.ones(1, 3, 2, 2), generator, channel=0)
    with pytest.raises(InputError, match="Lab frames"):
        drop_channel(torch.ones(1, 2, 2, 2), generator)


@pytest.mark.parametrize("legacy", [False, True])
def test_identical_frames_of_distinct_cells_give_their_colours_back(legacy: bool) -> None:
    """Check 5 of the specification."""
    feature = one_hot()
    colour = maps(1, 1, 32, 32).float()
    mixed = reconstruct_colour(feature, feature, colour[:, :, ::2, ::2], radius=24, legacy=legacy)
    torch.testing.assert_close(mixed, colour[:, :, ::2, ::2])
    loss = reconstruction_loss(feature, feature, colour, colour, radius=24, legacy=legacy)
    assert (loss.item() > 0.1) if legacy else (loss.item() < 1e-6)


def test_published_target_lies_half_a_pixel_off() -> None:
    """On a ramp, the published upsampling is wrong by half a pixel, that of the lattice by nothing."""
    feature = one_hot(8)
    ramp = (torch.arange(16.0) / 100).expand(1, 1, 16, 16)
    interior = ramp[..., 1:-1].numel() / ramp.numel()
    expected = interior * (20 * 0.005) ** 2 / 2  # smooth L1 of 20 times half a step
    # first column: cell 0 stands for pixel 0; last one: cell 7 is pixel 14, not 15
    expected += (20 * 0.01) ** 2 / 2 / 16
    got = reconstruction_loss(feature, feature, ramp, ramp, radius=2, legacy=True)
    assert got.item() == pytest.approx(expected, rel=1e-4)
    assert reconstruction_loss(feature, feature, ramp, ramp, radius=2).item() < 1e-9


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(("normalise", "temperature"), [(False, None), (True, 0.2)])
def test_equals_the_reference(legacy: bool, normalise: bool, temperature: float | None) -> None:
    target, source = maps(2, 6, 5, 4), maps(2, 6, 5, 4, seed=1)
    truth, colour = maps(2, 2, 10, 8, seed=2), maps(2, 2, 10, 8, seed=3)
    got = reconstruction_loss(
        target,
        source,
        truth,
        colour,
        radius=2,
        temperature=temperature,
        normalise=normalise,
        legacy=legacy,
        rows=2,
    )
    total = []
    for b in range(2):
        query, key = (each[b].numpy() for each in (target, source))
        if normalise:
            query, key = reference.unit(query, 0), reference.unit(key, 0)
        cells = colour[b, :, ::2, ::2].numpy()
        mixed = reference.reconstruct(query, key, cells, 2, temperature or math.sqrt(6), not legacy)
        wanted = truth[b].numpy() if legacy else truth[b, :, ::2, ::2].numpy()
        mixed = reference.double_published(mixed) if legacy else mixed
        total.extend(reference.smooth_l1(20 * d) for d in (mixed - wanted).flatten())
    assert got.item() == pytest.approx(np.mean(total), rel=1e-6)


def test_chunks_change_nothing() -> None:
    results = []
    for rows in (1, 3, 7, 100, None):
        target, source = (maps(2, 4, 7, 5, seed=s).requires_grad_() for s in (0, 1))
        colour = maps(2, 1, 14, 10, seed=2)
        loss = reconstruction_loss(target, source, colour, colour, radius=3, rows=rows)
        results.append((loss, *torch.autograd.grad(loss, (target, source))))
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("legacy", [False, True])
def test_gradients(legacy: bool) -> None:
    target, source = (maps(1, 3, 3, 4, seed=s).requires_grad_() for s in (0, 1))
    truth, colour = maps(1, 1, 6, 8, seed=2), maps(1, 1, 6, 8, seed=3)

    def loss(query: Tensor, key: Tensor) -> Tensor:
        return reconstruction_loss(query, key, truth, colour, radius=1, legacy=legacy, rows=2)

    assert torch.autograd.gradcheck(loss, (target, source))


def test_half_precision_is_computed_in_single() -> None:
    target, source = maps(1, 8, 4, 4).bfloat16(), maps(1, 8, 4, 4, seed=1).bfloat16()
    colour = maps(1, 1, 8, 8, seed=2).float()
    expected = reconstruction_loss(target.float(), source.float(), colour, colour, radius=2)
    with torch.autocast("cpu", torch.bfloat16):
        got = reconstruction_loss(target.requires_grad_(), source, colour, colour, radius=2)
    got.backward()
    assert got.item() == expected.item()
    assert target.grad is not None
    assert target.grad.dtype == torch.bfloat16


def test_misuse_is_explained() -> None:
    feature, colour = maps(1, 3, 4, 4), maps(1, 1, 8, 8)
    with pytest.raises(InputError, match="10 x 8 pixels give 5 x 4 cells"):
        reconstruction_loss(feature, feature, maps(1, 1, 10, 8), maps(1, 1, 10, 8))
    with pytest.raises(InputError, match="alike"):
        reconstruction_loss(feature, feature[:, :2], colour, colour)
    with pytest.raises(InputError, match="not empty"):
        reconstruction_loss(feature[:0], feature[:0], colour[:0], colour[:0])
    with pytest.raises(InputError, match="two colours"):
        reconstruction_loss(feature, feature, colour, colour[:, :, :4])
    with pytest.raises(InputError, match="temperature"):
        reconstruction_loss(feature, feature, colour, colour, temperature=0.0)
    with pytest.raises(InputError, match="rows"):
        reconstruction_loss(feature, feature, colour, colour, rows=0)
