"""FlyingThings3D (Mayer et al., CVPR 2016): rendered sequences with exact flow forward and back.

    frames_<clean|final>pass[_webp]/<TRAIN|TEST>/<A|B|C>/<0000>/<left|right>/0006.webp (or .png) ... 0015
    optical_flow/<TRAIN|TEST>/<A|B|C>/<0000>/into_<future|past>/<left|right>/OpticalFlowInto<Future|Past>_0006_L.pfm

Flow may also be ``.flo5`` or ``.flo`` under the same names. Sequence, side and frame number are matched by path, never
by position in two sorted lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from samepoint.datasets.check import Check, entries_of, some
from samepoint.errors import InputError
from samepoint.io.flow import SUFFIXES as FLOW_SUFFIXES
from samepoint.io.flow import read_flow
from samepoint.io.images import read_image

Split = Literal["TRAIN", "TEST"]
Pass = Literal["clean", "final"]
Side = Literal["left", "right"]

FRAMES = tuple(range(6, 16))
"""Numbers of the frames of every sequence."""
TRAINING_SEQUENCES = 2_239
"""As published; not counted by us, so that fewer are a note only."""
SOURCE = "get FlyingThings3D, frames (webp) and optical flow, from lmb.informatik.uni-freiburg.de/resources/datasets"
_PICTURES = (".webp", ".png")


@dataclass(frozen=True)
class FlowPair:
    """Two neighbouring frames and the flow between them, both ways; files are read when asked for."""

    reference_path: Path
    target_path: Path
    flow_path: Path
    """From the target to the reference."""
    flow_back_path: Path
    """From the reference to the target."""

    def frames(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Reference and target, uint8 RGB (H, W, 3)."""
        return read_image(self.reference_path), read_image(self.target_path)

    def flows(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """``flow`` and ``flow_back``, float32 (H, W, 2), pixels; see :mod:`samepoint.io.flow`."""
        return read_flow(self.flow_path), read_flow(self.flow_back_path)


@dataclass(frozen=True)
class FlowSequence:
    """One sequence of one camera; T is 10."""

    name: str
    """``<split>/<letter>/<number>/<side>``."""
    frame_paths: tuple[Path, ...]
    """T frames."""
    future_paths: tuple[Path, ...]
    """T flows; entry t leads from frame t to frame t + 1."""
    past_paths: tuple[Path, ...]
    """T flows; entry t leads from frame t to frame t - 1."""

    def pairs(self) -> list[FlowPair]:
        """The 2 (T - 1) pairs of neighbours: first those forward in time, then those back."""
        frames, future, past = self.frame_paths, self.future_paths, self.past_paths
        steps = list(zip(frames[:-1], frames[1:], future[:-1], past[1:], strict=True))
        forward = [FlowPair(first, second, back, on) for first, second, on, back in steps]
        return forward + [FlowPair(second, first, on, back) for first, second, on, back in steps]


def sequences(
    root: str | Path, split: Split = "TRAIN", frames: Pass = "clean", side: Side = "left"
) -> list[FlowSequence]:
    """The complete sequences of a split, sorted by name; those that lack a frame or a flow are left out, see ``check``.

    Raises InputError where no complete one is there.
    """
    for value, allowed in ((split, Split), (frames, Pass), (side, Side)):
        if value not in get_args(allowed):
            raise InputError(f"{value!r} is not known; expected one of {', '.join(get_args(allowed))}")
    complete, lacking = _scan(Path(root), split, frames, side)
    if not complete:
        first = f" ({lacking[0]})" if lacking else ""
        raise InputError(f"{root}: no complete sequence of {split}, {frames} pass, {side}{first}; {SOURCE}")
    return complete


def check(root: Path) -> Check:
    """What is there of the training split's clean pass, left camera: what training uses."""
    complete, lacking = _scan(root, "TRAIN", "clean", "left")
    missing = [f"incomplete sequences: {some(lacking)}; {SOURCE}"] if lacking else []
    total = len(complete) + len(lacking)
    if not total:
        missing.append(f"TRAIN, clean pass, left: no frames; {SOURCE}")
    notes = ["licence: research use only", "checked: TRAIN, clean pass, left camera, flow in both directions"]
    if total != TRAINING_SEQUENCES:
        notes.append(f"{total:,} training sequences; published are {TRAINING_SEQUENCES:,}")
    if not any((folder / "TEST").is_dir() for folder in _frame_folders(root, "clean")):
        notes.append("TEST is not there; training does not need it")
    return Check("flyingthings3d", root, len(complete), tuple(missing), tuple(notes))


def _frame_folders(root: Path, frames: str) -> tuple[Path, Path]:
    return root / f"frames_{frames}pass_webp", root / f"frames_{frames}pass"


def _scan(root: Path, split: str, frames: str, side: str) -> tuple[list[FlowSequence], list[str]]:
    """The complete sequences, and what the others lack, a line each."""
    home = next((folder for folder in _frame_folders(root, frames) if (folder / split).is_dir()), None)
    complete, lacking = [], []
    for folder in sorted(home.glob(f"{split}/*/*/{side}")) if home is not None else ():
        letter, number = folder.parts[-3:-1]
        name = f"{split}/{letter}/{number}/{side}"
        flow = root / "optical_flow" / split / letter / number
        future, past = flow / "into_future" / side, flow / "into_past" / side
        mark = side[0].upper()
        parts = (
            _files(folder, [f"{n:04d}" for n in FRAMES], _PICTURES),
            _files(future, [f"OpticalFlowIntoFuture_{n:04d}_{mark}" for n in FRAMES], FLOW_SUFFIXES),
            _files(past, [f"OpticalFlowIntoPast_{n:04d}_{mark}" for n in FRAMES], FLOW_SUFFIXES),
        )
        absent = [path for paths, missing in parts for path in missing]
        if absent:
            lacking.append(f"{name} lacks {len(absent)} files, first {absent[0].relative_to(root)}")
        else:
            complete.append(FlowSequence(name, *(tuple(paths) for paths, _ in parts)))
    return complete, lacking


def _files(folder: Path, stems: list[str], suffixes: tuple[str, ...]) -> tuple[list[Path], list[Path]]:
    """The files of these stems, and the stems that have none."""
    there = entries_of(folder)
    found, absent = [], []
    for stem in stems:
        name = next((stem + suffix for suffix in suffixes if stem + suffix in there), None)
        if name is None:
            absent.append(folder / stem)
        else:
            found.append(folder / name)
    return found, absent
