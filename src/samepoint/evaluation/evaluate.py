"""Predict, then score: a benchmark's result as one JSON file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import samepoint
from samepoint.errors import InputError, MissingExtraError
from samepoint.evaluation.benchmarks import Asked, Benchmark, Scores, make
from samepoint.evaluation.predictions import Predictions
from samepoint.io.atomic import atomic_write, check_writable

Progress = Callable[[int, "int | None"], None]
Result = dict[str, Any]


def evaluate(
    benchmark: str,
    asked: Asked,
    output: Path,
    *,
    limit: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Result | None:
    """Evaluate a model on a benchmark and write the result to ``output``.

    Predictions come first, one file an item, in the folder ``<output's stem>.predictions`` beside it: what is there
    already with the same settings is not made again, so that an interrupted run goes on, and scoring again needs no
    model. Processes started together (``accelerate launch``) share the items; the first one scores.

    Args:
        benchmark: one of ``samepoint.evaluation.benchmarks.NAMES``.
        asked: data, model and protocols.
        output: the JSON file.
        limit: only so many items, from the first.
        overwrite: replace predictions that other settings made.
        progress: called after each item with the items done and in all.

    Returns:
        What was written; None in the processes that only helped.

    Raises:
        InputError: nothing to evaluate, an unknown name, predictions of other settings.
    """
    check_writable(output)
    if limit is not None and limit < 1:
        raise InputError(f"--limit {limit}: expected at least 1 item")
    tasks = make(benchmark, asked)
    names = {task: one.names()[:limit] for task, one in tasks.items()}
    if not any(names.values()):
        raise InputError(f"{asked.root}: nothing of {benchmark} to evaluate")
    folder = output.with_name(f"{output.stem}.predictions")
    settings = {
        "benchmark": benchmark,
        "model": asked.model.identity.name,
        "sha256": asked.model.identity.sha256,
        "tasks": {task: one.settings() for task, one in tasks.items()},
    }
    with _company() as (rank, world, wait):
        store = Predictions(folder, settings, overwrite=overwrite and rank == 0)
        wait()
        done, total = 0, sum(map(len, names.values()))
        for task, one in tasks.items():
            mine = [name for name in names[task][rank::world] if not store.has(f"{task}/{name}")]
            done += len(names[task][rank::world]) - len(mine)
            for item in one.items(mine) if mine else ():
                store.make(f"{task}/{item.name}", lambda one=one, item=item: one.predict(item))  # type: ignore[misc]
                done += 1
                if progress:
                    progress(done, total if world == 1 else None)
        wait()
        if rank:
            return None
    return _write(benchmark, asked, tasks, names, store, settings, output)


def _write(
    benchmark: str,
    asked: Asked,
    tasks: dict[str, Benchmark],
    names: dict[str, tuple[str, ...]],
    store: Predictions,
    settings: dict[str, Any],
    output: Path,
) -> Result:
    seconds, peak = 0.0, 0
    found: list[list[Scores]] = []
    for task, one in tasks.items():
        if not names[task]:
            continue
        scorer = one.scorer()
        for item in one.items(names[task]):
            arrays = store.load(f"{task}/{item.name}")
            seconds += float(arrays.pop("seconds", 0.0))
            peak = max(peak, int(arrays.pop("peak_memory", 0)))
            scorer.update(item, arrays)
        found.append(scorer.scores())
    (main, *others), *more = found
    for scores in more:
        main.join(scores[0])
    first = next(iter(tasks.values()))
    result: Result = {
        "benchmark": benchmark,
        "protocol": {**main.protocol, "settings": next(iter(settings["tasks"].values())).get("name")},
        "found": max(map(len, names.values())),
        "missing": list(first.missing()),
        "metrics": main.metrics,
        "per_item": main.per_item,
        "other_protocols": {
            one.protocol["name"]: {"protocol": one.protocol, "metrics": one.metrics, "per_item": one.per_item}
            for one in others
        },
        "model": {"name": asked.model.identity.name, "sha256": asked.model.identity.sha256},
        "settings": {**settings["tasks"], "root": str(asked.root)},
        "version": samepoint.__version__,
        "seconds": round(seconds, 3),
        "peak_memory": peak or None,
        "predictions": store.folder.name,
    }
    with atomic_write(output, "w") as file:
        file.write(json.dumps(result, indent=1, allow_nan=False) + "\n")
    return result


@contextmanager
def _company() -> Iterator[tuple[int, int, Callable[[], None]]]:
    """This process's number, how many there are, and a function that waits for all of them."""
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        yield 0, 1, lambda: None
        return
    try:
        from accelerate import PartialState
    except ImportError:
        raise MissingExtraError("Sharing the items among processes", "train") from None
    state = PartialState(cpu=True)
    try:
        yield state.process_index, state.num_processes, state.wait_for_everyone
    finally:
        state.destroy_process_group()
