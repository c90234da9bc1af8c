"""A network put to use, while whoever gave it may be in the midst of training it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """The network in evaluation mode for a while, in which it learns nothing; then each of its parts is as it was."""
    learning = [part for part in network.modules() if part.training]
    network.eval()
    try:
        yield
    finally:
        for part in learning:
            part.training = True


def for_inference(
    network: Network,
    device: torch.device | str | None = None,
    memory_format: torch.memory_format = torch.preserve_format,
) -> Network:
    """The network in evaluation mode on ``device``, where it is by default, its weights laid out in memory as asked.

    One of which something would have to change is copied: the caller's stays as it is.
    """
    known = list(network.parameters())
    place = known[0].device if device is None else torch.empty(0, device=device).device  # cuda: cuda:0
    laid_out = memory_format is torch.preserve_format or all(
        one.is_contiguous(memory_format=memory_format) for one in known if one.dim() == 4
    )
    if network.training or not laid_out or any(one.device != place for one in known):
        network = copy.deepcopy(network)
    return network.eval().to(place, memory_format=memory_format)  # type: ignore[call-overload]
