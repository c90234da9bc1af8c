"""A network put to use, while whoever gave it may be in the midst of training it."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def for_inference(network: Network, device: torch.device | str | None = None) -> Network:
    """The network in evaluation mode on ``device``, where it is by default.

    One in training mode, or elsewhere than on the device, is copied: the caller's stays as it is.
    """
    known = list(network.parameters())
    place = known[0].device if device is None else torch.empty(0, device=device).device  # cuda: cuda:0
    if network.training or any(one.device != place for one in known):
        network = copy.deepcopy(network)
    return network.eval().to(place)
