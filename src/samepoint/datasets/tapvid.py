"""TAP-Vid's DAVIS, RGB-Stacking and Kinetics (Doersch et al., NeurIPS 2022) and RoboTAP (Vecerik et al., 2023).

DAVIS and RGB-Stacking are one pickle each; Kinetics and RoboTAP several (``0000_of_0010.pkl``, ``robotap_split0.pkl``),
or a CSV of labels with the clips as videos. Videos of RoboTAP that are longer than 1,000 frames come in equal parts.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal, get_args

from samepoint.datasets.check import Check, some
from samepoint.datasets.frames import folder_of, resize_frames
from samepoint.datasets.sharded import LONGEST, TapvidVideo, pickled_videos
from samepoint.datasets.tapvid_csv import Labels, clips_of, labelled_videos, read_labels
from samepoint.errors import InputError
from samepoint.io.images import visible

__all__ = ["Benchmark", "TapvidVideo", "check", "names", "resize_frames", "sequences"]

Benchmark = Literal["tapvid-davis", "tapvid-rgb-stacking", "tapvid-kinetics", "robotap"]


@dataclass(frozen=True)
class _Set:
    pickles: tuple[str, ...]
    """Patterns, tried in order."""
    sharded: bool
    """Several pickles; names carry that of theirs."""
    videos: int
    """As published."""
    tracks: int | None
    where: str


_STORE = "https://storage.googleapis.com/dm-tapnet"
_SETS: dict[str, _Set] = {
    "tapvid-davis": _Set(("tapvid_davis.pkl", "*.pkl"), False, 30, 650, f"{_STORE}/tapvid_davis.zip"),
    "tapvid-rgb-stacking": _Set(
        ("tapvid_rgb_stacking.pkl", "*.pkl"), False, 50, None, f"{_STORE}/tapvid_rgb_stacking.zip"
    ),
    "tapvid-kinetics": _Set(
        ("*_of_*.pkl", "*.pkl"),
        True,
        1000,
        None,
        f"the labels from {_STORE}/tapvid_kinetics.zip and the clips from YouTube; how to make pickles of them: "
        "github.com/google-deepmind/tapnet, TAP-Vid",
    ),
    "robotap": _Set(("robotap_split*.pkl", "*.pkl"), True, 265, None, f"{_STORE}/robotap/robotap.zip"),
}


def names(root: str | Path, benchmark: Benchmark = "tapvid-davis") -> tuple[str, ...]:
    """The names of :func:`sequences`, in its order. The pickles are read for it, one at a time; no video is decoded.

    Except RoboTAP's where there is a CSV alone: how many parts a clip has is known after counting its frames.
    """
    source = _source(root, benchmark)
    if benchmark == "tapvid-kinetics" and not source.pickles:
        clips = clips_of(source.root)
        return tuple(name for name in _labels(source, benchmark) or () if name in clips)
    return tuple(video.name for video in sequences(root, benchmark))


def sequences(
    root: str | Path, benchmark: Benchmark = "tapvid-davis", *, only: Collection[str] | None = None
) -> Iterator[TapvidVideo]:
    """The videos in the order of the files, sorted by name within one (by number in a list), one pickle at a time.

    Args:
        root: the folder of the pickles, or of the CSV and the clips (which are used where there is no pickle).
        benchmark: whose files and names. Samples of Kinetics and RoboTAP are named ``<pickle>/<name>``.
        only: which videos; pickles that hold none of them stay closed.

    Raises:
        InputError: nothing there, two videos of one name, or what is there cannot be used.
    """
    seen: set[str] = set()
    source = _source(root, benchmark)
    for video in chain.from_iterable(_split(video, benchmark) for video in _videos(source, benchmark, only)):
        if video.name in seen:
            raise InputError(f"{root}: two videos are named {video.name!r}")
        seen.add(video.name)
        if only is None or video.name in only:
            yield video
    lacking = sorted(set(only or ()) - seen)
    if lacking:
        raise InputError(f"{root}: no video {lacking[0]!r} in {benchmark}")


def check(root: str | Path, benchmark: Benchmark = "tapvid-davis") -> Check:
    """How many of the set's videos lie below ``root``; reads the pickles one at a time, decodes no video.

    ``found`` counts videos, not the parts of long ones. Where a CSV of labels lies there, its clips are what is
    expected, otherwise the published number of videos.
    """
    where = f"get {_SETS.get(benchmark, _SETS['tapvid-davis']).where}"
    try:
        source = _source(root, benchmark)
        labels = _labels(source, benchmark)
    except InputError as error:
        return Check(benchmark, Path(root), 0, (f"{error}; {where}",), ())
    chosen, kinetics = _SETS[benchmark], benchmark == "tapvid-kinetics"
    expected = chosen.videos if labels is None else len(labels)
    missing: list[str] = []
    if labels is not None and not source.pickles:
        clips = clips_of(source.root)
        lengths = [tracks.shape[:2] for name, tracks in labels.items() if name in clips]
        absent = [f"{name}.mp4" for name in labels if name not in clips]
    else:
        lengths = _lengths(source, missing)
        absent = _absent_pickles(source.pickles)
    if absent:
        missing.append(f"{some(absent)}; {where}")
    if len(lengths) < expected:
        gone = "; many have left YouTube" if kinetics else ""
        missing.append(f"{expected - len(lengths)} of {expected} videos{gone}; {where}")
    tracks = sum(length[0] for length in lengths)
    notes = [f"{tracks} tracks" + (f", {chosen.tracks} are published" if chosen.tracks else "")]
    if len(lengths) > expected:
        notes.append(f"{len(lengths)} videos, {expected} are published")
    long = sum(length[1] > LONGEST for length in lengths) if benchmark == "robotap" else 0
    if long:
        notes.append(f"{long} videos of more than {LONGEST:,} frames, scored in parts")
    if kinetics and source.pickles:
        notes.append("labels from the pickles, which lie half a native pixel to the upper left of the CSV's")
    elif kinetics:
        notes.append("labels from the CSV")
    notes.append("annotations: CC-BY 4.0")
    return Check(benchmark, source.root, len(lengths), tuple(missing), tuple(notes))


@dataclass(frozen=True)
class _Source:
    root: Path
    pickles: list[Path]
    csv: Path | None


def _source(root: str | Path, benchmark: str) -> _Source:
    if benchmark not in _SETS:
        raise InputError(f"unknown benchmark {benchmark!r}; expected one of {', '.join(get_args(Benchmark))}")
    chosen = _SETS[benchmark]
    folder = folder_of(root, f"the files of {benchmark}")
    pickles = next((found for pattern in chosen.pickles if (found := visible(folder.glob(pattern)))), [])
    if len(pickles) > 1 and not chosen.sharded:
        raise InputError(f"{folder}: {len(pickles)} pickles; expected one of them named {chosen.pickles[0]}")
    tables = visible(folder.glob("*.csv")) if chosen.sharded else []
    if len(tables) > 1:
        raise InputError(f"{folder}: {len(tables)} CSV files; expected the labels of {benchmark} alone")
    if not pickles and not tables:
        raise InputError(f"{folder}: no {chosen.pickles[0]}" + (" and no CSV of labels" if chosen.sharded else ""))
    return _Source(folder, pickles, tables[0] if tables else None)


def _labels(source: _Source, benchmark: str) -> Labels | None:
    return None if source.csv is None else read_labels(source.csv, seconds=benchmark == "tapvid-kinetics")


def _videos(source: _Source, benchmark: str, only: Collection[str] | None) -> Iterator[TapvidVideo]:
    labels = None if source.pickles else _labels(source, benchmark)
    if labels is None or source.csv is None:
        return pickled_videos(source.pickles, prefix=_SETS[benchmark].sharded, only=only)
    resample = benchmark == "tapvid-kinetics"
    return labelled_videos(source.csv, labels, clips_of(source.root), resample=resample, only=only)


def _lengths(source: _Source, missing: list[str]) -> list[tuple[int, ...]]:
    """(N, T) of every video in the pickles; what is wrong with a pickle goes to ``missing``."""
    lengths: list[tuple[int, ...]] = []
    for path in source.pickles:
        try:
            lengths.extend(video.points.shape[:2] for video in pickled_videos([path], prefix=False))
        except InputError as error:
            missing.append(str(error))
    return lengths


def _split(video: TapvidVideo, benchmark: str) -> tuple[TapvidVideo, ...]:
    return video.parts() if benchmark == "robotap" else (video,)


def _absent_pickles(pickles: list[Path]) -> list[str]:
    """The pickles that ``0003_of_0010.pkl`` and its like say exist but are not there."""
    found = {
        (int(match[1]), int(match[2])) for path in pickles if (match := re.match(r"(\d{4})_of_(\d{4})", path.stem))
    }
    totals = {total for _, total in found}
    return [f"{k:04d}_of_{total:04d}.pkl" for total in sorted(totals) for k in range(total) if (k, total) not in found]
