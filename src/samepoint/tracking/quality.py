"""Quality against cost of the default methods, as one setting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ..errors import InputError
from .propagated import PropagationSettings
from .refined import RefineSettings

Quality = Literal["fast", "balanced", "best"]
ShortSide = int | Literal["auto"] | None
"""Working resolution: this short side in pixels, what the quality says, or the video's own size."""


@dataclass(frozen=True)
class QualitySettings:
    """What a quality sets.

    Attributes:
        short_side: working resolution in pixels, unless another is asked for: the encoder's work grows with its square.
        refine: how a network with a refiner follows points; the work for each grows with its iterations and context.
        propagation: how a network without one does; the work grows with its context.
    """

    short_side: int
    refine: RefineSettings
    propagation: PropagationSettings

    @classmethod
    def of(cls, short_side: int, iterations: int, context: int) -> QualitySettings:
        """All else as the methods have it by default."""
        return cls(
            short_side, RefineSettings(iterations=iterations, context=context), PropagationSettings(context=context)
        )


QUALITIES: dict[Quality, QualitySettings] = {
    "fast": QualitySettings.of(320, iterations=1, context=3),
    "balanced": QualitySettings(480, RefineSettings(), PropagationSettings()),
    "best": QualitySettings.of(640, iterations=3, context=7),
}
"""The whole of what the setting does; ``balanced`` is what each method does by default."""


def named_quality(name: str) -> Quality:
    """The quality of a name.

    Raises:
        InputError: there is none of that name.

    >>> named_quality("fast")
    'fast'
    """
    for known in get_args(Quality):
        if name == known:
            quality: Quality = known
            return quality
    raise InputError(f"unknown quality {name!r}; expected one of {', '.join(get_args(Quality))}")


def chosen_short_side(short_side: ShortSide, quality: Quality) -> int | None:
    """The short side itself, what the quality says for ``"auto"``.

    >>> chosen_short_side("auto", "balanced"), chosen_short_side(240, "best"), chosen_short_side(None, "fast")
    (480, 240, None)
    """
    return QUALITIES[quality].short_side if short_side == "auto" else short_side
