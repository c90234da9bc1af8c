"""Geometric changes of a picture that say exactly where each of its points went.

A warp is a homography, or a homography and thin-plate splines beyond it. It is written as the way *back*, from the new
picture's raster pixels to the old one's, which is what sampling needs; the way forward is exact where there are no
splines. Corners are drawn in shares of the picture, so a picture and its points move alike whatever its size; the
published system draws them in the pixels of one size and applies them at another (web-video-matching.md, section 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

Size = tuple[int, int]
"""(H, W)."""
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class WarpSettings:
    """What is drawn.

    Attributes:
        area: share of the picture that the new one shows.
        aspect: its width over its height, times the picture's own.
        rotation: degrees to either side.
        distortion: how far corners move at most, in half sides, as perspective.
        perspective: chance of it.
        bend: deviation of the splines' control points, in shares of the new picture's side; 0: no splines.
        flip: chance of mirroring.
    """

    area: tuple[float, float] = (0.4, 1.0)
    aspect: tuple[float, float] = (0.75, 1.333)
    rotation: float = 15.0
    distortion: float = 0.3
    perspective: float = 0.5
    bend: float = 0.0
    flip: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.area[0] <= self.area[1]:
            raise InputError(f"area: {self.area} given, a range above 0 expected")
        if not 0 < self.aspect[0] <= self.aspect[1]:
            raise InputError(f"aspect: {self.aspect} given, a range of positive numbers expected")
        if not 0 <= self.distortion < 1:
            raise InputError(f"distortion: {self.distortion} given, at least 0 and below 1 expected")
        for name in ("perspective", "flip"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}: {getattr(self, name)} given, 0 to 1 expected")
        if self.rotation < 0 or self.bend < 0:
            raise InputError(f"rotation and bend: {self.rotation} and {self.bend} given, 0 or more expected")

    @classmethod
    def published(cls) -> WarpSettings:
        """SSSCWEB's: the whole picture, a perspective of 0.7 every other time."""
        return cls(area=(1, 1), aspect=(1, 1), rotation=0.0, distortion=0.7)


@dataclass(frozen=True)
class Splines:
    """Thin-plate splines: what is added to raster pixels of the new picture before the homography."""

    controls: Matrix  # (K, 2)
    weights: Matrix  # (K + 3, 2)

    def __call__(self, xy: Matrix) -> Matrix:
        """Displacements (N, 2)."""
        return _basis(xy, self.controls) @ self.weights

    def dense(self, size: Size, step: int = 4) -> Matrix:
        """Displacements (H, W, 2) at all pixels of a picture, bicubic between those at every fourth.

        Splines are smooth: that is exact to a tenth of a pixel, mostly a hundredth, and many times as fast.
        """
        counts = [-(-side // step) + 2 for side in size]
        y, x = np.meshgrid(*((np.arange(count) - 0.5) * step for count in counts), indexing="ij")
        coarse = self(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(*counts, 2)
        large = cv2.resize(coarse, (counts[1] * step, counts[0] * step), interpolation=cv2.INTER_CUBIC)
        return np.asarray(large[step : step + size[0], step : step + size[1]], np.float64)


@dataclass(frozen=True)
class Warp:
    """From a picture to a new one of ``size`` (H, W).

    Attributes:
        back: (3, 3), raster pixels of the new picture to the old one's.
        size: of the new picture.
        splines: applied before ``back``.
    """

    back: Matrix
    size: Size
    splines: Splines | None = None

    def source_of(self, xy: NDArray[Any]) -> NDArray[np.float32]:
        """Where points (N, 2) of the new picture lie in the old one, (N, 2)."""
        points = np.asarray(xy, np.float64).reshape(-1, 2)
        if self.splines is not None:
            points = points + self.splines(points)
        return _apply(self.back, points).astype(np.float32)

    def points(self, xy: NDArray[Any]) -> NDArray[np.float32]:
        """Where points (N, 2) of the old picture lie in the new one, (N, 2); outside of it for what it leaves out.

        Raises:
            InputError: there are splines, whose way forward has no closed form.
        """
        if self.splines is not None:
            raise InputError("a warp with splines can only be followed back: source_of")
        forward = np.asarray(np.linalg.inv(self.back), np.float64)
        return _apply(forward, np.asarray(xy, np.float64).reshape(-1, 2)).astype(np.float32)

    def picture(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The new picture, bilinear and smoothed where it shrinks; black where the old one ends."""
        height, width = self.size
        y, x = np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij")
        pixels = np.stack([x, y], axis=-1)
        if self.splines is not None:
            pixels = pixels + self.splines.dense(self.size)
        places = _apply(self.back, pixels.reshape(-1, 2)).astype(np.float32)
        shrink = _shrinkage(places.reshape(height, width, 2))
        if shrink > 1:  # averaged first: sampling alone would skip pixels
            old = rgb.shape[:2]
            small = (max(1, round(old[1] / shrink)), max(1, round(old[0] / shrink)))
            rgb = np.asarray(cv2.resize(rgb, small, interpolation=cv2.INTER_AREA), np.uint8)
            places = places * np.array([small[0] / old[1], small[1] / old[0]], np.float32)
        maps = (places - 0.5).reshape(height, width, 2)
        warped = cv2.remap(rgb, maps[..., 0], maps[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        beyond = ((places < 0) | (places > [rgb.shape[1], rgb.shape[0]])).any(axis=1).reshape(height, width)
        warped[beyond] = 0
        return np.asarray(warped, np.uint8)

    def inside(self, xy: NDArray[Any], margin: float = 0.0) -> NDArray[np.bool_]:
        """Which points (N, 2) lie in the new picture, ``margin`` pixels from its border."""
        limits = np.array([self.size[1], self.size[0]]) - margin
        return np.asarray(((xy >= margin) & (xy <= limits)).all(axis=1), np.bool_)


def draw_warp(old: Size, new: Size, settings: WarpSettings, rng: np.random.Generator) -> Warp:
    """A random warp of a picture of ``old`` (H, W) to one of ``new``.

    The window that the new picture shows lies within the old one but for its rotation and perspective.
    """
    share = np.sqrt(rng.uniform(*settings.area))
    stretch = np.sqrt(np.exp(rng.uniform(*np.log(settings.aspect))))
    across, down = min(1.0, share * stretch) * old[1], min(1.0, share / stretch) * old[0]
    middle = np.array([rng.uniform(across / 2, old[1] - across / 2), rng.uniform(down / 2, old[0] - down / 2)])
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float64)
    moved = corners.copy()
    if rng.random() < settings.perspective:
        moved = moved * (1 - settings.distortion * rng.random((4, 2)))
    if rng.random() < settings.flip:
        moved[:, 0] = -moved[:, 0]
    angle = np.radians(rng.uniform(-settings.rotation, settings.rotation))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    window = moved * [across / 2, down / 2] @ turn.T + middle
    frame = (corners + 1) / 2 * [new[1], new[0]]
    back = cv2.getPerspectiveTransform(frame.astype(np.float32), window.astype(np.float32))
    return Warp(np.asarray(back, np.float64), new, _splines(new, settings.bend, rng))


def _splines(size: Size, bend: float, rng: np.random.Generator, side: int = 3) -> Splines | None:
    """Splines through a grid of ``side`` by ``side`` control points that move by ``bend`` sides."""
    if bend == 0:
        return None
    y, x = np.meshgrid(*((np.arange(side) + 0.5) / side * length for length in size), indexing="ij")
    controls = np.stack([x.ravel(), y.ravel()], axis=1)
    moves = rng.normal(0, bend, controls.shape) * [size[1], size[0]]
    count = len(controls)
    system = np.zeros((count + 3, count + 3))
    system[:count] = _basis(controls, controls)
    system[count:, :count] = system[:count, count:].T
    weights = np.linalg.solve(system, np.concatenate([moves, np.zeros((3, 2))]))
    return Splines(controls, weights)


def _basis(xy: Matrix, controls: Matrix) -> Matrix:
    """r^2 log r to each control point, then 1, x and y: (N, K + 3)."""
    squared = ((xy[:, None] - controls[None]) ** 2).sum(-1)
    radial = squared * np.log(np.maximum(squared, 1e-12)) / 2
    return np.concatenate([radial, np.ones((len(xy), 1)), xy], axis=1)


def _apply(matrix: Matrix, xy: Matrix) -> Matrix:
    raised = np.concatenate([xy, np.ones((len(xy), 1))], axis=1) @ matrix.T
    result: Matrix = raised[:, :2] / raised[:, 2:]
    return result


def _shrinkage(places: NDArray[np.float32]) -> float:
    """By how much the picture shrinks, as the median over neighbouring pixels."""
    if min(places.shape[:2]) < 2:
        return 1.0
    steps = np.linalg.norm(np.diff(places, axis=0)[:, :-1], axis=-1) * np.linalg.norm(
        np.diff(places, axis=1)[:-1], axis=-1
    )
    return float(np.sqrt(np.median(steps)))
