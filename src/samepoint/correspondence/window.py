"""Which key cells a query cell may correspond to."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from samepoint.errors import InputError


@dataclass(frozen=True)
class Window:
    """A search window centred on the query cell, in cells; cells outside the image are never part of it.

    >>> int(Window.circle(15).mask().sum()), int(Window.circle(12).mask().sum()), int(Window.square(2).mask().sum())
    (697, 437, 25)
    """

    shape: str
    size: float = math.inf

    @classmethod
    def circle(cls, radius: float) -> Window:
        """Offsets with ``dy**2 + dx**2 < radius**2`` (strict, as published: 697 cells for 15)."""
        if not 0 < radius < math.inf:
            raise InputError(f"circle window: expected a radius above 0, got {radius}")
        return cls("circle", float(radius))

    @classmethod
    def square(cls, half_width: int) -> Window:
        """Offsets with ``max(|dy|, |dx|) <= half_width`` (inclusive: ``(2 * half_width + 1)**2`` cells)."""
        if half_width < 0 or half_width != int(half_width):
            raise InputError(f"square window: expected a half-width of 0, 1, 2, ..., got {half_width}")
        return cls("square", float(half_width))

    @classmethod
    def everywhere(cls) -> Window:
        """Every cell of the image."""
        return cls("everywhere")

    def __post_init__(self) -> None:
        if self.shape not in ("circle", "square", "everywhere"):
            raise InputError(f"window: expected circle, square or everywhere, got {self.shape!r}")

    def reach(self, height: int, width: int) -> np.ndarray:
        """The window on a map of this size: int64 ``reach[|dy|]``, the largest |dx| inside, for every |dy| inside."""
        rows = np.arange(height, dtype=np.int64)
        if self.shape == "everywhere":
            reach = np.full(height, width - 1, np.int64)
        elif self.shape == "square":
            reach = np.full(height, min(self.size, width - 1), np.int64)[rows <= self.size]
        else:
            left = self.size**2 - rows[rows < self.size].astype(np.float64) ** 2
            reach = np.ceil(np.sqrt(left)).astype(np.int64) - 1
            # The square root may be rounded across an integer; the definition decides.
            reach += (reach + 1) ** 2 < left
            reach -= reach**2 >= left
        return np.minimum(reach, width - 1)

    def mask(self) -> np.ndarray:
        """Bool (2R+1, 2R+1), true inside the window, its centre in the middle; not for ``everywhere``."""
        if self.shape == "everywhere":
            raise InputError("a window that is everywhere has no mask of its own")
        limit = math.ceil(self.size) + 1
        reach = self.reach(limit, limit)
        radius = len(reach) - 1
        dy, dx = np.abs(np.mgrid[-radius : radius + 1, -radius : radius + 1])
        inside: np.ndarray = dx <= reach[dy]
        return inside
