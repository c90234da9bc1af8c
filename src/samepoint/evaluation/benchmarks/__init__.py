"""Benchmarks by name: data set, task and protocols together."""

from __future__ import annotations

from difflib import get_close_matches

from samepoint.errors import InputError
from samepoint.evaluation.benchmarks.base import Asked, Benchmark, Model, Scores

VIDEO_POINTS = ("tapvid-davis", "tapvid-kinetics", "tapvid-rgb-stacking", "robotap")
PICTURE_PAIRS = ("spair-71k", "spair-u", "pf-pascal", "pf-willow")
NAMES = (*VIDEO_POINTS, "jhmdb", "badja", "davis-2016", "davis-2017", *PICTURE_PAIRS)

__all__ = ["NAMES", "Asked", "Benchmark", "Model", "Scores", "make"]


def make(name: str, asked: Asked) -> dict[str, Benchmark]:
    """The tasks of a benchmark by name, the main one first; only JHMDB has two.

    Raises:
        InputError: unknown name or task, a protocol that the benchmark does not have, nothing at its folder.
    """
    if name not in NAMES:
        near = get_close_matches(name.lower().replace("_", "-"), NAMES, n=1)
        hint = f"did you mean {near[0]}? All: " if near else "expected one of "
        raise InputError(f"no benchmark is called {name!r}; {hint}{', '.join(NAMES)}")
    if not asked.root.is_dir():
        raise InputError(f"{asked.root}: no such folder; expected the data set of {name}")
    if asked.task is not None and name != "jhmdb":
        raise InputError(f"--task {asked.task}: {name} has one task only")
    if asked.query_mode != "first" and name not in VIDEO_POINTS:
        raise InputError(f"--query-mode {asked.query_mode}: {name} gives all queries in the first frame")
    if name in VIDEO_POINTS:
        from samepoint.evaluation.benchmarks.tapvid import TapvidBenchmark

        return {"points": TapvidBenchmark(name, asked)}
    if name == "badja":
        from samepoint.evaluation.benchmarks.joints import BadjaBenchmark

        return {"joints": BadjaBenchmark(asked)}
    if name == "jhmdb":
        return _jhmdb(asked)
    if name in ("davis-2016", "davis-2017"):
        from samepoint.evaluation.benchmarks.masks import DavisBenchmark

        return {"masks": DavisBenchmark(name, asked)}
    from samepoint.evaluation.benchmarks.pairs import PairBenchmark

    return {"pairs": PairBenchmark(name, asked)}


def _jhmdb(asked: Asked) -> dict[str, Benchmark]:
    from samepoint.evaluation.benchmarks.joints import JhmdbJoints
    from samepoint.evaluation.benchmarks.masks import JhmdbMasks

    if asked.task not in (None, "joints", "masks"):
        raise InputError(f"--task {asked.task}: jhmdb has the tasks joints and masks")
    tasks: dict[str, Benchmark] = {}
    if asked.task in (None, "joints"):
        tasks["joints"] = JhmdbJoints(asked)
    if asked.task == "masks" or (asked.task is None and asked.scoring is None):
        masks = JhmdbMasks(asked)
        if asked.task == "masks" or masks.names():
            tasks["masks"] = masks
    return tasks
