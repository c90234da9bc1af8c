"""TAP-Vid's labels as CSV, a track a row, with the clips as video files beside them.

Kinetics: YouTube id, start and end second, then 250 times x, y, occluded; clips ``<id>_<start:06>_<end:06>.mp4`` in any
sub-folder, sampled at 25 frames a second. RoboTAP: the video's name, then x, y, occluded a frame; ``<name>.mp4``.
Positions are fractions of width and height. Shorter clips cut the tracks.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samepoint.datasets.frames import checked_name
from samepoint.datasets.sharded import Decode, TapvidVideo, checked_tracks
from samepoint.errors import InputError
from samepoint.io.images import visible
from samepoint.structures import Video

RATE = 25
"""Frames a second at which Kinetics is labelled."""

Labels = dict[str, NDArray[np.float64]]
"""(N, T, 3) x, y, occluded of every clip."""


def read_labels(path: Path, *, seconds: bool) -> Labels:
    """The tracks of every clip by its name, sorted.

    Args:
        path: the CSV, without a header.
        seconds: the name is made of the first three columns (Kinetics) instead of the first.

    Raises:
        InputError: the file cannot be read, or a row is not as described, naming it.
    """
    leading = 3 if seconds else 1
    rows: dict[str, list[NDArray[np.float64]]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(csv.reader(file), 1):
                if row:
                    where = f"{path}, row {number}"
                    name, track = _clip_name(row[:leading], where), _track(row[leading:], where)
                    tracks = rows.setdefault(name, [])
                    if tracks and len(tracks[0]) != len(track):
                        raise InputError(f"{where}: {len(track)} frames, other tracks of {name} have {len(tracks[0])}")
                    tracks.append(track)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV ({error})") from None
    if not rows:
        raise InputError(f"{path}: holds no track")
    return {name: np.stack(rows[name]) for name in sorted(rows)}


def clips_of(root: Path) -> dict[str, Path]:
    """The video files anywhere below ``root`` by their names without suffix; the first of several of a name."""
    found: dict[str, Path] = {}
    for path in visible(root.rglob("*.mp4")):
        found.setdefault(path.stem, path)
    return found


def labelled_videos(
    path: Path, labels: Labels, clips: dict[str, Path], *, resample: bool, only: Collection[str] | None = None
) -> Iterator[TapvidVideo]:
    """The clips that are labelled and there, sorted by name; frames are decoded when asked for.

    Args:
        path: the CSV, for messages.
        labels: what it holds.
        clips: the video files.
        resample: sample the clips at 25 frames a second.
        only: the names that are wanted.

    Raises:
        InputError: a clip cannot be read.
    """
    for name, tracks in labels.items():
        clip = clips.get(name)
        if clip is None or (only is not None and not any(wanted.startswith(name) for wanted in only)):
            continue
        points, occluded = checked_tracks(tracks[..., :2], tracks[..., 2], f"{path}, {name}")
        video = Video(clip)
        frames = _sampled(video) if resample else np.arange(len(video))
        frames = frames[: points.shape[1]]
        if not len(frames):
            raise InputError(f"{clip}: no frame can be decoded")
        length = len(frames)
        yield TapvidVideo(name, video.size, points[:, :length], occluded[:, :length], "csv", _decoder(video, frames))


def _clip_name(leading: list[str], where: str) -> str:
    name = leading[0].strip()
    if len(leading) == 3:
        try:
            start, end = (int(float(second)) for second in leading[1:])
        except (ValueError, OverflowError):
            raise InputError(f"{where}: {leading[1:]}; expected the start and end second") from None
        name = f"{name}_{start:06d}_{end:06d}"
    return checked_name(name.removesuffix(".mp4"), where)


def _track(cells: list[str], where: str) -> NDArray[np.float64]:
    """(T, 3) x, y, occluded."""
    if not cells or len(cells) % 3:
        raise InputError(f"{where}: {len(cells)} numbers; expected x, y and occluded for each frame")
    try:
        track = np.array([float(cell) for cell in cells]).reshape(-1, 3)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
    checked_tracks(track[None, :, :2], track[None, :, 2], where)
    return track


def _sampled(video: Video) -> NDArray[np.int64]:
    """Which frame is shown at 0, 1/25, 2/25, ... seconds from the first, times rounded to the nearest of these."""
    times = video.timestamps
    if not len(times):
        return np.zeros(0, np.int64)
    slots = np.floor((times - times[0]) * RATE + 0.5)
    return np.searchsorted(slots, np.arange(int(slots[-1]) + 1), side="right") - 1


def _decoder(video: Video, frames: NDArray[np.int64]) -> Decode:
    """Frames by their places in the clip, which rise or stay: each is decoded once."""

    def decode(start: int, stop: int) -> Iterator[Any]:
        wanted = frames[start:stop]
        if not len(wanted):
            return
        first = int(wanted[0])
        for index, picture in enumerate(video.frames(first, int(wanted[-1]) + 1), first):
            for _ in range(int((wanted == index).sum())):
                yield picture

    return decode
