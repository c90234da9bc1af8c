"""From uint8 RGB to what a network reads: ImageNet-normalised RGB or Lab."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

ColourSpace = Literal["rgb", "lab"]

STATISTICS: dict[ColourSpace, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "rgb": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "lab": ((50.0, 0.0, 0.0), (50.0, 127.0, 127.0)),
}
"""Mean and deviation of each channel; RGB in [0, 1]."""
_TO_XYZ = (
    (0.412453 / 0.950456, 0.357580 / 0.950456, 0.180423 / 0.950456),
    (0.212671, 0.715160, 0.072169),
    (0.019334 / 1.088754, 0.119193 / 1.088754, 0.950227 / 1.088754),
)


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """sRGB in [0, 1], (..., 3), to CIE Lab (D65): L in [0, 100], a and b about -128 to 127.

    >>> [round(v, 2) for v in rgb_to_lab(torch.tensor([1.0, 0.0, 0.0])).tolist()]
    [53.24, 80.09, 67.2]
    """
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb.clamp_min(0) + 0.055) / 1.055) ** 2.4)
    xyz = _mixed(linear, torch.tensor(_TO_XYZ, dtype=rgb.dtype, device=rgb.device))
    root = xyz.clamp_min(1e-12) ** (1 / 3)
    g = torch.where(xyz > 0.008856, root, 7.787 * xyz + 16 / 116)
    lightness = torch.where(xyz[..., 1] > 0.008856, 116 * root[..., 1] - 16, 903.3 * xyz[..., 1])
    return torch.stack([lightness, 500 * (g[..., 0] - g[..., 1]), 200 * (g[..., 1] - g[..., 2])], dim=-1)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """The inverse of :func:`rgb_to_lab`, cut to [0, 1] where a colour lies outside sRGB.

    >>> [round(v, 3) for v in lab_to_rgb(rgb_to_lab(torch.tensor([0.2, 0.5, 0.9]))).tolist()]
    [0.2, 0.5, 0.9]
    """
    middle = (lab[..., 0] + 16) / 116
    g = torch.stack([middle + lab[..., 1] / 500, middle, middle - lab[..., 2] / 200], dim=-1)
    xyz = torch.where(g > 6 / 29, g**3, (g - 16 / 116) / 7.787)
    inverse = torch.linalg.inv(torch.tensor(_TO_XYZ, dtype=torch.float64)).to(lab)
    linear = _mixed(xyz, inverse).clamp(0, 1)
    return torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp_min(1e-12) ** (1 / 2.4) - 0.055)


def _mixed(values: Tensor, matrix: Tensor) -> Tensor:
    """``matrix`` (3, 3) times each colour (..., 3); autocast's digits are too few, a colour would be off by 2."""
    with torch.autocast(values.device.type, enabled=False):
        return values @ matrix.T


def normalise(frames: Tensor, colour: ColourSpace) -> Tensor:
    """uint8 RGB (B, H, W, 3) to the colour space, its mean and deviation removed: float32 (B, 3, H, W)."""
    values = frames.to(torch.float32) / 255
    return standardise(rgb_to_lab(values) if colour == "lab" else values, colour)


def standardise(values: Tensor, colour: ColourSpace) -> Tensor:
    """The same of values that are of the colour space already, float (B, H, W, 3); RGB in [0, 1]."""
    mean, deviation = (torch.tensor(s, device=values.device) for s in STATISTICS[colour])
    return ((values - mean) / deviation).permute(0, 3, 1, 2)
