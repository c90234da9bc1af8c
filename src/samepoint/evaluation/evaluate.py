"""Predict, then score: a benchmark's result as one JSON file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import samepoint
from samepoint.errors import InputError
from samepoint.evaluation.benchmarks import Asked, Benchmark, Scores, make
from samepoint.evaluation.company import company
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

    Predictions come first, one file an item, in the folder ``<output's stem>.predictions`` beside it, in it one folder
    a task. What is there already with the same settings is not made again, so that an interrupted run goes on, and
    scoring again needs no network. Processes started together (``accelerate launch``) share the items; the first one
    scores.

    Args:
        benchmark: one of ``samepoint.evaluation.names.NAMES``.
        asked: data, model and protocols.
        output: the JSON file.
        limit: only so many items, from the first.
        overwrite: make every prediction anew, whatever made those that are there; with a limit those beyond it stay
            where they were made in the same way.
        progress: called in the first process after each item with its items done and in all.

    Returns:
        What was written; None in the processes that only helped.

    Raises:
        InputError: nothing to evaluate, an unknown name, predictions of other settings, other data or another
            version, a device or network that cannot be used; nothing is written then.
    """
    with company() as us:
        if us.size > 1 and asked.model.device == "cuda":
            asked = replace(asked, model=replace(asked.model, device=f"cuda:{us.local_rank}"))
        with us.meeting():
            check_writable(output)
            tasks, names = _items(benchmark, asked, limit)
            asked.model.check_device()
            folder = output.with_name(f"{output.stem}.predictions")
            stores = {task: Predictions(folder / task, _made_by(benchmark, asked, tasks[task])) for task in tasks}
            if not overwrite:
                for store in stores.values():
                    store.check()
            # All look before one of them changes a file, and so share out the same list.
            left = [(task, name) for task in tasks for name in names[task] if overwrite or not stores[task].has(name)]
            mine = left[us.rank :: us.size]
            for task in dict.fromkeys(task for task, _ in mine):
                tasks[task].ready()  # loads the network, whose seconds would be the first item's
        with us.meeting():
            if us.rank == 0:
                for task, store in stores.items():
                    store.begin(overwrite=overwrite, items=names[task])
        with us.meeting():
            for task in {task for task, _ in left}:
                check_writable(stores[task].path("any"))
        done = 0
        for task, one in tasks.items():
            wanted = [name for of, name in mine if of == task]
            for item in one.items(wanted) if wanted else ():
                stores[task].make(item.name, lambda one=one, item=item: one.predict(item))  # type: ignore[misc]
                done += 1
                if progress and us.rank == 0:
                    progress(done, len(mine))
        with us.meeting():
            pass
        if us.rank:
            return None
    return _write(benchmark, asked, limit, tasks, names, stores, output)


def score(benchmark: str, asked: Asked, predictions: Path, output: Path, *, limit: int | None = None) -> Result:
    """Score predictions, whoever made them, and write the result to ``output``; no model is used.

    Args:
        benchmark: as for :func:`evaluate`.
        asked: data and protocols; its model is not looked at.
        predictions: a folder as :func:`evaluate` makes it: ``<task>/<item>.npz``, see ``docs/evaluate.md``.
        output: the JSON file.
        limit: only so many items, from the first.

    Raises:
        InputError: nothing to score, an unknown name, predictions that were asked for otherwise, one that is missing or
            does not fit its item.
    """
    check_writable(output)
    tasks, names = _items(benchmark, asked, limit)
    stores = {task: Predictions.found(predictions / task) for task in tasks}
    for task, store in stores.items():
        made_for = store.made_by.get("benchmark", benchmark)
        if made_for != benchmark:
            raise InputError(f"{store.folder}: holds predictions of {made_for}, not of {benchmark}")
        store.check_asked(tasks[task].asks())
    return _write(benchmark, asked, limit, tasks, names, stores, output)


def _items(benchmark: str, asked: Asked, limit: int | None) -> tuple[dict[str, Benchmark], dict[str, tuple[str, ...]]]:
    """The tasks, and of each the names of its items among the first ``limit`` ones of the set."""
    if limit is not None and limit < 1:
        raise InputError(f"--limit {limit}: expected at least 1 item")
    tasks = make(benchmark, asked)
    names = {task: one.names() for task, one in tasks.items()}
    longest_first = sorted(names.values(), key=len, reverse=True)
    chosen = frozenset(list(dict.fromkeys(chain(*longest_first)))[:limit])
    if not chosen:
        raise InputError(f"{asked.root}: nothing of {benchmark} to evaluate")
    return tasks, {task: tuple(name for name in own if name in chosen) for task, own in names.items()}


def _made_by(benchmark: str, asked: Asked, task: Benchmark) -> dict[str, Any]:
    model = asked.model.identity
    return {
        "benchmark": benchmark,
        "model": {"name": model.name, "sha256": model.sha256},
        "version": samepoint.__version__,
        "root": str(asked.root.resolve()),
        "settings": task.settings(),
    }


def _write(
    benchmark: str,
    asked: Asked,
    limit: int | None,
    tasks: Mapping[str, Benchmark],
    names: Mapping[str, tuple[str, ...]],
    stores: Mapping[str, Predictions],
    output: Path,
) -> Result:
    seconds, peak = 0.0, 0
    found: dict[str, list[Scores]] = {}
    for task, one in tasks.items():
        scorer = one.scorer()
        for item in one.items(names[task]) if names[task] else ():
            prediction = stores[task].load(item.name)
            scorer.update(item, prediction)
            seconds += prediction.cost("seconds")
            peak = max(peak, int(prediction.cost("peak_memory")))
        if names[task]:
            found[task] = scorer.scores()
    (first, (main, *others)), *more = found.items()
    for task, scores in more:
        main.join(task, scores[0])
    folder, made_by = stores[first].folder.parent, stores[first].made_by
    model = made_by.get("model", {})
    settings = {task: _settings(stores[task].made_by) for task in found}
    result: Result = {
        "benchmark": benchmark,
        "protocol": {
            **main.protocol,
            **{key: settings[first][key] for key in ("search",) if key in settings[first]},
            "settings": settings[first]["name"],
        },
        "found": len(frozenset(chain(*names.values()))),
        "tasks": {task: len(names[task]) for task in found},
        "missing": list(tasks[first].missing()),
        "metrics": main.metrics,
        "per_item": main.per_item,
        "excluded": main.excluded,
        "other_protocols": {
            one.protocol["name"]: {
                "protocol": one.protocol,
                "metrics": one.metrics,
                "per_item": one.per_item,
                "excluded": one.excluded,
            }
            for one in others
        },
        "model": {"name": str(model.get("name", "not stated")), "sha256": model.get("sha256")},
        "settings": {**settings, "root": str(asked.root), "limit": limit},
        "version": samepoint.__version__,
        "seconds": round(seconds, 3),
        "peak_memory": peak or None,
        "predictions": folder.name if folder.parent == output.parent else str(folder.resolve()),
    }
    with atomic_write(output, "w") as file:
        file.write(json.dumps(result, indent=1, allow_nan=False) + "\n")
    return result


def _settings(made_by: Mapping[str, Any]) -> dict[str, Any]:
    """What a result says of how predictions were made; nothing that was not said is guessed."""
    told = {"name": "not stated", "size": None, **made_by.get("settings", {})}
    return {**told, "name": str(told["name"]), "version": made_by.get("version")}
