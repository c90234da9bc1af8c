"""Gradient reversal and the adversary on correlations."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from samepoint.correspondence import local_correlation
from samepoint.errors import InputError
from samepoint.training.losses import (
    CorrelationDiscriminator,
    adversary_loss,
    reverse_gradient,
    scheduled_coefficient,
)
from tests.reference import losses as reference


def maps(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pair(seed: int, *shape: int) -> tuple[Tensor, Tensor]:
    return maps(*shape, seed=seed).requires_grad_(), maps(*shape, seed=seed + 1).requires_grad_()


def discriminator(radius: int = 1) -> CorrelationDiscriminator:
    torch.manual_seed(0)
    return CorrelationDiscriminator(radius, (5, 3)).double()


def test_reversal_changes_the_gradient_only() -> None:
    values = torch.tensor([1.0, -2.0], requires_grad=True)
    out = reverse_gradient(values, 0.25)
    assert torch.equal(out, values)
    (out * torch.tensor([3.0, 4.0])).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [-0.75, -1.0]


def test_schedule() -> None:
    """Values of the specification, and what lies outside the run."""
    expected = {0.0: 0.0, 0.01: 0.04996, 0.05: 0.2449, 0.1: 0.4621, 0.5: 0.9866, 1.0: 0.99991}
    for progress, coefficient in expected.items():
        assert scheduled_coefficient(progress) == pytest.approx(coefficient, abs=1e-4)
        assert scheduled_coefficient(progress) == pytest.approx(2 / (1 + math.exp(-10 * progress)) - 1)
    assert scheduled_coefficient(-1) == 0
    assert scheduled_coefficient(7) == scheduled_coefficient(1)


def test_published_size() -> None:
    network = CorrelationDiscriminator()
    assert sum(p.numel() for p in network.parameters()) == 3_603_601
    shapes = [tuple(p.shape) for p in network.parameters() if p.ndim == 2]
    assert shapes == [(1200, 2401), (600, 1200), (1, 600)]
    assert network(torch.zeros(2, 3, 2401)).shape == (2, 3)
    assert CorrelationDiscriminator(1, ())(torch.zeros(4, 9)).shape == (4,)


def plain(network: CorrelationDiscriminator, synthetic: tuple[Tensor, Tensor], real: tuple[Tensor, Tensor]) -> Tensor:
    """The same loss with neither reversal nor chunks."""
    logits, labels = [], []
    for maps_, label in ((synthetic, 0.0), (real, 1.0)):
        logits.append(network(local_correlation(*maps_, network.radius).permute(0, 2, 3, 1)).flatten())
        labels.append(torch.full_like(logits[-1], label))
    return F.binary_cross_entropy_with_logits(torch.cat(logits), torch.cat(labels))


@pytest.mark.parametrize("coefficient", [1.0, 0.3])
def test_features_climb_what_the_discriminator_descends(coefficient: float) -> None:
    """Check 9. The two domains differ in size: the mean is over all cells together."""
    network, synthetic, real = discriminator(), pair(0, 2, 4, 3, 5), pair(2, 1, 4, 4, 3)
    weights = list(network.parameters())
    reversed_ = adversary_loss(network, synthetic, real, coefficient=coefficient, normalise=False, rows=2)
    expected = plain(network, synthetic, real)
    assert reversed_.item() == pytest.approx(expected.item())
    got = torch.autograd.grad(reversed_, [*synthetic, *real, *weights])
    wanted = torch.autograd.grad(expected, [*synthetic, *real, *weights])
    for index, (a, b) in enumerate(zip(got, wanted, strict=True)):
        torch.testing.assert_close(a, -coefficient * b if index < 4 else b)
        assert bool((a != 0).any())


def test_equals_the_reference_and_real_is_one() -> None:
    network, synthetic, real = discriminator(), pair(0, 1, 4, 3, 3), pair(2, 1, 4, 3, 3)
    linear = [layer for layer in network.layers if isinstance(layer, torch.nn.Linear)]
    vectors = []
    for (target, source), label in ((synthetic, 0), (real, 1)):
        query, key = (reference.unit(each[0].detach().numpy(), 0) for each in (target, source))
        for y in range(3):
            for x in range(3):
                places = reference.window(y, x, 3, 3, 1, masked=False)
                products = [query[:, y, x] @ reference.value(key, v, u) for v, u in places]
                vectors.append((torch.tensor(products).numpy(), label))
    weights = [layer.weight.detach().numpy() for layer in linear]
    biases = [layer.bias.detach().numpy() for layer in linear]
    got = adversary_loss(network, synthetic, real)
    assert got.item() == pytest.approx(reference.adversary(vectors, weights, biases), rel=1e-9)
    torch.nn.init.constant_(linear[-1].bias, 30.0)  # says real to everything: right for half, 30 for the others
    torch.nn.init.zeros_(linear[-1].weight)
    assert adversary_loss(network, synthetic, real).item() == pytest.approx(15, rel=1e-6)
    assert adversary_loss(network, synthetic, synthetic).item() == pytest.approx(15, rel=1e-6)


def test_scale_of_the_features_is_no_give_away() -> None:
    network, synthetic, real = discriminator(), pair(0, 1, 4, 3, 3), pair(2, 1, 4, 3, 3)
    louder = (real[0] * 50, real[1] * 50)
    plain_, scaled = (adversary_loss(network, synthetic, each).item() for each in (real, louder))
    assert scaled == pytest.approx(plain_)
    raw, raw_scaled = (adversary_loss(network, synthetic, each, normalise=False).item() for each in (real, louder))
    assert raw_scaled != pytest.approx(raw)


def test_gradients_of_the_discriminator() -> None:
    network, synthetic, real = discriminator(), pair(0, 1, 2, 2, 3), pair(2, 1, 2, 2, 3)
    weight = network.layers[0].weight
    assert torch.autograd.gradcheck(lambda _: adversary_loss(network, synthetic, real), weight)


def test_chunks_change_nothing() -> None:
    results = []
    for rows in (1, 2, None):
        network, synthetic, real = discriminator(), pair(0, 2, 4, 5, 3), pair(2, 1, 4, 5, 3)
        loss = adversary_loss(network, synthetic, real, rows=rows)
        results.append((loss, *torch.autograd.grad(loss, [*synthetic, *real, *network.parameters()])))
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-12, atol=1e-12)


def test_misuse_is_explained() -> None:
    with pytest.raises(InputError, match="adversary, real"):
        adversary_loss(discriminator(), pair(0, 1, 2, 3, 3), (maps(0, 2, 3, 3), maps(0, 2, 3, 3)))
    with pytest.raises(InputError, match="discriminator"):
        CorrelationDiscriminator(0)
