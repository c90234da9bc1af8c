"""From frames to maps, whoever owns the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from samepoint.errors import InputError
from samepoint.models.network import PointNetwork
from samepoint.tracking.frames import FrameEncoder
from tests.models.test_network import TINY


def test_the_network_stays_as_the_caller_has_it() -> None:
    torch.manual_seed(0)
    network = PointNetwork(TINY).eval()
    assert all(each.is_contiguous() for each in network.parameters())
    encoder = FrameEncoder(network, dtype=torch.float32)
    assert all(each.is_contiguous() for each in network.parameters())
    assert encoder.network.encoder.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    assert FrameEncoder(encoder.network).network is encoder.network  # laid out already
    frame = np.zeros((32, 48, 3), np.uint8)
    network.train()
    first = FrameEncoder(network, dtype=torch.float32)(frame)
    assert network.training
    for one, other in zip(first, encoder(frame), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    "device", ["xyz", pytest.param("cuda", marks=pytest.mark.skipif(torch.cuda.is_available(), reason="is there"))]
)
def test_a_device_that_cannot_be_used_is_told(device: str) -> None:
    with pytest.raises(InputError, match=f"{device}: cannot be used here"):
        FrameEncoder(PointNetwork(TINY), device=device)
