"""What each objective and each level of the search is worth, on the same small budget each.

    python -m benchmarks.ablation --data DATA_ROOT --runs RUNS [--teacher WEIGHTS] [--steps 250] [--only NAME ...]
        [-o ablation.json]

``DATA_ROOT`` holds ``jhmdb/train``, ``jhmdb/dev``, ``badja/`` and ``davis/``; without ``--teacher`` those with one
are left out; ``--only`` keeps the rows that learnt from what is named. Every variant starts from the same random
weights and sees the same rendered clips. Points are followed by plain label propagation at a short side of 320, so that
features are judged and no refiner. A run that is complete in ``RUNS`` is not trained again, one that was stopped goes
on.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy import Tracker, evaluate_badja, evaluate_jhmdb
from samepoint.correspondence import Window
from samepoint.io.atomic import atomic_write
from samepoint.models.network import PointNetwork
from samepoint.models.weights import load_model
from samepoint.process import keep_freed_memory
from samepoint.structures import Queries, Tracks
from samepoint.tracking import PropagatedPoints, PropagationSettings, track
from samepoint.training.checks import uses_teacher
from samepoint.training.config import FeaturesConfig, TeacherConfig
from samepoint.training.features import train

SHORT_SIDE = 320
COARSE, FINE = 1, 2  # maps of strides 8 and 4

SYNTHETIC: dict[str, Any] = {"matching": [0.5, 0.5, 1.0]}
RECONSTRUCTION = {"reconstruction": {"weight": 0.2, "stride": 4, "radius": 12, "normalised": True, "temperature": 0.05}}
ADVERSARY = {"adversary": {"weight": 0.2, "stride": 8, "radius": 8, "schedule": "rising"}}
TEACHER = {"relation": {"weight": 0.4, "stride": 16, "temperature": 0.05}}
SOFT = {"soft_targets": {"weight": 0.2, "stride": 8, "radius": 8}}
WALK = {"matching": [0.0, 0.0, 0.0], "random_walk": {"weight": 1.0, "stride": 8}}

OBJECTIVES: dict[str, dict[str, Any]] = {
    "synthetic only": SYNTHETIC,
    "+ reconstruction": SYNTHETIC | RECONSTRUCTION,
    "+ adversary": SYNTHETIC | RECONSTRUCTION | ADVERSARY,
    "+ teacher": SYNTHETIC | RECONSTRUCTION | ADVERSARY | TEACHER,
    "synthetic + teacher": SYNTHETIC | TEACHER,
    "synthetic + soft targets": SYNTHETIC | SOFT,
    "random walk alone": WALK,
}
SEARCHES = {
    "fine only": PropagationSettings(level=FINE, window=Window.circle(12), near=12),
    "coarse only": PropagationSettings(level=COARSE, window=Window.circle(12), near=12),
    "coarse to fine": PropagationSettings(level=FINE, coarse=COARSE, window=Window.circle(12), near=12, matches=2),
}


@dataclass(frozen=True)
class Variant:
    """One row of the table: what was learnt, and how it was searched."""

    objectives: str
    search: str


VARIANTS = [
    *(Variant(name, "fine only") for name in OBJECTIVES),
    Variant("synthetic only", "coarse only"),
    Variant("synthetic only", "coarse to fine"),
]


def configuration(
    loss: Mapping[str, Any], videos: Path, output: Path, steps: int, teacher: Path | None
) -> FeaturesConfig:
    """Of one variant: the same data, schedule and first weights for all."""
    config = FeaturesConfig.model_validate(
        {
            "output": str(output),
            "steps": steps,
            "data": {
                "videos": str(videos),
                "clips": 2,
                "frames": 4,
                "pairs": 6,
                "points": 128,
                "balanced": 0.4,
                "clip": {"layers": [3, 8], "radius": [0.1, 0.5], "speed": [0.3, 40.0], "plain": 0.1},
                "real": {"clips": 2, "frames": 4, "cache": str(output.parent / "cache")},
                "labelled": {"pairs": 1},
            },
            "loss": {"refinement": 0.0, **loss},
            "optimiser": {"rate": 1e-3, "warmup": 20},
            "calibration": {"clips": 0},
            "checkpoint_every": 50,
            "trackers": [],
        }
    )
    if teacher is None or not uses_teacher(config):
        return config
    return config.model_copy(update={"teacher": TeacherConfig(model=str(teacher), outputs=(10,))})


def follower(network: PointNetwork, settings: PropagationSettings) -> Tracker:
    """Plain label propagation by a network's maps."""

    def run(frames: np.ndarray, queries: Queries) -> Tracks:
        def method(_: object) -> PropagatedPoints:
            return PropagatedPoints(network.lattices, settings)

        return track(frames, queries, model=network, method=method, short_side=SHORT_SIDE)

    return run


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--teacher", type=Path)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--clips", type=int, default=12, help="JHMDB clips")
    parser.add_argument("--only", nargs="+", choices=OBJECTIVES, metavar="NAME", help="rows that learnt from these")
    parser.add_argument("-o", "--output", type=Path)
    asked = parser.parse_args(arguments)
    keep_freed_memory()
    rows = []
    print(
        "| learnt from | search | BADJA PCK@0.2 | JHMDB PCK@0.1 | PCK@0.2 |\n| --- | --- | ---: | ---: | ---: |",
        flush=True,
    )
    for variant in VARIANTS:
        loss = OBJECTIVES[variant.objectives]
        if asked.only and variant.objectives not in asked.only:
            continue
        folder = asked.runs / variant.objectives.replace("+", "with").strip().replace(" ", "-")
        config = configuration(loss, asked.data / "jhmdb/train", folder, asked.steps, asked.teacher)
        if uses_teacher(config) and asked.teacher is None:
            if asked.only:
                parser.error(f"--only: {variant.objectives!r} learns from a teacher; give --teacher")
            continue
        weights = folder / "model.safetensors"
        if not weights.exists():
            train(config, resume=(folder / "checkpoints" / "last.pt").exists())
        network = load_model(weights)
        tracker = follower(network, SEARCHES[variant.search])
        badja = evaluate_badja(tracker, asked.data)["metrics"]
        joints = evaluate_jhmdb(tracker, asked.data, asked.clips)["metrics"]
        row = {
            "objectives": variant.objectives,
            "search": variant.search,
            "badja": badja["PCK@0.2"],
            "jhmdb@0.1": joints["PCK@0.1"],
            "jhmdb@0.2": joints["PCK@0.2"],
        }
        rows.append(row)
        print(
            "| " + " | ".join(f"{v:.1f}" if isinstance(v, float) else str(v) for v in row.values()) + " |", flush=True
        )
    if asked.output:
        with atomic_write(asked.output, "w") as file:
            file.write(json.dumps({"steps": asked.steps, "clips": asked.clips, "rows": rows}, indent=1))


if __name__ == "__main__":
    sys.exit(main())
