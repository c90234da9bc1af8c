"""The adversary's network on refined correlations; its golden logit is tested with the matcher."""

from __future__ import annotations

import torch

from samepoint.models.discriminator import LevelDiscriminator


def test_published_size() -> None:
    network = LevelDiscriminator()
    assert sum(p.numel() for p in network.parameters()) == 173_825
    shapes = [tuple(p.shape) for p in network.parameters() if p.ndim > 1]
    assert shapes == [(128, 8, 3, 3), (128, 128, 3, 3), (128, 128), (1, 128)]
    assert network.fc1.bias.abs().max() == 0


def test_any_size_of_correlations() -> None:
    network = LevelDiscriminator(3, 8)
    assert network(torch.randn(2, 3, 9, 16)).shape == (2,)
    assert network(torch.randn(1, 3, 25, 25)).shape == (1,)
