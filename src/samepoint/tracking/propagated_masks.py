"""Label propagation of masks: soft labels of objects through the top-k affinity to frames already labelled."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from math import ceil, inf, isfinite
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..correspondence import Affinity, Window, affinity, propagate
from ..correspondence.coarse_to_fine import FINE, affinity_coarse_to_fine, coarser
from ..errors import InputError
from ..geometry import Lattice
from .appearance import Appearance
from .frames import WorkingSize, check_working_size
from .motion import displacement, pooled
from .resample import averaged_down, cells_from_cells, separable

_SHARE = 0.05  # of a cell; what labels of less than that together say is noise
_FAST = 0.55  # of a window's radius: farther is fast; and what windows reach beyond the objects' displacement
_ROUNDS = 2  # of taking labels within the frame
_WINDOWS = 10  # as large as so many windows is an object whose memory keeps what was taken so; smaller ones wear away
_FLOOR = 1e-3  # of a label that no match has, where matches are not trusted


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
        trusted: similarity of a cell to its matches up to which their labels say nothing, and from which they are
            believed; else what is new takes the labels of its neighbours, and passes them on as if it were sure. None:
            all are believed.
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


class Grid:
    """The map that settings make of a network's maps, and where its cells lie.

    Raises:
        InputError: the network has no map as fine as the settings want.
    """

    def __init__(self, lattices: Sequence[Lattice], strides: tuple[int, ...]) -> None:
        self.parts = [_source(lattices, stride) for stride in sorted(set(strides), reverse=True)]
        index, stride = self.parts[-1]
        self.lattices = tuple(lattices)
        self.lattice = Lattice(stride, lattices[index].offset)

    def __call__(self, maps: Sequence[Tensor]) -> Tensor:
        """(C, h, w) of one frame, from the network's maps (C', h', w')."""
        levels = [self._level(maps[index], self.lattices[index], stride) for index, stride in self.parts]
        if len(levels) == 1:
            return levels[0][1]
        height, width = levels[-1][1].shape[1:]
        merged = []
        for lattice, level in levels:
            rows, columns = (
                cells_from_cells(lattice, cells, self.lattice, wanted).to(level.device)
                for cells, wanted in zip(level.shape[1:], (height, width), strict=True)
            )
            merged.append(torch.nn.functional.normalize(separable(rows, level, columns), dim=0))
        return torch.cat(merged)

    @staticmethod
    def _level(level: Tensor, lattice: Lattice, stride: int) -> tuple[Lattice, Tensor]:
        if lattice.stride == stride:
            return lattice, level
        coarse, rows = averaged_down(lattice, level.shape[1], stride)
        _, columns = averaged_down(lattice, level.shape[2], stride)
        unit = torch.nn.functional.normalize(level, dim=0)
        return coarse, separable(rows.to(level.device), unit, columns.to(level.device))


def _source(lattices: Sequence[Lattice], stride: int) -> tuple[int, int]:
    """Index of the coarsest map from which one of ``stride`` can be had, and the stride."""
    fitting = [(lattice.stride, index) for index, lattice in enumerate(lattices) if stride % lattice.stride == 0]
    if not fitting:
        known = ", ".join(str(lattice.stride) for lattice in lattices)
        raise InputError(f"strides: {stride} wanted, but the network has maps of stride {known}")
    return max(fitting)[1], stride


class Cells(NamedTuple):
    """A frame's map (C, h, w), and the coarse one (C', h', w') that says where to look, if one is used."""

    fine: Tensor
    coarse: Tensor | None = None


class Key(NamedTuple):
    """A frame in memory: its number, its maps and its soft labels (V, h, w), the background first."""

    frame: int
    cells: Cells
    labels: Tensor


class PropagatedMasks:
    """Soft labels of a background and objects, carried from frame to frame; each cell's sum to 1.

    The keys are up to ``context`` previous frames, and the frames in which masks were given: of each object the last
    one, so that no more are kept than there are objects. The soft labels are stored and used again as they are.

    Args:
        settings: of these ``context``, windows, ``topk``, ``temperature``, ``fill``, ``appearance`` and the search.
        dtype: precision of the affinity.
        lattices: of the coarse maps and of the maps, where ``settings`` has coarse ones.
    """

    def __init__(
        self,
        settings: MaskSettings,
        dtype: torch.dtype = torch.float32,
        lattices: tuple[Lattice, Lattice] | None = None,
    ) -> None:
        self.settings, self.dtype, self.lattices = settings, dtype, lattices
        self.objects: list[int] = []  # in the order of the channels after the background's
        self.given: dict[int, int] = {}  # the frame in which each was last given
        self.anchors: list[Key] = []
        self.recent: deque[Key] = deque(maxlen=settings.context)
        self.now: Key | None = None
        self.soft: Tensor | None = None
        """Of the frame last stepped (V, h, w); what memory keeps of it is less sure where looks had a say."""
        self.appearance = Appearance(settings.appearance) if settings.appearance else None
        self._spare: list[Cells] = []
        self._pooled: dict[int, Tensor] = {}  # coarse maps by frame, of those in memory

    def kept(self, cells: Cells) -> Cells:
        """A copy where the maps of a frame that has left the memory were.

        Blocks of megabytes that come and go at different paces tear holes into the process's memory, which then grows.
        """
        spare = self._spare.pop() if self._spare else None
        if spare is None or spare.fine.shape != cells.fine.shape:
            coarse = None if cells.coarse is None else cells.coarse.contiguous().clone()
            return Cells(cells.fine.contiguous().clone(), coarse)
        for old, new in zip(spare, cells, strict=True):
            if old is not None and new is not None:
                old.copy_(new)
        return spare

    def step(self, frame: int, cells: Cells, looks: Tensor | None = None) -> Tensor:
        """Go on to a frame by its maps, and its cells' looks (D, h, w) where they count: its soft labels (V, h, w)."""
        previous = list(self.recent)
        if self.settings.fill:
            previous = [self.anchors[-1]] * (self.settings.context - len(previous)) + previous
        labels, trust = self._propagated(cells, [*self.anchors, *previous], self._windows(frame, cells, previous))
        soft = self.soft = labels
        if self.appearance is not None and looks is not None:
            soft = self.soft = self.appearance.judge(looks, labels, self.objects, (1 + trust) / 2)
        if self.settings.own_window is not None:
            settled = self._settled(cells, soft, self.settings.own_window)
            either, cells_in = torch.maximum(soft, settled), _cells_in(self.settings.own_window)
            self.soft = torch.lerp(soft, settled, _size_share(either, cells_in))
            soft = torch.lerp(soft, settled, _size_share(either, _WINDOWS * cells_in))
        if self.appearance is not None and looks is not None:
            self.appearance.learn(looks, soft, self.objects)
        # What looks and neighbours say would be counted again in every frame that takes its labels from here.
        labels = (labels + soft) / 2
        self._remember(Key(frame, cells, labels))
        return self.soft

    def give(self, frame: int, cells: Cells, masks: dict[int, Tensor], looks: Tensor | None = None) -> Tensor:
        """Objects' masks, soft (h, w), in the frame just stepped, or in the first one: its soft labels (V, h, w).

        Objects that are known get a new mask, others begin here; what they leave goes to those that had a share in it,
        else to the background. An earlier frame that is still needed for its own objects is told what the new ones
        looked like, that is, where they were if they were there: nobody had said that they were background.
        """
        fresh = [number for number in masks if number not in self.given]
        if self.now is None or self.now.frame != frame or self.soft is None:
            labels = cells.fine.new_ones((1, *cells.fine.shape[1:]))
        else:
            labels = self.soft
        labels = torch.cat([labels, labels.new_zeros((len(fresh), *labels.shape[1:]))])
        self.objects += fresh
        channels = [1 + self.objects.index(number) for number in masks]
        new = torch.stack(list(masks.values()))
        labels[channels] = 0
        total = labels.sum(0)
        shared = total >= _SHARE
        labels = torch.where(shared, labels / total.where(shared, torch.ones_like(total)), 0)
        labels[0] = torch.where(shared, labels[0], 1)
        labels = labels * (1 - new.sum(0)).clamp(min=0)
        labels[channels] = new
        self.given.update(dict.fromkeys(masks, frame))
        key = Key(frame, cells, labels)
        needed = set(self.given.values())
        older = [anchor for anchor in self.anchors if anchor.frame in needed and anchor.frame != frame]
        if fresh:
            older = [self._extended(anchor, key, len(fresh)) for anchor in older]
        self.anchors = [*older, key]
        self.recent.clear()
        self._remember(key)
        self.soft = labels
        if self.appearance is not None and looks is not None:
            self.appearance.give(looks, labels, self.objects, masks)
        return labels

    def _extended(self, anchor: Key, key: Key, fresh: int) -> Key:
        windows = [self.settings.first_window or self.settings.window]
        found = self._propagated(anchor.cells, [key], windows)[0][-fresh:] * anchor.labels[:1]  # masks given there stay
        background = (anchor.labels[:1] - found.sum(0, keepdim=True)).clamp(min=0)
        return anchor._replace(labels=torch.cat([background, anchor.labels[1:], found]))

    def _remember(self, key: Key) -> None:
        self.now = key
        if self.recent and len(self.recent) == self.recent.maxlen:
            gone = self.recent[0].cells
            if all(gone is not anchor.cells for anchor in self.anchors):
                self._spare = [gone]
        self.recent.append(key)

    def _windows(self, frame: int, cells: Cells, previous: list[Key]) -> list[Window]:
        """Of the anchors and the previous frames."""
        settings = self.settings
        windows = [settings.first_window or settings.window] * len(self.anchors) + [settings.window] * len(previous)
        margin = _FAST * settings.window.size
        if settings.fast_window is None or not self.recent or not margin < settings.fast_window:
            return windows
        keys = {key.frame: key for key in (*self.anchors, *previous)}
        self._pooled = {known: coarse for known, coarse in self._pooled.items() if known in keys}
        now = self._pooled[frame] = pooled(cells.fine)

        def moved(key: Key) -> float:
            if key.frame not in self._pooled:
                self._pooled[key.frame] = pooled(key.cells.fine)
            return displacement(self._pooled[key.frame], now, key.labels)

        if moved(self.recent[-1]) <= margin:
            return windows
        wider = {
            key.frame: min(settings.fast_window, moved(key) + margin)
            for key in keys.values()
            if frame - key.frame <= settings.context
        }
        return [
            replace(window, size=max(window.size, ceil(wider.get(key.frame, 0))))
            for key, window in zip((*self.anchors, *previous), windows, strict=True)
        ]

    def _propagated(self, cells: Cells, keys: list[Key], windows: list[Window]) -> tuple[Tensor, Tensor]:
        """Soft labels (V, h, w), and how far they are to be trusted (h, w)."""
        found = self._affinity(cells, [key.cells for key in keys], windows)
        labels = propagate(found, [key.labels for key in keys])
        if self.settings.trusted is None:
            return labels, torch.ones_like(labels[0])
        low, high = self.settings.trusted
        likeness = torch.where(found.weights > 0, found.weights * found.scores, 0).sum(1).view(labels.shape[1:])
        trust = ((likeness - low) / (high - low)).clamp(0, 1)
        doubted = (labels.clamp(min=_FLOOR).log() * trust).softmax(0)
        return torch.where(trust < 1, doubted, labels), trust

    def _settled(self, cells: Cells, labels: Tensor, window: Window) -> Tensor:
        settings = self.settings
        found = affinity(cells.fine, [cells.fine], window, settings.topk, settings.temperature, dtype=self.dtype)
        for _ in range(_ROUNDS):
            labels = propagate(found, [labels])
        return labels

    def _affinity(self, cells: Cells, keys: list[Cells], windows: list[Window]) -> Affinity:
        settings, known = self.settings, [key.fine for key in keys]
        if cells.coarse is None or self.lattices is None:
            return affinity(cells.fine, known, windows, settings.topk, settings.temperature, dtype=self.dtype)
        return affinity_coarse_to_fine(
            cells.fine,
            known,
            cells.coarse,
            [key.coarse for key in keys if key.coarse is not None],
            self.lattices,
            [coarser(window, *self.lattices) for window in windows],
            settings.fine_window,
            settings.matches,
            settings.topk,
            settings.temperature,
            dtype=self.dtype,
        )


def _cells_in(window: Window) -> float:
    return float(window.mask().sum()) if window.size < inf else inf


def _size_share(labels: Tensor, enough: float) -> Tensor:
    """How large the objects in each cell (h, w) are, from soft labels (V, h, w): 1 from ``enough`` cells on."""
    things = labels[1:]
    shares = (things.sum((1, 2)) / enough).clamp(max=1)
    total: Tensor = torch.einsum("v,vhw->hw", shares, things) / things.sum(0).clamp(min=_FLOOR)
    return total
