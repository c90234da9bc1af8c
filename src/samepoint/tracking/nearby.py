"""Label propagation of single points: the shared affinity, read only where each point may be."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import torch
from torch import Tensor

from ..correspondence import Affinity, Window, affinity
from ..geometry import Lattice, gaussian_maps, read_peak

_CHUNK = 1 << 18  # label values held at once: a few MB, which the caches still hold


class NearbyPropagation:
    """Where each point's label goes, from the frames just before.

    The same operator as :class:`~samepoint.tracking.propagated.PropagatedPoints`, without what a few points do not
    need: query cells far from every point, and label maps of the whole picture. Each point has a square patch of label
    in each key frame, around its place there. A point is carried by the key frames since it was added, so that it
    moves alike whatever points were there before it.

    Args:
        lattice: of the maps given.
        context: key frames.
        radius: of the circular window, in cells; also how far from its last place a point is looked for.
        sigma: of a fresh label, in cells.
    """

    def __init__(
        self,
        lattice: Lattice,
        *,
        context: int = 5,
        radius: float = 12.0,
        sigma: float = 1.5,
        topk: int = 10,
        temperature: float = 0.07,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.lattice, self.sigma = lattice, sigma
        self.window, self.reach = Window.circle(radius), int(radius)
        self.topk, self.temperature, self.dtype = topk, temperature, dtype
        self.keys: deque[_Key] = deque(maxlen=context)
        self.known = torch.zeros(0, dtype=torch.long)  # (N,) of the newest key frames, those with a label of the point

    def start(self, level: Tensor, xy: Tensor) -> None:
        """Take the frame in which points (N, 2), raster pixels, are given, by its map (h, w, C), as only key frame."""
        self.keys.clear()
        corner = self._corner(xy)
        self.keys.append(_Key(level.permute(2, 0, 1), self._fresh(xy, corner), corner))
        self.known = torch.ones_like(corner[:, 0])

    def add(self, xy: Tensor) -> None:
        """More points, labelled in the newest key frame only."""
        corner = self._corner(xy)
        for index, key in enumerate(self.keys):
            labels = self._fresh(xy, corner)
            if index < len(self.keys) - 1:
                labels = torch.zeros_like(labels)
            self.keys[index] = _Key(key.features, torch.cat([key.labels, labels]), torch.cat([key.corner, corner]))
        self.known = torch.cat([self.known, torch.ones_like(corner[:, 0])])

    def keep(self, mask: Tensor) -> None:
        """Forget the points where ``mask`` (N,) is false."""
        if not self.keys:
            return  # nothing has come yet that would say which device the points are on
        for index, key in enumerate(self.keys):
            self.keys[index] = _Key(key.features, key.labels[mask], key.corner[mask])
        self.known = self.known[mask]

    def step(self, level: Tensor, xy: Tensor) -> tuple[Tensor, Tensor]:
        """Go on to the next frame.

        Args:
            level: its map (h, w, C).
            xy: where the points (N, 2) were last, raster pixels: the middle of where they are looked for.

        Returns:
            Peaks (N, 2) of the propagated labels, raster pixels, and their heights (N,); ``xy`` where the height is 0.
        """
        features, corner = level.permute(2, 0, 1), self._corner(xy)
        ages = self.known.unique().tolist()
        if len(ages) == 1:
            labels = self._propagate(features, list(self.keys)[-ages[0] :], corner)
        else:
            labels = level.new_zeros((len(xy), 2 * self.reach + 1, 2 * self.reach + 1))
            for age in ages:
                own = self.known == age
                keys = [_Key(key.features, key.labels[own], key.corner[own]) for key in list(self.keys)[-age:]]
                labels[own] = self._propagate(features, keys, corner[own])
        self.keys.append(_Key(features, labels, corner))
        self.known = (self.known + 1).clamp(max=len(self.keys))
        peak, mass = read_peak(labels)
        # A label of which nothing is left has no peak; its corner would be a step away, frame after frame.
        return torch.where(mass[:, None] > 0, self.lattice.to_pixels(peak + corner), xy), mass

    def _propagate(self, features: Tensor, keys: list[_Key], corner: Tensor) -> Tensor:
        """Label patches (N, S, S) at ``corner`` (N, 2) of a map (C, h, w), of points with a label in all ``keys``."""
        height, width = features.shape[1:]
        steps = torch.arange(2 * self.reach + 1, device=features.device)
        rows, columns = corner[:, 1:2] + steps, corner[:, :1] + steps
        inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None]
        flat = rows.clamp(0, height - 1)[:, :, None] * width + columns.clamp(0, width - 1)[:, None]
        cells, where = torch.unique(flat, return_inverse=True)
        found = affinity(
            features,
            [key.features for key in keys],
            self.window,
            self.topk,
            self.temperature,
            query_cells=cells,
            dtype=self.dtype,
        )
        return self._labels(keys, where.flatten(1), found).reshape(flat.shape) * inside

    def correct(self, mask: Tensor, xy: Tensor) -> None:
        """Give the points where ``mask`` (N,) holds a fresh label at ``xy`` (N, 2) in the newest key frame."""
        newest = self.keys[-1]
        corner = torch.where(mask[:, None], self._corner(xy), newest.corner)
        labels = torch.where(mask[:, None, None], self._fresh(xy, corner), newest.labels)
        self.keys[-1] = _Key(newest.features, labels, corner)

    def _corner(self, xy: Tensor) -> Tensor:
        return self.lattice.to_cells(xy).round().long() - self.reach

    def _fresh(self, xy: Tensor, corner: Tensor) -> Tensor:
        size = 2 * self.reach + 1
        return gaussian_maps(self.lattice.to_cells(xy) - corner, (size, size), self.sigma)

    def _labels(self, keys: list[_Key], where: Tensor, found: Affinity) -> Tensor:
        """Propagated labels (N, cells) of each point at its own cells, rows ``where`` (N, cells) of the affinity."""
        count, size = len(where), 2 * self.reach + 1
        width, area = found.size[1], found.size[0] * found.size[1]
        frame = found.indices // area
        row, column = found.indices % area // width, found.indices % width
        labels = torch.stack([key.labels for key in keys]).reshape(-1)
        corner = torch.stack([key.corner for key in keys]).reshape(-1, 2)
        parts = [labels.new_zeros((0, where.shape[1]))]
        step = max(1, _CHUNK // (where.shape[1] * frame.shape[1]))
        for start in range(0, count, step):
            rows = where[start : start + step]
            point = torch.arange(start, start + len(rows), device=rows.device)[:, None, None]
            patch = frame[rows] * count + point
            x, y = column[rows] - corner[patch, 0], row[rows] - corner[patch, 1]
            inside = (x >= 0) & (x < size) & (y >= 0) & (y < size)
            values = labels[(patch * size + y.clamp(0, size - 1)) * size + x.clamp(0, size - 1)]
            parts.append((found.weights[rows] * values * inside).sum(-1))
        return torch.cat(parts)


class _Key(NamedTuple):
    """A key frame: its map (C, h, w), the points' label patches (N, S, S) and the cells of their corners (N, 2)."""

    features: Tensor
    labels: Tensor
    corner: Tensor
