"""Features judged by the same propagation of masks: J&F on DAVIS-2016, cells of one size, and seconds.

    python -m benchmarks.same_propagation samepoint-base dinov2_vits14.safetensors --data DAVIS
        [--stride S] [--appearance W] [--limit N] [--json]

Each network's coarsest map, or that whose stride is nearest to S, at the working size nearest to a short side of 480
that its cells divide; windows of 64 pixels to either side, ten key cells, five previous frames beside the first. A
transformer's cells are 14 pixels wide, our coarsest 16. With W, to which `segment` gives 1, also by what objects look
like in each network's own maps. What `samepoint segment` does stands in the results beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from samepoint.correspondence import Window
from samepoint.datasets import davis
from samepoint.errors import InputError
from samepoint.evaluation.metrics.davis import sequence_scores
from samepoint.models.features import load_features
from samepoint.process import keep_freed_memory
from samepoint.tracking import MaskSettings, segment

SHORT_SIDE, REACH = 480, 64


def settings_for(stride: int, appearance: float = 0) -> MaskSettings:
    """The propagation for a map of this stride."""
    return MaskSettings(
        size=max(1, round(SHORT_SIDE / stride)) * stride,
        strides=(stride,),
        context=5,
        window=Window.circle(REACH / stride),
        topk=10,
        appearance=appearance,
    )


def measure(
    name: str, root: Path, limit: int | None, stride: int | None = None, appearance: float = 0
) -> dict[str, Any]:
    """J&F of each sequence, their mean, and the seconds of all."""
    network = load_features(name).network
    strides = [lattice.stride for lattice in network.lattices]
    chosen = max(strides) if stride is None else min(strides, key=lambda each: abs(each - stride))
    settings = settings_for(chosen, appearance)
    scores, began, frames = {}, time.perf_counter(), 0
    for sequence in davis.sequences(root, "davis-2016")[:limit]:
        truth = np.stack([sequence.mask(index) for index in range(len(sequence.video))])
        first = np.where(truth[0] == davis.VOID, 0, truth[0]).astype(np.uint8)
        found = segment(sequence.video, first, model=network, settings=settings)
        score = sequence_scores(found.labels, truth, "davis2016")
        scores[sequence.name] = 100 * float(np.nanmean(score.J) + np.nanmean(score.F)) / 2
        frames += len(truth)
    return {
        "stride": settings.strides[0],
        "size": settings.size,
        "J&F": float(np.mean(list(scores.values()))),
        "sequences": scores,
        "seconds a frame": (time.perf_counter() - began) / frames,
    }


def markdown(found: dict[str, dict[str, Any]]) -> str:
    """A table with a row for each sequence."""
    lines = ["| | " + " | ".join(found) + " |", "|---" * (len(found) + 1) + "|"]
    for name in next(iter(found.values()))["sequences"]:
        lines.append(f"| {name} | " + " | ".join(f"{each['sequences'][name]:.1f}" for each in found.values()) + " |")
    for key, digits in (("J&F", 1), ("stride", 0), ("seconds a frame", 2)):
        lines.append(f"| {key} | " + " | ".join(f"{each[key]:.{digits}f}" for each in found.values()) + " |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="names or files")
    parser.add_argument("--data", type=Path, required=True, help="DAVIS, as `samepoint evaluate davis-2016` takes it")
    parser.add_argument("--limit", type=int, help="only the first sequences")
    parser.add_argument("--stride", type=int, help="of the map to take, or the nearest to it; the coarsest by default")
    parser.add_argument("--appearance", type=float, default=0, help="weight of what objects look like")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    try:
        how = (options.data, options.limit, options.stride, options.appearance)
        found = {name: measure(name, *how) for name in options.models}
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(found) if options.json else markdown(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
