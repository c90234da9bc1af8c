"""An adversary that must not tell rendered from real by the correlations (FGVC; video-features.md, section 7).

Gradient reversal: Ganin and Lempitsky, ICML 2015.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import InputError
from .precision import in_full_precision
from .rows import check_maps, over_rows
from .unit import unit


class _ReverseGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, coefficient: float) -> Tensor:
        ctx.coefficient = coefficient
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.coefficient * gradient, None


def reverse_gradient(values: Tensor, coefficient: float = 1.0) -> Tensor:
    """``values``; the gradient that comes back is multiplied by ``-coefficient``."""
    result: Tensor = _ReverseGradient.apply(values, coefficient)
    return result


def scheduled_coefficient(progress: float, steepness: float = 10.0) -> float:
    """Reversal coefficient 2 / (1 + exp(-steepness * p)) - 1: 0 at the start, near 1 at the end (DANN).

    ``progress`` p is the share of the run that is done, clipped to [0, 1].

    >>> [round(scheduled_coefficient(p), 5) for p in (0, 0.01, 0.1, 1)]
    [0.0, 0.04996, 0.46212, 0.99991]
    """
    return math.tanh(steepness * min(max(progress, 0.0), 1.0) / 2)


class CorrelationDiscriminator(nn.Module):
    """From the correlations of one cell with its window to the logit of "real".

    Args:
        radius: of the window, cells; 24 gives the published 2401 inputs.
        hidden: width of each hidden layer; None: half and a quarter of the inputs, the published 1200 and 600.
    """

    def __init__(self, radius: int = 24, hidden: Sequence[int] | None = None) -> None:
        super().__init__()
        inputs = (2 * radius + 1) ** 2
        widths = [inputs // 2, inputs // 4] if hidden is None else list(hidden)
        if radius < 0 or any(width < 1 for width in widths):
            raise InputError(f"discriminator: expected a radius of 1 or hidden widths above 0, got {radius}, {widths}")
        self.radius = radius
        layers: list[nn.Module] = []
        for before, after in pairwise([inputs, *widths]):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear([inputs, *widths][-1], 1))

    def forward(self, correlation: Tensor) -> Tensor:
        """(..., (2 radius + 1)^2) to logits (...)."""
        logits: Tensor = self.layers(correlation)
        return logits[..., 0]


@in_full_precision
def adversary_loss(
    discriminator: CorrelationDiscriminator,
    synthetic: tuple[Tensor, Tensor],
    real: tuple[Tensor, Tensor],
    *,
    coefficient: float = 1.0,
    normalise: bool = True,
    rows: int | None = None,
) -> Tensor:
    """How badly rendered pairs (label 0) and real ones (label 1) are told apart; the features are pushed against it.

    Mean binary cross-entropy over all cells of both. The discriminator learns by descending it; through
    :func:`reverse_gradient` the features climb it. Correlations of places outside the picture are 0.

    Args:
        discriminator: for windows of its own radius.
        synthetic, real: each the target's and the reference's features (B, C, h, w); the two may differ in size.
        coefficient: of the reversal; constant, or :func:`scheduled_coefficient`.
        normalise: correlations are cosines, so that the scale of the features is no give-away; False: raw dot
            products, as published.
        rows: query rows at once, for memory and speed only; None: chosen by size.

    Returns:
        Scalar mean.
    """
    check_maps("adversary, synthetic", *synthetic)
    check_maps("adversary, real", *real)
    total, count = synthetic[0].new_zeros(()), 0
    for maps, sign in ((synthetic, 1), (real, -1)):
        target, reference = (unit(each, dim=1) if normalise else each for each in maps)

        def error(correlation: Tensor, chunk: slice, sign: int = sign) -> Tensor:
            logits = discriminator(reverse_gradient(correlation, coefficient).permute(0, 2, 3, 1))
            return F.softplus(sign * logits).sum()

        total = total + torch.stack(over_rows(target, reference, discriminator.radius, 0.0, error, rows)).sum()
        count += target[:, 0].numel()
    return total / count
