"""Values between the pixels of a picture and the cells of a lattice: separable, exact about where cells are centred."""

from __future__ import annotations

import torch
from torch import Tensor

from ..geometry import Lattice


def cells_from_pixels(lattice: Lattice, cells: int, work: int, pixels: int) -> Tensor:
    """Matrix (cells, pixels) that averages pixels over each cell's box, on one axis; rows sum to 1.

    ``pixels`` of the picture are worked on as ``work`` pixels, on which ``lattice`` lies. The box of a cell is as wide
    as the stride, or as a pixel where pixels are larger; what of it lies outside the picture does not count.

    >>> cells_from_pixels(Lattice(2), 2, 4, 4).tolist()
    [[0.6666666865348816, 0.3333333432674408, 0.0, 0.0], [0.0, 0.25, 0.5, 0.25]]
    """
    scale = pixels / work
    centre = lattice.to_pixels(torch.arange(cells, dtype=torch.float64)) * scale
    half = max(lattice.stride * scale, 1.0) / 2
    left = torch.arange(pixels, dtype=torch.float64)
    low = torch.maximum(left, centre[:, None] - half)
    high = torch.minimum(left + 1, centre[:, None] + half)
    overlap = (high - low).clamp(min=0)
    overlap[overlap.sum(1) == 0, -1] = 1  # a cell beyond the picture, of a network that pads it, is as its border
    return (overlap / overlap.sum(1, keepdim=True)).float()


def pixels_from_cells(lattice: Lattice, cells: int, work: int, pixels: int) -> Tensor:
    """Matrix (pixels, cells) that interpolates linearly between cells, on one axis, continued by the outer cells.

    >>> pixels_from_cells(Lattice(2), 2, 4, 4).tolist()
    [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0], [0.0, 1.0]]
    """
    raster = (torch.arange(pixels, dtype=torch.float64) + 0.5) * (work / pixels)
    place = lattice.to_cells(raster).clamp(0, cells - 1)
    return _tent(place, cells)


def cells_from_cells(coarse: Lattice, cells: int, fine: Lattice, fine_cells: int) -> Tensor:
    """Matrix (fine_cells, cells) that interpolates linearly from one lattice to another of the same picture."""
    raster = fine.to_pixels(torch.arange(fine_cells, dtype=torch.float64))
    return _tent(coarse.to_cells(raster).clamp(0, cells - 1), cells)


def averaged_down(fine: Lattice, fine_cells: int, stride: int) -> tuple[Lattice, Tensor]:
    """A coarser lattice with the same origin, and the matrix (cells, fine_cells) that averages over its boxes."""
    cells = -(-fine_cells * fine.stride // stride)
    factor = stride // fine.stride
    return Lattice(stride, fine.offset), cells_from_pixels(Lattice(factor), cells, fine_cells, fine_cells)


def separable(rows: Tensor, values: Tensor, columns: Tensor) -> Tensor:
    """``rows @ values @ columns.T`` for values (V, h, w), the larger side last."""
    return (rows @ values) @ columns.T


def _tent(place: Tensor, cells: int) -> Tensor:
    index = torch.arange(cells, dtype=torch.float64)
    return (1 - (place[:, None] - index).abs()).clamp(min=0).float()


def nearest_pixels(cells: int, pixels: int) -> Tensor:
    """Matrix (cells, pixels) that picks a pixel for each cell as published: the map is taken to span the picture."""
    chosen = (torch.arange(cells) * pixels) // cells
    return torch.nn.functional.one_hot(chosen, pixels).float()


def stretched_cells(cells: int, pixels: int) -> Tensor:
    """Matrix (pixels, cells) that interpolates as published: the map is taken to span the picture.

    Half-pixel centres; off by up to half a cell for padded convolutions, whose cells lie on the first pixel's centre.
    """
    place = (torch.arange(pixels, dtype=torch.float64) + 0.5) * (cells / pixels) - 0.5
    return _tent(place.clamp(0, cells - 1), cells)
