"""Quality against cost: of the default methods as one setting, and of label propagation by how it searches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, Literal, get_args

from torch import nn

from ..correspondence import Window
from ..errors import InputError
from ..models.network import PointNetwork
from .mask_settings import MaskSettings, named_settings
from .propagated import COARSER, PropagatedPoints, PropagationSettings
from .refined import RefineSettings

Quality = Literal["fast", "balanced", "best"]
Search = Literal["full", "coarse-to-fine"]
"""Of label propagation: every cell looks through its whole window, or coarse cells choose where fine ones look."""
ShortSide = int | Literal["auto"] | None
"""Working resolution: this short side in pixels, what the quality says, or the video's own size."""

_LEAST_RING = 3  # followers: fewer cannot outvote a point that went astray and one of them with it


@dataclass(frozen=True)
class QualitySettings:
    """What a quality sets.

    Attributes:
        short_side: working resolution in pixels, unless another is asked for: the encoder's work grows with its square.
        refine: how a network with a refiner follows points; the work for each grows with its iterations and context.
        propagation: how a network without one does; the work grows with its context.
        ring: points followed around each one by the refiner, which multiply the work for it
            (:mod:`samepoint.tracking.ring`).
        ring_points: with more points rings are smaller, so that not more are followed in all, and at last there is
            none.
    """

    short_side: int
    refine: RefineSettings
    propagation: PropagationSettings
    ring: int = 0
    ring_points: int = 0

    @classmethod
    def of(cls, short_side: int, iterations: int, context: int, **ring: int) -> QualitySettings:
        """All else as the methods have it by default."""
        refine = RefineSettings(iterations=iterations, context=context)
        return cls(short_side, refine, PropagationSettings(context=context), **ring)

    def followers(self, points: int) -> int:
        """In the ring of each of so many points.

        >>> [QUALITIES["balanced"].followers(points) for points in (1, 64, 65, 144, 145)]
        [8, 8, 7, 3, 0]
        """
        affordable = (1 + self.ring) * self.ring_points // max(points, 1) - 1
        return min(self.ring, affordable) if affordable >= _LEAST_RING else 0


QUALITIES: dict[Quality, QualitySettings] = {
    "fast": QualitySettings.of(320, iterations=1, context=3),
    "balanced": QualitySettings(480, RefineSettings(), PropagationSettings(), ring=8, ring_points=64),
    "best": QualitySettings.of(640, iterations=3, context=7, ring=8, ring_points=256),
}
"""The whole of what the setting does; ``balanced`` is what each method does by default, but for the ring, which is of
recorded videos and keypoints."""


def named_quality(name: str) -> Quality:
    """The quality of a name.

    Raises:
        InputError: there is none of that name.

    >>> named_quality("fast")
    'fast'
    """
    quality: Quality = _known(name, "quality", get_args(Quality))
    return quality


def _known(name: str, what: str, names: tuple[Any, ...]) -> Any:
    """The name itself, if it is one of ``names``; InputError otherwise."""
    if name not in names:
        raise InputError(f"unknown {what} {name!r}; expected one of {', '.join(names)}")
    return name


_LEAST = 16  # pixels: one of the coarsest cells, which say where to look


def chosen_short_side(short_side: ShortSide, quality: Quality) -> int | None:
    """The short side itself, what the quality says for ``"auto"``.

    Raises:
        InputError: neither of these, nor a number of pixels of which something can be seen.

    >>> chosen_short_side("auto", "balanced"), chosen_short_side(240, "best"), chosen_short_side(None, "fast")
    (480, 240, None)
    """
    if short_side == "auto":
        return QUALITIES[quality].short_side
    if short_side is None:
        return None
    if not isinstance(short_side, Integral) or short_side < _LEAST:
        raise InputError(f'short_side: {short_side!r} given; expected pixels, {_LEAST} or more, "auto" or None')
    return int(short_side)


_NEAR, _MATCHES = Window.square(4), 2
"""Of the coarse-to-fine search: at most 162 fine cells a key frame, where the default windows hold 697."""


def named_search(name: str) -> Search:
    """The search of a name.

    Raises:
        InputError: there is none of that name.

    >>> named_search("coarse-to-fine")
    'coarse-to-fine'
    """
    search: Search = _known(name, "search", get_args(Search))
    return search


def searched_points(settings: PropagationSettings, search: Search) -> PropagationSettings:
    """The settings with that search; everything else stays, the window too.

    >>> searched_points(PropagationSettings(), "coarse-to-fine").coarse
    'auto'
    """
    if search == "full":
        return replace(settings, coarse=None)
    return replace(settings, coarse="auto", fine_window=_NEAR, matches=_MATCHES)


def searched_masks(settings: MaskSettings, search: Search) -> MaskSettings:
    """The same for masks.

    >>> searched_masks(MaskSettings(strides=(4,)), "coarse-to-fine").coarse
    16
    """
    if search == "full":
        return replace(settings, coarse=None)
    return replace(settings, coarse=COARSER * min(settings.strides), fine_window=_NEAR, matches=_MATCHES)


def named_mask_settings(protocol: str, search: Search = "full") -> MaskSettings:
    """Those of ``MASK_PROTOCOLS`` with a search.

    Raises:
        InputError: an unknown name, or a published one, of which the search is a part, with another search.
    """
    settings = named_settings(protocol)
    if settings.published and search != "full":
        raise InputError(f"search {search}: {protocol} looks through its whole window, as published")
    return searched_masks(settings, search)


def by_propagation(quality: Quality, search: Search) -> Callable[[nn.Module], PropagatedPoints]:
    """Makes, for a network without a refiner, what follows points with that quality and search.

    Raises:
        InputError: from what is made, for a network that has a refiner.
    """
    settings = searched_points(QUALITIES[quality].propagation, search)

    def method(network: nn.Module) -> PropagatedPoints:
        if not hasattr(network, "lattices"):
            raise InputError(f"a model for videos must give features, {type(network).__name__} gives none")
        if isinstance(network, PointNetwork):
            raise InputError(f"search {search}: of label propagation, but this model follows points by its refiner")
        return PropagatedPoints(network.lattices, settings)  # type: ignore[arg-type]

    return method
