"""Contrastive random walk (Jabri et al., NeurIPS 2020; web-video-matching.md, section 4.5)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import InputError
from .precision import in_full_precision
from .unit import unit

DROPPED = -1e20
"""Logit of a dropped edge: finite, so that a node that lost all edges walks anywhere."""
EPSILON = 1e-20
"""Keeps the logarithm of a walk that never returns finite."""


def walk_patches(
    clips: Tensor,
    generator: torch.Generator | None,
    *,
    size: int = 64,
    step: int = 32,
    area: tuple[float, float] = (0.7, 0.9),
    aspect: tuple[float, float] = (3 / 4, 4 / 3),
) -> Tensor:
    """The nodes of a walk: overlapping square patches of each frame, each cropped at random and resized back.

    Args:
        clips: float (B, T, 3, H, W).
        generator: on the CPU; None: the global one.
        size, step: pixels of a patch's side, and from patch to patch: 7 x 7 patches of 256 x 256.
        area: share of the patch that a crop keeps, uniform; (1, 1) with ``aspect`` (1, 1) leaves patches as they are.
        aspect: width over height of a crop, log-uniform; a crop never leaves its patch.

    Returns:
        (B, T, N, 3, size, size), nodes row by row.
    """
    if clips.ndim != 5 or size < 1 or step < 1 or min(clips.shape[-2:]) < size:
        raise InputError(f"patches: expected clips (B, T, 3, H, W) of at least {size} px, got {tuple(clips.shape)}")
    patches = clips.unfold(3, size, step).unfold(4, size, step)  # (B, T, 3, rows, columns, size, size)
    patches = patches.permute(0, 1, 3, 4, 2, 5, 6).flatten(2, 3)
    flat = patches.flatten(0, 2)

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(len(flat), generator=generator)

    kept, ratio = draw(*area), draw(math.log(aspect[0]), math.log(aspect[1])).exp()
    extent = torch.stack([(kept * ratio).sqrt(), (kept / ratio).sqrt()], dim=1).clamp_max(1)  # (n, 2), share of a side
    shift = (1 - extent) * torch.stack([draw(-1, 1), draw(-1, 1)], dim=1)
    crop = torch.cat([torch.diag_embed(extent), shift[:, :, None]], dim=2).to(clips)
    grid = F.affine_grid(crop, list(flat.shape), align_corners=False)
    # At its border a crop's outer half pixel lies outside the patch.
    cropped = F.grid_sample(flat, grid, padding_mode="border", align_corners=False)
    return cropped.reshape(patches.shape)


@in_full_precision
def random_walk_loss(
    nodes: Tensor,
    generator: torch.Generator | None,
    *,
    temperature: float = 0.05,
    dropout: float = 0.1,
    nearest: int = 2,
) -> Tensor:
    """Whether a walk along a clip and back ends at the node where it began.

    A step goes from a node to those of the next frame by the softmax of their cosine. For each frame t from
    ``nearest`` on, the walk 0 -> 1 -> ... -> t -> ... -> 1 -> 0 should be the identity.

    Args:
        nodes: (B, T, N, C) embeddings of the nodes; normalised here.
        generator: for the dropped edges, on the CPU; None: the global one.
        temperature: of a step.
        dropout: share of the edges that each step, there and back, has to do without.
        nearest: first frame to turn at; 2 as published, 1 adds the walk to the next frame and back.

    Returns:
        Scalar mean over walks, clips and nodes of -log(probability to return).

    Raises:
        InputError: a clip too short to turn, or settings out of range.
    """
    if nodes.ndim != 4 or 0 in nodes.shape or not nodes.is_floating_point():
        raise InputError(f"random walk: expected nodes (B, T, N, C), not empty, got {tuple(nodes.shape)}")
    frames = nodes.shape[1]
    if not 1 <= nearest < frames:
        raise InputError(f"random walk: a clip of {frames} frames has no frame {nearest} to turn at")
    if temperature <= 0 or not 0 <= dropout < 1:
        raise InputError(f"random walk: expected temperature > 0 and dropout in [0, 1), got {temperature}, {dropout}")
    nodes = unit(nodes, dim=-1)
    similarity = nodes[:, :-1] @ nodes[:, 1:].transpose(2, 3) / temperature  # (B, T - 1, N, N)

    def step(logits: Tensor) -> Tensor:
        if dropout > 0:
            lost = torch.rand(logits.shape, generator=generator) < dropout
            logits = logits.masked_fill(lost.to(logits.device), DROPPED)
        return logits.softmax(dim=-1)

    there, back = step(similarity), step(similarity.transpose(2, 3))
    out = home = torch.eye(nodes.shape[2], dtype=nodes.dtype, device=nodes.device)
    losses = []
    for t in range(1, frames):
        out, home = out @ there[:, t - 1], back[:, t - 1] @ home
        if t >= nearest:
            returned = (out @ home).diagonal(dim1=1, dim2=2)  # (B, N)
            losses.append(-(returned + EPSILON).log().mean())
    return torch.stack(losses).mean()
