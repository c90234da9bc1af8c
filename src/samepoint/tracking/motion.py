"""How far objects moved between two frames, before anything else is known: their coarse cells' matches anywhere."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_CELLS = 4  # of a map that make a coarse one, along each side
_MOST = 0.8  # share of an object's matches that moved no farther than what we say
_FEWEST = 4  # matches, for which less would be chance


def pooled(features: Tensor) -> Tensor:
    """The coarse map (C, h // 4, w // 4) of unit descriptors, from a map (C, h, w); empty where that is too small."""
    if min(features.shape[1:]) < _CELLS:
        return features.new_zeros((features.shape[0], 0, 0))
    return F.normalize(F.avg_pool2d(F.normalize(features, dim=0)[None], _CELLS)[0], dim=0)


def displacement(earlier: Tensor, now: Tensor, labels: Tensor) -> float:
    """How far the object that moved farthest is from where it was, in cells of the map; 0 where too little is matched.

    Only matches count that are each other's best, to a coarse cell: on what is hidden or new there are none.

    Args:
        earlier: of the earlier frame, as :func:`pooled` gives it (C, h, w).
        now: the same of this frame.
        labels: soft labels (V, H, W) of the earlier frame on the map, the background first.
    """
    width = earlier.shape[2]
    if earlier.numel() == 0 or len(labels) < 2:
        return 0.0
    shares = F.avg_pool2d(labels[None, 1:], _CELLS)[0].flatten(1)
    owner = shares.argmax(0)
    cells = (shares.sum(0) > 0.5).nonzero()[:, 0]
    if len(cells) < _FEWEST:
        return 0.0
    known, fresh = earlier.flatten(1), now.flatten(1)
    there = (known[:, cells].T @ fresh).argmax(1)
    back = (fresh[:, there].T @ known).argmax(1)
    astray = torch.maximum((back // width - cells // width).abs(), (back % width - cells % width).abs())
    moved = torch.hypot((there // width - cells // width).float(), (there % width - cells % width).float()) * _CELLS
    farthest = 0.0
    for number in owner[cells].unique():
        mutual = moved[(owner[cells] == number) & (astray <= 1)]
        if len(mutual) >= _FEWEST:
            farthest = max(farthest, float(mutual.quantile(_MOST)))
    return farthest
