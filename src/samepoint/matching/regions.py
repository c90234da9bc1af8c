"""``samepoint.carry_masks``: regions of one picture found in another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import InputError
from ..io.masks import check_size, read_mask
from ..structures.masks import as_labels
from .flip import is_mirrored
from .pair_model import Model, PairModel, as_pair_model
from .pictures import Picture, PictureSource, open_picture

GRID = 64
"""Places along the longer side of a target that are asked where they come from."""
SPREAD = 1.0
"""Of the Gaussian, in places, over which they settle with their neighbours what they belong to."""

DOUBT = 0.1
"""Weight of a place that is not at all sure where it comes from; a place that is sure has 1 more."""
BACKGROUND = 0.25
"""Weight that the background has where no place is sure."""


@dataclass(frozen=True, eq=False)
class CarriedRegions:
    """The regions of a source in one target.

    labels: uint8 (H, W), the target's own size. origin: float32 (rows, columns, 2), where the middle of each cell of an
    even grid over the target comes from, in pixels of the source. confidence: float32 (rows, columns), of that.
    """

    labels: NDArray[np.uint8]
    origin: NDArray[np.float32]
    confidence: NDArray[np.float32]


def carry_masks(
    source: PictureSource,
    target: PictureSource | list[Any] | tuple[Any, ...],
    mask: NDArray[np.uint8] | str | Path,
    *,
    model: Model | None = None,
    mutual: float | None = None,
    flip_test: bool = False,
    device: torch.device | str | None = None,
) -> NDArray[np.uint8] | list[NDArray[np.uint8]]:
    """The regions of a mask in another picture, or in many.

    Args:
        source: see :func:`samepoint.match`.
        target: the same, or a list of them: then a list comes back.
        mask: labels (H, W) in the source's size, 0 background, or a file of them: see
            :func:`samepoint.io.masks.read_mask`.
        model: see :func:`samepoint.match`.
        mutual: see there.
        flip_test: see there.
        device: see there.

    Returns:
        Labels, uint8 (H', W') in the target's size; 0 where none of the regions is.

    Raises:
        InputError: a mask of another size or without a region, or what :func:`samepoint.match` raises.
    """
    several = isinstance(target, (list, tuple))
    chosen = as_pair_model(model, mutual=mutual, device=device)
    targets = target if isinstance(target, (list, tuple)) else [target]
    found = [regions.labels for _, regions in carry_masks_each(source, targets, mask, chosen, flip_test=flip_test)]
    return found if several else found[0]


def carry_masks_each(
    source: PictureSource,
    targets: Iterable[PictureSource],
    mask: NDArray[np.uint8] | str | Path,
    model: PairModel,
    *,
    flip_test: bool = False,
) -> Iterator[tuple[Picture, CarriedRegions]]:
    """What :func:`carry_masks` does, one target at a time: the picture and the regions in it."""
    first = open_picture(source, "source")
    labels = as_regions(mask, first)
    encoded = model.encode(first)
    inside = places_inside(labels)
    for number, target in enumerate(targets):
        picture = open_picture(target, f"target {number}")
        yield picture, _carried(model, first, encoded, picture, labels, inside, flip_test)


def as_regions(mask: NDArray[np.uint8] | str | Path, picture: Picture) -> NDArray[np.uint8]:
    """Labels (H, W) of a picture, checked: of its size, with at least one region."""
    if isinstance(mask, (str, Path)):
        labels, what = read_mask(mask, picture.size, picture.name), str(mask)
    else:
        labels, what = as_labels(mask), "mask"
        check_size(labels, picture.size, what, picture.name)
    if not labels.any():
        raise InputError(f"{what}: no region in this mask; it is all background")
    return labels


def _cells(size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of a grid of square cells."""
    longest = max(size)
    return max(1, round(GRID * size[0] / longest)), max(1, round(GRID * size[1] / longest))


def _middles(size: tuple[int, int]) -> NDArray[np.float32]:
    """The middles of the cells of a picture (rows * columns, 2), in its pixels."""
    rows, columns = _cells(size)
    x, y = np.meshgrid((np.arange(columns) + 0.5) * size[1] / columns, (np.arange(rows) + 0.5) * size[0] / rows)
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)


def places_inside(labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Middles of cells that lie within regions; of a region smaller than a cell, the pixel in its middle."""
    middles = _middles((labels.shape[0], labels.shape[1]))
    places = [middles[_at(labels, middles) > 0]]
    missing = np.setdiff1d(labels[labels > 0], _at(labels, places[0]))
    for label in missing:
        rows, columns = np.nonzero(labels == label)
        middle = np.argsort(np.hypot(rows - rows.mean(), columns - columns.mean()))[0]
        places.append(np.array([[columns[middle] + 0.5, rows[middle] + 0.5]], np.float32))
    return np.concatenate(places)


def _at(labels: NDArray[np.uint8], xy: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The labels under places (N, 2)."""
    height, width = labels.shape
    column, row = np.floor(xy).astype(int).T
    return labels[row.clip(0, height - 1), column.clip(0, width - 1)]


def _carried(
    model: PairModel,
    first: Picture,
    encoded: object,
    picture: Picture,
    labels: NDArray[np.uint8],
    inside: NDArray[np.float32],
    flip_test: bool,
) -> CarriedRegions:
    plain, mirrored = model.encode(picture), False
    seen = plain
    if flip_test:
        other = model.encode(picture.mirrored())
        mirrored = is_mirrored(model, encoded, plain, other, inside, first.size)
        seen = other if mirrored else plain
    rows, columns = _cells(picture.size)
    # Asked of the target, so that no pixel of it stays without an answer: a region may be larger there.
    back = model.carry(seen, encoded, _middles(picture.size))
    origin, confidence = back.xy.reshape(rows, columns, 2), back.confidence.reshape(rows, columns)
    if mirrored:
        origin, confidence = origin[:, ::-1].copy(), confidence[:, ::-1].copy()
    return CarriedRegions(_voted(labels, origin, confidence, picture.size), origin, confidence)


def _voted(
    labels: NDArray[np.uint8], origin: NDArray[np.float32], confidence: NDArray[np.float32], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Each pixel's label: what the places around it say, by their confidence; background where they are not sure."""
    own = _at(labels, origin.reshape(-1, 2)).reshape(confidence.shape)

    def around(values: NDArray[np.float32]) -> NDArray[np.float32]:
        blurred = cv2.GaussianBlur(values, (0, 0), SPREAD, borderType=cv2.BORDER_REPLICATE)
        return np.asarray(cv2.resize(blurred, (size[1], size[0]), interpolation=cv2.INTER_LINEAR), np.float32)

    weight, sure = confidence + DOUBT, around(confidence)
    best = 0.5 * (sure + DOUBT + BACKGROUND * (1 - sure))
    found = np.zeros(size, np.uint8)
    for label in np.unique(own[own > 0]):
        votes = around(weight * (own == label))
        better = votes > best
        best[better], found[better] = votes[better], label
    return found
