"""What the other points of a video say of each: its neighbours move as it does, what hides it does not."""

from __future__ import annotations

import torch
from torch import Tensor

COMPANY = (
    "seen",  # mean confidence of the neighbours
    "together",  # the same of those that have moved as the point has
    "support",  # how many neighbours have moved alike, each as far as it is near and seen
    "apart",  # log of 1 + pixels between the point and where these say it is
    "outside",  # whether they say that it is outside the picture
    "kin_there",  # points seen around where they say it is: those that have moved alike, log of 1 + number
    "strangers_there",  # and the others: what may hide it
    "kin_here",  # the same around where the point is said to be
    "strangers_here",
)
NEIGHBOURS = 8
"""Points of the same query frame, nearest there."""
_SHORT_SIDE = 256.0
"""Pixels that frames are thought to have along their short side; the distances below are of these."""
_NEAR, _ALIKE, _AROUND = 24.0, 6.0, 14.0
_ROWS = 512
"""Points compared with all others at once: a bound on memory."""


def company(start: Tensor, xy: Tensor, confidence: Tensor, given: Tensor, size: tuple[int, int]) -> Tensor:
    """:data:`COMPANY` of N points in one frame.

    Only points given in the same frame are each other's company; a point without any gets zeros.

    Args:
        start: (N, 2) pixels, where each was given.
        xy: (N, 2) where each is.
        confidence: (N,) in that.
        given: (N,) the frame that each was given in.
        size: (H, W) of the frame.

    Returns:
        (N, 9) float32.
    """
    result = torch.zeros(len(xy), len(COMPANY))
    for frame in given.unique().tolist():
        own = torch.nonzero(given == frame)[:, 0]
        if len(own) > 1:
            scale = _SHORT_SIDE / min(size)
            border = torch.tensor([size[1], size[0]]) * scale
            result[own] = _company(start[own] * scale, xy[own] * scale, confidence[own], border)
    return result


def _company(start: Tensor, xy: Tensor, confidence: Tensor, border: Tensor) -> Tensor:
    moved = xy - start
    parts = []
    for first in range(0, len(xy), _ROWS):
        rows = torch.arange(first, min(first + _ROWS, len(xy)))
        apart = torch.cdist(start[rows], start)
        apart[torch.arange(len(rows)), rows] = torch.inf
        distance, nearest = apart.topk(min(NEIGHBOURS, len(xy) - 1), largest=False)
        weight = torch.exp(-distance / _NEAR)
        total = weight.sum(1).clamp_min(1e-6)
        trusted, motions = weight * confidence[nearest], moved[nearest]
        alike = torch.exp(-(motions - moved[rows, None]).norm(dim=2) / _ALIKE)
        # The motion that most of the trusted neighbours share, as one of them has it.
        shared = torch.exp(-(motions[:, :, None] - motions[:, None]).norm(dim=3) / _ALIKE)
        votes = (shared * trusted[:, None]).sum(2) + 1e-6 * weight
        best = votes.argmax(1)
        there = start[rows] + motions[torch.arange(len(rows)), best]
        parts.append(
            torch.stack(
                [
                    trusted.sum(1) / total,
                    (trusted * alike).sum(1) / total,
                    votes[torch.arange(len(rows)), best],
                    (there - xy[rows]).norm(dim=1).log1p(),
                    ((there < 0) | (there > border)).any(1).float(),
                    *_around(there, there - start[rows], rows, xy, moved, confidence),
                    *_around(xy[rows], moved[rows], rows, xy, moved, confidence),
                ],
                dim=1,
            )
        )
    return torch.cat(parts)


def _around(
    places: Tensor, motions: Tensor, rows: Tensor, xy: Tensor, moved: Tensor, confidence: Tensor
) -> tuple[Tensor, Tensor]:
    """Points seen around ``places`` (M, 2): how many have moved by ``motions`` (M, 2), and how many otherwise.

    ``rows`` (M,) are the points that ask, who do not count themselves.
    """
    near = torch.exp(-((torch.cdist(places, xy) / _AROUND) ** 2)) * confidence
    near[torch.arange(len(rows)), rows] = 0
    alike = torch.exp(-((torch.cdist(motions, moved) / _ALIKE) ** 2))
    return (near * alike).sum(1).log1p(), (near * (1 - alike)).sum(1).log1p()
