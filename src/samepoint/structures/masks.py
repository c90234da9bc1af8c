"""Which object every pixel of every frame belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from samepoint.errors import InputError
from samepoint.structures.checks import DEFAULT_FPS, as_fps

VOID = 255  # DAVIS: not to be judged; no object has this label


def davis_palette() -> np.ndarray:
    """The colours of labels in DAVIS's PNGs, uint8 (256, 3); 0 is black.

    The bits of a label, lowest first, go in turn to red, green and blue, each from its highest bit down.

    >>> davis_palette()[:4].tolist()
    [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    """
    label = np.arange(256)
    palette = np.zeros((256, 3), np.uint8)
    for place in range(8):
        for channel in range(3):
            palette[:, channel] |= (((label >> channel) & 1) << (7 - place)).astype(np.uint8)
        label >>= 3
    return palette


def as_labels(value: Any, what: str = "mask") -> np.ndarray:
    """Labels of one frame as uint8 (H, W): 0 background, 1 to 254 the objects; a bool array is object 1.

    Raises InputError where the array is no such thing.
    """
    array = np.asarray(value)
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"{what}: expected labels of the shape (H, W), got {array.shape}")
    if array.dtype.kind not in "bui":
        raise InputError(f"{what}: expected whole numbers or bool, got {array.dtype}")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= VOID:
        raise InputError(f"{what}: label {low if low < 0 else high}; objects have the labels 1 to {VOID - 1}")
    return array.astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Masks:
    """Objects in T frames.

    labels: uint8 (T, H, W), 0 background, 1 to 254 the objects. palette: uint8 (256, 3) RGB, DAVIS's by default.
    fps: frames a second. Raises InputError where the arrays do not fit.

    >>> masks = Masks(np.array([[[0, 1], [3, 0]]], np.uint8))
    >>> len(masks), masks.size, masks.objects
    (1, (2, 2), (1, 3))
    """

    labels: np.ndarray
    palette: np.ndarray = field(default_factory=davis_palette, repr=False)
    fps: float = DEFAULT_FPS

    def __post_init__(self) -> None:
        labels, palette = np.asarray(self.labels), np.asarray(self.palette)
        if labels.dtype != np.uint8 or labels.ndim != 3 or 0 in labels.shape:
            raise InputError(f"mask labels must be uint8 (T, H, W), none of them 0; got {labels.dtype} {labels.shape}")
        if labels.max() == VOID:
            frame = int((labels == VOID).any(axis=(1, 2)).argmax())
            raise InputError(f"frame {frame}: label {VOID}; objects have the labels 1 to {VOID - 1}")
        if palette.dtype != np.uint8 or palette.shape != (256, 3):
            raise InputError(f"a palette must be uint8 (256, 3), got {palette.dtype} {palette.shape}")
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "palette", palette)
        object.__setattr__(self, "fps", as_fps(self.fps))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of a frame."""
        return self.labels.shape[1], self.labels.shape[2]

    @property
    def objects(self) -> tuple[int, ...]:
        """The labels that occur, in order, without the background."""
        seen = np.zeros(256, bool)
        for frame in self.labels:
            seen[frame.ravel()] = True
        return tuple(int(label) for label in np.flatnonzero(seen) if label)

    @classmethod
    def load(cls, folder: str | Path, fps: float = DEFAULT_FPS) -> Masks:
        """From a folder of PNGs in natural order, one a frame, all of one size; the palette is the first one's.

        Each is read as ``samepoint.io.masks.read_mask`` reads it: void (255) becomes background.
        """
        from samepoint.io.masks import load_masks

        return load_masks(Path(folder), fps)

    def save(self, folder: str | Path, names: Sequence[str] | None = None, *, overwrite: bool = False) -> None:
        """To palette PNGs as DAVIS has them, ``00000.png`` and so on, or one file name a frame given as ``names``.

        The folder is made where it is missing. Each file appears whole or not at all. A folder that holds other masks,
        such as the rest of a longer result, is refused; with ``overwrite`` they are removed.
        """
        from samepoint.io.masks import save_masks

        save_masks(self, Path(folder), names, overwrite)
