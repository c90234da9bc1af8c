"""What carries points from one picture to another, whichever network is behind it, and which one by default."""

from __future__ import annotations

import math
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import InputError
from ..models.features import FeatureNetwork, as_module, load_network
from ..models.inference import for_inference
from ..models.match_confidence import MATCH_EVIDENCE, MatchConfidence
from ..models.matcher import Columns, Matcher
from ..models.precision import check_device
from ..models.weights import TABLE
from ..tracking.frames import FrameEncoder
from .around import can_match, matcher_around
from .features import FeatureMatchSettings, PictureMap, match_maps
from .pictures import Picture

AREA = 448 * 448
"""Pixels at which plain feature matching works; a picture's proportions stay."""
LONGEST_SIDE = 1344
"""Of a long narrow picture there, so that its short side keeps some cells."""
GRID = 64
"""Places a side that compete where the map has many more cells: their number is squared by what it costs."""
TOLERANCE = 0.1
"""Share of the source's longer side by which plain feature matching may miss a point on the way back."""


class Carried(NamedTuple):
    """Where N points lie in another picture."""

    xy: NDArray[np.float32]
    """(N, 2), pixels of that picture in its own size, within it."""
    confidence: NDArray[np.float32]
    """(N,) in [0, 1]; 0.5 or more: the point is there."""
    similarity: NDArray[np.float32]
    """(N,), how alike the two places look; comparable between targets of one model only."""


@runtime_checkable
class PairModel(Protocol):
    """What :func:`samepoint.match` asks of a model: pictures are encoded once, however many they are matched with."""

    def encode(self, picture: Picture) -> Any:
        """What ``carry`` needs of a picture."""

    def carry(self, source: Any, target: Any, xy: NDArray[np.float32]) -> Carried:
        """Points (N, 2), pixels of the source in its own size, in the target."""


Model = PairModel | nn.Module | str | Path


def default_model() -> str:
    """The name of the model that matches unless told otherwise: the shipped matcher, where the table has one."""
    return next(name for name in ("samepoint-match", "samepoint-base") if name in TABLE)


def as_pair_model(
    model: Model | None = None,
    *,
    mutual: float | None = None,
    device: torch.device | str | None = None,
    backbone: str | Path | None = None,
) -> PairModel:
    """What matches pictures, from any kind of ``model`` that :func:`samepoint.match` takes.

    ``backbone`` names that of a matcher whose file leaves it out.

    Raises:
        InputError: an unknown name or file, a network that gives no features, ``mutual`` not above 0, a device that
            cannot be used, or a choice that this kind of model does not leave open.
    """
    if mutual is not None and not (isinstance(mutual, Real) and math.isfinite(mutual) and mutual > 0):
        raise InputError(f"mutual: expected a share of the source's longer side above 0, got {mutual!r}")
    if isinstance(model, PairModel):
        _refuse(model, mutual=mutual, device=device, backbone=backbone)
        return model
    check_device(device)
    if isinstance(model, nn.Module):
        _refuse(model, backbone=backbone)
        network = model
    else:
        network = load_network(default_model() if model is None else model, backbone=backbone).network
    if isinstance(network, Matcher):
        return LearntMatcher(network, mutual=mutual, device=device)
    if can_match(network):
        return LearntMatcher(matcher_around(network), mutual=mutual, device=device)
    if not all(hasattr(network, name) for name in ("features", "preprocess", "lattices")):
        raise InputError(f"a model that matches pictures must give features, {type(network).__name__} does not")
    return PlainMatcher(network, tolerance=mutual or TOLERANCE, device=device)  # type: ignore[arg-type]


def _refuse(model: object, **choices: object) -> None:
    """Raise InputError for the first choice that was made, of those that this model has made itself."""
    for name, value in choices.items():
        if value is not None:
            raise InputError(
                f"{name}: {value!r} cannot be chosen for a {type(model).__name__}, which was made with its own"
            )


class PlainMatcher:
    """The most similar place in the other picture, by the features of any network: :mod:`samepoint.matching.features`.

    A confidence says how nearly the place found leads back to the point: one half at the ``tolerance``, a share of the
    source's longer side.
    """

    def __init__(
        self, network: FeatureNetwork, *, tolerance: float = TOLERANCE, device: torch.device | str | None = None
    ) -> None:
        strides = [lattice.stride for lattice in network.lattices]
        # What a thing is shows in the coarsest map; finer ones know what it looks like in this picture.
        self.level = strides.index(max(strides))
        self.lattice = network.lattices[self.level]
        grid = GRID if self.lattice.stride * GRID < math.sqrt(AREA) else None
        self.settings = FeatureMatchSettings(
            size=None, level=self.level, grid=grid, read_out="soft", tolerance=tolerance
        )
        self._features = FrameEncoder(as_module(network), None, device=device)

    def encode(self, picture: Picture) -> PictureMap:
        """Its features, the picture scaled to :data:`AREA` pixels in its own proportions."""
        height, width = picture.size
        scale = min(math.sqrt(AREA / (height * width)), LONGEST_SIDE / max(height, width))
        work = tuple(max(self.lattice.stride, round(side * scale)) for side in picture.size)
        shrinks = work[0] < picture.rgb.shape[0]
        small = cv2.resize(picture.rgb, work[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        level = self._features(np.asarray(small, np.uint8))[self.level]
        return PictureMap(level.permute(1, 2, 0).contiguous(), self.lattice, picture.size, (work[0], work[1]))

    def carry(self, source: PictureMap, target: PictureMap, xy: NDArray[np.float32]) -> Carried:
        found, confidence = match_maps(source, target, xy, self.settings)
        places = torch.tensor(xy).to(source.cells.device), torch.from_numpy(found).to(source.cells.device)
        ours = source.descriptors(places[0] * source.to_work())
        theirs = target.descriptors(places[1] * target.to_work())
        return Carried(found, confidence, (ours * theirs).sum(dim=1).cpu().numpy())


class LearntMatcher:
    """A :class:`samepoint.models.matcher.Matcher`, whose confidence is what it has learnt.

    With ``mutual``, a match that goes astray on its way back by more than this share of the source's longer side is not
    there, however sure the matcher is. One that was never fitted knows nothing else: there confidence is one half at
    ``mutual``.
    """

    def __init__(
        self, matcher: Matcher, *, mutual: float | None = None, device: torch.device | str | None = None
    ) -> None:
        self.matcher = for_inference(matcher, device)
        self.mutual = mutual

    def encode(self, picture: Picture) -> tuple[Columns, tuple[int, int]]:
        return self.matcher.describe_picture(picture.rgb), picture.size

    @torch.inference_mode()
    def carry(
        self, source: tuple[Columns, tuple[int, int]], target: tuple[Columns, tuple[int, int]], xy: NDArray[np.float32]
    ) -> Carried:
        found, evidence = self.matcher.carry(source[0], target[0], torch.tensor(xy), source[1], target[1])
        likeness = evidence[:, MATCH_EVIDENCE.index("likeness")]
        return Carried(found.cpu().numpy(), self._confidence(evidence).cpu().numpy(), likeness.cpu().numpy())

    def _confidence(self, evidence: Tensor) -> Tensor:
        """Of evidence (N, 5): (N,) in [0, 1]."""
        logistic = self.matcher.confidence
        if self.mutual is None:
            return logistic(evidence).sigmoid()
        missed = evidence[:, MATCH_EVIDENCE.index("missed")]
        if not _is_fitted(logistic):
            return (logistic.bias * (1 - missed / self.mutual)).sigmoid()  # the same curve, one half elsewhere
        return torch.minimum(logistic(evidence).sigmoid(), torch.exp2(-((missed / self.mutual) ** 2)))


def _is_fitted(logistic: MatchConfidence) -> bool:
    """Whether its coefficients differ from those it began with, which no fit gives back to the last bit."""
    first = MatchConfidence().state_dict()
    return not all(torch.equal(value.to(first[name]), first[name]) for name, value in logistic.state_dict().items())
