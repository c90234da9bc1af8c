"""Points carried by the learned refiner: from the frame before, and from the query frame against drift."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..models.refiner import Estimate, Refiner


@dataclass(frozen=True)
class RefineSettings:
    """How :class:`RefinedPoints` follows.

    Attributes:
        iterations: refinements of each guess.
        reach: pixels at the working resolution in which the coarse cells look for a point that moved far.
        search_level: which level of descriptors looks (0 is the coarsest).
        anchor_slack: how much farther than its expected error, in pixels, the query frame's estimate may lie from the
            last frame's before it is taken for another thing that looks alike.
    """

    iterations: int = 3
    reach: float = 128.0
    search_level: int = 1


class RefinedPoints:
    """Each point keeps the surroundings it had in its query frame and those of the frame before.

    The frame before is nearest in looks, so it finds the point through turning and deforming, but every step adds a
    little error. The query frame adds none, however long the video, as long as the point still looks like itself. Both
    estimates come with an expected error, and are weighed by it.
    """

    def __init__(self, refiner: Refiner, settings: RefineSettings | None = None) -> None:
        self.refiner, self.settings = refiner, settings or RefineSettings()
        self.query: tuple[Tensor, ...] = ()
        self.last: tuple[Tensor, ...] = ()
        self.xy = torch.zeros(0, 2)
        self.confidence = torch.zeros(0)

    def add(self, maps: tuple[Tensor, ...], xy: Tensor) -> None:
        templates = self.refiner.templates(maps, xy)
        if len(self.xy) == 0:
            self.query, self.last, self.xy = templates, templates, xy
            self.confidence = xy.new_ones(len(xy))
            return
        self.query = tuple(torch.cat(pair) for pair in zip(self.query, templates, strict=True))
        self.last = tuple(torch.cat(pair) for pair in zip(self.last, templates, strict=True))
        self.xy = torch.cat([self.xy, xy])
        self.confidence = torch.cat([self.confidence, xy.new_ones(len(xy))])

    def keep(self, mask: Tensor) -> None:
        self.query = tuple(level[mask] for level in self.query)
        self.last = tuple(level[mask] for level in self.last)
        self.xy, self.confidence = self.xy[mask], self.confidence[mask]

    def step(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        near = self._refine(self.last, maps, self.xy)
        far = self._refine(self.last, maps, self._search(self.last, maps, self.settings.reach))
        last = _better(near, far)
        anchor = self._refine(self.query, maps, last.xy)
        xy, probability = self._fuse(last, anchor)
        self.xy, self.confidence = xy, probability
        self.last = self.refiner.templates(maps, xy)
        return xy, probability

    def _refine(self, templates: tuple[Tensor, ...], maps: tuple[Tensor, ...], xy: Tensor) -> Estimate:
        return self.refiner(templates, maps, xy, iterations=self.settings.iterations)[-1]

    def _search(self, templates: tuple[Tensor, ...], maps: tuple[Tensor, ...], reach: float) -> Tensor:
        """The cell most like each point's own within ``reach`` pixels of where it was."""
        index = self.settings.search_level
        lattice, level = self.refiner.lattices[index], maps[index][0]
        centre = templates[index].shape[1] // 2
        scores = templates[index][:, centre] @ level.flatten(0, 1).T
        height, width = level.shape[:2]
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        cells = lattice.to_pixels(torch.stack([columns, rows], dim=-1).reshape(-1, 2).to(level))
        distance = torch.cdist(self.xy, cells)
        best = scores.masked_fill(distance > reach, -1e4).argmax(dim=1)
        return cells[best]

    def _fuse(self, last: Estimate, anchor: Estimate) -> tuple[Tensor, Tensor]:
        p_last, p_anchor = last.visible.sigmoid(), anchor.visible.sigmoid()
        w_last = p_last / torch.exp(2 * last.log_error)
        w_anchor = p_anchor / torch.exp(2 * anchor.log_error)
        share = (w_anchor / (w_last + w_anchor))[:, None]
        xy = share * anchor.xy + (1 - share) * last.xy
        return xy, torch.maximum(p_last * 0 + p_anchor, p_last * p_anchor)


def _better(first: Estimate, second: Estimate) -> Estimate:
    """Point by point, the estimate that is more surely found."""
    take = second.visible > first.visible
    return Estimate(
        torch.where(take[:, None], second.xy, first.xy),
        torch.where(take, second.log_error, first.log_error),
        torch.where(take, second.visible, first.visible),
    )
