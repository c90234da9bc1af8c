"""Colour reconstruction through the affinity, on real pairs (FGVC; video-features.md, sections 3.5 and 5)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import InputError
from .precision import in_full_precision
from .rows import check_maps, on_cells, over_rows
from .unit import unit


def drop_channel(frames: Tensor, generator: torch.Generator | None, channel: int | None = None) -> tuple[Tensor, int]:
    """Set one colour channel to 0 in all frames of a batch and multiply what remains by 3/2.

    Args:
        frames: normalised Lab (..., 3, H, W); left as they are.
        generator: where the one draw of the batch comes from, on the CPU; None: the global one.
        channel: 1 (a) or 2 (b); None: drawn, each as likely.

    Returns:
        The new frames and the dropped channel, which is the one to reconstruct.
    """
    if frames.ndim < 3 or frames.shape[-3] != 3:
        raise InputError(f"channel dropout: expected Lab frames (..., 3, H, W), got {tuple(frames.shape)}")
    if channel is None:
        channel = int(torch.randint(1, 3, (), generator=generator))
    elif channel not in (1, 2):
        raise InputError(f"channel dropout: expected channel 1 (a) or 2 (b), got {channel}")
    gain = frames.new_full((3, 1, 1), 1.5)
    gain[channel] = 0
    return frames * gain, channel


@in_full_precision
def reconstruct_colour(
    target: Tensor,
    reference: Tensor,
    colour: Tensor,
    *,
    radius: int = 24,
    temperature: float | None = None,
    normalise: bool = False,
    legacy: bool = False,
    rows: int | None = None,
) -> Tensor:
    """The target's cells, each a mixture of the reference's colours around it, weighted by their affinity.

    ``target``, ``reference`` (B, C, h, w), ``colour`` of the reference (B, K, h, w); the other arguments are those of
    :func:`reconstruction_loss`. Returns (B, K, h, w).
    """
    check_maps("reconstruction", target, reference)
    if colour.ndim != 4 or len(colour) != len(target) or colour.shape[2:] != target.shape[2:]:
        raise InputError(
            f"reconstruction: expected a colour for each cell, (B, K) and {tuple(target.shape[2:])}, "
            f"got {tuple(colour.shape)}"
        )
    if temperature is None:
        temperature = 0.07 if normalise else math.sqrt(target.shape[1])
    if temperature <= 0:
        raise InputError(f"temperature: expected more than 0, got {temperature}")
    if normalise:
        target, reference = unit(target, dim=1), unit(reference, dim=1)
    side = 2 * radius + 1
    around = F.pad(colour, [radius] * 4)  # colour 0 outside: only the legacy affinity looks there

    def mix(correlation: Tensor, chunk: slice) -> Tensor:
        affinity = (correlation / temperature).softmax(dim=1)
        colours = F.unfold(around[:, :, chunk.start : chunk.stop + 2 * radius], side)  # (B, K * side^2, r * w)
        colours = colours.unflatten(1, (-1, side * side)).unflatten(3, correlation.shape[2:])
        return (affinity[:, None] * colours).sum(dim=2)

    outside = 0.0 if legacy else -math.inf
    return torch.cat(over_rows(target, reference, radius, outside, mix, rows), dim=2)


@in_full_precision
def reconstruction_loss(
    target: Tensor,
    reference: Tensor,
    target_colour: Tensor,
    reference_colour: Tensor,
    *,
    radius: int = 24,
    stride: int = 2,
    temperature: float | None = None,
    normalise: bool = False,
    scale: float = 20.0,
    legacy: bool = False,
    rows: int | None = None,
) -> Tensor:
    """How badly the target's dropped channel follows from the reference's through their affinity.

    Smooth L1 (beta 1) of ``scale`` times the colours, at the cells' centres, pixels ``stride * j``.

    Args:
        target, reference: (B, C, h, w) features of the frames with the channel dropped.
        target_colour, reference_colour: (B, K, H, W) that channel before the drop, at full resolution.
        radius: cells that the search reaches on each side.
        stride: pixels from cell to cell; cell j is centred on pixel ``stride * j``.
        temperature: divides the similarities; None: sqrt(C) for raw features as published, 0.07 for normalised.
        normalise: compare by cosine, so that the scale of the features is without effect.
        scale: of the colours before they are compared.
        legacy: as published: places outside the picture take part with similarity 0 and colour 0, and the result is
            upsampled with half-pixel centres, half a pixel off, and compared at full resolution.
        rows: query rows at once, for memory and speed only; None: chosen by size.

    Returns:
        Scalar mean.

    Raises:
        InputError: maps or pictures whose sizes do not fit each other.
    """
    if target_colour.shape != reference_colour.shape or target_colour.ndim != 4:
        raise InputError(
            f"reconstruction: expected two colours (B, K, H, W) alike, got {tuple(target_colour.shape)} "
            f"and {tuple(reference_colour.shape)}"
        )
    check_maps("reconstruction", target, reference)
    size = (target.shape[2], target.shape[3])
    source = on_cells("reference colour", reference_colour.permute(0, 2, 3, 1), stride, size).permute(0, 3, 1, 2)
    mixed = reconstruct_colour(
        target,
        reference,
        source,
        radius=radius,
        temperature=temperature,
        normalise=normalise,
        legacy=legacy,
        rows=rows,
    )
    if legacy:
        mixed = F.interpolate(mixed, size=target_colour.shape[2:], mode="bilinear", align_corners=False)
        truth = target_colour
    else:
        truth = target_colour[:, :, ::stride, ::stride]
    return F.smooth_l1_loss(scale * mixed, scale * truth)
