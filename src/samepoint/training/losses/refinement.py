"""Losses of the refiner's estimates."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.refiner import Estimate


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

    Returns:
        Scalar; 0 with zero gradient where there is no point.
    """
    if not len(target):
        return torch.stack([value.sum() for value in estimates[-1]]).sum()  # the mean of nothing would be NaN
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
