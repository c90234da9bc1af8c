"""Distillation of a teacher's relations: which cells it finds alike, not what it says of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ...errors import InputError
from .cells import choose_cells
from .precision import in_full_precision
from .unit import unit

CHUNK_ELEMENTS = 2**22
"""Similarities held at once."""


@in_full_precision
def relation_loss(
    student: Tensor,
    teacher: Tensor,
    generator: torch.Generator | None,
    *,
    temperature: float = 0.07,
    teacher_temperature: float = 0.07,
    samples: int | None = 1024,
) -> Tensor:
    """KL divergence from the teacher's softmaxed similarities between cells to the student's.

    Each cell is compared with every other one of all frames in the batch, itself left out: so relations across frames
    count as much as those within, and student and teacher may differ in channels.

    Args:
        student: (B, C, h, w).
        teacher: (B, C', h, w) on the same cells; no gradient reaches it. Both are normalised here.
        generator: for the cells, on the CPU; None: the global one.
        temperature, teacher_temperature: of the two softmaxes over cosines.
        samples: cells of the whole batch that take part; None: all.

    Returns:
        Scalar mean over cells; 0 with zero gradient if there is only one.
    """
    shapes = f"{tuple(student.shape)} and {tuple(teacher.shape)}"
    if student.ndim != 4 or teacher.ndim != 4 or 0 in student.shape or not student.is_floating_point():
        raise InputError(f"relations: expected float maps (B, C, h, w), not empty, got {shapes}")
    if student[:, 0].shape != teacher[:, 0].shape:
        raise InputError(f"relations: expected student and teacher on the same cells, got {shapes}")
    if temperature <= 0 or teacher_temperature <= 0:
        raise InputError(f"relations: expected temperatures > 0, got {temperature} and {teacher_temperature}")
    chosen = choose_cells(student[:, 0].numel(), samples, generator, student.device)
    learned = _cells(student, chosen)
    known = _cells(teacher.detach().to(student.dtype), chosen)
    count = len(chosen)
    if count < 2:
        return learned.sum() * 0.0
    step = max(1, CHUNK_ELEMENTS // count)

    def divergence(begin: int) -> Tensor:
        rows = slice(begin, begin + step)
        itself = torch.arange(count, device=student.device) == torch.arange(count, device=student.device)[rows, None]
        logits = (learned[rows] @ learned.T / temperature).masked_fill(itself, -math.inf)
        wanted = (known[rows] @ known.T / teacher_temperature).masked_fill(itself, -math.inf).log_softmax(dim=1)
        # The diagonal is -inf in both: its share is 0, but -inf - -inf is not.
        gap = (wanted - logits.log_softmax(dim=1)).masked_fill(itself, 0.0)
        return (wanted.exp() * gap).sum()

    parts = [
        checkpoint(divergence, begin, use_reentrant=False, preserve_rng_state=False) for begin in range(0, count, step)
    ]
    return torch.stack(parts).sum() / count


def _cells(maps: Tensor, chosen: Tensor) -> Tensor:
    """Unit vectors (S, C) of the chosen cells."""
    return unit(maps.permute(0, 2, 3, 1).flatten(0, 2)[chosen], dim=1)
