"""How well points are followed, beside classical optical flow in the same run.

    python -m benchmarks.accuracy --data DATA_ROOT [--sets badja,jhmdb,slow,rendered] [--model M] [-o results.json]

``DATA_ROOT`` holds ``badja/``, ``davis/`` and ``jhmdb/dev/``. A tracker is any function of frames, uint8 RGB
(T, H, W, 3), and ``Queries`` that gives ``Tracks``; to measure another one, call the ``evaluate_...`` functions.
Scores are percentages.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import samepoint
from benchmarks.baselines import dis_flow, lucas_kanade
from benchmarks.clips import LabelledClip, rendered_clips, slow_clips
from samepoint.datasets.badja import BadjaSequence, read_badja
from samepoint.datasets.jhmdb import read_jhmdb
from samepoint.errors import InputError
from samepoint.evaluation.metrics.pck import (
    BADJA_ALPHAS,
    BadjaProtocol,
    JhmdbProtocol,
    PckCounts,
    PckScore,
    badja_counts,
    jhmdb_counts,
)
from samepoint.evaluation.metrics.tapvid import TapvidCounts, TapvidScore, tapvid_counts
from samepoint.io.atomic import atomic_write, check_writable
from samepoint.structures import Queries, Tracks

Frames = NDArray[np.uint8]
Tracker = Callable[[Frames, Queries], Tracks]
Result = dict[str, Any]

JHMDB_ALPHAS = (0.1, 0.2)

UNBOUNDED: tuple[Tracker, ...] = (lucas_kanade, dis_flow)
"""Trackers that follow places outside the picture by themselves; see :func:`follow`."""

COLUMNS = {
    "badja": ("PCK@0.2",),
    "jhmdb": ("PCK@0.1", "PCK@0.2", "inside PCK@0.1", "inside PCK@0.2"),
    "slow": ("delta_avg", "delta_1"),
    "rendered": ("delta_avg", "AJ", "OA", "AJ all visible", "OA all visible"),
}
"""The set's columns in the printed table; the JSON file holds every metric."""


def samepoint_tracker(model: str | None = None, *, alone: bool = True) -> Tracker:
    """``samepoint.track`` with a model (name or path; None: the default one), loaded once.

    TAP-Vid's rules want every query judged ``alone``; users get them judged together.
    """
    loaded: dict[str, Any] = {}

    def run(frames: Frames, queries: Queries) -> Tracks:
        from samepoint.models.weights import load_model
        from samepoint.tracking import track

        if model is not None and not loaded:
            loaded["model"] = load_model(model)
        return track(frames, queries, alone=alone, **loaded)

    return run


TRACKERS: dict[str, Tracker] = {
    "samepoint": samepoint_tracker(),
    "lucas-kanade": lucas_kanade,
    "dis-flow": dis_flow,
}


def evaluate_badja(tracker: Tracker, root: str | Path, limit: int | None = None) -> Result:
    """BADJA's animals below ``root`` at 320x512, protocol ``badja-visible``."""
    clock, videos = Clock(tracker), dict[str, PckCounts]()
    for animal, frames, areas in _badja(Path(root))[:limit]:
        asked = np.flatnonzero(animal.visible[:, 0])
        truth = animal.protocol_xy()[asked]
        guess = follow(clock, frames, truth[:, 0])[:, animal.annotated]
        videos[animal.name] = badja_counts(guess, truth, animal.visible[asked], areas, "badja-visible")
    return _result("badja-visible at 320x512", _pck({"": ("badja-visible", videos)}), clock.seconds)


def evaluate_jhmdb(tracker: Tracker, root: str | Path, limit: int | None = None) -> Result:
    """JHMDB's development clips with joints, in ``root/jhmdb/dev``, at 320x240, mean over clips.

    Protocols ``jhmdb-dev`` (every joint, also where it is outside the picture) and, as ``inside ...``,
    ``jhmdb-dev-inside``.
    """
    clock, every, inside = Clock(tracker), dict[str, PckCounts](), dict[str, PckCounts]()
    for clip in islice(read_jhmdb(Path(root) / "jhmdb" / "dev", with_joints=True), limit):
        if clip.joints_xy is None:
            continue
        frames = clip.frames()
        truth = clip.joints_xy[:, : len(frames)]
        guess = follow(clock, frames, truth[:, 0])
        every[clip.name] = jhmdb_counts(guess, truth, clip.size, "jhmdb-dev", JHMDB_ALPHAS)
        inside[clip.name] = jhmdb_counts(guess, truth, clip.size, "jhmdb-dev-inside", JHMDB_ALPHAS)
    scores = _pck({"": ("jhmdb-dev", every), "inside ": ("jhmdb-dev-inside", inside)})
    return _result("jhmdb-dev at 320x240", scores, clock.seconds)


def evaluate_clips(tracker: Tracker, clips: Iterable[LabelledClip], limit: int | None = None) -> Result:
    """Rendered clips with TAP-Vid's scores, queries ``first``.

    ``... all visible`` are the scores of the same positions with every point called visible.
    """
    clock, scored, optimist = Clock(tracker), dict[str, TapvidCounts](), dict[str, TapvidCounts]()
    for clip in islice(clips, limit):
        tracks = clock(clip.frames, clip.queries)
        truth = (clip.queries.frame, clip.xy, ~clip.visible, tracks.xy)
        scored[clip.name] = tapvid_counts(*truth, ~tracks.visible)
        optimist[clip.name] = tapvid_counts(*truth, np.zeros_like(clip.visible))
    per_item = {name: counts.metrics() | _renamed(optimist[name].metrics()) for name, counts in scored.items()}
    metrics = _tapvid(scored) | _renamed(_tapvid(optimist))
    return _result("tapvid, first", (metrics, per_item), clock.seconds)


EVALUATIONS: dict[str, Callable[[Tracker, Path, int | None], Result]] = {
    "badja": evaluate_badja,
    "jhmdb": evaluate_jhmdb,
    "slow": lambda tracker, root, limit: evaluate_clips(tracker, slow_clips(root / "jhmdb" / "dev"), limit),
    "rendered": lambda tracker, root, limit: evaluate_clips(tracker, rendered_clips(root / "jhmdb" / "dev"), limit),
}


class Clock:
    """A tracker with the time it takes: reading and rendering its frames is not counted."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker
        self.seconds = 0.0

    def __call__(self, frames: Frames, queries: Queries) -> Tracks:
        start = time.perf_counter()
        tracks = self.tracker(frames, queries)
        self.seconds += time.perf_counter() - start
        return tracks


def follow(tracker: Clock, frames: Frames, points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Positions (N, T, 2) of points (N, 2) of the first frame, annotated ones that may lie outside it.

    A tracker that is not ``UNBOUNDED`` is asked for the nearest place inside, and its answer moved by the difference.
    """
    height, width = frames.shape[1:3]
    asked = (
        points if tracker.tracker in UNBOUNDED else np.clip(points, 0.5, [width - 0.5, height - 0.5]).astype(np.float32)
    )
    return tracker(frames, Queries.at(asked, 0)).xy + (points - asked)[:, None]


def table(name: str, results: Mapping[str, Result]) -> str:
    """Markdown: a row for each video and the mean, a column for each tracker and metric."""
    columns = [(tracker, metric) for metric in COLUMNS[name] for tracker in results]
    first = next(iter(results.values()))
    rows = [["video", *(f"{metric} {tracker}" for tracker, metric in columns)]]
    rows.append(["---", *("---:" for _ in columns)])
    for item in first["per_item"]:
        rows.append([item, *(_cell(results[t]["per_item"][item][m]) for t, m in columns)])
    rows.append(["**mean**", *(f"**{_cell(results[t]['metrics'][m])}**" for t, m in columns)])
    rows.append(["seconds", *(f"{results[t]['seconds']:.1f}" for t, _ in columns)])
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"### {name} ({first['protocol']}, {len(first['per_item'])} videos)\n\n{lines}\n"


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with badja/, davis/ and jhmdb/dev/")
    parser.add_argument("--sets", default=",".join(EVALUATIONS), help="some of %(default)s")
    parser.add_argument("--trackers", default=",".join(TRACKERS), help="some of %(default)s")
    parser.add_argument("--model", help="name or path of samepoint's model; the default one if not given")
    parser.add_argument("--together", action="store_true", help="samepoint judges points together, as users get them")
    parser.add_argument("--limit", type=int, help="only so many videos of each set")
    parser.add_argument("-o", "--output", type=Path, help="write every number to this JSON file")
    options = parser.parse_args(arguments)
    trackers = TRACKERS | {"samepoint": samepoint_tracker(options.model, alone=not options.together)}
    try:
        if options.output:
            check_writable(options.output)
        chosen = {name: trackers[name] for name in _known("tracker", options.trackers, trackers)}
        report: dict[str, dict[str, Result]] = {}
        for name in _known("set", options.sets, EVALUATIONS):
            report[name] = {
                key: EVALUATIONS[name](tracker, options.data, options.limit) for key, tracker in chosen.items()
            }
            print(table(name, report[name]), flush=True)
            if options.output:
                record = {
                    "version": samepoint.__version__,
                    "model": options.model,
                    "together": options.together,
                    "sets": report,
                }
                with atomic_write(options.output, "w") as file:
                    file.write(json.dumps(record, indent=1, allow_nan=False) + "\n")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


@lru_cache(maxsize=1)
def _badja(root: Path) -> tuple[tuple[BadjaSequence, Frames, NDArray[np.int64]], ...]:
    """The animals with their frames and mask areas at the scored size: about 100 MB, kept for the next tracker."""
    return tuple((animal, animal.frames(), animal.masks().sum(axis=(1, 2))) for animal in read_badja(root))


def _tapvid(videos: Mapping[str, TapvidCounts]) -> dict[str, float]:
    score = TapvidScore()
    for counts in videos.values():
        score.update(counts)
    return score.compute()


def _pck(
    scores: Mapping[str, tuple[BadjaProtocol | JhmdbProtocol, Mapping[str, PckCounts]]],
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    metrics: dict[str, float] = {}
    per_item: dict[str, dict[str, float]] = {}
    for prefix, (protocol, videos) in scores.items():
        score = PckScore(protocol, BADJA_ALPHAS if protocol.startswith("badja") else JHMDB_ALPHAS)
        for name, counts in videos.items():
            score.update(counts)
            per_item.setdefault(name, {}).update(
                {f"{prefix}PCK@{alpha:g}": value for alpha, value in counts.fractions().items()}
            )
        metrics |= {f"{prefix}PCK@{alpha:g}": value for alpha, value in score.compute().items()}
    return metrics, per_item


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _renamed(scores: Mapping[str, float]) -> dict[str, float]:
    return {f"{key} all visible": value for key, value in scores.items()}


def _percent(scores: Mapping[str, float]) -> dict[str, float | None]:
    """Percentages; None where nothing was scored, which JSON can say."""
    return {key: None if math.isnan(value) else 100 * value for key, value in scores.items()}


def _result(
    protocol: str, scores: tuple[Mapping[str, float], Mapping[str, Mapping[str, float]]], seconds: float
) -> Result:
    metrics, per_item = scores
    return {
        "protocol": protocol,
        "metrics": _percent(metrics),
        "per_item": {name: _percent(row) for name, row in per_item.items()},
        "seconds": seconds,
    }


def _known(what: str, text: str, table: Mapping[str, Any]) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in table:
            raise InputError(f"unknown {what} {name!r}: expected some of {', '.join(table)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
