"""Features judged by the same propagation of masks, cells of one size: J&F on DAVIS-2016, J on JHMDB, and seconds.

    python -m benchmarks.same_propagation samepoint-base dinov2_vits14.safetensors --data DAVIS
        [--set jhmdb] [--every N] [--stride S] [--appearance W] [--limit N] [--json]

Each network's coarsest map, or that whose stride is nearest to S, at the working size nearest to a short side of 480
that its cells divide; windows of 64 pixels to either side, ten key cells, five previous frames beside the first. A
transformer's cells are 14 pixels wide, our coarsest 16. With W, to which `segment` gives 1, also by what objects look
like in each network's own maps. What `samepoint segment` does stands in the results beside it. JHMDB's clips are those
with masks in ``DATA``; every Nth of them, or of the sequences, with ``--every``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from samepoint.correspondence import Window
from samepoint.datasets import davis, jhmdb
from samepoint.errors import InputError
from samepoint.evaluation.metrics.davis import sequence_scores
from samepoint.models.features import load_features
from samepoint.process import keep_freed_memory
from samepoint.structures import Video
from samepoint.tracking import MaskSettings, segment

SHORT_SIDE, REACH = 480, 64
SETS = {"davis-2016": "J&F", "jhmdb": "J_mean"}
"""And the figure of each: the outlines of JHMDB's puppets say little."""


def settings_for(stride: int, appearance: float = 0) -> MaskSettings:
    """The propagation for a map of this stride."""
    return MaskSettings(
        size=max(1, round(SHORT_SIDE / stride)) * stride,
        strides=(stride,),
        context=5,
        window=Window.circle(REACH / stride),
        topk=10,
        fast_window=None,
        appearance=appearance,
        trusted=None,
        own_window=None,
    )


def davis_sequences(root: Path) -> Iterator[tuple[str, Video | np.ndarray, np.ndarray]]:
    """Name, frames and masks, 255 where nothing is said."""
    for sequence in davis.sequences(root, "davis-2016"):
        yield sequence.name, sequence.video, sequence.masks()


def jhmdb_clips(root: Path) -> Iterator[tuple[str, Video | np.ndarray, np.ndarray]]:
    """The same of the clips with masks."""
    for clip in jhmdb.sequences(root):
        masks = clip.masks
        if masks is not None:
            frames = clip.frames()
            length = min(len(frames), len(masks))
            yield clip.name, frames[:length], masks[:length].astype(np.uint8)


def measure(
    name: str,
    root: Path,
    which: str = "davis-2016",
    *,
    limit: int | None = None,
    every: int = 1,
    stride: int | None = None,
    appearance: float = 0,
) -> dict[str, Any]:
    """The figure of each sequence, their mean, and the seconds of all."""
    network = load_features(name).network
    strides = [lattice.stride for lattice in network.lattices]
    chosen = max(strides) if stride is None else min(strides, key=lambda each: abs(each - stride))
    settings = settings_for(chosen, appearance)
    sequences, protocol = (davis_sequences, "davis2016") if which == "davis-2016" else (jhmdb_clips, "masks")
    scores, seconds, frames = {}, 0.0, 0
    for sequence, video, truth in islice(sequences(root), 0, None if limit is None else limit * every, every):
        first = np.where(truth[0] == davis.VOID, 0, truth[0]).astype(np.uint8)
        began = time.perf_counter()
        found = segment(video, first, model=network, settings=settings)
        seconds += time.perf_counter() - began
        scores[sequence] = 100 * sequence_scores(found.labels, truth, protocol).metrics()[SETS[which]]
        frames += len(truth)
    return {
        "stride": settings.strides[0],
        "size": settings.size,
        SETS[which]: float(np.mean(list(scores.values()))),
        "sequences": scores,
        "seconds a frame": seconds / frames,
    }


def markdown(found: dict[str, dict[str, Any]], figure: str) -> str:
    """A table with a row for each sequence."""
    lines = ["| | " + " | ".join(found) + " |", "|---" * (len(found) + 1) + "|"]
    for name in next(iter(found.values()))["sequences"]:
        lines.append(f"| {name} | " + " | ".join(f"{each['sequences'][name]:.1f}" for each in found.values()) + " |")
    for key, digits in ((figure, 1), ("stride", 0), ("seconds a frame", 2)):
        lines.append(f"| {key} | " + " | ".join(f"{each[key]:.{digits}f}" for each in found.values()) + " |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="names or files")
    parser.add_argument("--data", type=Path, required=True, help="the set's folder, as `samepoint evaluate` takes it")
    parser.add_argument("--set", choices=SETS, default="davis-2016", help="%(default)s if not given")
    parser.add_argument("--every", type=int, default=1, help="only every Nth sequence")
    parser.add_argument("--limit", type=int, help="only the first sequences")
    parser.add_argument("--stride", type=int, help="of the map to take, or the nearest to it; the coarsest by default")
    parser.add_argument("--appearance", type=float, default=0, help="weight of what objects look like")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    try:
        if options.every < 1:
            raise InputError(f"--every {options.every}: 1 or more expected")
        how = {key: getattr(options, key) for key in ("limit", "every", "stride", "appearance")}
        found = {name: measure(name, options.data, options.set, **how) for name in options.models}
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(found) if options.json else markdown(found, SETS[options.set]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
