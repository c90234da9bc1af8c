"""The descriptors by which objects are told apart: what each cell is, beside the fine map that says where."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..geometry import Lattice
from .frames import FrameEncoder
from .resample import cells_from_cells, separable


class Looks:
    """Puts unit descriptors of the fine map and of coarser ones side by side, on the lattice of the fine one.

    Args:
        lattices: of the network's maps.
        fine: the lattice of the map on which objects are followed.
        companion: another network, whose coarsest map is taken in place of the network's own coarser ones.
    """

    def __init__(self, lattices: Sequence[Lattice], fine: Lattice, companion: FrameEncoder | None = None) -> None:
        self.fine, self.companion = fine, companion
        self.lattices = tuple(lattices) if companion is None else tuple(companion.network.lattices)
        strides = [lattice.stride for lattice in self.lattices]
        coarser = [index for index, stride in enumerate(strides) if stride > fine.stride]
        deepest = max(range(len(strides)), key=lambda index: (strides[index], index))
        self.levels = coarser if companion is None else [deepest]

    def __call__(self, frame: np.ndarray, maps: Sequence[Tensor], cells: Tensor) -> Tensor:
        """(D, h, w), the last channel 1, of a frame uint8 RGB, the network's maps of it and its fine map (C, h, w)."""
        sources = maps if self.companion is None else self.companion(frame)
        parts = [F.normalize(cells, dim=0)]
        for index in self.levels:
            level = F.normalize(sources[index], dim=0)
            rows, columns = (
                cells_from_cells(self.lattices[index], count, self.fine, wanted).to(level.device)
                for count, wanted in zip(level.shape[1:], cells.shape[1:], strict=True)
            )
            parts.append(separable(rows, level, columns))
        return torch.cat([*parts, torch.ones_like(cells[:1])])
