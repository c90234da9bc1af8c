"""Objectives, as pure functions of tensors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..models.refiner import Estimate


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


def refinement_loss(
    estimates: list[Estimate], target: Tensor, visible: Tensor, *, found_within: float = 8.0, decay: float = 0.8
) -> Tensor:
    """Where the point is, how sure that is, and whether it was found, summed over the refiner's iterations.

    Visible points: Laplace negative log-likelihood of the error under the stated scale plus a small plain L1, which
    keeps far guesses moving. Hidden points: a little L1 only, for their place can be told from their surroundings.
    Found means visible and within ``found_within`` pixels: a guess that ended elsewhere must not be believed.

    Args:
        estimates: one a iteration, N points each, pixels of the network's input.
        target: (N, 2) true positions; NaN where unknown.
        visible: (N,) bool.
        found_within: pixels.
        decay: weight of each earlier iteration relative to the next.
    """
    known = torch.isfinite(target).all(dim=1)
    target = target.nan_to_num()
    seen = (visible & known).to(target.dtype)
    hidden = (~visible & known).to(target.dtype)
    total = target.new_zeros(())
    for index, estimate in enumerate(estimates):
        difference = estimate.xy - target
        error = (difference.square().sum(dim=1) + 1e-4).sqrt().clamp_max(64)
        likelihood = error * torch.exp(-estimate.log_error) + estimate.log_error
        position = (seen * (likelihood + 0.05 * error) + 0.02 * hidden * error).sum() / seen.sum().clamp_min(1)
        found = (visible & known & (error.detach() < found_within)).to(target.dtype)
        found_loss = F.binary_cross_entropy_with_logits(estimate.visible, found)
        total = total + decay ** (len(estimates) - 1 - index) * (position + found_loss)
    return total
