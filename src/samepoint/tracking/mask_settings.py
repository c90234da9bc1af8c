"""How masks are propagated: our settings, and publications' by name."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from math import inf, isfinite
from typing import Any

from ..correspondence import Window
from ..correspondence.coarse_to_fine import FINE
from ..errors import InputError
from .frames import WorkingSize, check_working_size


@dataclass(frozen=True)
class MaskSettings:
    """How masks are propagated. Windows are in cells and do not grow with the size.

    Attributes:
        size: frames are worked on at this short side, at this exact (H, W), or at their own size (None).
        strides: of the maps that are compared, in pixels of the working size. Several are put side by side on the
            finest of them, each with the same say. A network without such a map has its next finer one averaged down.
        context: previous frames in memory, beside the frames in which masks were given.
        window: key cells that a cell may take labels from.
        first_window: the same in frames in which masks were given; as ``window`` by default.
        fast_window: how far windows in the last ``context`` frames may grow, in a frame to which an object has moved by
            more than half of ``window`` (:mod:`samepoint.tracking.motion`); wide ones find what only looks alike, so
            they are kept to that. None: they never grow.
        topk: key cells that it does take labels from, over all key frames jointly.
        temperature: of the softmax over them.
        coarse: stride of the cells that say where to look: they find their best matches within ``window``, and the
            cells that are compared look only around these; had like ``strides``. None looks through the whole window.
        fine_window: around a coarse match. With ``coarse`` only.
        matches: of a coarse cell in each key frame that are looked at, the best first. With ``coarse`` only.
        fill: at the beginning the mask's frame takes the places of the previous frames that are not there yet; else the
            first steps would blur small objects, as all ``topk`` cells would come from one frame.
        published: masks go in by the nearest pixel and come out as if cells spanned the picture, up to half a cell off;
            else by where the cells are.
        stretch: every object's soft mask is stretched to 0..1 before they are compared.
        appearance: say of what objects look like (:mod:`samepoint.tracking.appearance`), beside where they were.
        trusted: two similarities of a cell to its matches: in between their labels are believed the more the more alike
            they are, by a quarter at least; from the second on as they are. Else what is new takes the labels of its
            neighbours, and passes them on as if it were sure. None: always as they are.
        own_window: in which each cell takes labels from those most like it in its own frame, twice: thin gaps close,
            and outlines follow what is seen. None: cells stand alone.
    """

    size: WorkingSize = 480
    strides: tuple[int, ...] = (4,)
    context: int = 10
    window: Window = field(default_factory=lambda: Window.circle(15))
    first_window: Window | None = None
    fast_window: float | None = 60.0
    topk: int = 20
    temperature: float = 0.1
    coarse: int | None = None
    fine_window: Window = FINE
    matches: int = 1
    fill: bool = True
    published: bool = False
    stretch: bool = False
    appearance: float = 1.0
    trusted: tuple[float, float] | None = (0.4, 0.7)
    own_window: Window | None = field(default_factory=lambda: Window.circle(7))

    def __post_init__(self) -> None:
        if self.context < 0:
            raise InputError(f"context: {self.context} given, 0 or more previous frames expected")
        check_working_size(self.size)
        if not 0 <= self.appearance < inf:
            raise InputError(f"appearance: {self.appearance:g} given, 0 or more expected")
        if not isinstance(self.strides, tuple) or not self.strides or min(self.strides) < 1:
            raise InputError(f"strides: {self.strides!r} given; a tuple of one or more numbers of 1 or more expected")
        if self.fast_window is not None and not 0 < self.fast_window < inf:
            raise InputError(f"fast_window: {self.fast_window:g} given, above 0 expected, or None")
        if self.trusted is not None and not (len(self.trusted) == 2 and self.trusted[0] < self.trusted[1]):
            raise InputError(f"trusted: {self.trusted!r} given, a similarity and a higher one expected, or None")
        if self.coarse is not None and self.coarse <= min(self.strides):
            raise InputError(f"coarse: stride {self.coarse} given, one above {min(self.strides)}, the finest, expected")

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file, those that are :meth:`in_force`.

        >>> MaskSettings().as_dict()["window"]
        'circle 15'
        """
        plain = {name: getattr(self, name) for name in self.in_force()}
        for name in ("window", "first_window", "fine_window", "own_window"):
            if plain.get(name) is not None:
                plain[name] = plain[name].shape + (f" {plain[name].size:g}" if isfinite(plain[name].size) else "")
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}

    def in_force(self) -> tuple[str, ...]:
        """The names of the attributes that have an effect, as far as others decide it."""
        idle: tuple[str, ...] = () if self.coarse is not None else ("coarse", "fine_window", "matches")
        idle += tuple(name for name in ("fast_window", "trusted", "own_window") if getattr(self, name) is None)
        return tuple(each.name for each in fields(self) if each.name not in idle)


_SPA = MaskSettings(
    strides=(8,),
    context=20,
    window=Window.square(12),
    topk=10,
    temperature=0.07,
    fill=False,
    published=True,
    stretch=True,
    fast_window=None,
    appearance=0.0,
    trusted=None,
    own_window=None,
)

MASK_PROTOCOLS: dict[str, MaskSettings] = {
    "samepoint": MaskSettings(),
    "fgvc": replace(_SPA, context=5, window=Window.circle(15), strides=(2,)),
    "crw": replace(
        _SPA, window=Window.circle(12), first_window=Window.everywhere(), temperature=0.05, fill=True, stretch=False
    ),
    "spa-then-temp": _SPA,
    "spa-then-temp-stride4": replace(_SPA, window=Window.square(35), strides=(4,)),
}
"""Settings by name: ours; FGVC's memory, window and temperature with Spa-then-Temp's rule for masks (ICCV 2023; it has
none of its own); CRW (NeurIPS 2020); Spa-then-Temp (CVPR 2023) at strides 8 and 4. All at a short side of 480."""


def named_settings(name: str) -> MaskSettings:
    """From ``MASK_PROTOCOLS``. Raises InputError for a name that is not there."""
    if name not in MASK_PROTOCOLS:
        raise InputError(f"unknown protocol {name!r} of masks; expected one of {', '.join(MASK_PROTOCOLS)}")
    return MASK_PROTOCOLS[name]
