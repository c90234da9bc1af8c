"""Windowed correlations in chunks: nothing of the size of the whole volume is kept."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from samepoint.correspondence import local_correlation
from samepoint.training.losses import CorrelationDiscriminator, adversary_loss, reconstruction_loss, soft_target_loss
from samepoint.training.losses import rows as rows_module


def test_only_a_chunk_lives_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Autograd keeps the maps; each volume that is made, forward or backward, is within the bound."""
    made: list[int] = []
    kept: list[int] = []

    def counting(query: Tensor, key: Tensor, radius: int, outside: float, row: int) -> Tensor:
        result = local_correlation(query, key, radius, outside, row)
        made.append(result.numel())
        return result

    def pack(saved: Tensor) -> Tensor:
        kept.append(saved.numel())
        return saved

    monkeypatch.setattr(rows_module, "local_correlation", counting)
    monkeypatch.setattr(rows_module, "CHUNK_ELEMENTS", 3000)
    torch.manual_seed(0)
    network = CorrelationDiscriminator(5)
    features = [torch.randn(1, 4, 12, 12, requires_grad=True) for _ in range(2)]
    colour, flow = torch.randn(1, 1, 24, 24), torch.zeros(1, 24, 24, 2)
    volume = 11 * 11 * 12 * 12  # 17424 numbers
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        losses = [
            reconstruction_loss(features[0], features[1], colour, colour, radius=5),
            soft_target_loss(features[0], features[1], flow, torch.ones(1, 24, 24, dtype=torch.bool), radius=5),
            adversary_loss(network, (features[0], features[1]), (features[1], features[0])),
        ]
    assert sum(kept) < volume
    forward = len(made)
    torch.stack(losses).sum().backward()
    assert forward == 4 * 6  # the adversary sees two pairs; 2 rows are 2904 numbers
    assert len(made) == 2 * forward
    assert max(made) == 2904
