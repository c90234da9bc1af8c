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
            scale, border = _scale(size)
            group = start[own] * scale, xy[own] * scale, confidence[own]
            result[own] = _company(*group[:2], group, border, among=True)
    return result


def company_of_support(
    start: Tensor, xy: Tensor, support: tuple[Tensor, Tensor, Tensor], size: tuple[int, int]
) -> Tensor:
    """:data:`COMPANY` of N points in one frame whose company are S others, which all were given when they were.

    Args:
        start, xy: (N, 2) pixels, where each point was given and where it is.
        support: of the others the same, (S, 2), and the confidence in that, (S,).
        size: (H, W) of the frame.

    Returns:
        (N, 9) float32; zeros where there is no support.
    """
    if not len(support[0]):
        return torch.zeros(len(xy), len(COMPANY))
    scale, border = _scale(size)
    others = support[0] * scale, support[1] * scale, support[2]
    return _company(start * scale, xy * scale, others, border, among=False)


def _scale(size: tuple[int, int]) -> tuple[float, Tensor]:
    """What pixels are multiplied by, and the lower right corner, (2,)."""
    scale = _SHORT_SIDE / min(size)
    return scale, torch.tensor([size[1], size[0]]) * scale


def _company(
    asked_start: Tensor, asked_xy: Tensor, others: tuple[Tensor, Tensor, Tensor], border: Tensor, *, among: bool
) -> Tensor:
    """Of points by others; ``among``: these are the points themselves, of which none is its own company."""
    start, xy, confidence = others
    moved, nearest_count = xy - start, min(NEIGHBOURS, len(xy) - among)
    parts = []
    for first in range(0, len(asked_xy), _ROWS):
        rows = torch.arange(first, min(first + _ROWS, len(asked_xy)))
        itself = (torch.arange(len(rows)), rows) if among else None
        here, motion = asked_xy[rows], asked_xy[rows] - asked_start[rows]
        apart = torch.cdist(asked_start[rows], start)
        if itself is not None:
            apart[itself] = torch.inf
        distance, nearest = apart.topk(nearest_count, largest=False)
        weight = torch.exp(-distance / _NEAR)
        total = weight.sum(1).clamp_min(1e-6)
        trusted, motions = weight * confidence[nearest], moved[nearest]
        alike = torch.exp(-(motions - motion[:, None]).norm(dim=2) / _ALIKE)
        # The motion that most of the trusted neighbours share, as one of them has it.
        shared = torch.exp(-(motions[:, :, None] - motions[:, None]).norm(dim=3) / _ALIKE)
        votes = (shared * trusted[:, None]).sum(2) + 1e-6 * weight
        best = torch.arange(len(rows)), votes.argmax(1)
        there = asked_start[rows] + motions[best]
        parts.append(
            torch.stack(
                [
                    trusted.sum(1) / total,
                    (trusted * alike).sum(1) / total,
                    votes[best],
                    (there - here).norm(dim=1).log1p(),
                    ((there < 0) | (there > border)).any(1).float(),
                    *_around(there, there - asked_start[rows], itself, xy, moved, confidence),
                    *_around(here, motion, itself, xy, moved, confidence),
                ],
                dim=1,
            )
        )
    return torch.cat(parts)


def _around(
    places: Tensor,
    motions: Tensor,
    itself: tuple[Tensor, Tensor] | None,
    xy: Tensor,
    moved: Tensor,
    confidence: Tensor,
) -> tuple[Tensor, Tensor]:
    """Points seen around ``places`` (M, 2): how many have moved by ``motions`` (M, 2), and how many otherwise.

    ``itself`` are the places, among all pairs of a row and a point, of who asks: they do not count themselves.
    """
    near = torch.exp(-((torch.cdist(places, xy) / _AROUND) ** 2)) * confidence
    if itself is not None:
        near[itself] = 0
    alike = torch.exp(-((torch.cdist(motions, moved) / _ALIKE) ** 2))
    return (near * alike).sum(1).log1p(), (near * (1 - alike)).sum(1).log1p()
