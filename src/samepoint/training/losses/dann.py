"""Domain adversary on refined correlations: pairs of web videos against pairs of the target's domain (DANN).

Gradient reversal: Ganin and Lempitsky, ICML 2015; web-video-matching.md, section 8.1. The reversal's coefficient is
:func:`~samepoint.training.losses.adversary.scheduled_coefficient` of the share of the run that is done.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ...errors import InputError
from ...models.discriminator import LevelDiscriminator
from .adversary import reverse_gradient
from .precision import in_full_precision


@in_full_precision
def domain_loss(
    discriminator: LevelDiscriminator, source: Tensor, target: Tensor, *, coefficient: float = 1.0
) -> Tensor:
    """How badly two domains are told apart by their refined correlations; the matcher is pushed against it.

    Half of the mean binary cross-entropy of the source's pairs (label 0, web videos) plus half of that of the target's
    (label 1, unlabelled pairs of what is to be matched). The discriminator sees one after the other, so that its
    batch normalisations see one domain at a time, as published.

    Args:
        discriminator: of as many levels.
        source, target: refined correlations of each level, (B, L, N, N) of :class:`~samepoint.models.matcher.Matcher`;
            batch and N may differ.
        coefficient: of the reversal.

    Returns:
        Scalar.

    Raises:
        InputError: correlations of another number of levels.
    """
    levels = discriminator.conv1.in_channels
    for name, each in (("source", source), ("target", target)):
        if each.ndim != 4 or each.shape[1] != levels or 0 in each.shape:
            raise InputError(f"domain, {name}: expected correlations (B, {levels}, N, N), got {tuple(each.shape)}")
    told = [discriminator(reverse_gradient(each, coefficient)) for each in (source, target)]
    return (F.softplus(told[0]).mean() + F.softplus(-told[1]).mean()) / 2
