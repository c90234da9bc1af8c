"""Exported parts against the model in PyTorch: differences, speed, and the tracks that come of them.

    python benchmarks/export.py [--model samepoint-base] [--threads 2] [--quick] [--json]

Every file is written by ``export_part``, which measures it. Tracks are made by ``examples/track_onnx.py`` on rendered
clips whose motion is known, with each encoder, and by label propagation in PyTorch.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import runpy
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

if __name__ == "__main__":  # so that it finds its neighbours as a script too
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.propagation import cpu
from samepoint.correspondence import Window
from samepoint.datasets.synthetic import ClipSettings, SyntheticClips
from samepoint.export import Exported, PropagationOptions, export_part
from samepoint.models.features import load_features
from samepoint.structures import Queries
from samepoint.tracking import PointTracker, PropagatedPoints, PropagationSettings

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "track_onnx.py"
FILES = (
    ("encoder", "onnx", "float32"),
    ("encoder", "onnx", "fp16"),
    ("encoder", "onnx", "int8"),
    ("encoder", "exported-program", "float32"),
    ("propagation", "onnx", "float32"),
    ("propagation", "onnx", "fp16"),
    ("propagation", "exported-program", "float32"),
)
CLIPS, POINTS, SEED = 4, 64, 7_003
Result = dict[str, Any]
Files = dict[tuple[str, str, str], Exported]
Positions = np.ndarray
"""(N, T, 2) pixels."""


def export_all(model: str, folder: Path, options: PropagationOptions, quick: bool) -> Files:
    """Every file of :data:`FILES`."""
    files = {}
    for part, form, dtype in FILES:
        path = folder / f"{part}-{dtype}.{'onnx' if form == 'onnx' else 'pt2'}"
        size = (64, 96) if quick else None
        step = options if part == "propagation" else None
        files[part, form, dtype] = export_part(
            model, path, form=form, part=part, dtype=dtype, size=size, propagation=step
        )
    return files


def clips(quick: bool) -> Iterator[tuple[np.ndarray, np.ndarray, Positions, np.ndarray]]:
    """Frames, points of the first, where they go, and whether they are seen."""
    size, frames, number = ((64, 96), 4, 1) if quick else ((240, 320), 24, CLIPS)
    source = SyntheticClips(ClipSettings(frames=frames, size=size, speed=(0.02, 4.0)), seed=SEED)
    for index in range(number):
        clip = source.clip(index)
        points = clip.sample_points(np.random.default_rng([SEED, index]), POINTS)
        yield clip.frames, points, *clip.tracks(points, 0)


def by_files(encoder: Exported, step: Exported, threads: int) -> Callable[[np.ndarray, np.ndarray], Positions]:
    """Tracks as the example makes them."""
    import onnxruntime

    track = runpy.run_path(str(EXAMPLE))["track"]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    sessions = [
        onnxruntime.InferenceSession(file.path, options, providers=["CPUExecutionProvider"]) for file in (encoder, step)
    ]
    return lambda frames, points: np.stack([xy for xy, _ in track(frames, points, *sessions)], axis=1)


def by_pytorch(model: str, level: int, options: PropagationOptions) -> Callable[[np.ndarray, np.ndarray], Positions]:
    """The same procedure in PyTorch."""
    network = load_features(model).network
    settings = PropagationSettings(
        context=options.context,
        window=Window.circle(options.window),
        topk=options.topk,
        temperature=options.temperature,
        level=level,
    )

    def track(frames: np.ndarray, points: np.ndarray) -> Positions:
        method = PropagatedPoints(network.lattices, settings)
        tracker = PointTracker(network, method=method, short_side=None, dtype=torch.float32)
        tracker.add(Queries.at(points))
        return np.stack([tracker.step(frame).xy for frame in frames], axis=1)

    return track


def errors(found: Positions, reference: Positions, truth: Positions, visible: np.ndarray) -> dict[str, np.ndarray]:
    """Distances in pixels: of every position from the reference, of the visible ones from the truth.

    >>> still = np.zeros((1, 2, 2))
    >>> errors(still + 3, still, still, np.array([[True, False]]))["truth"].round(2).tolist()
    [4.24]
    """
    return {
        "reference": np.linalg.norm(found - reference, axis=2).ravel(),
        "truth": np.linalg.norm(found - truth, axis=2)[visible],
    }


def compare_tracks(model: str, files: Files, options: PropagationOptions, threads: int, quick: bool) -> Result:
    """Tracks with each encoder against those of PyTorch and against the truth."""
    step = files["propagation", "onnx", "float32"]
    level = _level(step.path)
    reference = by_pytorch(model, level, options)
    ways = {"PyTorch": reference} | {
        f"{dtype} encoder": by_files(files["encoder", "onnx", dtype], step, threads)
        for dtype in ("float32", "fp16", "int8")
    }
    collected: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in ways}
    for frames, points, truth, visible in clips(quick):
        expected = reference(frames, points)
        for name, track in ways.items():
            collected[name].append(errors(track(frames, points), expected, truth, visible))
    result = {}
    for name, parts in collected.items():
        from_reference, from_truth = (np.concatenate([part[key] for part in parts]) for key in ("reference", "truth"))
        result[name] = {
            "max_px": float(from_reference.max()),
            "mean_px": float(from_reference.mean()),
            "median_error_px": float(np.median(from_truth)),
            "within_2_px": float((from_truth < 2).mean()),
        }
    return result


def _level(path: str) -> int:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return int(json.loads(session.get_modelmeta().custom_metadata_map["samepoint"])["level"])


def compare(args: argparse.Namespace) -> Result:
    import onnxruntime

    torch.set_num_threads(args.threads)
    options = PropagationOptions(window=4.0, context=1) if args.quick else PropagationOptions()
    with tempfile.TemporaryDirectory() as folder:
        files = export_all(args.model, Path(folder), options, args.quick)
        tracks = compare_tracks(args.model, files, options, args.threads, args.quick)
    rows = [{**dataclasses.asdict(file), "speedup": file.speedup} for file in files.values()]
    for row in rows:
        row["path"] = Path(row["path"]).name
    result: Result = {
        **cpu(),
        "threads": args.threads,
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "model": args.model,
        "quick": args.quick,
        "files": rows,
        "tracks": tracks,
    }
    if hasattr(os, "getloadavg"):
        result["load_average"] = round(os.getloadavg()[0], 2)
    return result


def markdown(result: Result) -> str:
    """The result as text with Markdown tables."""

    def share(value: float | None) -> str:
        return "" if value is None else f"{100 * value:.1f} %"

    lines = [
        f"{result['model']}; {result['cpu']}, {result['threads']} threads, load {result.get('load_average')}, torch "
        f"{result['torch']}, onnxruntime {result['onnxruntime']}",
        "",
        "| part | format | dtype | MB | largest difference | mean | cosine | same match | ms | PyTorch ms | speed |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["files"]:
        cells = [row["part"], row["format"], row["dtype"], f"{row['bytes'] / 1e6:.1f}"]
        cells += [f"{row['difference']:.1e}", f"{row['mean']:.1e}"]
        cells += ["" if row["cosine"] is None else f"{row['cosine']:.5f}", share(row["matches"])]
        cells += [f"{row['file_ms']:.0f}", f"{row['torch_ms']:.0f}", f"{row['speedup']:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| tracks | from PyTorch's, largest px | mean px | from the truth, median px | within 2 px |"]
    lines += ["|---|---|---|---|---|"]
    for name, row in result["tracks"].items():
        lines.append(
            f"| {name} | {row['max_px']:.2g} | {row['mean_px']:.2g} | {row['median_error_px']:.2f} | "
            f"{share(row['within_2_px'])} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="samepoint-base", help="what samepoint weights export takes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="tiny sizes; the numbers mean nothing")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    result = compare(args)
    print(json.dumps(result, indent=2) if args.json else markdown(result))


if __name__ == "__main__":
    main()
