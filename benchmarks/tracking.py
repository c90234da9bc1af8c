"""What following points costs: beside FGVC's configuration, over a long video, by number of points and size of frame.

    python benchmarks/tracking.py                     three tables
    python benchmarks/tracking.py --json              the same for machines
    python benchmarks/tracking.py --quick             tiny sizes, to see that it runs; the numbers mean nothing

**speed**: frames a second end to end (decode an H.264 file, encode, propagate, read out) of the default model and of
FGVC's encoder with FGVC's label propagation through our fast path. FGVC is timed from frame 7 on, when its memory of 6
key frames is full; its weights are random, which costs the same, and it reads out our way, which is cheaper than the
published way. Both take the precision that is chosen for this processor.

**memory**: peak resident memory of the default model after 200 frames and after 5,000 frames of one long video.

**cost**: milliseconds a frame of the default model, decoding left out, frames worked on at their own size.

Everything measured runs in a process of its own, where the allocator keeps freed memory as on the command line.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

if __name__ == "__main__":  # so that it finds its neighbours as a script too
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.propagation import cpu, peak
from samepoint.datasets.synthetic import ClipSettings, SyntheticClips
from samepoint.models.network import PointNetwork
from samepoint.models.precision import prefers_bf16
from samepoint.models.resnet import ResNet
from samepoint.models.weights import TABLE, load_model
from samepoint.process import keep_freed_memory
from samepoint.structures import Queries, Video
from samepoint.tracking import PointTracker, PropagatedPoints, PropagationSettings
from samepoint.viz.writer import VideoWriter

Size = tuple[int, int]  # (height, width)
Result = dict[str, Any]

PARTS = ("speed", "memory", "cost")
FGVC_FULL = 7  # frames until FGVC's memory is full and everything is compiled
SIZES: list[Size] = [(240, 320), (360, 640), (480, 854), (720, 1280)]
COUNTS = (1, 16, 256, 1024, 4096)  # squares: the points are a grid
WARM = 2  # steps before those that count


def frames_of(size: Size, count: int) -> Iterator[np.ndarray]:
    """A rendered clip of 24 frames, forth and back for as long as is wanted."""
    clip = SyntheticClips(ClipSettings(frames=24, size=size, speed=(0.5, 6.0)), seed=5).clip(0)
    there_and_back = [*range(24), *range(22, 0, -1)]
    for index in range(count):
        yield clip.frames[there_and_back[index % len(there_and_back)]]


def write_video(path: Path, size: Size, count: int) -> Path:
    with VideoWriter(path, 25) as writer:
        for frame in frames_of(size, count):
            writer.write(frame)
    return path


def default_network() -> PointNetwork:
    """The model that is shipped; without its file one of the same shape, which costs the same."""
    if TABLE["samepoint-base"].path.is_file():
        return load_model("samepoint-base")
    torch.manual_seed(0)
    return PointNetwork()


def default_tracker(short_side: int | None) -> PointTracker:
    return PointTracker(default_network(), short_side=short_side)


def fgvc_tracker() -> PointTracker:
    """FGVC's ResNet-18 and settings, at the frame's own size."""
    torch.manual_seed(0)
    network = ResNet.fgvc()
    settings = PropagationSettings(dtype=torch.bfloat16 if prefers_bf16() else torch.float32)
    return PointTracker(network, method=PropagatedPoints(network.lattices, settings), short_side=None)


def grid(points: int, size: Size) -> Queries:
    return Queries.grid(math.isqrt(points), size)


def measure_speed(tracker: str, video: str, points: int, skipped: int, timed: int) -> Result:
    """Seconds of each of the ``timed`` frames after the first ``skipped``, decoding included."""
    chosen = fgvc_tracker() if tracker == "fgvc" else default_tracker(None)
    clip = Video(video)
    chosen.add(grid(points, clip.size))
    ends = []
    for frame in clip.frames(0, skipped + timed):
        chosen.step(frame)
        ends.append(time.perf_counter())
    seconds = np.diff(ends)[skipped - 1 :]
    return {"seconds": seconds.tolist(), "peak_bytes": peak()}


def measure_memory(video: str, points: int, frames: int) -> Result:
    """Peak of the resident bytes after so many frames."""
    tracker = default_tracker(None)
    clip = Video(video)
    tracker.add(grid(points, clip.size))
    for frame in clip.frames(0, frames):
        tracker.step(frame)
    return {"frames": tracker.frame + 1, "peak_bytes": peak()}


def measure_cost(size: Size, counts: list[int], repeats: int) -> Result:
    """Median milliseconds a step for each number of points."""
    network = default_network()
    # Rendered at one size for all, so that every size shows the same motion.
    frames = [cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA) for frame in frames_of((480, 854), 4)]
    result = {}
    for count in counts:
        tracker = PointTracker(network, short_side=None)
        tracker.add(grid(count, size))
        seconds = []
        for index in range(1 + WARM + repeats):
            start = time.perf_counter()
            tracker.step(frames[index % len(frames)])
            seconds.append(time.perf_counter() - start)
        result[str(count)] = float(np.median(seconds[1 + WARM :])) * 1000
    return {"milliseconds": result}


def measure(job: Result) -> Result:
    """Do a job, ``{"part": ..., arguments}``, in this process."""
    work = {"speed": measure_speed, "memory": measure_memory, "cost": measure_cost}
    arguments = {name: value for name, value in job.items() if name != "part"}
    return work[job["part"]](**arguments)


def in_process(job: Result, threads: int, script: str = __file__) -> Result:
    """What ``script`` prints when it measures a job in a process of its own."""
    command = [sys.executable, script, "--threads", str(threads), "--measure", json.dumps(job)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compare_speed(args: argparse.Namespace, folder: Path) -> Result:
    size, timed = ((64, 96), 2) if args.quick else ((480, 854), 24)
    points = 16 if args.quick else 256
    video = str(write_video(folder / "speed.mp4", size, FGVC_FULL + timed))
    jobs = {"samepoint": timed, "fgvc": min(timed, 4)}
    result: Result = {"size": f"{size[1]}x{size[0]}", "points": points}
    for tracker, frames in jobs.items():
        job = {"part": "speed", "tracker": tracker, "video": video, "points": points, "skipped": FGVC_FULL}
        got = in_process({**job, "timed": frames}, args.threads)
        result[tracker] = {
            "frames_per_second": len(got["seconds"]) / sum(got["seconds"]),
            "median_seconds": float(np.median(got["seconds"])),
            "timed_frames": len(got["seconds"]),
            "peak_mib": got["peak_bytes"] / 2**20,
        }
    ours, theirs = result["samepoint"], result["fgvc"]
    result["speedup"] = ours["frames_per_second"] / theirs["frames_per_second"]
    result["median_speedup"] = theirs["median_seconds"] / ours["median_seconds"]
    return result


def compare_memory(args: argparse.Namespace, folder: Path) -> Result:
    size = (48, 64) if args.quick else (240, 320)
    early, late = (4, 10) if args.quick else (200, 5000)
    points = 16 if args.quick else 64
    video = str(write_video(folder / "memory.mp4", size, late))
    peaks = {}
    for frames in (early, late):
        got = in_process({"part": "memory", "video": video, "points": points, "frames": frames}, args.threads)
        peaks[str(got["frames"])] = got["peak_bytes"] / 2**20
    return {
        "size": f"{size[1]}x{size[0]}",
        "points": points,
        "peak_mib": peaks,
        "memory_ratio": peaks[str(late)] / peaks[str(early)],
    }


def compare_cost(args: argparse.Namespace) -> Result:
    sizes, counts, repeats = (SIZES, COUNTS, 5) if not args.quick else ([(48, 64)], (1, 16), 1)
    table = {}
    for size in sizes:
        job = {"part": "cost", "size": size, "counts": list(counts), "repeats": repeats}
        table[f"{size[1]}x{size[0]}"] = in_process(job, args.threads)["milliseconds"]
    return {"milliseconds": table}


def compare(args: argparse.Namespace) -> Result:
    known = TABLE["samepoint-base"].path.is_file()
    result: Result = {
        **cpu(),
        "threads": args.threads,
        "torch": torch.__version__,
        "precision": "bfloat16" if prefers_bf16() else "float32",
        "weights": "samepoint-base" if known else "random, which costs the same: samepoint-base is not here",
        "quick": args.quick,
    }
    if hasattr(os, "getloadavg"):
        result["load_average"] = round(os.getloadavg()[0], 2)
    with tempfile.TemporaryDirectory() as folder:
        if "speed" in args.parts:
            result["speed"] = compare_speed(args, Path(folder))
            result["speedup"] = result["speed"]["speedup"]
        if "memory" in args.parts:
            result["memory"] = compare_memory(args, Path(folder))
            result["memory_ratio"] = result["memory"]["memory_ratio"]
        if "cost" in args.parts:
            result["cost"] = compare_cost(args)
    return result


def markdown(result: Result) -> str:
    """The result as text with Markdown tables."""
    lines = [
        f"{result['cpu']}, {result['precision']}, {result['threads']} threads, load {result.get('load_average')}, "
        f"torch {result['torch']}; weights: {result['weights']}",
    ]
    if speed := result.get("speed"):
        lines += ["", f"End to end, {speed['size']}, {speed['points']} points:", ""]
        lines += ["| tracker | frames a second | s a frame, median | peak MiB |", "|---|---|---|---|"]
        for name in ("samepoint", "fgvc"):
            row = speed[name]
            lines += [
                f"| {name} | {row['frames_per_second']:.2f} | {row['median_seconds']:.3f} | {row['peak_mib']:.0f} |"
            ]
        lines += ["", f"{speed['speedup']:.1f} times as fast (by the median frame {speed['median_speedup']:.1f})"]
    if memory := result.get("memory"):
        lines += ["", f"Peak memory, {memory['size']}, {memory['points']} points:", "", "| frames | MiB |", "|---|---|"]
        lines += [f"| {frames} | {mib:.1f} |" for frames, mib in memory["peak_mib"].items()]
        lines += ["", f"ratio {memory['memory_ratio']:.3f}"]
    if cost := result.get("cost"):
        table = cost["milliseconds"]
        counts = list(next(iter(table.values())))
        lines += ["", "Milliseconds a frame:", "", f"| frame | {' | '.join(f'{c} points' for c in counts)} |"]
        lines += ["|---" * (len(counts) + 1) + "|"]
        lines += [f"| {size} | {' | '.join(f'{row[c]:.0f}' for c in counts)} |" for size, row in table.items()]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="only these")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="tiny sizes; the numbers mean nothing")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.measure:
        keep_freed_memory()
        torch.set_num_threads(args.threads)
        print(json.dumps(measure(json.loads(args.measure))))
        return
    result = compare(args)
    print(json.dumps(result, indent=2) if args.json else markdown(result))


if __name__ == "__main__":
    main()
