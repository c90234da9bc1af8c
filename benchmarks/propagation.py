"""Speed and memory of label propagation: the operator's paths beside dense masked attention.

    python benchmarks/propagation.py            a table
    python benchmarks/propagation.py --json     the same for machines

Each path runs in a process of its own, on the same random features, 2 threads unless told otherwise. A first call at
full size gives the peak memory (what the process grows by, inputs and libraries already loaded; a small call before
it has compiled and loaded the code) and the output that is compared; the fastest of the calls after it gives the time.
All paths start from raw features: normalising them is part of the time. "dense" is what the field's code does: the
affinity of a chunk of query cells to all cells of all key frames, -inf outside a mask made from the distances between
all pairs of cells, top-k, softmax, gather. Its mask is made beforehand and not timed; it counts as memory.

"coarse-to-fine" is measured beside the windowed search on other features, of a scene that moves by whole coarse cells
of 4x4 fine ones, so that coarse matches mean something: "window" searches the whole window, "fine R" only the fine
cells within R rows and columns of where the coarse parent was found. The coarse search is part of the time.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

TEMPERATURE = 0.07
RATIO = 4  # fine cells to a coarse one, along one side
FINE = (12, 4)  # fine windows of the coarse-to-fine search: the paper's, and one that saves time
DENSE_STEP = 512  # query cells of a chunk, as published for 128x128 cells


def dense_mask(height: int, width: int, radius: float) -> Tensor:
    """Bool (cells, cells): true outside the circle."""
    axes = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    grid = torch.stack(axes, dim=-1).reshape(-1, 2)
    return torch.cdist(grid, grid, compute_mode="donot_use_mm_for_euclid_dist") >= radius


def dense(query: Tensor, keys: Tensor, values: Tensor, outside: Tensor, topk: int) -> Tensor:
    """query (C, H, W), keys (C, T, H, W), values (V, T, H, W): (V, H, W)."""
    size = query.shape[1:]
    frames, cells = keys.shape[1], size[0] * size[1]
    queries = torch.nn.functional.normalize(query.flatten(1), dim=0)
    keys = torch.nn.functional.normalize(keys.flatten(1), dim=0)
    values = values.flatten(1)
    out = []
    for start in range(0, cells, DENSE_STEP):
        similarity = torch.einsum("cq,ck->qk", queries[:, start : start + DENSE_STEP], keys)
        masked = similarity.view(-1, frames, cells)
        masked.masked_fill_(outside[start : start + DENSE_STEP, None], -math.inf)
        best, index = similarity.topk(topk, dim=1)
        weights = (best / TEMPERATURE).softmax(dim=1)
        out.append((values[:, index] * weights).sum(dim=2))
    return torch.cat(out, dim=1).unflatten(1, size)


def peak_reset() -> int:
    """Bytes resident now; the peak counts from here on where the system allows."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return peak()
    return peak()


def peak() -> int:
    """Peak of the resident bytes."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def scene(args: argparse.Namespace, height: int, width: int) -> list[list[Tensor]]:
    """Of a query and its keys: fine maps, coarse ones, whose cells are the means of 4x4 fine ones, and values.

    All move alike: a cell looks equally like all its past places, and whichever of them is chosen carries the same.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, args.channels, height, width, generator=generator)
    base = torch.nn.functional.avg_pool2d(noise, 5, 1, 2)[0] + 0.1 * noise[0]
    values = torch.rand(args.values, height, width, generator=generator)
    moves = [(0, 0), *((RATIO * (t % 3 - 1), RATIO * (t // 3 % 3 - 1)) for t in range(args.keys))]
    fine = [torch.roll(base, move, (1, 2)) for move in moves]
    coarse = [torch.nn.functional.avg_pool2d(each[None], RATIO)[0] for each in fine]
    return [fine, coarse, [torch.roll(values, move, (1, 2)) for move in moves]]


def guided_work(path: str, args: argparse.Namespace, height: int, width: int) -> Callable[[], Tensor]:
    """The windowed search ("window") or the coarse-to-fine one ("fine R") on a moving scene."""
    from samepoint.correspondence import Window, affinity, propagate
    from samepoint.correspondence.coarse_to_fine import affinity_coarse_to_fine, coarser
    from samepoint.geometry import Lattice

    (query, *keys), (coarse_query, *coarse_keys), (_, *values) = scene(args, height, width)
    lattices = Lattice(RATIO, RATIO / 2), Lattice(1)
    window = Window.circle(args.radius)

    def run() -> Tensor:
        if path == "window":
            found = affinity(query, keys, window, args.topk, TEMPERATURE, path="cpu")
        else:
            fine = Window.square(int(path.removeprefix("fine ")))
            found = affinity_coarse_to_fine(
                query, keys, coarse_query, coarse_keys, lattices, coarser(window, *lattices), fine, 1, args.topk,
                TEMPERATURE, path="cpu",
            )  # fmt: skip
        return propagate(found, values)

    return run


def work(path: str, args: argparse.Namespace, seed: int, side: int | None = None) -> Callable[[], Tensor]:
    """The call to measure; its inputs are made here."""
    height, width = (side, side) if side else (args.height, args.width)
    if path == "window" or path.startswith("fine "):
        return guided_work(path, args, height, width)
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(args.channels, height, width, generator=generator)
    keys = torch.randn(args.keys, args.channels, height, width, generator=generator)
    values = torch.rand(args.keys, args.values, height, width, generator=generator)
    if path == "dense":
        keys, values = (each.transpose(0, 1).contiguous() for each in (keys, values))
        made: list[Tensor] = []

        def run_dense() -> Tensor:
            if not made:
                made.append(dense_mask(height, width, args.radius))
            return dense(query, keys, values, made[0], args.topk)

        return run_dense
    from samepoint.correspondence import Window, affinity, propagate

    window = Window.circle(args.radius)
    dtype = torch.bfloat16 if path == "bf16" else torch.float32
    which = "torch" if path == "torch" else "cpu"

    def run() -> Tensor:
        found = affinity(query, keys, window, args.topk, TEMPERATURE, dtype=dtype, path=which)
        return propagate(found, values)

    return run


def measure(path: str, args: argparse.Namespace, output: Path) -> None:
    """In the process of one path: write its output, print its numbers."""
    torch.set_num_threads(args.threads)
    with torch.inference_mode():
        work(path, args, 1, side=8)()
        run = work(path, args, 0)
        before = peak_reset()
        result = run()
        grown = peak() - before
        np.save(output, result.numpy())
        del result
        seconds = []
        for _ in range(args.dense_repeats if path in ("dense", "torch") else args.repeats):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": min(seconds), "median_seconds": float(np.median(seconds)), "peak_bytes": grown}))


def in_process(path: str, args: argparse.Namespace, folder: Path) -> tuple[dict, np.ndarray]:
    output = folder / f"{path}.npy"
    command = [sys.executable, __file__, *sys.argv[1:], "--measure", path, "--output", str(output)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1]), np.load(output)


def cpu() -> dict:
    model, flags = platform.processor() or platform.machine(), ""
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = dict(line.split(":", 1) for line in information.read_text().splitlines() if ":" in line)
        lines = {name.strip(): value.strip() for name, value in lines.items()}
        model = f"{lines.get('model name', model)} (family {lines.get('cpu family')}, model {lines.get('model')})"
        flags = lines.get("flags", "")
    return {"cpu": model, "avx512": "avx512f" in flags, "bf16_instructions": "avx512_bf16" in flags.split()}


def compare(args: argparse.Namespace) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        paths = ["dense", "fp32", "bf16", *(["torch"] if args.torch else [])]
        runs = {path: in_process(path, args, Path(folder)) for path in paths}
        guided = {path: in_process(path, args, Path(folder)) for path in ("window", *(f"fine {r}" for r in FINE))}
    reference = runs["dense"][1]
    result: dict = {**cpu(), "threads": args.threads, "torch": torch.__version__}
    if hasattr(os, "getloadavg"):
        result["load_average"] = round(os.getloadavg()[0], 2)
    for name in ("height", "width", "channels", "keys", "radius", "topk", "values"):
        result[name] = getattr(args, name)
    for path, (numbers, output) in runs.items():
        result[f"seconds_{path}"] = numbers["seconds"]
        result[f"median_seconds_{path}"] = numbers["median_seconds"]
        result[f"peak_mib_{path}"] = numbers["peak_bytes"] / 2**20
        if path != "dense":
            result[f"speedup_{path}"] = runs["dense"][0]["seconds"] / numbers["seconds"]
            result[f"max_error_{path}"] = float(np.abs(output - reference).max())
            result[f"mean_error_{path}"] = float(np.abs(output - reference).mean())
    result["coarse_to_fine"] = {}
    for path, (numbers, output) in guided.items():
        error = np.abs(output - guided["window"][1]).max(axis=0)
        result["coarse_to_fine"][path] = {
            "seconds": numbers["seconds"],
            "median_seconds": numbers["median_seconds"],
            "peak_mib": numbers["peak_bytes"] / 2**20,
            "speedup": guided["window"][0]["seconds"] / numbers["seconds"],
            "same_cells": float((error < 1e-3).mean()),
            "mean_error": float(error.mean()),
        }
    result["memory_ratio"] = result["peak_mib_dense"] / max(result["peak_mib_fp32"], result["peak_mib_bf16"])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (
        ("height", 128), ("width", 128), ("channels", 256), ("keys", 6), ("topk", 10), ("values", 20),
        ("threads", 2), ("repeats", 9), ("dense-repeats", 2),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--radius", type=float, default=15.0)
    parser.add_argument("--torch", action="store_true", help="measure the portable path too")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(args.measure, args, args.output)
        return
    result = compare(args)
    if args.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{result['cpu']}, bf16 instructions: {'yes' if result['bf16_instructions'] else 'no'}, ", end="")
    print(f"{args.threads} threads, load {result.get('load_average')}, torch {result['torch']}")
    print(f"{'path':6} {'seconds':>9} {'median':>9} {'speed-up':>9} {'max error':>10} {'peak MiB':>9}")
    for path in ("dense", "torch", "fp32", "bf16"):
        if f"seconds_{path}" in result:
            speedup, error = result.get(f"speedup_{path}", 1.0), result.get(f"max_error_{path}", 0.0)
            print(f"{path:6} {result[f'seconds_{path}']:9.3f} {result[f'median_seconds_{path}']:9.3f}", end="")
            print(f" {speedup:9.1f} {error:10.1e} {result[f'peak_mib_{path}']:9.1f}")
    print(f"{'path':8} {'seconds':>9} {'median':>9} {'speed-up':>9} {'same cells':>10} {'peak MiB':>9}")
    for path, row in result["coarse_to_fine"].items():
        print(f"{path:8} {row['seconds']:9.3f} {row['median_seconds']:9.3f} {row['speedup']:9.1f}", end="")
        print(f" {row['same_cells']:10.1%} {row['peak_mib']:9.1f}")
    print(f"memory ratio, dense to the larger of fp32 and bf16: {result['memory_ratio']:.1f}")


if __name__ == "__main__":
    main()
