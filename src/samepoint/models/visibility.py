"""From the evidence of one step of tracking to the probability that the point is visible."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EVIDENCE = (
    "found",  # refiner's logit
    "error",  # log of its expected error
    "mass",  # height of the propagated label
    "surprise",  # log of 1 + pixels between the propagated peak and the result
    "likeness_coarse",  # cosine similarity with the query frame at stride 8
    "likeness_fine",  # the same at stride 4
    "before",  # confidence in the frame before
)


class Visibility(nn.Module):
    """A small perceptron on :data:`EVIDENCE`, fitted on rendered clips whose occlusion is known.

    Until it is fitted it believes the refiner's logit.
    """

    def __init__(self, hidden: int = 32) -> None:
        super().__init__()
        self.linear = nn.Linear(len(EVIDENCE), 1)
        self.bend = nn.Linear(len(EVIDENCE), hidden)
        self.rest = nn.Linear(hidden, 1, bias=False)
        with torch.no_grad():
            self.linear.weight.zero_()
            self.linear.weight[0, 0] = 1
            self.linear.bias.zero_()
            self.rest.weight.zero_()

    def forward(self, evidence: Tensor) -> Tensor:
        """Evidence (N, 7) to logits (N,)."""
        return (self.linear(evidence) + self.rest(F.gelu(self.bend(evidence))))[:, 0]
