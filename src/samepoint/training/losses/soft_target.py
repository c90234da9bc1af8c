"""Soft-label matching on pairs of known flow (FGVC; video-features.md, section 6)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from ...correspondence import local_correlation
from ...errors import InputError
from .occlusion import end_of, inside, sample_at
from .precision import in_full_precision
from .rows import check_maps, on_cells, over_rows
from .unit import unit

TeacherNorm = Literal["channel", "height"]
Label = Literal["teacher", "gaussian", "teacher_gaussian"]

LABEL_TEMPERATURES: dict[TeacherNorm, float] = {"channel": 0.035, "height": 0.07}
"""As sharp as each other for 256 channels and 128 rows; ``height`` is what was published by mistake."""
LABEL_SIGMAS: dict[Label, float] = {"gaussian": 3.0, "teacher_gaussian": 6.0}
"""Cells."""


@in_full_precision
def soft_target_loss(
    target: Tensor,
    reference: Tensor,
    flow: Tensor,
    visible: Tensor,
    teacher: Tensor | None = None,
    *,
    radius: int = 24,
    stride: int = 2,
    temperature: float = 0.07,
    label: Label = "teacher",
    label_temperature: float | None = None,
    teacher_norm: TeacherNorm = "channel",
    sigma: float | None = None,
    legacy: bool = False,
    rows: int | None = None,
) -> Tensor:
    """Cross-entropy of the match of each target cell, the label spread as the teacher finds the reference alike.

    The label of a cell is the softmax, over the window around the cell, of the teacher's similarity between the true
    match and each reference cell. So it peaks at the true match, sharply in a corner, widely along an edge.

    Args:
        target, reference: (B, C, h, w) the student's features; normalised over channels here.
        flow: (B, H, W, 2) from target to reference, (x, y) in pixels at full resolution; NaN where not known.
        visible: bool (B, H, W), as :func:`visible_by_flow` tells.
        teacher: (B, C', h, w) features of the reference frame from a frozen network, on the student's cells; no
            gradient reaches it. None: the student's own, detached.
        radius: cells that the search reaches on each side.
        stride: pixels from cell to cell; cell j is centred on pixel ``stride * j``.
        temperature: of the prediction.
        label: ``teacher``; ``gaussian``: a bell of ``sigma`` cells around the true match and no teacher;
            ``teacher_gaussian``: the teacher's logits multiplied by such a bell.
        label_temperature: of the label; None: 0.035 for ``channel``, 0.07 for ``height``.
        teacher_norm: ``channel``: unit vectors; ``height``: normalised over rows of the map, as published.
        sigma: of the bell, cells; None: 3 for ``gaussian``, 6 for ``teacher_gaussian``.
        legacy: as published, places outside the picture take part with similarity 0 and a ``gaussian`` stands on the
            nearest whole cell. Otherwise they are left out and it stands on the match itself.
        rows: query rows at once, for memory and speed only; None: chosen by size.

    Returns:
        Scalar mean over the visible cells whose match lies in the window and on the map; 0 with zero gradient if there
        is none.

    Raises:
        InputError: sizes that do not fit each other, or an unknown name.
    """
    check_maps("soft targets", target, reference)
    size = (target.shape[2], target.shape[3])
    _check(flow, visible, teacher, reference, label, teacher_norm)
    if temperature <= 0 or (label_temperature is not None and label_temperature <= 0):
        raise InputError(f"temperature: expected more than 0, got {temperature} and {label_temperature} (label)")
    if label_temperature is None:
        label_temperature = LABEL_TEMPERATURES[teacher_norm]
    if sigma is None:
        sigma = LABEL_SIGMAS.get(label, math.inf)
    if sigma <= 0:
        raise InputError(f"sigma: expected more than 0 cells, got {sigma}")
    with torch.no_grad():
        motion = on_cells("flow", flow, stride, size).to(target.dtype) / stride  # (B, h, w, 2), cells
        match = end_of(motion)
        counted = on_cells("visible", visible, stride, size) & inside(match, size)
        counted = counted & (motion.abs() <= radius).all(dim=-1)
        motion = motion.nan_to_num()  # not counted, but must not turn the gradient into NaN
        knowing = reference.detach() if teacher is None else teacher.detach()
        knowing = F.normalize(knowing.to(target.dtype), dim=1 if teacher_norm == "channel" else 2)
        sought = sample_at(knowing.permute(0, 2, 3, 1), match).permute(0, 3, 1, 2)

    def label_of(leaves: Tensor, chunk: slice) -> Tensor:
        """Distribution (B, K, r, w) over the window of each cell; ``leaves`` are the offsets that do not count."""
        place = motion[:, chunk].round() if legacy and label == "gaussian" else motion[:, chunk]
        if label == "gaussian":
            logits = -_squared_distance(place, radius) / (2 * sigma**2)
        else:
            logits = local_correlation(sought[:, :, chunk], knowing, radius, row=chunk.start) / label_temperature
            if label == "teacher_gaussian":
                logits = logits * torch.exp(-_squared_distance(place, radius) / (2 * sigma**2))
        return logits.masked_fill(leaves, -math.inf).softmax(dim=1)

    student = unit(target, dim=1), unit(reference, dim=1)
    outside = 0.0 if legacy else -math.inf
    sums = over_rows(*student, radius, outside, _cross_entropy(label_of, counted, temperature), rows)
    return torch.stack(sums).sum() / counted.sum().clamp_min(1)


def _cross_entropy(
    label_of: Callable[[Tensor, slice], Tensor], counted: Tensor, temperature: float
) -> Callable[[Tensor, slice], Tensor]:
    def reduce(correlation: Tensor, chunk: slice) -> Tensor:
        leaves = torch.isneginf(correlation)
        with torch.no_grad():
            wanted = label_of(leaves, chunk)
        found = (correlation / temperature).log_softmax(dim=1).masked_fill(leaves, 0.0)  # 0 * -inf is not 0
        return -((wanted * found).sum(dim=1) * counted[:, chunk]).sum()

    return reduce


def _squared_distance(motion: Tensor, radius: int) -> Tensor:
    """From each offset of the window to ``motion`` (B, r, w, 2), cells^2: (B, (2 radius + 1)^2, r, w)."""
    offset = torch.arange(-radius, radius + 1, device=motion.device, dtype=motion.dtype)[:, None, None]
    x, y = ((offset - motion[..., axis][:, None]).square() for axis in (0, 1))
    return (y[:, :, None] + x[:, None]).flatten(1, 2)


def _check(
    flow: Tensor, visible: Tensor, teacher: Tensor | None, reference: Tensor, label: Label, teacher_norm: TeacherNorm
) -> None:
    if flow.ndim != 4 or flow.shape[-1] != 2 or len(flow) != len(reference) or visible.shape != flow.shape[:3]:
        raise InputError(
            f"soft targets: expected flow ({len(reference)}, H, W, 2) and visible ({len(reference)}, H, W), "
            f"got {tuple(flow.shape)} and {tuple(visible.shape)}"
        )
    if visible.dtype != torch.bool:
        raise InputError(f"soft targets: expected visible as bool, got {visible.dtype}")
    if teacher is not None and (teacher.ndim != 4 or teacher[:, 0].shape != reference[:, 0].shape):
        raise InputError(
            f"soft targets: expected the teacher's map on the student's cells, {tuple(reference.shape)} but for the "
            f"channels, got {tuple(teacher.shape)}"
        )
    for name, value, known in (("label", label, get_args(Label)), ("teacher_norm", teacher_norm, LABEL_TEMPERATURES)):
        if value not in known:
            raise InputError(f"{name}: expected one of {', '.join(known)}, got {value!r}")
