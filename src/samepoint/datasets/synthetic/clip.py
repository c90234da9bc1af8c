"""A rendered clip and the exact answers to every question of motion about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from samepoint.datasets.synthetic.kernels import alphas, frame_positions, texture_positions
from samepoint.datasets.synthetic.motion import Maps
from samepoint.errors import InputError


@dataclass(frozen=True)
class Clip:
    """Frames with known motion. T frames, L layers of which 0 is the background.

    Attributes:
        frames: uint8 RGB (T, H, W, 3).
        layer: int16 (T, H, W), the topmost layer whose alpha is at least a half at the pixel's centre.
        maps: the maps of all layers at the frames' times.
        masks: alpha of each layer in its texture, uint8 (h, w); the background's has no elements, it is everywhere.
    """

    frames: np.ndarray
    layer: np.ndarray
    maps: Maps
    masks: tuple[np.ndarray, ...]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of a frame."""
        return int(self.frames.shape[1]), int(self.frames.shape[2])

    def __len__(self) -> int:
        return int(self.frames.shape[0])

    def layer_at(self, points: np.ndarray, frame: int) -> np.ndarray:
        """The visible layer, int (N,), at raster positions (N, 2) of a frame, between pixel centres too."""
        points = np.asarray(points, np.float64).reshape(-1, 2)
        result = np.zeros(len(points), np.int64)
        open_ = np.arange(len(points))
        for index in range(len(self.masks) - 1, 0, -1):
            if not open_.size:
                break
            covered = self._alpha(points[open_], frame, index) >= 0.5
            result[open_[covered]] = index
            open_ = open_[~covered]
        return result

    def tracks(self, points: np.ndarray, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Follows the surface points seen at raster positions (N, 2) of ``frame`` through the whole clip.

        Returns:
            Positions, float32 (N, T, 2), finite also where hidden or outside; and where the point is visible, bool
            (N, T): inside the frame and on the topmost layer there.

        Raises:
            InputError: a point outside the frame, or no such frame.
        """
        points = self._checked(points, frame)
        layers = self.layer_at(points, frame)
        xy = np.zeros((len(points), len(self), 2))
        visible = np.zeros((len(points), len(self)), bool)
        for time in range(len(self)):
            xy[:, time], visible[:, time] = self._follow(points, layers, frame, time)
        return xy.astype(np.float32), visible

    def flow(self, source: int, target: int) -> tuple[np.ndarray, np.ndarray]:
        """Exact motion of what each pixel's centre shows, from one frame to any other, earlier ones too.

        Returns:
            Flow in pixels, float32 (H, W, 2), and whether the point is visible in ``target``, bool (H, W).
        """
        height, width = self.size
        self._check_frame(source)
        self._check_frame(target)
        rows, cols = np.mgrid[:height, :width]
        points = np.stack([cols.ravel() + 0.5, rows.ravel() + 0.5], 1)
        xy, visible = self._follow(points, self.layer[source].ravel(), source, target)
        return (xy - points).astype(np.float32).reshape(height, width, 2), visible.reshape(height, width)

    def sample_points(self, rng: np.random.Generator, n: int, frame: int = 0, balanced: float = 0.0) -> np.ndarray:
        """Random raster positions in a frame, float32 (N, 2).

        A share ``balanced`` of them is spread evenly over the layers seen there, small ones too; the rest over the
        frame.
        """
        height, width = self.size
        self._check_frame(frame)
        points = rng.random((n, 2)) * (width, height)
        even = round(n * balanced)
        if even:
            shown = self.layer[frame].ravel()
            order = np.argsort(shown, kind="stable")
            starts = np.concatenate([[0], np.flatnonzero(np.diff(shown[order])) + 1, [shown.size]])
            chosen = rng.integers(len(starts) - 1, size=even)
            place = starts[chosen] + (rng.random(even) * (starts[chosen + 1] - starts[chosen])).astype(int)
            pixel = order[place]
            points[:even] = np.stack([pixel % width, pixel // width], 1) + rng.random((even, 2))
        # A float32 just below the width may round up to it, which would lie outside.
        limit = np.nextafter(np.array([width, height], np.float32), np.float32(0))
        return np.minimum(points.astype(np.float32), limit)

    def _follow(
        self, points: np.ndarray, layers: np.ndarray, source: int, target: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Positions (N, 2) in ``target`` and visibility (N,) of points (N, 2) of the given layers in ``source``."""
        xy = np.empty((len(points), 2))
        for index in np.unique(layers):
            own = layers == index
            surface = texture_positions(points[own], *self._map(source, index))
            xy[own] = frame_positions(surface, *self._map(target, index, inverse=True))
        height, width = self.size
        visible = (xy >= 0).all(1) & (xy[:, 0] < width) & (xy[:, 1] < height)
        for index in range(1, len(self.masks)):
            below = np.flatnonzero(visible & (layers < index))
            if below.size:
                visible[below] = self._alpha(xy[below], target, index) < 0.5
        return xy, visible

    def _alpha(self, points: np.ndarray, frame: int, index: int) -> np.ndarray:
        return alphas(texture_positions(points, *self._map(frame, index)), self.masks[index])

    def _map(self, frame: int, index: int, inverse: bool = False) -> tuple[Any, ...]:
        maps = self.maps
        affine = maps.inverse if inverse else maps.affine
        return affine[frame, index], maps.waves[frame, index], maps.bend[frame, index], maps.centre[index]

    def _check_frame(self, frame: int) -> None:
        if not 0 <= frame < len(self):
            raise InputError(f"frame {frame}: the clip has frames 0 to {len(self) - 1}")

    def _checked(self, points: np.ndarray, frame: int) -> np.ndarray:
        self._check_frame(frame)
        points = np.asarray(points, np.float64)
        if points.ndim != 2 or points.shape[1] != 2:
            raise InputError(f"points of shape {points.shape} given, (N, 2) expected")
        height, width = self.size
        inside = (points >= 0).all(1) & (points[:, 0] < width) & (points[:, 1] < height)
        if not inside.all():
            x, y = points[np.flatnonzero(~inside)[0]]
            raise InputError(f"point ({x:g}, {y:g}) lies outside the {width}x{height} frame")
        return points
