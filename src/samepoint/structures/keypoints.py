"""Named joints of one or several individuals, in the frames where they are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from samepoint.errors import InputError
from samepoint.structures.checks import as_array, as_names, as_size
from samepoint.structures.tracks import Tracks

HIDDEN = 0.45
"""Confidence at most, of tracks and in later frames, that comes from a label that is hidden: however sure a person was
of the place, what is seen there is something else."""


@dataclass(frozen=True, eq=False)
class KeypointSource:
    """The file that keypoints were read from, as its format needs it to be written again without loss.

    format: its name. head: what is known to that format alone. xy: float32 (R, I, K, 2) and confidence: float32
    (R, I, K), what was made of its R rows. exact: object (R, I, K, 3), how the file writes x, y and confidence; None
    where it does not. Where a keypoint is still what was read, it is written as it was.
    """

    format: str
    head: Any
    xy: np.ndarray
    confidence: np.ndarray
    exact: np.ndarray


@dataclass(frozen=True, eq=False)
class Keypoints:
    """K joints of I individuals in F frames, which need be neither all frames of a video nor in order.

    frame: int64 (F,); -1 where only the name of the picture is known. xy: float32 (F, I, K, 2), pixels, NaN where
    missing. confidence: float32 (F, I, K) in 0..1, 0 where missing. visible: bool (F, I, K); a hidden joint may have a
    position, a missing one is not visible. labelled: bool (F, I, K), whether a person said where the joint is or,
    where ``xy`` is NaN, that it is missing. individuals: I names, "" for one without a name. bodyparts: K names.
    skeleton: pairs of joints. images: F names of pictures, or none. size: (H, W) of the frames, where known. source and
    origin, int64 (F,): the file read and the row of it that each frame is, -1 for none.

    Given no confidence, a joint with a position has 1; given no ``visible``, it is ``confidence >= 0.5``; given no
    ``labelled``, every joint of an individual with a position in a frame is.

    Raises InputError where the arrays do not fit.

    >>> points = Keypoints([0, 9], [[[[1, 2]]], [[[3, 4]]]], bodyparts=("nose",))
    >>> points.shape, points.individuals, bool(points.labelled.all())
    ((2, 1, 1), ('',), True)
    """

    frame: np.ndarray
    xy: np.ndarray
    bodyparts: tuple[str, ...]
    individuals: tuple[str, ...] = ("",)
    confidence: np.ndarray = None  # type: ignore[assignment]
    visible: np.ndarray = None  # type: ignore[assignment]
    labelled: np.ndarray = None  # type: ignore[assignment]
    skeleton: tuple[tuple[int, int], ...] = ()
    images: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    source: KeypointSource | None = None
    origin: np.ndarray = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        xy = as_array(self.xy, np.float32, "keypoint xy")
        if xy.ndim != 4 or xy.shape[3] != 2:
            raise InputError(f"keypoint xy must have the shape (frames, individuals, bodyparts, 2), got {xy.shape}")
        shape = xy.shape[:3]
        if np.isinf(xy).any() or (np.isnan(xy[..., 0]) != np.isnan(xy[..., 1])).any():
            raise InputError("keypoint xy must be finite, or NaN in both x and y where a joint is missing")
        known = ~np.isnan(xy[..., 0])
        confidence = known if self.confidence is None else self.confidence
        confidence = as_array(confidence, np.float32, "keypoint confidence")
        visible = (
            known & (confidence >= 0.5)
            if self.visible is None
            else as_array(self.visible, np.bool_, "keypoint visible")
        )
        labelled = np.broadcast_to(known.any(axis=2, keepdims=True), shape)
        if self.labelled is not None:
            labelled = as_array(self.labelled, np.bool_, "keypoint labelled")
        frame = as_array(self.frame, np.float64, "keypoint frame")
        if (frame != np.floor(frame)).any() or (np.abs(frame) > 2**53).any():
            raise InputError("keypoint frames must be whole numbers")
        frame = frame.astype(np.int64)
        origin = np.full(shape[0], -1) if self.origin is None else as_array(self.origin, np.int64, "keypoint origin")
        expected = {"frame": (frame, shape[:1]), "origin": (origin, shape[:1]), "confidence": (confidence, shape)}
        expected |= {"visible": (visible, shape), "labelled": (labelled, shape)}
        for what, (array, wanted) in expected.items():
            if array.shape != wanted:
                raise InputError(f"keypoint {what} must have the shape {wanted}, got {array.shape}")
        if not ((confidence >= 0) & (confidence <= 1)).all():
            raise InputError("keypoint confidence must lie in 0..1")
        if (visible & ~known).any():
            f, i, k = np.argwhere(visible & ~known)[0]
            raise InputError(f"frame {frame[f]}, joint {k} of individual {i}: visible but without a position")
        object.__setattr__(self, "individuals", _unique(self.individuals, shape[1], "individuals"))
        object.__setattr__(self, "bodyparts", _unique(self.bodyparts, shape[2], "bodyparts"))
        images = tuple(self.images)
        if images:
            images = as_names(images, shape[0])
        if len(set(images)) != len(images):
            raise InputError("the same picture twice among the keypoints")
        if not images and ((frame < 0).any() or len(np.unique(frame)) != len(frame)):
            raise InputError("keypoint frames must be 0 or more and differ, or have names of pictures")
        skeleton = tuple((int(a), int(b)) for a, b in self.skeleton)
        if any(not (0 <= joint < shape[2]) for pair in skeleton for joint in pair):
            raise InputError(f"a skeleton of {shape[2]} joints joins numbers from 0 to {shape[2] - 1}, got {skeleton}")
        values: dict[str, object] = {"frame": frame, "xy": xy, "confidence": np.where(known, confidence, np.float32(0))}
        values |= {"visible": visible, "labelled": labelled, "origin": origin, "images": images, "skeleton": skeleton}
        for key, value in values.items():
            object.__setattr__(self, key, value)
        object.__setattr__(self, "size", None if self.size is None else as_size(self.size))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frames, individuals, joints."""
        return self.xy.shape[:3]

    @property
    def known(self) -> np.ndarray:
        """bool (F, I, K): where there is a position."""
        return ~np.isnan(self.xy[..., 0])

    def joint_name(self, individual: int, bodypart: int) -> str:
        """How messages and pictures call a joint."""
        return f"{self.individuals[individual]} {self.bodyparts[bodypart]}".strip()

    def select(self, rows: Sequence[int] | np.ndarray) -> Keypoints:
        """Some of the frames, in the order given."""
        rows = np.asarray(rows, np.int64)
        arrays = {
            key: getattr(self, key)[rows] for key in ("frame", "xy", "confidence", "visible", "labelled", "origin")
        }
        return replace(self, **arrays, images=tuple(self.images[row] for row in rows) if self.images else ())

    @classmethod
    def load(cls, path: str | Path, format: str | None = None) -> Keypoints:
        """From a file of DeepLabCut, COCO, CVAT, SLEAP or plain CSV; ``format`` None: told by suffix and content."""
        from samepoint.io.keypoints import load_keypoints

        return load_keypoints(Path(path), format)

    def save(self, path: str | Path, format: str | None = None) -> None:
        """Write whole or not at all; ``format`` None: by suffix, and the format that was read where it has it too.

        What the format cannot hold is said in a UserWarning.
        """
        from samepoint.io.keypoints import save_keypoints

        save_keypoints(self, Path(path), format)

    def to_tracks(self, fps: float, size: tuple[int, int]) -> Tracks:
        """The joints as I * K tracks, individual by individual; for keypoints of every frame of a video, in order."""
        frames, individuals, bodyparts = self.shape
        if not np.array_equal(self.frame, np.arange(frames)):
            raise InputError("tracks need keypoints of every frame, in order from 0")
        xy = self.xy.reshape(frames, -1, 2).swapaxes(0, 1)
        confidence = np.where(self.visible, self.confidence, np.minimum(self.confidence, HIDDEN))
        confidence = confidence.reshape(frames, -1).T
        names = [self.joint_name(i, k) for i in range(individuals) for k in range(bodyparts)]
        return Tracks.from_confidence(xy, confidence, fps, size, names)


def _unique(names: Sequence[str], count: int, what: str) -> tuple[str, ...]:
    names = as_names(names, count)
    if len(set(names)) != count:
        raise InputError(f"the {what} have the same name twice: {', '.join(names)}")
    return names
