"""Benchmarks by name: data set, task and protocols together."""

from __future__ import annotations

from samepoint.errors import InputError
from samepoint.evaluation.benchmarks.base import Asked, Benchmark, Model, Scores
from samepoint.evaluation.names import (
    DAVIS,
    NAMES,
    RESOLUTIONS,
    SEARCHES,
    VIDEO_POINTS,
    VIDEOS,
    check_benchmark,
)

__all__ = ["NAMES", "Asked", "Benchmark", "Model", "Scores", "make"]


def make(name: str, asked: Asked) -> dict[str, Benchmark]:
    """The tasks of a benchmark by name, the main one first; only JHMDB has two.

    Raises:
        InputError: unknown name or task, a protocol that the benchmark does not have, nothing at its folder.
    """
    check_benchmark(name)
    if not asked.root.is_dir():
        raise InputError(f"{asked.root}: no such folder; expected the data set of {name}")
    if asked.task is not None and name != "jhmdb":
        raise InputError(f"--task {asked.task}: {name} has one task only")
    if asked.query_mode != "first" and name not in VIDEO_POINTS:
        raise InputError(f"--query-mode {asked.query_mode}: {name} gives all queries in the first frame")
    if asked.resolution is not None and name not in DAVIS:
        raise InputError(f"--resolution {asked.resolution}: only {' and '.join(DAVIS)} have this choice")
    if asked.resolution not in (None, *RESOLUTIONS):
        raise InputError(f"--resolution {asked.resolution}: unknown; expected one of {', '.join(RESOLUTIONS)}")
    if asked.search is not None and name not in VIDEOS:
        raise InputError(f"--search {asked.search}: of label propagation through videos; {name} compares pictures")
    if asked.search not in (None, *SEARCHES):
        raise InputError(f"--search {asked.search}: unknown; expected one of {', '.join(SEARCHES)}")
    if name in VIDEO_POINTS:
        from samepoint.evaluation.benchmarks.tapvid import TapvidBenchmark

        return {"points": TapvidBenchmark(name, asked)}
    if name == "badja":
        from samepoint.evaluation.benchmarks.joints import BadjaBenchmark

        return {"joints": BadjaBenchmark(asked)}
    if name == "jhmdb":
        return _jhmdb(asked)
    if name in DAVIS:
        from samepoint.evaluation.benchmarks.masks import DavisBenchmark

        return {"masks": DavisBenchmark(name, asked)}
    from samepoint.evaluation.benchmarks.pairs import PairBenchmark

    return {"pairs": PairBenchmark(name, asked)}


def _jhmdb(asked: Asked) -> dict[str, Benchmark]:
    from samepoint.evaluation.benchmarks.joints import JhmdbJoints
    from samepoint.evaluation.benchmarks.masks import JhmdbMasks

    if asked.task not in (None, "joints", "masks"):
        raise InputError(f"--task {asked.task}: jhmdb has the tasks joints and masks")
    if asked.task == "masks" and asked.scoring is not None:
        raise InputError(f"--protocol {asked.scoring}: a way of scoring joints; masks have one only")
    tasks: dict[str, Benchmark] = {"joints": JhmdbJoints(asked), "masks": JhmdbMasks(asked)}
    if asked.task is not None:
        return {asked.task: tasks[asked.task]}
    return {task: one for task, one in tasks.items() if one.names()}
