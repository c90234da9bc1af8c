"""Which pixels are seen in both frames, from the flow there and back (video-features.md, section 6.6)."""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import InputError
from ...geometry import sample_patches


def sample_at(maps: Tensor, uv: Tensor) -> Tensor:
    """Bilinear samples of ``maps`` (B, H, W, C) at index coordinates ``uv`` (B, h, w, 2), (column, row).

    Exact at whole coordinates; zeros outside. Returns (B, h, w, C).
    """
    batch, height, width, channels = maps.shape
    # What lies further out reads 0 all the same; a huge or unknown value would not fit an integer.
    limit = uv.new_tensor([width, height])
    place = torch.minimum(uv.nan_to_num(-1.0).clamp_min(-1), limit)
    index = torch.arange(batch, device=maps.device).repeat_interleave(uv[0, ..., 0].numel())
    return sample_patches(maps, place.reshape(-1, 2), 0, index).reshape(*uv.shape[:3], channels)


def end_of(flow: Tensor) -> Tensor:
    """Where each pixel goes: its own index coordinate plus ``flow`` (B, H, W, 2)."""
    rows = torch.arange(flow.shape[1], device=flow.device, dtype=flow.dtype)
    columns = torch.arange(flow.shape[2], device=flow.device, dtype=flow.dtype)
    return flow + torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)


def inside(uv: Tensor, size: tuple[int, int]) -> Tensor:
    """Bool (...): whether index coordinates (..., 2) lie between the centres of the first and last pixel of (H, W)."""
    u, v = uv.unbind(-1)
    return (u >= 0) & (v >= 0) & (u <= size[1] - 1) & (v <= size[0] - 1)


def occlusion_bound(flow: Tensor, back: Tensor) -> Tensor:
    """Largest squared gap between a motion and the way back that still counts as visible, pixels^2.

    ``flow``, ``back`` (..., 2). Returns (...).

    >>> occlusion_bound(torch.tensor([20.0, 20.0]), torch.tensor([-20.0, -20.0])).item()
    16.5
    """
    return 0.01 * (flow.square().sum(dim=-1) + back.square().sum(dim=-1)) + 0.5


@torch.no_grad()
def visible_by_flow(flow: Tensor, flow_back: Tensor) -> Tensor:
    """Pixels whose match lies inside the other frame and leads back to them.

    Args:
        flow: (B, H, W, 2) motion (x, y) of each pixel to the other frame, in pixels; NaN where not known.
        flow_back: (B, H, W, 2) from the other frame.

    Returns:
        Bool (B, H, W); false where the flow, or that back around the match, is not known.
    """
    if flow.ndim != 4 or flow.shape[-1] != 2 or flow.shape != flow_back.shape:
        raise InputError(
            f"visibility: expected two flows (B, H, W, 2) alike, got {tuple(flow.shape)} and {tuple(flow_back.shape)}"
        )
    end = end_of(flow)
    back = sample_at(flow_back, end)
    gap = (flow + back).square().sum(dim=-1)
    return inside(end, (flow.shape[1], flow.shape[2])) & (gap < occlusion_bound(flow, back))
