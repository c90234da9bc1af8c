"""Cycle consistency: a point followed along a clip and back arrives where it began (after Wang et al., CVPR 2019)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ...errors import InputError
from ...geometry import sample_patches
from .cells import choose_cells
from .precision import in_full_precision
from .unit import unit


@in_full_precision
def cycle_loss(
    features: Tensor,
    generator: torch.Generator | None,
    *,
    radius: int | None = None,
    temperature: float = 0.07,
    samples: int | None = 256,
    beta: float = 1.0,
) -> Tensor:
    """Distance, in cells, between where points begin and where soft matching there and back takes them.

    A step samples the feature at the point's place, bilinearly, and moves the point to the mean place of the next
    frame's cells under the softmax of their cosines with it. Cycles turn at every frame after the first.

    Args:
        features: (B, T, C, h, w) of T >= 2 frames in order; normalised here.
        generator: for the cells, on the CPU; None: the global one.
        radius: cells that a step reaches on each side of where the point was; None: the whole map.
        temperature: of the softmax.
        samples: cells of the first frame to start from, the same in each clip; None: all.
        beta: cells below which the distance counts by its square (Huber).

    Returns:
        Scalar mean over clips, points and cycles: d^2 / (2 beta) below ``beta``, else d - beta / 2.

    Raises:
        InputError: fewer than two frames, or settings out of range.
    """
    if features.ndim != 5 or 0 in features.shape or features.shape[1] < 2 or not features.is_floating_point():
        raise InputError(f"cycle: expected features (B, T, C, h, w) of two frames or more, got {tuple(features.shape)}")
    if temperature <= 0 or beta <= 0 or (radius is not None and radius < 0):
        raise InputError(
            f"cycle: expected temperature and beta > 0 and a radius of 0 or more, got {temperature}, {beta}, {radius}"
        )
    batch, frames, _, height, width = features.shape
    maps = unit(features, dim=2).permute(1, 0, 3, 4, 2).contiguous()  # (T, B, h, w, C)
    cell = torch.arange(height * width, device=features.device)
    places = torch.stack([cell % width, cell // width], dim=1).to(features.dtype)  # (h * w, 2) as (column, row)
    start = places[choose_cells(height * width, samples, generator, features.device)].expand(batch, -1, -1)
    point, cycles = start, []
    for turn in range(1, frames):
        point = _step(maps[turn - 1], maps[turn], point, places, radius, temperature)
        end = point
        for frame in range(turn, 0, -1):
            end = _step(maps[frame], maps[frame - 1], end, places, radius, temperature)
        distance = (end - start).square().sum(dim=2)
        cycles.append(_huber(distance, beta).mean())
    return torch.stack(cycles).mean()


def _step(here: Tensor, there: Tensor, point: Tensor, places: Tensor, radius: int | None, temperature: float) -> Tensor:
    """Points (B, S, 2) of one frame's maps (B, h, w, C) in the next frame."""
    batch, samples, _ = point.shape
    index = torch.arange(batch, device=point.device).repeat_interleave(samples)
    found = sample_patches(here, point.reshape(-1, 2), 0, index).reshape(batch, samples, -1)
    logits = unit(found, dim=2) @ there.flatten(1, 2).transpose(1, 2) / temperature  # (B, S, h * w)
    if radius is not None:
        centre = point.detach().round()
        far = ((places - centre[:, :, None]).abs() > radius).any(dim=3)
        logits = logits.masked_fill(far, -math.inf)
    return logits.softmax(dim=2) @ places


def _huber(squared: Tensor, beta: float) -> Tensor:
    """Huber's function of a distance given by its square: the root has no derivative at 0."""
    near = squared < beta**2
    distance = squared.where(~near, torch.ones_like(squared)).sqrt()
    return torch.where(near, squared / (2 * beta), distance - beta / 2)
