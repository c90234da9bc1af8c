"""How many labelled clips one core renders a second.

python benchmarks/rendering.py [--textures DIR] [--clips N] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import replace

import cv2

from samepoint.datasets.synthetic import ClipSettings, FolderTextures, ProceduralTextures, SyntheticClips


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--textures", help="a folder of pictures or videos; procedural textures without it")
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()

    # One core, whatever the machine has; a benchmark owns its process and may say so for all of it.
    cv2.setNumThreads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    textures = FolderTextures(options.textures) if options.textures else ProceduralTextures()
    settings = replace(ClipSettings(), frames=options.frames, size=(options.size, options.size))
    clips = SyntheticClips(settings, textures)
    # The second pass counts: compiled code and decoded textures are there, as in all but a training's first minute.
    for index in range(options.clips):
        clips.clip(index)
    wall, work = time.perf_counter(), time.process_time()
    for index in range(options.clips):
        clips.clip(index)
    wall, work = time.perf_counter() - wall, time.process_time() - work
    result = {
        "clips_per_second": round(options.clips / wall, 2),
        "clips_per_cpu_second": round(options.clips / work, 2),
        "clips": options.clips,
        "frames": options.frames,
        "size": options.size,
        "textures": options.textures or "procedural",
    }
    if options.json:
        json.dump(result, sys.stdout)
        sys.stdout.write("\n")
        return
    print(f"{options.clips} clips of {options.frames} frames at {options.size}x{options.size} on one core")
    print(f"{result['clips_per_second']} clips a second ({result['clips_per_cpu_second']} a second of its own time)")


if __name__ == "__main__":
    main()
