"""How good and how dear the labels of a shot are, beside the published way in the same run, with the same features.

    python -m benchmarks.web_labels --data DATA_ROOT [--parts checks,rendered,jhmdb,cost] [-o results.json]
    python -m benchmarks.web_labels --quick           tiny sizes, to see that it runs; the numbers mean nothing

``DATA_ROOT`` holds ``jhmdb/dev/``. The methods are those of ``samepoint web label``: ``track`` (the default), ``chain``
and ``legacy``, SSSCWEB's: nearest neighbour over the whole frame on 256x256 cells, isolation forest for each pair of
frames. All have samepoint-base's features and the same 400 seeds a shot, a grid of 20x20; of ``legacy`` those labels
whose cells hold the seeds.

**checks**: a static clip, and an object of 12 % that moves before a still camera.

**rendered**: clips whose motion is known. Share of the seeds alive after 5, 15 and 30 frames, and how far the live
ones are from where they belong; a live label whose point is hidden counts too.

**jhmdb**: real clips with masks and joints. Live labels that began on the person and are on it still, that began off it
and are off it still; and joints carried along by the nearest label on the person.

**cost**: one shot of 40 frames through ``Labeller``, from the video file to the files on disk.

The published way takes minutes a shot: ``--clips`` and ``--reference-frames`` bound it. Where it is stopped early, the
report says so.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

if __name__ == "__main__":  # so that it finds its neighbours as a script too
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import samepoint
from benchmarks.label_scores import judge_mask, judge_rendered, pooled, pooled_masks
from benchmarks.propagation import cpu
from samepoint.datasets.jhmdb import sequences
from samepoint.datasets.synthetic import ClipSettings, FolderTextures, ProceduralTextures, SyntheticClips
from samepoint.errors import InputError
from samepoint.io.atomic import atomic_write, check_writable
from samepoint.viz.writer import VideoWriter
from samepoint.webvideo.label_file import Labels
from samepoint.webvideo.labels import Labeller, LabelSettings
from samepoint.webvideo.legacy_labels import LegacySettings, propagate_maps, read_published, write_maps

Frames = NDArray[np.uint8]
Result = dict[str, Any]
Method = Callable[[Frames], Labels]

PARTS = ("checks", "rendered", "jhmdb", "cost")
METHODS = ("track", "chain", "legacy")
AFTER = (5, 15, 30)
"""Frames after the first at which labels are judged."""
SEEDS = 20
RENDERED = ClipSettings(frames=AFTER[-1] + 1, speed=(0.1, 12.0))
RENDERED_SEED = 7_003
SHOT = 40
"""Frames of the shot whose cost is measured."""


def own_method(settings: LabelSettings) -> Method:
    """A method of ours as a function of frames."""
    labeller = Labeller(settings)
    return lambda frames: labeller.label(frames, len(frames))[0]


def published_method(settings: LegacySettings, limit: int | None = None) -> Method:
    """The published method as a function of frames, of which only ``limit`` are looked at if given.

    Unlike the published loop it takes the last frame of the shot too, as the others do.
    """
    labeller = Labeller(LabelSettings(method="legacy", legacy=settings))
    strides = [lattice.stride for lattice in labeller.lattices]
    level = strides.index(settings.stride)

    def run(frames: Frames) -> Labels:
        maps = (labeller.encoder(frame)[level] for frame in frames[:limit])
        with tempfile.TemporaryDirectory() as folder:
            write_maps(Path(folder) / "pred", propagate_maps(maps, settings))
            size = (frames.shape[1], frames.shape[2])
            return read_published(Path(folder) / "pred", size, seeds=SEEDS)

    return run


def methods(args: argparse.Namespace) -> dict[str, Method]:
    settings = LegacySettings(grid=args.grid)
    known: dict[str, Callable[[], Method]] = {
        "track": lambda: own_method(LabelSettings(method="track", seeds=SEEDS)),
        "chain": lambda: own_method(LabelSettings(method="chain", seeds=SEEDS)),
        "legacy": lambda: published_method(settings, args.reference_frames),
    }
    return {name: known[name]() for name in args.methods}


def measure_rendered(args: argparse.Namespace) -> Result:
    """Labels of rendered clips, which are drawn like those that nobody trains on."""
    textures = ProceduralTextures() if args.data is None else FolderTextures(Path(args.data) / "jhmdb" / "dev")
    settings = ClipSettings.clean(AFTER[0] + 1, size=(64, 80), speed=(0.1, 2.0)) if args.quick else RENDERED
    clips = SyntheticClips(settings, textures, RENDERED_SEED)
    after = [frames for frames in AFTER if frames < settings.frames]
    result: Result = {"clips": args.clips, "size": f"{settings.size[1]}x{settings.size[0]}", "methods": {}}
    for name, method in methods(args).items():
        start, rows = time.perf_counter(), []
        for index in range(args.clips):
            clip = clips.clip(index)
            labels = method(clip.frames)
            rows.append({str(frames): judge_rendered(labels, clip, frames) for frames in after})
        reach = _reach(name, args)
        table = {str(frames): pooled([row[str(frames)] for row in rows]) for frames in after if frames < reach}
        per_clip = [{key: pooled([one]) for key, one in row.items() if int(key) < reach} for row in rows]
        result["methods"][name] = {
            "after": table,
            "per_clip": per_clip,
            "seconds": time.perf_counter() - start,
        }
    return result


def measure_jhmdb(args: argparse.Namespace) -> Result:
    """Labels of the development clips of JHMDB."""
    names: list[str] = []
    rows: dict[str, list[dict[str, Result]]] = {name: [] for name in args.methods}
    made = methods(args)
    for clip in islice(sequences(Path(args.data) / "jhmdb" / "dev"), args.jhmdb_clips):
        frames = clip.frames()
        names.append(clip.name)
        for name, method in made.items():
            labels = method(frames)
            reach = min(len(frames), _reach(name, args))
            rows[name].append({str(t): judge_mask(labels, clip, t) for t in AFTER if t < reach})
    tables = {
        name: {str(t): pooled_masks([row[str(t)] for row in mine if str(t) in row]) for t in AFTER}
        for name, mine in rows.items()
    }
    return {"clips": names, "methods": tables}


def measure_checks(args: argparse.Namespace) -> Result:
    """What the published way cannot do: nothing moves; only an object moves."""
    size, frames = ((64, 80), 4) if args.quick else ((240, 320), 16)
    still = np.repeat(_texture(size, 0)[None], frames, axis=0)
    side = round((0.12 * size[0] * size[1]) ** 0.5)
    top, left = (size[0] - side) // 2, size[1] // 8
    moving, thing = still.copy(), _texture((side, side), 1)
    for t in range(frames):
        moving[t, top : top + side, left + 4 * t : left + 4 * t + side] = thing
    result: Result = {}
    for name, method in methods(args).items():
        labels = method(still)
        shares = labels.alive_shares(frames)
        objects = method(moving)
        own = ((objects.xy[:, 0] >= (left, top)) & (objects.xy[:, 0] < (left + side, top + side))).all(1)
        last = frames - 1
        held = objects.alive[own, last] if objects.frames == frames else np.zeros(int(own.sum()), bool)
        moved = objects.xy[own, last][held] - objects.xy[own, 0][held] if held.any() else np.zeros((0, 2))
        error = np.linalg.norm(moved - (4 * last, 0), axis=1)
        result[name] = {
            "static_alive": shares[-1],
            "object_alive": float(held.mean()),
            "object_error": float(error.mean()) if len(error) else None,
        }
    return {"size": f"{size[1]}x{size[0]}", "frames": frames, "methods": result}


def measure_cost(args: argparse.Namespace) -> Result:
    """Seconds and bytes of one shot, from the video file to the labels on disk."""
    length = 4 if args.quick else SHOT
    size = (64, 80) if args.quick else (240, 320)
    clips = SyntheticClips(ClipSettings(frames=length, size=size, speed=(0.5, 6.0), static=0.0), seed=RENDERED_SEED)
    result: Result = {"frames": length, "size": f"{size[1]}x{size[0]}", "methods": {}}
    with tempfile.TemporaryDirectory() as folder:
        with VideoWriter(Path(folder) / "shot.mkv", 25) as writer:
            for frame in clips.clip(0).frames:
                writer.write(frame)
        for name in args.methods:
            end = min(length, args.reference_frames or length) if name == "legacy" else length
            settings = LabelSettings(method=name, seeds=SEEDS, legacy=LegacySettings(grid=args.grid))
            labeller = Labeller(settings)
            labeller.encoder(clips.clip(0).frames[0])  # what is compiled or loaded at first use is not the shot's
            row = {"shot": "v/0", "video": "v", "class": "c", "index": 0, "start": 0, "end": end, "path": "shot.mkv"}
            if name != "legacy":
                labeller({**row, "end": 3}, Path(folder))
            start = time.perf_counter()
            done = labeller(row, Path(folder))
            seconds = time.perf_counter() - start
            if done["status"] != "ok":
                raise InputError(f"{name}: {done['reason']}")
            # The published loop labels all frames but the last; the first of them is not matched with another.
            share = 1.0 if end == length else (length - 2) / max(end - 2, 1)
            result["methods"][name] = {
                "seconds": seconds * share,
                "bytes": done["bytes"] * (1.0 if end == length else (length - 1) / (end - 1)),
                "measured_frames": end,
                "labelled_frames": done["frames"],
            }
    if "legacy" in result["methods"]:
        theirs = result["methods"]["legacy"]
        for ours in result["methods"].values():
            ours["times_faster"] = theirs["seconds"] / ours["seconds"]
            ours["times_smaller"] = theirs["bytes"] / ours["bytes"]
    return result


def compare(args: argparse.Namespace) -> Result:
    """All parts that are asked for."""
    result: Result = {
        **cpu(),
        "version": samepoint.__version__,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "grid": args.grid,
        "reference_frames": args.reference_frames,
        "quick": args.quick,
    }
    if hasattr(os, "getloadavg"):
        result["load_average"] = round(os.getloadavg()[0], 2)
    work = {"checks": measure_checks, "rendered": measure_rendered, "jhmdb": measure_jhmdb, "cost": measure_cost}
    for part in args.parts:
        result[part] = work[part](args)
    return result


def markdown(result: Result) -> str:
    """The result as text with Markdown tables."""
    limit = result["reference_frames"]
    lines = [
        f"{result['cpu']}, {result['threads']} threads, load {result.get('load_average')}, torch {result['torch']}; "
        f"the published way on {result['grid']}x{result['grid']} cells"
        + ("" if limit is None else f", stopped after {limit} frames")
    ]
    lines += [line for part in PARTS if part in result for line in _SECTIONS[part](result[part])]
    return "\n".join(lines)


def _checks_section(part: Result) -> Iterator[str]:
    yield from ("", f"After {part['frames']} frames of {part['size']}, alive:", "")
    yield from ("| method | static clip | object of 12 % | its error, px |", "|---|---|---|---|")
    for name, row in part["methods"].items():
        shares = f"{_percent(row['static_alive'])} | {_percent(row['object_alive'])}"
        yield f"| {name} | {shares} | {_number(row['object_error'])} |"


def _rendered_section(part: Result) -> Iterator[str]:
    yield from ("", f"{part['clips']} rendered clips, {part['size']}, error in pixels:", "")
    yield "| method | after | alive | of those visible | live but hidden | error mean | median | 95th |"
    yield "|---" * 8 + "|"
    for name, found in part["methods"].items():
        for after, row in found["after"].items():
            shares = " | ".join(_percent(row[key]) for key in ("alive", "alive_of_visible", "hidden"))
            errors = " | ".join(_number(row[key]) for key in ("error_mean", "error_median", "error_p95"))
            yield f"| {name} | {after} | {shares} | {errors} |"
    for name, found in part["methods"].items():
        yield from ("", f"{name}: {found['seconds']:.0f} s")


def _jhmdb_section(part: Result) -> Iterator[str]:
    yield from ("", f"{len(part['clips'])} development clips of JHMDB, error in pixels:", "")
    yield (
        "| method | after | clips | on the person: alive | still on it | off it: alive | still off it "
        "| joints alive | joints' error mean | median |"
    )
    yield "|---" * 10 + "|"
    for name, found in part["methods"].items():
        for after, row in found.items():
            keys = ("on_alive", "on_stays", "off_alive", "off_stays", "joints_alive")
            shares = " | ".join(_percent(row[key]) for key in keys)
            errors = f"{_number(row['joint_error_mean'])} | {_number(row['joint_error_median'])}"
            yield f"| {name} | {after} | {row['clips']} | {shares} | {errors} |"


def _cost_section(part: Result) -> Iterator[str]:
    yield from ("", f"One shot of {part['frames']} frames of {part['size']}:", "")
    yield "| method | seconds | bytes a frame | frames measured | times faster | times smaller |"
    yield "|---" * 6 + "|"
    for name, row in part["methods"].items():
        bytes_a_frame = row["bytes"] / max(part["frames"], 1)
        times = f"{_number(row.get('times_faster'))} | {_number(row.get('times_smaller'))}"
        yield f"| {name} | {row['seconds']:.2f} | {bytes_a_frame:.0f} | {row['measured_frames']} | {times} |"


_SECTIONS: Mapping[str, Callable[[Result], Iterator[str]]] = {
    "checks": _checks_section,
    "rendered": _rendered_section,
    "jhmdb": _jhmdb_section,
    "cost": _cost_section,
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="holds jhmdb/dev; without, rendered clips have made-up textures")
    parser.add_argument("--parts", default=None, help=f"some of {','.join(PARTS)}; all that the data allow")
    parser.add_argument("--methods", default=",".join(METHODS), help="some of them")
    parser.add_argument("--clips", type=int, default=8, help="rendered clips")
    parser.add_argument("--jhmdb-clips", type=int, default=None, help="of JHMDB; all without")
    parser.add_argument("--grid", type=int, default=256, help="cells a side of the published way")
    parser.add_argument("--reference-frames", type=int, default=None, help="stop the published way after so many")
    parser.add_argument("--quick", action="store_true", help="tiny sizes; the numbers mean nothing")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("-o", "--output", help="write JSON there too")
    args = parser.parse_args(arguments)
    try:
        given = args.parts or ",".join(part for part in PARTS if part != "jhmdb" or args.data)
        args.parts, args.methods = _known("part", given, PARTS), _known("method", args.methods, METHODS)
        if "jhmdb" in args.parts and args.data is None:
            raise InputError("the part jhmdb needs --data")
        if args.quick:
            args.clips, args.grid, args.jhmdb_clips = 1, 32, 1
        if args.output:
            check_writable(args.output)
        result = compare(args)
        if args.output:
            with atomic_write(args.output, "w") as file:
                file.write(json.dumps(result, indent=1, allow_nan=False) + "\n")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(result, indent=1) if args.json else markdown(result))
    return 0


def _reach(method: str, args: argparse.Namespace) -> int:
    """Frames that a method looks at."""
    return args.reference_frames if method == "legacy" and args.reference_frames else 1 << 30


@lru_cache(maxsize=8)
def _texture(size: tuple[int, int], seed: int) -> Frames:
    """Smooth random colours at several scales, uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    total = np.zeros((*size, 3), np.float32)
    for cell in (40, 12, 4):
        coarse = rng.normal(0, 1, (size[0] // cell + 2, size[1] // cell + 2, 3)).astype(np.float32)
        total += cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 36 * total, 0, 255).astype(np.uint8)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _known(what: str, text: str, known: tuple[str, ...]) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise InputError(f"unknown {what} {name!r}: expected some of {', '.join(known)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
