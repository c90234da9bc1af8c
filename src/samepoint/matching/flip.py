"""Whether a thing looks the other way in another picture: the flip test.

Left and right parts of a thing look alike. Where it faces the other way, features that know a place by what is around
it take them for each other; with the mirror image of the target they do not. Of the two answers the better one is kept,
for all points together: a thing looks one way or the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..structures import Queries
from .pair_model import Carried, PairModel
from .pictures import Picture

PROBES = 12
"""A side of the grid over the source that has a say beside the points: few points alone tell little."""
MARGIN = 1.05
"""How much better the mirror image must fit: things that are the same both ways are not worth an exchange of sides."""
_MOST = 500
"""Points whose arrangement is compared; of more, so many are."""


def is_mirrored(
    model: PairModel, source: Any, plain: Any, mirrored: Any, xy: NDArray[np.float32], size: tuple[int, int]
) -> bool:
    """Whether points (N, 2) of an encoded source of ``size`` (H, W) fit the mirrored target better than the other."""
    probes = np.concatenate([xy[np.linspace(0, len(xy) - 1, min(len(xy), _MOST)).astype(int)], _grid(size)])
    before, after = (_fit(probes, model.carry(source, target, probes)) for target in (plain, mirrored))
    return after > MARGIN * before


def carry_either_way(
    model: PairModel, source: Any, size: tuple[int, int], target: Picture, xy: NDArray[np.float32], flip_test: bool
) -> Carried:
    """Points (N, 2) of an encoded source of ``size`` (H, W) in a target; ``flip_test``: in whichever way it looks."""
    plain = model.encode(target)
    if flip_test:
        mirrored = model.encode(target.mirrored())
        if is_mirrored(model, source, plain, mirrored, xy, size):
            found = model.carry(source, mirrored, xy)
            back = np.stack([target.size[1] - found.xy[:, 0], found.xy[:, 1]], axis=1)
            return found._replace(xy=back.astype(np.float32))
    return model.carry(source, plain, xy)


def _grid(size: tuple[int, int]) -> NDArray[np.float32]:
    return Queries.grid(PROBES, size).xy


def _fit(xy: NDArray[np.float32], carried: Carried) -> float:
    """How well a match fits: alike where it leads back, and points arranged as they are in the source."""
    likeness = float((carried.confidence * carried.similarity).mean())
    return likeness * max(0.0, arrangement(xy, carried.xy, carried.confidence))


def arrangement(xy: NDArray[np.float32], other: NDArray[np.float32], weight: NDArray[np.float32]) -> float:
    """Mean cosine between the directions from point to point in two pictures, over all pairs, by their weights.

    1 where one is a shifted and scaled copy of the other; a mirrored one has, over all directions, 0. 0 for one point.

    >>> square = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)
    >>> one = np.ones(4, np.float32)
    >>> arrangement(square, 3 * square + 5, one), abs(arrangement(square, square * (-1, 1), one)) < 1e-6
    (1.0, True)
    """
    ours, theirs = (_directions(places) for places in (xy, other))
    shared = weight[:, None] * weight[None, :]
    np.fill_diagonal(shared, 0)
    total = float(shared.sum())
    return float((shared * (ours * theirs).sum(axis=2)).sum()) / total if total > 0 else 0.0


def _directions(xy: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit vectors (N, N, 2) between all points, zero between those at one place."""
    apart = (xy[None, :] - xy[:, None]).astype(np.float32)
    return apart / np.maximum(np.linalg.norm(apart, axis=2, keepdims=True), 1e-6)
