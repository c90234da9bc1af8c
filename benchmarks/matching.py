"""What matching a pair costs: a few maps of cells at a time against the whole volume of correlations of every level.

python benchmarks/matching.py [--grids 16,24,32,48,64] [--levels 8] [--channels 256] [--threads N] [--json]

Both give the same refined correlations and flow from the same hyper-columns; the backbone is not part of it. "naive"
makes the correlations of all levels, their filtered copies and what the transformer adds to each of them on the full
grid, and takes the mean last, as published. What consensus costs on top is measured by itself, every number in a
process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from samepoint.models.aggregation import Aggregation, AggregationConfig
from samepoint.models.consensus import Consensus, ConsensusConfig, mutual
from samepoint.models.flow_readout import soft_argmax
from samepoint.models.matcher import Columns, Matcher, MatcherConfig

if __package__:
    from .propagation import cpu, peak, peak_reset
else:
    from propagation import cpu, peak, peak_reset

OWN = 16
"""Cells on each side of the aggregation's grid."""


def matcher(args: argparse.Namespace) -> Matcher:
    """One whose aggregation fits made-up hyper-columns; its backbone is not used."""
    torch.manual_seed(0)
    result = Matcher(MatcherConfig.tiny().model_copy(update={"consensus": None})).eval()
    config = AggregationConfig(grid=OWN, projection=64, heads=8)
    result.aggregation = Aggregation(OWN, [args.channels] * args.levels, config)
    torch.nn.init.normal_(result.aggregation.proj.weight, std=0.01)
    return result


def columns(args: argparse.Namespace, grid: int, seed: int) -> Columns:
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(args.levels, args.channels, 8, 8, generator=generator)

    def at(side: int) -> tuple[Tensor, ...]:
        enlarged = F.interpolate(base, (side, side), mode="bilinear", align_corners=False)
        return tuple(level[None] for level in enlarged)

    return Columns(at(grid), at(OWN))


def naive(network: Matcher, source: Columns, target: Columns) -> tuple[Tensor, Tensor]:
    """Refined correlations (1, N_s, N_t) and flow by volumes (1, L, N_s, N_t)."""

    def volume(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> Tensor:
        return torch.stack([unit(x).transpose(1, 2) @ unit(y) for x, y in zip(a, b, strict=True)], dim=1)

    def unit(level: Tensor) -> Tensor:
        return F.normalize(level.flatten(2), dim=1)

    coarse = mutual(volume(source.refining, target.refining))
    change = network.aggregation(coarse, source.refining, target.refining) - coarse  # (1, L, a a, a a)
    levels, grid = change.shape[1], source.grid
    wide = F.interpolate(change[0].unflatten(2, (OWN, OWN)), target.grid, mode="bilinear")  # (L, a a, h, w)
    wide = wide.flatten(2).transpose(1, 2).unflatten(2, (OWN, OWN))
    cells = grid[0] * grid[1]
    whole = F.interpolate(wide, grid, mode="bilinear").flatten(2).transpose(1, 2).reshape(1, levels, cells, cells)
    refined = (mutual(volume(source.matching, target.matching)) + whole).mean(dim=1)
    return refined, soft_argmax(refined, grid, target.grid, network.config.temperature, network.config.kernel)


def work(path: str, args: argparse.Namespace, grid: int) -> Callable[[], tuple[Tensor, Tensor]]:
    """The call to measure; its inputs are made here."""
    if path == "consensus":
        consensus, made = Consensus(ConsensusConfig()), torch.rand(1, grid * grid, grid * grid)
        return lambda: (consensus(made, (grid, grid), (grid, grid)), torch.zeros(1))
    network, source, target = matcher(args), columns(args, grid, 1), columns(args, grid, 2)
    if path == "naive":
        return lambda: naive(network, source, target)

    def lean() -> tuple[Tensor, Tensor]:
        output = network.relate(source, target)
        return output.refined, output.flow

    return lean


def measure(path: str, args: argparse.Namespace, grid: int, output: Path) -> None:
    """In the process of one path: write its flow and correlations, print its numbers."""
    torch.set_num_threads(args.threads)
    with torch.inference_mode():
        work(path, args, 4)()
        run = work(path, args, grid)
        before = peak_reset()
        refined, flow = run()
        grown = peak() - before
        # Of the correlations every hundredth is enough to see that they are the same.
        np.savez(output, refined=refined.flatten()[::101].numpy(), flow=flow.numpy())
        del refined, flow
        seconds = []
        for _ in range(args.repeats):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": min(seconds), "median_seconds": float(np.median(seconds)), "peak_bytes": grown}))


def in_process(path: str, args: argparse.Namespace, grid: int, folder: Path) -> tuple[dict, dict[str, np.ndarray]]:
    output = folder / f"{path}-{grid}.npz"
    command = [sys.executable, __file__, *sys.argv[1:], "--measure", f"{path},{grid}", "--output", str(output)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    with np.load(output) as made:
        return json.loads(done.stdout.splitlines()[-1]), dict(made)


def compare(args: argparse.Namespace) -> dict:
    result: dict = {**cpu(), "threads": args.threads, "torch": torch.__version__}
    if hasattr(os, "getloadavg"):
        result["load_average"] = round(os.getloadavg()[0], 2)
    result |= {"levels": args.levels, "channels": args.channels, "aggregation_grid": OWN, "grids": {}}
    with tempfile.TemporaryDirectory() as folder:
        for grid in args.grids:
            runs = {path: in_process(path, args, grid, Path(folder)) for path in ("lean", "naive", "consensus")}
            (lean, ours), (whole, theirs) = runs["lean"], runs["naive"]
            row: dict = {
                f"{name}_{path}": value
                for path, (numbers, _) in runs.items()
                for name, value in (
                    ("milliseconds", 1000 * numbers["seconds"]),
                    ("median_milliseconds", 1000 * numbers["median_seconds"]),
                    ("peak_mib", numbers["peak_bytes"] / 2**20),
                )
            }
            row["speedup"] = whole["seconds"] / lean["seconds"]
            row["memory_ratio"] = whole["peak_bytes"] / max(lean["peak_bytes"], 1)
            row["max_error_refined"] = float(np.abs(ours["refined"] - theirs["refined"]).max())
            row["max_error_flow"] = float(np.abs(ours["flow"] - theirs["flow"]).max())
            result["grids"][grid] = row
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("levels", 8), ("channels", 256), ("threads", 2), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument(
        "--grids", type=lambda text: [int(each) for each in text.split(",")], default=[16, 24, 32, 48, 64]
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.measure:
        path, grid = args.measure.split(",")
        measure(path, args, int(grid), args.output)
        return
    result = compare(args)
    if args.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{result['cpu']}, {args.threads} threads, load {result.get('load_average')}, torch {result['torch']}")
    print(f"{args.levels} levels of {args.channels} channels, refined on {OWN} x {OWN} cells")
    heads = ("grid", "ms", "MiB", "naive ms", "naive MiB", "speed-up", "less memory", "error", "consensus ms")
    print("".join(f"{head:>13}" for head in heads))
    for grid, row in result["grids"].items():
        print(f"{grid:13d}{row['milliseconds_lean']:13.1f}{row['peak_mib_lean']:13.1f}", end="")
        print(f"{row['milliseconds_naive']:13.1f}{row['peak_mib_naive']:13.1f}", end="")
        print(f"{row['speedup']:13.1f}{row['memory_ratio']:13.1f}{row['max_error_refined']:13.1e}", end="")
        print(f"{row['milliseconds_consensus']:13.1f}")


if __name__ == "__main__":
    main()
