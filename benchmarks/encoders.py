"""What the encoders cost: milliseconds a frame from uint8 RGB to maps, each at the precision chosen automatically.

    python -m benchmarks.encoders samepoint-base dinov2_vits14.safetensors [--size 480 854] [--json]

Times are medians; the models take turns, so that what else the machine does falls on all of them. Ratios are to the
first.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time

import numpy as np
import torch

from samepoint.errors import InputError
from samepoint.models.features import load_encoder
from samepoint.process import keep_freed_memory
from samepoint.tracking.frames import FrameEncoder


def measure(models: list[str], size: tuple[int, int], repeats: int) -> dict[str, dict[str, float | bool]]:
    """Median milliseconds of each model for a frame of ``size`` (H, W)."""
    frames = np.random.default_rng(0).integers(0, 256, (repeats + 1, *size, 3), dtype=np.uint8)
    encoders = {name: FrameEncoder(load_encoder(name)) for name in models}
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for frame in frames:
        for name, encoder in encoders.items():
            start = time.perf_counter()
            encoder.batch(frame)
            seconds[name].append(time.perf_counter() - start)
    medians = {name: 1000 * statistics.median(taken[1:]) for name, taken in seconds.items()}  # the first warms up
    first = medians[models[0]]
    return {
        name: {"ms": median, "ratio": median / first, "bf16": encoders[name].bf16} for name, median in medians.items()
    }


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="names or files")
    parser.add_argument("--size", nargs=2, type=int, default=(480, 854), metavar=("H", "W"))
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    try:
        found = measure(options.models, tuple(options.size), options.repeats)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(found))
        return 0
    print("| encoder | ms a frame | times the first |\n|---|---:|---:|")
    for name, row in found.items():
        print(f"| {name} | {row['ms']:.1f} | {row['ratio']:.1f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
