"""Unit vectors whose gradient has a bound, for losses that compare by cosine."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ...models.encoder import SHORTEST


def unit(values: Tensor, dim: int) -> Tensor:
    """``values`` divided by their length along ``dim``; 0, with zero gradient, where that is below ``SHORTEST``.

    What next to nothing points at is chance, and all the more so its gradient, which grows as it gets shorter.
    """
    known = values.detach().norm(dim=dim, keepdim=True) >= SHORTEST
    return F.normalize(values, dim=dim, eps=SHORTEST).where(known, 0.0)
