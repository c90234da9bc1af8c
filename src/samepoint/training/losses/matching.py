"""Global matching with sub-cell targets."""

from __future__ import annotations

import torch
from torch import Tensor


def matching_loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Cross-entropy of a match over all cells, with a target of sub-cell precision.

    The target spreads over the four cells around the true position with bilinear weights, so that its mean is the true
    position exactly.

    Args:
        logits: (N, H, W) similarity over temperature of each query with each cell.
        target: (N, 2) true position as fractional (column, row).
        valid: (N,) bool; queries without a match, or whose match leaves the map, do not count.

    Returns:
        Scalar mean over the valid queries; 0 with zero gradient where there is none.
    """
    height, width = logits.shape[-2:]
    inside = (target >= 0).all(1) & (target[:, 0] <= width - 1) & (target[:, 1] <= height - 1)
    mask = (valid & inside).to(logits.dtype)
    base = torch.floor(target.nan_to_num())
    fraction = target.nan_to_num() - base
    total = logits.new_zeros(len(logits))
    flat = logits.reshape(len(logits), -1)
    for dy in (0, 1):
        for dx in (0, 1):
            column = (base[:, 0] + dx).clamp(0, width - 1).long()
            row = (base[:, 1] + dy).clamp(0, height - 1).long()
            weight = (fraction[:, 0] if dx else 1 - fraction[:, 0]) * (fraction[:, 1] if dy else 1 - fraction[:, 1])
            total = total + weight * flat.gather(1, (row * width + column)[:, None])[:, 0]
    loss = flat.logsumexp(dim=1) - total
    return (loss * mask).sum() / mask.sum().clamp_min(1)
