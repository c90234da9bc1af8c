"""A collection with one worker and with several: frames a second that are cut and labelled, and what labels weigh.

    python benchmarks/web_scaling.py --source ../shared/data/jhmdb/train      12 clips, 1 and 2 workers
    python benchmarks/web_scaling.py --source DIR --videos 64 --workers 1 2 4 8
    python benchmarks/web_scaling.py --source DIR --engine ray
    python benchmarks/web_scaling.py --json                                   the same for machines
    python benchmarks/web_scaling.py --quick                                  tiny, to see that it runs

What ``samepoint web run`` does from a folder to labels, each time into a new one, with one thread a worker. A worker
takes seconds to start and load its network, which a large collection pays once: the clock of a stage starts when each
worker can have finished one row. Without --source the videos are rendered.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # so that it finds its neighbours as a script too
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.propagation import cpu
from benchmarks.tracking import write_video
from samepoint.datasets.video_folder import find_videos
from samepoint.errors import InputError
from samepoint.webvideo import pipeline
from samepoint.webvideo.catalog import Catalogue
from samepoint.webvideo.config import config_of_source

Result = dict[str, Any]
STAGES = ("shots", "label")


def sources(args: argparse.Namespace, folder: Path) -> list[Path]:
    """The videos: evenly drawn from the source, or rendered."""
    if args.source is None:
        size, frames = ((48, 64), 16) if args.quick else ((240, 320), 40)
        return [write_video(folder / f"{number}.mp4", size, frames + number) for number in range(args.videos)]
    found = find_videos(args.source)
    if len(found) < args.videos:
        raise InputError(f"{args.source}: {len(found)} videos, --videos asks for {args.videos}")
    return [found[number * len(found) // args.videos] for number in range(args.videos)]


def collect(args: argparse.Namespace, videos: list[Path], workers: int, folder: Path) -> Result:
    """Rates of the stages, and what labels weigh."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "source").mkdir(parents=True)
    for number, video in enumerate(videos):
        (folder / "source" / f"{number}{video.suffix}").symlink_to(video.resolve())
    changes = [
        *(f"engine.{key}={value}" for key, value in (("kind", args.engine), ("workers", workers), ("threads", 1))),
        *("sheets=false", "search.duplicates.perceptual=false"),
        *(["engine.batch=1"] if args.engine == "ray" else []),
        *(["shots.min_side=32", "labels.seeds=4", "labels.short_side=48"] if args.quick else []),
    ]
    config = config_of_source(folder / "source", folder / "out", changes)
    moments: dict[str, list[float]] = {stage: [] for stage in STAGES}

    def note(stage: str, done: int, total: int | None) -> None:
        if stage in moments:
            moments[stage].append(time.perf_counter())

    pipeline.run(config, progress=note)
    catalogue = Catalogue(config.output)
    labels = [row for row in catalogue.read("labels").to_pylist() if row["status"] == "ok"]
    frames = {
        "shots": [count for count in catalogue.read("videos", ["frames"])[0].to_pylist() if count],
        "label": [row["frames"] for row in labels],
    }
    return {
        "frames_per_second": {stage: rate(moments[stage], workers) * _mean(frames[stage]) for stage in STAGES},
        "shots": len(labels),
        "frames": sum(frames["label"]),
        "bytes": sum(row["bytes"] for row in labels),
    }


def rate(moments: list[float], workers: int) -> float:
    """Rows a second after the first of each worker; moments are when a row was done."""
    if len(moments) <= workers:
        raise InputError(f"{len(moments)} rows are too few for {workers} workers; expected more of --videos")
    return (len(moments) - workers) / (moments[-1] - moments[workers - 1])


def _mean(values: list[int]) -> float:
    return sum(values) / len(values)


def compare(args: argparse.Namespace) -> Result:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        videos = sources(args, folder)
        rows = {str(workers): collect(args, videos, workers, folder / "run") for workers in args.workers}
    return {**cpu(), "engine": args.engine, "videos": args.videos, "quick": args.quick, "workers": rows}


def markdown(result: Result) -> str:
    """The result as text with a Markdown table."""
    rows = result["workers"]
    first = next(iter(rows.values()))
    lines = [
        f"{result['cpu']}; {result['videos']} videos, {first['shots']} shots, {first['frames']} labelled frames, "
        f"{first['bytes'] / first['frames']:.0f} bytes a frame; engine {result['engine']}, 1 thread a worker",
        "",
        "| workers | shots, frames/s | labels, frames/s | times the first |",
        "|---|---|---|---|",
    ]
    for workers, row in rows.items():
        speed, base = row["frames_per_second"], first["frames_per_second"]
        lines.append(
            f"| {workers} | {speed['shots']:.1f} | {speed['label']:.2f} | {speed['label'] / base['label']:.2f} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="folder of videos")
    parser.add_argument("--videos", type=int, help="how many of them [12]")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--engine", choices=["local", "ray"], default="local")
    parser.add_argument("--quick", action="store_true", help="tiny sizes; the numbers mean nothing")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    args.videos = args.videos or (3 if args.quick else 12)
    try:
        result = compare(args)
    except InputError as error:
        parser.error(str(error))
    print(json.dumps(result, indent=2) if args.json else markdown(result))


if __name__ == "__main__":
    main()
