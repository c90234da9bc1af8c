"""The default method: propagation says where to look, the refiner where the point is, the query frame stops drift."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..models.network import PointNetwork
from ..models.refiner import Context, Estimate
from .nearby import NearbyPropagation
from .search import GUIDE, SEARCH, candidates

_TOGETHER = 512  # points refined at once: more take memory and no less time


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
    guess_error: float = 4.0
    lost: float = 0.5
    found: float = 0.7
    update: float = 0.5
    correct: float = 0.7


class RefinedPoints:
    """Each point keeps the surroundings it had in its query frame and those of the frame where it was last seen.

    The last frame is nearest in looks, so it finds the point through turning and deforming, but every step adds a
    little error. The query frame adds none, however long the video, as long as the point still looks like itself. The
    refiner reads both at once, and has learnt what each is good for. It starts where label propagation from the frames
    before puts the point: its cells compete for their matches, which keeps it off what merely looks alike.
    """

    def __init__(
        self, network: PointNetwork, settings: RefineSettings | None = None, dtype: torch.dtype = torch.float32
    ) -> None:
        self.network, self.refiner = network, network.refiner
        self.settings = settings or RefineSettings()
        lattice = network.lattices[GUIDE]
        self.guide = NearbyPropagation(
            lattice,
            context=self.settings.context,
            radius=self.settings.radius,
            sigma=self.settings.sigma / lattice.stride,
            dtype=dtype,
        )
        self.query: tuple[Tensor, ...] = ()
        self.last: tuple[Tensor, ...] = ()
        self.xy = torch.zeros(0, 2)
        self.motion = torch.zeros(0, 2)
        self.state = torch.zeros(0, self.refiner.state_size)
        self.confidence = torch.zeros(0)
        self.evidence = torch.zeros(0, 0)

    def add(self, maps: tuple[Tensor, ...], xy: Tensor) -> None:
        templates = self.refiner.templates(maps, xy)
        still, blank = torch.zeros_like(xy), xy.new_zeros((len(xy), self.refiner.state_size))
        certain = xy.new_ones(len(xy))
        if len(self.xy) == 0:
            self.guide.start(maps[GUIDE][0], xy)
            self.query, self.last = templates, templates
            self.xy, self.motion, self.state, self.confidence = xy, still, blank, certain
        else:
            self.guide.add(xy)
            self.query = tuple(torch.cat(pair) for pair in zip(self.query, templates, strict=True))
            self.last = tuple(torch.cat(pair) for pair in zip(self.last, templates, strict=True))
            self.xy, self.motion = torch.cat([self.xy, xy]), torch.cat([self.motion, still])
            self.state, self.confidence = torch.cat([self.state, blank]), torch.cat([self.confidence, certain])

    def keep(self, mask: Tensor) -> None:
        if not self.query:
            return
        self.guide.keep(mask)
        self.query = tuple(level[mask] for level in self.query)
        self.last = tuple(level[mask] for level in self.last)
        self.xy, self.motion, self.state = self.xy[mask], self.motion[mask], self.state[mask]
        self.confidence = self.confidence[mask]

    def step(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        guess, mass = self.guide.step(maps[GUIDE][0], self.xy)
        context = Context(self.state, guess, mass, self.xy, self.motion)
        estimate, state = self._refine(maps, guess, context, torch.arange(len(guess)))
        estimate, state = self._recover(maps, context, estimate, state)
        xy = self._fuse(estimate, guess)
        fresh = self.refiner.templates(maps, xy)
        self.evidence = self._gather_evidence(estimate, guess, mass, xy, fresh)
        confidence = self.network.visibility(self.evidence).sigmoid()
        seen = (confidence >= self.settings.update)[:, None, None]
        self.last = tuple(torch.where(seen, new, old) for new, old in zip(fresh, self.last, strict=True))
        self.guide.correct(confidence >= self.settings.correct, xy)
        self.motion, self.xy, self.state, self.confidence = xy - self.xy, xy, state, confidence
        return xy, confidence

    def _refine(self, maps: tuple[Tensor, ...], xy: Tensor, context: Context, rows: Tensor) -> tuple[Estimate, Tensor]:
        """Refine points ``rows`` (M,), starting from ``xy`` (M, 2)."""
        estimates, states = [], []
        for start in range(0, max(len(rows), 1), _TOGETHER):
            part = rows[start : start + _TOGETHER]
            query, last = (tuple(level[part] for level in levels) for levels in (self.query, self.last))
            found, state = self.refiner(
                query, last, maps, xy[start : start + _TOGETHER], context.select(part), None, self.settings.iterations
            )
            estimates.append(found[-1])
            states.append(state)
        return Estimate(*(torch.cat(values) for values in zip(*estimates, strict=True))), torch.cat(states)

    def _recover(
        self, maps: tuple[Tensor, ...], context: Context, estimate: Estimate, state: Tensor
    ) -> tuple[Estimate, Tensor]:
        """Look for the lost points in the whole picture, as they were in their query frames."""
        lost = torch.nonzero((self.confidence < self.settings.lost) & (estimate.visible < 0))[:, 0]
        if len(lost) == 0:
            return estimate, state
        start = context.before.clone()
        looks = tuple(level[lost] for level in self.query)
        start[lost] = candidates(self.network.lattices, looks, maps)[:, 0]
        # As if the point began there: where it was, and what was kept of it, speak of another place.
        afresh = Context(
            torch.zeros_like(state), start, torch.ones_like(context.mass), start, torch.zeros_like(context.motion)
        )
        found, renewed = self._refine(maps, start[lost], afresh, lost)
        believed = found.visible.sigmoid() >= self.settings.found
        parts = [value.clone() for value in (*estimate, state)]
        for part, value in zip(parts, (*found, renewed), strict=True):
            part[lost[believed]] = value[believed]
        return Estimate(*parts[:-1]), parts[-1]

    def _fuse(self, estimate: Estimate, guess: Tensor) -> Tensor:
        """Mean of the estimate and the propagated peak, weighed by their certainty and by how well they agree."""
        places = torch.stack([estimate.xy, guess], dim=1)
        certainty = torch.stack(
            [
                estimate.visible.sigmoid() * torch.exp(-2 * estimate.log_error),
                torch.full_like(estimate.visible, self.settings.guess_error**-2),
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
        self, estimate: Estimate, guess: Tensor, mass: Tensor, xy: Tensor, fresh: tuple[Tensor, ...]
    ) -> Tensor:
        """One column for each name in :data:`~samepoint.models.visibility.EVIDENCE`."""
        columns = [
            estimate.visible,
            estimate.log_error,
            mass,
            (xy - guess).norm(dim=1).log1p(),
            _likeness(self.query[SEARCH], fresh[SEARCH]),
            _likeness(self.query[GUIDE], fresh[GUIDE]),
            self.confidence,
        ]
        return torch.stack(columns, dim=1)


def _likeness(first: Tensor, second: Tensor) -> Tensor:
    """Cosine similarity (N,) of the middle cells of two sets of templates (N, cells, C)."""
    middle = first.shape[1] // 2
    return torch.nn.functional.cosine_similarity(first[:, middle], second[:, middle], dim=1)
