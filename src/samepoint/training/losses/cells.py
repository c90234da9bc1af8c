"""A random choice of cells, for losses over too many pairs of them."""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import InputError


def choose_cells(count: int, samples: int | None, generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Sorted int64 indices below ``count``: ``samples`` different ones, or all if None or if there are not more.

    ``generator`` is on the CPU; None: the global one.
    """
    if samples is not None and samples < 1:
        raise InputError(f"samples: expected at least 1 cell, got {samples}")
    if samples is None or samples >= count:
        return torch.arange(count, device=device)
    return torch.randperm(count, generator=generator)[:samples].sort().values.to(device)
