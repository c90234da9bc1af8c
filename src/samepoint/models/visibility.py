"""From the evidence of one step of tracking to the probability that the point is visible."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .company import COMPANY

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


HORIZON = 3
"""Frames before and after a moment that :class:`Hindsight` looks at."""


class Hindsight(nn.Module):
    """What the frames around a moment, and the other points, add to the evidence of that moment.

    For a video that is there as a whole. A point that is hidden for one frame only, or seen for one, is mostly neither;
    one that left its neighbours, or lies where others are seen, is mostly lost or hidden. Unfitted, it changes nothing.
    """

    def __init__(self, hidden: tuple[int, int] = (64, 32)) -> None:
        super().__init__()
        self.first = nn.Linear((2 * HORIZON + 1) * (len(EVIDENCE) + 1) + len(COMPANY), hidden[0])
        self.second = nn.Linear(hidden[0], hidden[1])
        self.last = nn.Linear(hidden[1], 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, window: Tensor, logits: Tensor) -> Tensor:
        """Better logits (N,) from those of :class:`Visibility` (N,) and ``window`` (N, inputs).

        That is the :func:`surroundings`, and the :func:`~samepoint.models.company.company` at the moment itself.
        """
        correction: Tensor = self.last(F.gelu(self.second(F.gelu(self.first(window)))))[:, 0]
        return logits + correction


def surroundings(evidence: Tensor, present: Tensor) -> Tensor:
    """What :class:`Hindsight` reads of each point alone.

    Args:
        evidence: (2 HORIZON + 1, N, 7) of consecutive frames, the moment itself in the middle.
        present: bool (2 HORIZON + 1, N): false before a point was given and after the video's end, where the nearest
            frame that is there stands in. True in the middle.

    Returns:
        (N, (2 HORIZON + 1) * 8): the evidence of each frame and whether it is its own.
    """
    filled = list(evidence)
    for away in range(1, HORIZON + 1):
        for side in (-1, 1):
            at = HORIZON + side * away
            filled[at] = torch.where(present[at][:, None], filled[at], filled[at - side])
    return torch.cat([torch.stack(filled), present[..., None].to(evidence.dtype)], dim=2).transpose(0, 1).flatten(1)
