"""A collection that is killed again and again beside one that nothing disturbs: is there any difference?

    python benchmarks/web_kills.py --source ../shared/data/jhmdb/train        12 clips, 5 kills
    python benchmarks/web_kills.py --quick                                    tiny rendered clips

Both are ``samepoint web run`` from a folder to labels. One is ended by SIGKILL after random shares of the time that the
undisturbed one took, and begun again each time. Compared are all tables of the catalogue, but for columns that tell
times, and the label files byte by byte.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

if __name__ == "__main__":  # so that it finds its neighbours as a script too
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.web_scaling import sources
from samepoint.webvideo.catalog import Catalogue, same

QUICK = ("shots.min_side=32", "labels.seeds=4", "labels.short_side=48")


def command(source: Path, output: Path, workers: int, quick: bool) -> list[str]:
    words = [sys.executable, "-m", "samepoint.cli.main", "web", "run", "--source", source, "-o", output]
    changes = ["search.duplicates.perceptual=false", "engine.threads=1", *(QUICK if quick else ())]
    return [*map(str, words), "--workers", str(workers), *(word for each in changes for word in ("--set", each))]


def killed(words: list[str], after: float) -> bool:
    """Whether the command was ended after so many seconds; False if it was done before."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return process.wait(timeout=after) != 0
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True


def labels(folder: Path) -> dict[str, bytes]:
    """Label files by their place in the output folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("labels/**/*.npz"))}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="folder of videos; rendered ones without")
    parser.add_argument("--videos", type=int, default=12)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="tiny clips")
    args = parser.parse_args(arguments)
    draw = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "source").mkdir()
        for number, video in enumerate(sources(args, folder)):
            (folder / "source" / f"{number}{video.suffix}").symlink_to(video.resolve())
        outputs = folder / "undisturbed", folder / "killed"
        calm, hunted = (command(folder / "source", output, args.workers, args.quick) for output in outputs)
        began = time.perf_counter()
        subprocess.run(calm, check=True, stdout=subprocess.DEVNULL)
        whole = time.perf_counter() - began
        # A run that goes on has its start to make again, which is a good part of so short a one.
        moments = [draw.uniform(0.1, 0.5) * whole for _ in range(args.kills)]
        kills = [moment for moment in moments if killed(hunted, moment)]
        subprocess.run(hunted, check=True, stdout=subprocess.DEVNULL)
        differing = same(*(Catalogue(output) for output in outputs))
        files = [labels(output) for output in outputs]
    print(f"{args.videos} videos, {len(files[0])} label files; undisturbed {whole:.0f} s with {args.workers} workers")
    print(f"killed {len(kills)} times of {args.kills}, after {', '.join(f'{each:.1f}' for each in kills)} s")
    print(f"tables that differ: {', '.join(differing) or 'none'}; label files the same: {files[0] == files[1]}")
    return int(bool(differing) or files[0] != files[1])


if __name__ == "__main__":
    sys.exit(main())
