"""Pairs of pictures with corresponding points: what the readers of SPair-71k, PF-PASCAL and PF-WILLOW give.

None of these sets says whether its first pixel is 0 or 1. Their numbers are taken as raster coordinates as they are, as
every published tool takes them: at most half a pixel off either way, and every published threshold keeps its value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from samepoint.errors import InputError
from samepoint.io.images import image_size, read_image


@dataclass(frozen=True, eq=False)
class ImagePair:
    """Two pictures and the n points that are seen in both, in the same order. Pictures are read when asked for."""

    name: str
    """Unlike that of every other pair of the split."""
    category: str
    source_path: Path
    target_path: Path
    source_xy: NDArray[np.float32]
    """(n, 2) raster pixels of :meth:`source`."""
    target_xy: NDArray[np.float32]
    """(n, 2) raster pixels of :meth:`target`."""
    source_box: NDArray[np.float32] | None = None
    """(4,) x1, y1, x2, y2 of the object; None where the set has no boxes."""
    target_box: NDArray[np.float32] | None = None
    mirrored: bool = False
    """Both pictures are used mirrored, left and right exchanged; points and boxes already are."""
    leaked: bool | None = None
    """Whether a test pair is a training pair too; None where the set or its lists do not tell."""
    flags: Mapping[str, int] = field(default_factory=dict)
    """Degrees of difficulty by name, 0 the easiest."""
    source_mask: Path | None = None
    """Segmentation of the source, where the set has one and it is there."""
    target_mask: Path | None = None

    def source(self) -> NDArray[np.uint8]:
        """The source picture, uint8 RGB (H, W, 3)."""
        return self._picture(self.source_path)

    def target(self) -> NDArray[np.uint8]:
        """The target picture, uint8 RGB (H, W, 3)."""
        return self._picture(self.target_path)

    @property
    def source_size(self) -> tuple[int, int]:
        """(H, W), from the head of the file."""
        return image_size(self.source_path)

    @property
    def target_size(self) -> tuple[int, int]:
        """(H, W), from the head of the file."""
        return image_size(self.target_path)

    def _picture(self, path: Path) -> NDArray[np.uint8]:
        picture = read_image(path)
        return np.ascontiguousarray(picture[:, ::-1]) if self.mirrored else picture


PASCAL = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
"""PASCAL VOC's classes: number n is entry n - 1."""


@dataclass(frozen=True)
class PairName:
    """A line of a list of pairs, before its annotation is read."""

    name: str
    category: str
    source: str
    target: str


class Pairs(Sequence[ImagePair]):
    """Pairs of one split in the order of its list.

    Length, names and categories cost nothing: an annotation is read when its pair is asked for.

    Args:
        entries: the lines of the list.
        read: gives the pair of a line; raises InputError where its files cannot be used.
        skipped: names on the list that have no annotation and are therefore not among the entries.
    """

    def __init__(
        self, entries: Sequence[PairName], read: Callable[[PairName], ImagePair], skipped: Sequence[str] = ()
    ) -> None:
        self.entries = tuple(entries)
        self.skipped = tuple(skipped)
        self._read = read

    def __len__(self) -> int:
        return len(self.entries)

    @overload
    def __getitem__(self, index: int) -> ImagePair: ...

    @overload
    def __getitem__(self, index: slice) -> Pairs: ...

    def __getitem__(self, index: int | slice) -> ImagePair | Pairs:
        if isinstance(index, slice):
            return Pairs(self.entries[index], self._read, self.skipped)
        return self._read(self.entries[index])

    def __iter__(self) -> Iterator[ImagePair]:
        return (self._read(entry) for entry in self.entries)

    def counts(self) -> dict[str, int]:
        """Pairs by category, sorted by its name."""
        return dict(sorted(Counter(entry.category for entry in self.entries).items()))

    def without(self, names: Collection[str]) -> Pairs:
        """The pairs whose name is not among ``names``."""
        unwanted = frozenset(names)
        return Pairs([entry for entry in self.entries if entry.name not in unwanted], self._read, self.skipped)


def points(value: object, place: str) -> NDArray[np.float32]:
    """``value`` as float32 (n, 2); ``place`` names file and field in the InputError where it is something else."""
    return _numbers(value, (-1, 2), "points (n, 2)", place)


def box(value: object, place: str) -> NDArray[np.float32]:
    """``value`` as float32 (4,) with x1 <= x2 and y1 <= y2; InputError as for :func:`points`."""
    corners = _numbers(value, (4,), "a box x1, y1, x2, y2", place)
    if not (corners[:2] <= corners[2:]).all():
        raise InputError(f"{place}: box {corners.tolist()} has its corners exchanged; expected x1, y1, x2, y2")
    return corners


def mirror_points(xy: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Points (n, 2) of a picture ``width`` pixels wide, in that picture mirrored: raster x becomes width - x.

    >>> mirror_points(np.array([[0.5, 7.0]], np.float32), 100).tolist()
    [[99.5, 7.0]]
    """
    return np.stack([np.float32(width) - xy[:, 0], xy[:, 1]], axis=1)


def mirror_box(corners: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """A box (4,) in the mirrored picture.

    >>> mirror_box(np.array([10, 20, 40, 60], np.float32), 100).tolist()
    [60.0, 20.0, 90.0, 60.0]
    """
    return np.array([width - corners[2], corners[1], width - corners[0], corners[3]], np.float32)


def _numbers(value: object, shape: tuple[int, ...], what: str, place: str) -> NDArray[np.float32]:
    try:
        array = np.asarray(value)
        if array.size == 0 and shape[0] == -1:
            return np.zeros((0, *shape[1:]), np.float32)
        fits = array.dtype.kind in "iuf" and array.ndim == len(shape)
        fits = fits and all(side in (-1, given) for side, given in zip(shape, array.shape, strict=True))
        with np.errstate(over="ignore"):
            numbers = array.astype(np.float32) if fits else None
    except (TypeError, ValueError, OverflowError):
        numbers = None
    if numbers is None:
        raise InputError(f"{place}: expected {what}, got {str(value)[:60]!r}")
    if not np.isfinite(numbers).all():
        raise InputError(f"{place}: expected finite numbers in {what}")
    return numbers
