"""A matcher's answers for points whose fate is known: what its confidence is fitted on, and what it is tried on."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ..models.match_confidence import MATCH_EVIDENCE
from ..models.matcher import Matcher
from .matching_data import Known


@torch.no_grad()
def matched(matcher: Matcher, pairs: Iterable[Known], tolerance: float, points: int = 64) -> tuple[Tensor, Tensor]:
    """Evidence (M, 5) of the matches of known points, and whether each is there and found, bool (M,).

    Args:
        matcher: what matches.
        pairs: of the points.
        tolerance: a match is right within so many sides.
        points: of a pair, at most.
    """
    evidence, right = [], []
    for item in pairs:
        asked = item.source_xy[:points]
        if not len(asked):
            continue
        source, target = (
            matcher.describe_picture(each.permute(1, 2, 0).numpy()) for each in (item.source, item.target)
        )
        size = (item.source.shape[1], item.source.shape[2])
        found, said = matcher.carry(source, target, asked, size, size)
        evidence.append(said.cpu())
        near = (found.cpu() - item.target_xy[:points]).norm(dim=1) <= tolerance * max(size)
        right.append(near & item.there[:points])
    if not evidence:
        return torch.zeros(0, len(MATCH_EVIDENCE)), torch.zeros(0, dtype=torch.bool)
    return torch.cat(evidence), torch.cat(right)
