"""Where in a whole picture a point may be: the cells that look most like it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..geometry import Lattice, upsample_lattice

SEARCH, GUIDE = 1, 2  # levels of the pyramid, strides 8 and 4: where the lost are sought, where labels propagate


def candidates(
    lattices: Sequence[Lattice],
    looks: Sequence[Tensor],
    maps: Sequence[Tensor],
    batch: Tensor | None = None,
    number: int = 1,
) -> Tensor:
    """Centres of the cells of stride 8 most like each point, best first.

    The coarse maps know what it is, the fine one which of many: the similarities of strides 16, 8 and 4 are added.

    Args:
        lattices: of all levels, coarse to fine.
        looks: templates of M points, (M, cells, C) a level; their middle cells are compared.
        maps: channels-last descriptors (B, h, w, C) of the pictures, a level each.
        batch: (M,) which picture each point is sought in; the first without.
        number: how many.

    Returns:
        (M, number, 2) raster pixels of the network's input.
    """
    height, width = maps[SEARCH].shape[1:3]
    coarse, middle, fine = (_scores(looks[index], maps[index], batch) for index in (SEARCH - 1, SEARCH, GUIDE))
    # Lattices share their first cell: cell j of stride 8 covers cells 2j - 1 to 2j + 1 of stride 4.
    fine = F.max_pool2d(fine, 3, 2, 1)[..., :height, :width]
    scores = (upsample_lattice(coarse, (height, width)) + middle + fine).flatten(1)
    return centres(lattices[SEARCH], maps[SEARCH][0])[scores.topk(number, dim=1).indices]


def _scores(looks: Tensor, level: Tensor, batch: Tensor | None) -> Tensor:
    """Similarity (M, 1, h, w) of each point with every cell of its picture."""
    wanted = looks[:, looks.shape[1] // 2].to(level.dtype)
    if batch is None:
        found = wanted @ level[0].flatten(0, 1).T
    else:
        found = wanted.new_empty((len(wanted), level.shape[1] * level.shape[2]))
        for index in batch.unique().tolist():
            own = batch == index
            found[own] = (wanted[own] @ level[index].flatten(0, 1).T).to(found.dtype)  # autocast makes it bf16
    return found.float().unflatten(1, (1, *level.shape[1:3]))


def centres(lattice: Lattice, level: Tensor) -> Tensor:
    """Raster pixels (h * w, 2) of the cells of a channels-last map (h, w, C)."""
    rows, columns = torch.meshgrid(*(torch.arange(n, device=level.device) for n in level.shape[:2]), indexing="ij")
    return lattice.to_pixels(torch.stack([columns, rows], dim=-1).reshape(-1, 2).float())
