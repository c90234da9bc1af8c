"""What following masks costs over a long video: peak memory after few and after many frames, and seconds a frame.

    python benchmarks/segment_memory.py               854x480, 2 objects, 100 and 2,000 frames
    python benchmarks/segment_memory.py --json        the same for machines
    python benchmarks/segment_memory.py --quick       tiny sizes, to see that it runs; the numbers mean nothing

As the command does it: decode an H.264 file, follow, write each frame's PNG. Each length in a process of its own, where
the allocator keeps freed memory as on the command line.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

if __name__ == "__main__":  # so that it finds its neighbours as a script too
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.propagation import cpu, peak
from benchmarks.tracking import Size, in_process, write_video
from samepoint.process import keep_freed_memory
from samepoint.structures import Video
from samepoint.tracking import MaskSettings, MaskTracker
from samepoint.tracking.mask_folder import segment_into

Result = dict[str, Any]


def boxes(size: Size, objects: int) -> np.ndarray:
    """Objects side by side, together the middle half of the frame's rows."""
    labels = np.zeros(size, np.uint8)
    for number, columns in enumerate(np.array_split(np.arange(size[1]), 2 * objects)[::2], 1):
        labels[size[0] // 4 : 3 * size[0] // 4, columns] = number
    return labels


def measure(job: Result) -> Result:
    """Follow the objects through the first frames of a video, into a folder, in this process."""
    clip = Video(job["video"])[: job["frames"]]
    tracker = MaskTracker.from_pretrained(settings=MaskSettings(size=job["short_side"]))
    masks = {0: boxes(clip.size, job["objects"])}
    began = time.perf_counter()
    files, _ = segment_into(Path(job["output"]), clip, masks, tracker, {})
    seconds = time.perf_counter() - began
    return {"frames": len(files), "seconds_per_frame": seconds / len(files), "peak_bytes": peak()}


def compare(args: argparse.Namespace) -> Result:
    size: Size = (48, 64) if args.quick else (480, 854)
    lengths = (4, 10) if args.quick else (100, args.frames)
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        video = str(write_video(Path(folder) / "clip.mp4", size, lengths[-1]))
        for frames in lengths:
            job = {"video": video, "frames": frames, "objects": args.objects, "short_side": size[0]}
            got = in_process({**job, "output": str(Path(folder) / str(frames))}, args.threads, __file__)
            rows[str(got["frames"])] = {"peak_mib": got["peak_bytes"] / 2**20, "seconds": got["seconds_per_frame"]}
    first, last = (rows[str(frames)]["peak_mib"] for frames in lengths)
    return {
        **cpu(),
        "threads": args.threads,
        "torch": torch.__version__,
        "size": f"{size[1]}x{size[0]}",
        "objects": args.objects,
        "quick": args.quick,
        "frames": rows,
        "memory_ratio": last / first,
    }


def markdown(result: Result) -> str:
    """The result as text with a Markdown table."""
    lines = [
        f"{result['cpu']}, {result['threads']} threads, torch {result['torch']}; {result['size']}, "
        f"{result['objects']} objects",
        "",
        "| frames | peak MiB | s a frame |",
        "|---|---|---|",
    ]
    lines += [
        f"| {frames} | {row['peak_mib']:.1f} | {row['seconds']:.3f} |" for frames, row in result["frames"].items()
    ]
    return "\n".join([*lines, "", f"ratio of peaks {result['memory_ratio']:.3f}"])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=2)
    parser.add_argument("--frames", type=int, default=2000, help="of the longer video")
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
