"""Random outlines of layers: blobs, polygons, ellipses, limbs, some with holes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from samepoint.datasets.synthetic.settings import ClipSettings

# Empty rows and columns around the shape, so that the bilinear alpha falls to zero inside the mask.
MARGIN = 4
_SUBPIXEL_BITS = 6


@dataclass(frozen=True)
class Outline:
    """The shape of a layer in its own texture.

    Attributes:
        mask: alpha, uint8 (h, w), zero at the border, soft over about a pixel.
        contour: the outer outline, float64 (M, 2), from the texture's centre.
        axis: the end of a limb to hang it on, or the centre; float64 (2,), from the texture's centre.
        limb: whether it is long and thin.
    """

    mask: np.ndarray
    contour: np.ndarray
    axis: np.ndarray
    limb: bool


def draw_outline(settings: ClipSettings, rng: np.random.Generator) -> Outline:
    """A random outline."""
    short = min(settings.size)
    radius = short * np.exp(rng.uniform(*np.log(settings.radius)))
    limb = rng.random() < settings.limbs
    axis = np.zeros(2)
    if limb:
        contour, axis = _limb(rng, radius * rng.uniform(1.0, 1.6))
    else:
        contour = _compact(rng, radius)
    hole = None
    if not limb and rng.random() < settings.holes:
        hole = _blob(rng, 0.4 * radius) + rng.uniform(-0.2, 0.2, 2) * radius
    turn = _rotation(rng.uniform(0, 2 * np.pi))
    contour, axis = contour @ turn.T, turn @ axis
    low, high = contour.min(0), contour.max(0)
    middle = (low + high) / 2
    contour, axis = contour - middle, axis - middle
    width, height = (np.ceil(high - low).astype(int) + 2 * MARGIN).tolist()
    mask = np.zeros((height, width), np.uint8)
    centre = np.array([width / 2, height / 2])
    _fill(mask, contour + centre, 255)
    if hole is not None:
        _fill(mask, hole @ turn.T - middle + centre, 0)
    mask = cv2.GaussianBlur(mask, (3, 3), 0.6)
    mask[:2], mask[-2:], mask[:, :2], mask[:, -2:] = 0, 0, 0, 0
    return Outline(mask, contour, axis, limb)


def _fill(mask: np.ndarray, polygon: np.ndarray, value: int) -> None:
    """Fills a polygon given in raster coordinates, antialiased."""
    points = np.round((polygon - 0.5) * 2**_SUBPIXEL_BITS).astype(np.int32)
    cv2.fillPoly(mask, [points[:, None]], value, lineType=cv2.LINE_AA, shift=_SUBPIXEL_BITS)


def _rotation(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _compact(rng: np.random.Generator, radius: float) -> np.ndarray:
    kind = rng.random()
    if kind < 0.55:
        contour = _blob(rng, radius)
    elif kind < 0.85:
        contour = _polygon(rng, radius)
    else:
        angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        contour = radius * np.stack([np.cos(angles), np.sin(angles)], 1)
    return contour * np.array([1.0, rng.uniform(0.45, 1.0)])


def _blob(rng: np.random.Generator, radius: float) -> np.ndarray:
    """A closed curve whose radius is a short random Fourier series."""
    angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    order = np.arange(2, 8)
    strength = rng.uniform(0, 0.45) * rng.uniform(-1, 1, order.size) / np.sqrt(order)
    waves = np.cos(order[:, None] * angles + rng.uniform(0, 2 * np.pi, order.size)[:, None])
    radii = radius * np.clip(0.8 + strength @ waves, 0.2, 1.2)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], 1)


def _polygon(rng: np.random.Generator, radius: float) -> np.ndarray:
    """Three to nine corners around the centre, with points along the edges so that a bent edge is still bounded."""
    corners = int(rng.integers(3, 10))
    angles = (np.arange(corners) + rng.uniform(-0.35, 0.35, corners)) * 2 * np.pi / corners
    radii = radius * rng.uniform(0.45, 1.1, corners)
    points = np.stack([radii * np.cos(angles), radii * np.sin(angles)], 1)
    steps = np.linspace(0, 1, 8, endpoint=False)[None, :, None]
    return (points[:, None] * (1 - steps) + np.roll(points, -1, 0)[:, None] * steps).reshape(-1, 2)


def _limb(rng: np.random.Generator, length: float) -> tuple[np.ndarray, np.ndarray]:
    """A tapered, slightly bent bar with round ends, and its wider end."""
    wide = max(length * rng.uniform(0.08, 0.25), 2.0)
    thin = max(wide * rng.uniform(0.5, 1.0), 1.5)
    s = np.linspace(-1, 1, 24)
    bend = rng.uniform(-0.25, 0.25) * length * (s**2 - 1)
    half = wide + (thin - wide) * (s + 1) / 2
    spine = np.stack([s * length, bend], 1)
    cap = np.linspace(-np.pi / 2, np.pi / 2, 9)
    far = spine[-1] + thin * np.stack([np.cos(cap), np.sin(cap)], 1)
    near = spine[0] - wide * np.stack([np.cos(cap), np.sin(cap)], 1)
    upper = spine + np.stack([np.zeros_like(half), half], 1)
    lower = spine - np.stack([np.zeros_like(half), half], 1)
    return np.concatenate([lower, far, upper[::-1], near]), spine[0]
