"""How far a flow points beside where it should (web-video-matching.md, section 8)."""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import InputError
from .precision import in_full_precision


@in_full_precision
def end_point_error(flow: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean length of the difference over the cells that have a target.

    Args:
        flow, target: (B, 2, h, w), in cells.
        mask: bool (B, h, w): cells that count, a target of exactly zero among them. Whatever the others hold, NaN
            included, they get no gradient.

    Returns:
        Scalar, in cells; 0 with zero gradient where no cell counts.

    Raises:
        InputError: shapes that do not fit.

    >>> flow, target = torch.zeros(1, 2, 1, 2), torch.tensor([3.0, 4.0]).reshape(1, 2, 1, 1).expand(1, 2, 1, 2)
    >>> end_point_error(flow, target, torch.tensor([[[True, False]]])).item()
    5.0
    """
    if flow.shape != target.shape or flow.ndim != 4 or flow.shape[1] != 2 or mask.shape != target[:, 0].shape:
        raise InputError(
            f"end-point error: expected flow and target (B, 2, h, w) and mask (B, h, w), "
            f"got {tuple(flow.shape)}, {tuple(target.shape)} and {tuple(mask.shape)}"
        )
    chosen = mask.bool()
    found, wanted = (each.permute(0, 2, 3, 1)[chosen] for each in (flow, target))
    if not len(found):
        return found.sum()
    return torch.linalg.vector_norm(found - wanted, dim=1).mean()


def published_mask(target: Tensor) -> Tensor:
    """The published idea of which cells have a target: those (B, 2, h, w) that are not exactly zero; bool (B, h, w)."""
    return (target != 0).any(dim=1)
