"""Label propagation of masks: soft labels of objects through the top-k affinity to frames already labelled."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from math import ceil, inf
from typing import NamedTuple

import torch
from torch import Tensor

from ..correspondence import Affinity, Window, affinity, propagate
from ..correspondence.coarse_to_fine import affinity_coarse_to_fine, coarser
from ..errors import InputError
from ..geometry import Lattice
from .appearance import Appearance
from .mask_settings import MaskSettings
from .motion import displacement, pooled
from .resample import averaged_down, cells_from_cells, separable

_SHARE = 0.05  # of a cell; what labels of less than that together say is noise
_FAST = 0.55  # of a window's radius: farther is fast; and what windows reach beyond the objects' displacement
_ROUNDS = 2  # of taking labels within the frame
_WINDOWS = 10  # as large as so many windows is an object whose memory keeps what was taken so; smaller ones wear away
_FLOOR = 1e-3  # of a label that no match has, where matches are not trusted
_LEAST = 0.25  # of trust; with none, something new of an object's colour beside it is taken for the object


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
        # Undoubted: what is unlike here is no reason to say that the new ones were there.
        labels = propagate(self._affinity(anchor.cells, [key.cells], windows), [key.labels])
        found = labels[-fresh:] * anchor.labels[:1]  # masks given there stay
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
        trust = ((likeness - low) / (high - low)).clamp(_LEAST, 1)
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
