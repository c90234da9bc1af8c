"""Correlations of one level at a time: the volume of all levels is never made."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .consensus import mutual
from .flow_readout import ELEMENTS_AT_ONCE
from .hypercolumn import Size


def cosines(source: Tensor, target: Tensor) -> Tensor:
    """(B, N_s, N_t) of (B, C, h, w) and (B, C, h', w')."""
    return _unit(source).transpose(1, 2) @ _unit(target)


def _unit(level: Tensor) -> Tensor:
    flat = level.flatten(2)
    return flat / (flat.square().sum(dim=1, keepdim=True) + 1e-6).sqrt()


def add_mutual(total: Tensor, source: Tensor, target: Tensor, share: float) -> Tensor:
    """``total`` plus a share of the filtered correlations of one level; without gradients, in place and in pieces."""
    if torch.is_grad_enabled() and (total.requires_grad or source.requires_grad or target.requires_grad):

        def filtered(a: Tensor, b: Tensor) -> Tensor:
            return mutual(cosines(a, b)) * share

        # Computed again in the backward pass: only the sum of the levels is kept.
        return total + checkpoint(filtered, source, target, use_reentrant=False, preserve_rng_state=False)
    correlation = cosines(source, target)
    over_source = correlation.amax(dim=1, keepdim=True).clamp_min(1e-8)
    over_target = correlation.amax(dim=2, keepdim=True).clamp_min(1e-8)
    step = max(1, ELEMENTS_AT_ONCE // (correlation.shape[0] * correlation.shape[2]))
    for start in range(0, correlation.shape[1], step):
        part = slice(start, start + step)
        piece = correlation[:, part]
        cubed = piece * (piece / over_source) * (piece / over_target[:, part])
        total[:, part].add_(cubed, alpha=share)
    return total


def spread(change: Tensor, own: int, source: Size, target: Size) -> Tensor:
    """Correlations (B, a * a, a * a) between cells: (B, N_s, N_t), bilinear in all four directions."""
    turned = change.transpose(1, 2).unflatten(2, (own, own))  # (B, a * a of the target, a, a)
    wide = F.interpolate(turned, source, mode="bilinear", align_corners=False).flatten(2).transpose(1, 2)
    whole = F.interpolate(wide.unflatten(2, (own, own)), target, mode="bilinear", align_corners=False)
    return whole.flatten(2)
