"""Whether a matcher's confidence can be believed, on pairs of different things.

python -m benchmarks.confidence --root PF-WILLOW [--model NAME] [--backbone NAME] [--pairs N] [-o FILE.json]

Pairs of one class of PF-WILLOW: is a match right (PCK@0.1 by the box of the keypoints) as often as its confidence says,
and how well does it tell right ones from wrong ones. Pairs of different classes: how often is a point said to be
there that cannot be.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from samepoint.datasets import pf_willow
from samepoint.datasets.pairs import ImagePair
from samepoint.errors import InputError
from samepoint.io.atomic import atomic_path
from samepoint.matching.pair_model import PairModel, as_pair_model
from samepoint.matching.pictures import Picture

ALPHA = 0.1
BINS = 10


def main(argv: Sequence[str] | None = None) -> int:
    """The command; gives its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--model", default=None, help="what `samepoint match` uses by default")
    parser.add_argument("--backbone", default=None)
    parser.add_argument("--pairs", type=int, default=None, help="of each kind, drawn at random; all of them by default")
    parser.add_argument("-o", "--output", type=Path, default=None)
    args = parser.parse_args(argv)
    try:
        found = measure(as_pair_model(args.model, backbone=args.backbone), args.root, args.pairs)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, value in found.items():
        print(f"{name:28} {value:.3f}")
    if args.output is not None:
        with atomic_path(args.output) as part:
            part.write_text(json.dumps({"model": args.model, **found}, indent=2), encoding="utf-8")
    return 0


def measure(model: PairModel, root: Path, count: int | None) -> dict[str, float]:
    """Figures of confidence on ``count`` pairs of each kind."""
    pairs = pf_willow.pairs(root)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(pairs))[:count]
    confidence, right, unlike = [], [], []
    for place, other in zip(order, np.roll(order, 1), strict=True):
        pair, stranger = pairs[int(place)], pairs[int(other)]
        xy, said = carried(model, pair, pair)
        side = np.ptp(pair.target_xy, axis=0).max()
        confidence.append(said)
        right.append(np.linalg.norm(xy - pair.target_xy, axis=1) <= ALPHA * side)
        if pairs.entries[int(place)].category != pairs.entries[int(other)].category:
            unlike.append(carried(model, pair, stranger)[1])
    return figures(np.concatenate(confidence), np.concatenate(right), np.concatenate(unlike))


def carried(model: PairModel, source: ImagePair, target: ImagePair) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The first picture's keypoints in the second of another pair, and their confidence."""
    rgb = source.source(), target.target()
    ours, theirs = (model.encode(Picture(each, (each.shape[0], each.shape[1]))) for each in rgb)
    found = model.carry(ours, theirs, source.source_xy.astype(np.float32))
    return found.xy, found.confidence


def figures(confidence: NDArray[np.float32], right: NDArray[np.bool_], unlike: NDArray[np.float32]) -> dict[str, float]:
    """Of N matches and whether they are right, and of the confidence of matches that cannot be right."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gap = np.abs(np.bincount(bins, confidence - right, minlength=BINS)).sum() / len(right)
    rank = np.empty(len(right))
    rank[np.argsort(confidence, kind="stable")] = np.arange(len(right))
    positive, negative = right.sum(), (~right).sum()
    area = (rank[right].sum() - positive * (positive - 1) / 2) / max(positive * negative, 1)
    return {
        "matches": float(len(right)),
        "right": float(right.mean()),
        "mean confidence": float(confidence.mean()),
        "calibration error": float(gap),
        "area under ROC": float(area),
        "answers right": float(((confidence >= 0.5) == right).mean()),
        "other class: said there": float((unlike >= 0.5).mean()),
    }


if __name__ == "__main__":
    sys.exit(main())
