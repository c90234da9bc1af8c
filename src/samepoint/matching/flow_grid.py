"""Keypoints and flows on a grid of cells: what a matcher is taught, and its answer read back at points.

The published rule (web-video-matching.md, section 6) puts cells at whole strides of pixels: at f = 24 its grid covers
240 of 256 pixels, and the flow read back from a perfect network is about 3 pixels off. It also subtracts the mean of
all target points in a box from the last source point, and takes a displacement of exactly zero for no label at all.
``"exact"`` does each of these right; ``"legacy"`` reproduces them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from ..models.flow_readout import centres, read_flow
from ..models.hypercolumn import Geometry, Size

__all__ = ["Geometry", "cell_centres", "enlarge_flow", "keypoints_to_flow", "read_flow"]

BOX = 17 / 256
"""Half the side of the box around a cell's centre in which keypoints count, in sides of the picture."""
_LEGACY_SIDE = 256
_LEGACY_BOX = 17


def cell_centres(grid: Size, size: Size, geometry: Geometry = "exact") -> Tensor:
    """Centres of the cells of a picture of ``size`` (H, W), (rows, columns, 2) pixels, x first.

    >>> cell_centres((24, 24), (256, 256))[0, 23].tolist()
    [250.6666717529297, 5.333333492279053]
    >>> cell_centres((24, 24), (256, 256), "legacy")[0, 23].tolist()
    [235.0, 5.0]
    """
    steps = torch.tensor([size[1] / grid[1], size[0] / grid[0]])
    if geometry == "legacy":
        steps = steps.floor()
        cells = centres(grid).sub(0.5) * steps + (steps / 2).floor()
    else:
        cells = centres(grid) * steps
    return cells.unflatten(0, grid)


def keypoints_to_flow(
    source_xy: Tensor,
    target_xy: Tensor,
    grid: int | Size,
    *,
    valid: Tensor | None = None,
    source_grid: int | Size | None = None,
    source_size: Size = (256, 256),
    target_size: Size = (256, 256),
    box: float = BOX,
    geometry: Geometry = "exact",
) -> tuple[Tensor, Tensor]:
    """The flow that keypoints ask for: on the target's cells, pointing to the source, in cells of the source.

    Args:
        source_xy, target_xy: (..., K, 2) raster pixels of the same K points in both pictures.
        grid: rows and columns of the target, or one number for both.
        valid: bool (..., K): pairs that count; None: all.
        source_grid: of the source; as the target's by default.
        source_size, target_size: (H, W) of the pictures.
        box: half the side of the box around a cell's centre in which keypoints count, in longer sides of the target.
        geometry: ``"exact"``: mean of the displacements of the pairs in the box, weighed by a Gaussian of their
            distance to the centre (its deviation half of ``box``); ``"legacy"``: the published rule, for square grids
            on 256 x 256 pixels only.

    Returns:
        Flow (..., 2, rows, columns), zero where there is none, and its mask, bool (..., rows, columns).

    Raises:
        InputError: other shapes, or the published rule asked of other sizes.
    """
    if source_xy.shape != target_xy.shape or source_xy.ndim < 2 or source_xy.shape[-1] != 2:
        raise InputError(
            f"keypoints: expected two of (..., K, 2) alike, got {tuple(source_xy.shape)} and {tuple(target_xy.shape)}"
        )
    if valid is not None and valid.shape != source_xy.shape[:-1]:
        raise InputError(f"keypoints: valid must be {tuple(source_xy.shape[:-1])}, got {tuple(valid.shape)}")
    cells = (grid, grid) if isinstance(grid, int) else grid
    source_cells = cells if source_grid is None else source_grid
    source_cells = (source_cells, source_cells) if isinstance(source_cells, int) else source_cells
    counts = torch.ones(source_xy.shape[:-1], dtype=torch.bool, device=source_xy.device) if valid is None else valid
    counts = counts & source_xy.isfinite().all(-1) & target_xy.isfinite().all(-1)
    # What does not count must not spoil sums with its NaN.
    source_xy, target_xy = (xy.where(counts[..., None], xy.new_zeros(())) for xy in (source_xy, target_xy))
    middles = cell_centres(cells, target_size, geometry).flatten(0, 1).to(target_xy)
    apart = middles[:, None] - target_xy[..., None, :, :]  # (..., N, K, 2)
    reach = _LEGACY_BOX if geometry == "legacy" else box * max(target_size)
    inside = (apart.abs().amax(-1) <= reach) & counts[..., None, :]  # (..., N, K)
    mask = inside.any(-1)
    if geometry == "legacy":
        if (
            {source_size, target_size} != {(_LEGACY_SIDE, _LEGACY_SIDE)}
            or cells != source_cells
            or cells[0] != cells[1]
        ):
            raise InputError(f"the published rule is for square grids on {_LEGACY_SIDE} x {_LEGACY_SIDE} pixels only")
        flow = _published(source_xy, target_xy, inside) / (_LEGACY_SIDE // cells[0])
    else:
        scale = source_xy.new_tensor([source_cells[1], source_cells[0]])
        there, here = (
            xy / xy.new_tensor([size[1], size[0]]) for xy, size in ((source_xy, source_size), (target_xy, target_size))
        )
        weight = (apart.square().sum(-1) / (-2 * (reach / 2) ** 2)).exp() * inside  # (..., N, K), e^-4 at the corners
        flow = weight @ ((there - here) * scale) / weight.sum(-1, keepdim=True).clamp_min(1e-12)
    flow = flow * mask[..., None]
    return flow.transpose(-1, -2).unflatten(-1, cells), mask.unflatten(-1, cells)


def _published(source_xy: Tensor, target_xy: Tensor, inside: Tensor) -> Tensor:
    """The last source point of each box minus the mean of its target points, pixels (..., N, 2)."""
    if not inside.shape[-1]:
        return target_xy.new_zeros((*inside.shape[:-1], 2))
    order = torch.arange(inside.shape[-1], device=inside.device) + 1
    last = (inside * order).argmax(-1)  # (..., N)
    chosen = source_xy.gather(-2, last[..., None].expand(*last.shape, 2))
    weight = inside.to(target_xy)
    return chosen - weight @ target_xy / weight.sum(-1, keepdim=True).clamp_min(1)


def enlarge_flow(flow: Tensor, source_grid: Size, source_size: Size, target_size: Size) -> Tensor:
    """The flow (2, rows, columns) at every pixel of the target: (2, H, W), pixels from there to its match.

    Pixel (r, c) is centred at (c + 0.5, r + 0.5) and matches that plus its value, in raster pixels of the source. Where
    both pictures are of one size this is the flow enlarged with half-pixel centres times the stride.
    """
    dense = F.interpolate(flow[None], target_size, mode="bilinear", align_corners=False)[0]
    own = centres(target_size, flow.device).to(flow).T.unflatten(1, target_size)
    pixels = flow.new_tensor([source_size[1], source_size[0]])[:, None, None]
    cells = flow.new_tensor([source_grid[1], source_grid[0]])[:, None, None]
    sides = flow.new_tensor([target_size[1], target_size[0]])[:, None, None]
    return dense * pixels / cells + own * (pixels / sides - 1)
