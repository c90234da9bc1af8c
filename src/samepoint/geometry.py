"""Where things are: pixel conventions, cell lattices, sampling, heat maps and their read-out.

One convention holds everywhere: ``xy`` are raster pixels, origin at the top-left *corner* of the first pixel, so that
pixel ``i`` is centred at ``i + 0.5`` and resizing ``W -> W'`` is a plain multiplication by ``W'/W``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Lattice:
    """Centres of feature cells: cell ``j`` lies at raster coordinate ``stride * j + offset`` on either axis.

    A padded ResNet stem has ``offset`` 0.5 (its cells sit on pixel centres), a patch embedding ``stride / 2``.

    >>> Lattice(4).to_cells(torch.tensor([8.5, 10.5])).tolist()
    [2.0, 2.5]
    """

    stride: int
    offset: float = 0.5

    def to_cells(self, xy: Tensor) -> Tensor:
        """Raster pixels to fractional cell indices, same shape."""
        return (xy - self.offset) / self.stride

    def to_pixels(self, cells: Tensor) -> Tensor:
        """Fractional cell indices to raster pixels, same shape."""
        return cells * self.stride + self.offset


def upsample_lattice(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Double the resolution of ``x`` (B, C, h, w) between cells of two lattices with the same origin.

    Fine cell ``j`` lies exactly at coarse cell ``j / 2``; past the last coarse cell the map is continued by its edge.
    ``size`` is the fine (H, W), at most ``(2h, 2w)``.
    """
    height, width = x.shape[-2:]
    fine = F.interpolate(x, size=(2 * height - 1, 2 * width - 1), mode="bilinear", align_corners=True)
    pad = (0, max(0, size[1] - fine.shape[-1]), 0, max(0, size[0] - fine.shape[-2]))
    if any(pad):
        fine = F.pad(fine, pad, mode="replicate")
    return fine[..., : size[0], : size[1]]


def gather_patches(features: Tensor, corner: Tensor, size: int, batch: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Square blocks of whole cells, with zeros outside the map.

    Args:
        features: (B, H, W, C), channels last so that a cell is one contiguous row.
        corner: (N, 2) integer column and row of each block's first cell; may lie outside.
        size: cells on each side of a block.
        batch: (N,) which map each block is cut from; all from the first if None.

    Returns:
        Blocks (N, size * size, C), row-major, and their validity (N, size * size) in the dtype of ``features``.
    """
    count, height, width, channels = features.shape
    steps = torch.arange(size, device=corner.device)
    columns = corner[:, 0:1] + steps
    rows = corner[:, 1:2] + steps
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    flat = rows.clamp(0, height - 1)[:, :, None] * width + columns.clamp(0, width - 1)[:, None, :]
    if batch is not None:
        flat = flat + (batch * height * width)[:, None, None]
    blocks = features.reshape(count * height * width, channels).index_select(0, flat.reshape(-1))
    valid = inside.flatten(1).to(features.dtype)
    return blocks.reshape(len(corner), size * size, channels) * valid[..., None], valid


def lerp_grid(values: Tensor, fraction: Tensor) -> Tensor:
    """Shift square grids by a fraction of a cell: (N, s, s, ...) and (N, 2) in [0, 1) to (N, s - 1, s - 1, ...)."""
    shape = (-1,) + (1,) * (values.dim() - 1)
    fx, fy = fraction[:, 0].reshape(shape), fraction[:, 1].reshape(shape)
    rows = values[:, :-1] * (1 - fy) + values[:, 1:] * fy
    return rows[:, :, :-1] * (1 - fx) + rows[:, :, 1:] * fx


def sample_patches(features: Tensor, cells: Tensor, radius: int, batch: Tensor | None = None) -> Tensor:
    """Bilinear samples on a grid of ``(2 radius + 1)^2`` positions one cell apart around each of ``cells``.

    ``features`` (B, H, W, C), ``cells`` (N, 2) fractional (column, row). Returns (N, (2 radius + 1)^2, C), zeros
    outside the map.
    """
    base = torch.floor(cells)
    size = 2 * radius + 2
    blocks, _ = gather_patches(features, base.long() - radius, size, batch)
    grid = lerp_grid(blocks.unflatten(1, (size, size)), (cells - base).to(features.dtype))
    return grid.flatten(1, 2)


def gaussian_maps(uv: Tensor, size: tuple[int, int], sigma: float, step: int = 1) -> Tensor:
    """Label maps of points: peak 1 at index coordinates ``uv`` (N, 2), evaluated on every ``step``-th pixel centre.

    ``size`` is the (H, W) of the full grid. Returns (N, ceil(H/step), ceil(W/step)). FGVC, label of a query.
    """
    rows = torch.arange(0, size[0], step, device=uv.device, dtype=uv.dtype)
    columns = torch.arange(0, size[1], step, device=uv.device, dtype=uv.dtype)
    gy = torch.exp(-((rows[None] - uv[:, 1:2]) ** 2) / (2 * sigma * sigma))
    gx = torch.exp(-((columns[None] - uv[:, 0:1]) ** 2) / (2 * sigma * sigma))
    return gy[:, :, None] * gx[:, None, :]


def read_peak(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Sub-cell peak of each heat map, without bias for a Gaussian.

    Log-quadratic through the maximum and its two neighbours on each axis; where a neighbour is missing or not positive,
    the value-weighted mean of the neighbours that exist.

    Args:
        maps: (N, H, W), not negative.

    Returns:
        Peaks (N, 2) as fractional (column, row), and their heights (N,). An all-zero map reads (0, 0) with height 0.
    """
    count, _, width = maps.shape
    if count == 0:
        return maps.new_zeros((0, 2)), maps.new_zeros((0,))
    peak, index = maps.reshape(count, -1).max(dim=1)
    row, column = index // width, index % width
    padded = F.pad(maps, (1, 1, 1, 1))
    each = torch.arange(count, device=maps.device)
    along_x = torch.stack([padded[each, row + 1, column + d] for d in (0, 1, 2)], dim=1)
    along_y = torch.stack([padded[each, row + d, column + 1] for d in (0, 1, 2)], dim=1)
    offset = torch.stack([_peak_offset(along_x), _peak_offset(along_y)], dim=1)
    return torch.stack([column, row], dim=1) + offset, peak


def _peak_offset(triple: Tensor) -> Tensor:
    """Where the peak lies between three neighbouring values (N, 3), relative to the middle one, in [-0.5, 0.5]."""
    tiny = torch.finfo(triple.dtype).tiny
    logs = triple.clamp_min(tiny).log()
    curvature = logs[:, 0] - 2 * logs[:, 1] + logs[:, 2]
    curved = curvature < -1e-12
    quadratic = 0.5 * (logs[:, 0] - logs[:, 2]) / curvature.where(curved, -torch.ones_like(curvature))
    quadratic = quadratic * curved
    mean = (triple[:, 2] - triple[:, 0]) / triple.sum(dim=1).clamp_min(tiny)
    return torch.where((triple > 0).all(dim=1), quadratic, mean).clamp(-0.5, 0.5)


def read_peak_published(maps: Tensor, count: int = 5) -> Tensor:
    """Value-weighted mean of the ``count`` largest pixels of each map (N, H, W): (column, row), (-1, -1) if all zero.

    FGVC's read-out. On maps that were sampled at every second pixel and upsampled with half-pixel centres it lies half
    a pixel too far right and down; kept for comparison only.
    """
    if len(maps) == 0:
        return maps.new_zeros((0, 2))
    values, index = maps.reshape(len(maps), -1).topk(min(count, maps[0].numel()), dim=1)
    width = maps.shape[-1]
    total = values.sum(dim=1, keepdim=True)
    weights = values / total.clamp_min(torch.finfo(maps.dtype).tiny)
    xy = torch.stack([(weights * (index % width)).sum(1), (weights * (index // width)).sum(1)], dim=1)
    return torch.where(total > 0, xy, -torch.ones_like(xy))


LONGEST = 16


def fit_size(size: tuple[int, int], short_side: int | None) -> tuple[int, int]:
    """The (H, W) at which a frame of ``size`` is worked on: short side scaled to ``short_side``, aspect kept.

    A strip more than ``LONGEST`` times as long as wide is worked on at the area of one that is, else it would grow
    beyond every memory.

    >>> fit_size((480, 854), 240)
    (240, 427)
    """
    if short_side is None:
        return size
    scale = short_side / min(size) * min(1.0, math.sqrt(LONGEST * min(size) / max(size)))
    return max(1, math.floor(size[0] * scale + 0.5)), max(1, math.floor(size[1] * scale + 0.5))
