"""From refined correlations to a flow on a grid, and from that to points: the geometry of matching.

A flow lies on the cells of the *target* picture and points to the *source*, as published (web-video-matching.md,
section 7): cell (r, c), centred at ((c + 0.5) / columns, (r + 0.5) / rows) of its picture, holds how far the same thing
lies away in the source, in cells of the source's grid. Zero is the same relative place; where both grids are alike this
is the difference of the cells' indices.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .hypercolumn import Size

ELEMENTS_AT_ONCE = 2**22
"""Correlations that are worked on at a time: 16 MiB in float32."""


def centres(grid: Size, device: torch.device | None = None) -> Tensor:
    """Centres of the cells in cells, (rows * columns, 2) x first: (c + 0.5, r + 0.5)."""
    y, x = torch.meshgrid(*(torch.arange(side, device=device) + 0.5 for side in grid), indexing="ij")
    return torch.stack([x, y], dim=-1).reshape(-1, 2)


def soft_argmax(
    refined: Tensor, source_grid: Size, target_grid: Size, temperature: float = 0.02, kernel: float | None = None
) -> Tensor:
    """The flow of refined correlations.

    Args:
        refined: (B, N_s, N_t), source by target, cells in raster order.
        source_grid, target_grid: rows and columns.
        temperature: of the softmax over the source.
        kernel: deviation in cells of a Gaussian around the best source cell which the softmax is weighed by, so that
            other peaks do not pull; None: no such, as published.

    Returns:
        (B, 2, rows, columns) of the target, x first, in cells of the source.
    """
    places = centres(source_grid, refined.device).to(refined)

    def expected(part: Tensor) -> Tensor:
        return (softened(part, source_grid, temperature, kernel).transpose(1, 2) @ places).transpose(1, 2)

    step = max(1, ELEMENTS_AT_ONCE // max(1, refined.shape[0] * refined.shape[1]))
    parts = refined.split(step, dim=2)
    if len(parts) > 1 and refined.requires_grad:
        found = [checkpoint(expected, part, use_reentrant=False, preserve_rng_state=False) for part in parts]
    else:
        found = [expected(part) for part in parts]
    rows, columns = target_grid
    scale = refined.new_tensor([source_grid[1] / columns, source_grid[0] / rows])
    own = centres(target_grid, refined.device).to(refined) * scale
    return (torch.cat(found, dim=2) - own.T).unflatten(2, target_grid)


def softened(correlation: Tensor, grid: Size, temperature: float, kernel: float | None) -> Tensor:
    """Weights of the N cells of ``grid`` for each of n others, (B, N, n) of correlations (B, N, n); their sum is 1."""
    logits = correlation / temperature
    if kernel is not None:
        best = correlation.argmax(dim=1)  # (B, n)
        rows = torch.arange(grid[0], device=correlation.device)[:, None, None]
        columns = torch.arange(grid[1], device=correlation.device)[:, None, None]
        down = (rows - best // grid[1]).to(logits).square()  # (rows, B, n)
        across = (columns - best % grid[1]).to(logits).square()
        apart = (down[:, None] + across[None]).flatten(0, 1).transpose(0, 1)  # (B, N, n)
        logits = logits - apart / (2 * kernel * kernel)
    return logits.softmax(dim=1)


def read_flow(flow: Tensor, points: Tensor, source_grid: Size, source_size: Size, target_size: Size) -> Tensor:
    """Where points of the target lie in the source.

    The flow is read between cells bilinearly, outer cells continued: the same as enlarging it with half-pixel centres.

    Args:
        flow: (2, rows, columns) in cells of the source.
        points: (N, 2) raster pixels of the target.
        source_grid: rows and columns of the cells that ``flow`` counts in.
        source_size, target_size: (H, W) of the pictures.

    Returns:
        (N, 2) raster pixels of the source, not cut to the picture.
    """
    relative = points / points.new_tensor([target_size[1], target_size[0]])
    moved = sample_cells(flow, relative)
    cells = flow.new_tensor([source_grid[1], source_grid[0]])
    return (relative + moved / cells) * points.new_tensor([source_size[1], source_size[0]])


def sample_cells(maps: Tensor, relative: Tensor) -> Tensor:
    """Values (N, C) of maps (C, rows, columns) at relative places (N, 2) in [0, 1], bilinear, outer cells continued."""
    grid = (2 * relative - 1)[None, :, None]  # (1, N, 1, 2)
    found = F.grid_sample(maps[None], grid, mode="bilinear", padding_mode="border", align_corners=False)
    return found[0, :, :, 0].T


def corner_weights(relative: Tensor, grid: Size) -> tuple[Tensor, Tensor]:
    """The four cells around relative places (N, 2) and their bilinear weights: int64 and float, both (N, 4)."""
    limits = relative.new_tensor([grid[1] - 1, grid[0] - 1])
    places = (relative * relative.new_tensor([grid[1], grid[0]]) - 0.5).clamp(min=0)
    places = torch.minimum(places, limits)
    base = torch.minimum(places.floor(), (limits - 1).clamp(min=0))
    fraction = places - base
    after = torch.minimum(base + 1, limits)
    index, weight = [], []
    for y, wy in ((base[:, 1], 1 - fraction[:, 1]), (after[:, 1], fraction[:, 1])):
        for x, wx in ((base[:, 0], 1 - fraction[:, 0]), (after[:, 0], fraction[:, 0])):
            index.append(y.long() * grid[1] + x.long())
            weight.append(wx * wy)
    return torch.stack(index, dim=1), torch.stack(weight, dim=1)
