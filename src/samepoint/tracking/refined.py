"""The default method: propagation says where to look, the refiner where the point is, the query frame stops drift."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..geometry import Lattice
from ..models.network import PointNetwork
from ..models.refiner import Estimate
from .nearby import NearbyPropagation

_SEARCH, _GUIDE = 1, 2  # levels of the pyramid, strides 8 and 4: where the lost are sought, where labels propagate


@dataclass(frozen=True)
class RefineSettings:
    """How :class:`RefinedPoints` follows. Pixels are those of the working resolution.

    Attributes:
        iterations: refinements of each guess.
        context: previous frames that labels are propagated from.
        radius: cells of stride 4 within which they are.
        sigma: of the labels, in pixels: how much of its surroundings a point is carried along with.
        agree: pixels; estimates farther apart than this are two things, and the surer one is taken.
        guess_error: expected error, in pixels, of the propagated peak beside the refiner's own statements.
        lost: a point with less confidence is looked for in the whole picture, as it was in its query frame.
        found: confidence of the refiner from which such a find is believed.
        update: a point with at least this confidence takes its surroundings as its latest looks.
        correct: a point with at least this confidence has its label propagated on from its refined place.
    """

    iterations: int = 2
    context: int = 5
    radius: float = 12.0
    sigma: float = 6.0
    agree: float = 6.0
    guess_error: float = 2.0
    lost: float = 0.5
    found: float = 0.8
    update: float = 0.5
    correct: float = 0.7


class RefinedPoints:
    """Each point keeps the surroundings it had in its query frame and those of the frame where it was last seen.

    The last frame is nearest in looks, so it finds the point through turning and deforming, but every step adds a
    little error. The query frame adds none, however long the video, as long as the point still looks like itself. Both
    estimates come with an expected error, and are weighed by it. Both start where label propagation from the frames
    before puts the point: its cells compete for their matches, which keeps it off what merely looks alike.
    """

    def __init__(
        self, network: PointNetwork, settings: RefineSettings | None = None, dtype: torch.dtype = torch.float32
    ) -> None:
        self.network, self.refiner = network, network.refiner
        self.settings = settings or RefineSettings()
        lattice = network.lattices[_GUIDE]
        self.guide = NearbyPropagation(
            lattice,
            context=self.settings.context,
            radius=self.settings.radius,
            sigma=self.settings.sigma / lattice.stride,
            dtype=dtype,
        )
        self.query: tuple[Tensor, ...] = ()
        self.last: tuple[Tensor, ...] = ()
        self.before: tuple[Tensor, ...] = ()
        self.xy = torch.zeros(0, 2)
        self.confidence = torch.zeros(0)
        self.evidence = torch.zeros(0, 0)

    def add(self, maps: tuple[Tensor, ...], xy: Tensor) -> None:
        templates = self.refiner.templates(maps, xy)
        certain = xy.new_ones(len(xy))
        if len(self.xy) == 0:
            self.guide.start(maps[_GUIDE][0], xy)
            self.query, self.last, self.xy, self.confidence = templates, templates, xy, certain
        else:
            self.guide.add(xy)
            self.query = tuple(torch.cat(pair) for pair in zip(self.query, templates, strict=True))
            self.last = tuple(torch.cat(pair) for pair in zip(self.last, templates, strict=True))
            self.xy = torch.cat([self.xy, xy])
            self.confidence = torch.cat([self.confidence, certain])
        self.before = maps

    def keep(self, mask: Tensor) -> None:
        self.guide.keep(mask)
        self.query = tuple(level[mask] for level in self.query)
        self.last = tuple(level[mask] for level in self.last)
        self.xy, self.confidence = self.xy[mask], self.confidence[mask]

    def step(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        guess, mass = self.guide.step(maps[_GUIDE][0], self.xy)
        last = self._refine(self.last, maps, guess)
        anchor = self._recover(maps, self._refine(self.query, maps, guess))
        xy = self._fuse(last, anchor, guess)
        fresh = self.refiner.templates(maps, xy)
        self.evidence = self._gather_evidence(last, anchor, guess, mass, xy, fresh)
        confidence = self.network.visibility(self.evidence).sigmoid()
        seen = (confidence >= self.settings.update)[:, None, None]
        self.last = tuple(torch.where(seen, new, old) for new, old in zip(fresh, self.last, strict=True))
        self.guide.correct(confidence >= self.settings.correct, xy)
        self.xy, self.confidence, self.before = xy, confidence, maps
        return xy, confidence

    def _refine(self, templates: tuple[Tensor, ...], maps: tuple[Tensor, ...], xy: Tensor) -> Estimate:
        return self.refiner(templates, maps, xy, iterations=self.settings.iterations)[-1]

    def _recover(self, maps: tuple[Tensor, ...], anchor: Estimate) -> Estimate:
        """Look for the lost points in the whole picture, as they were in their query frames."""
        lost = torch.nonzero((self.confidence < self.settings.lost) & (anchor.visible < 0))[:, 0]
        if len(lost) == 0:
            return anchor
        templates = tuple(level[lost] for level in self.query)
        level, lattice = maps[_SEARCH][0], self.refiner.lattices[_SEARCH]
        scores = templates[_SEARCH][:, templates[_SEARCH].shape[1] // 2] @ level.flatten(0, 1).T
        found = self._refine(templates, maps, _centres(lattice, level)[scores.argmax(dim=1)])
        believed = found.visible.sigmoid() >= self.settings.found
        parts = [value.clone() for value in anchor]
        for part, value in zip(parts, found, strict=True):
            part[lost[believed]] = value[believed]
        return Estimate(*parts)

    def _fuse(self, last: Estimate, anchor: Estimate, guess: Tensor) -> Tensor:
        """Mean of the estimates, each weighed by its stated certainty and by its agreement with the others."""
        places = torch.stack([last.xy, anchor.xy, guess], dim=1)
        certainty = torch.stack(
            [
                last.visible.sigmoid() * torch.exp(-2 * last.log_error),
                anchor.visible.sigmoid() * torch.exp(-2 * anchor.log_error),
                torch.full_like(last.visible, self.settings.guess_error**-2),
            ],
            dim=1,
        )
        xy = places[torch.arange(len(places)), certainty.argmax(dim=1)]
        for _ in range(3):
            away = (places - xy[:, None]).norm(dim=2)
            weight = certainty / (1 + (away / self.settings.agree) ** 2) ** 2
            xy = (weight[..., None] * places).sum(1) / weight.sum(1, keepdim=True)
        return xy

    def _gather_evidence(
        self, last: Estimate, anchor: Estimate, guess: Tensor, mass: Tensor, xy: Tensor, fresh: tuple[Tensor, ...]
    ) -> Tensor:
        """One column for each name in :data:`~samepoint.models.visibility.EVIDENCE`."""
        back = self.refiner(fresh, self.before, self.xy, iterations=1)[-1]
        columns = [
            last.visible,
            anchor.visible,
            last.log_error,
            anchor.log_error,
            (last.xy - anchor.xy).norm(dim=1).log1p(),
            mass,
            (xy - guess).norm(dim=1).log1p(),
            (back.xy - self.xy).norm(dim=1).log1p(),
            _likeness(self.query[_SEARCH], fresh[_SEARCH]),
            _likeness(self.query[_GUIDE], fresh[_GUIDE]),
            self.confidence,
        ]
        return torch.stack(columns, dim=1)


def _likeness(first: Tensor, second: Tensor) -> Tensor:
    """Cosine similarity (N,) of the middle cells of two sets of templates (N, cells, C)."""
    middle = first.shape[1] // 2
    return torch.nn.functional.cosine_similarity(first[:, middle], second[:, middle], dim=1)


def _centres(lattice: Lattice, level: Tensor) -> Tensor:
    """Raster pixels (h * w, 2) of the cells of a channels-last map (h, w, C)."""
    rows, columns = torch.meshgrid(*(torch.arange(n, device=level.device) for n in level.shape[:2]), indexing="ij")
    return lattice.to_pixels(torch.stack([columns, rows], dim=-1).reshape(-1, 2).to(level.dtype))
