"""``samepoint evaluate``: a benchmark's official figures for a model."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from samepoint.cli.console import progress
from samepoint.errors import InputError


def evaluate(
    benchmark: Annotated[
        str, typer.Argument(metavar="BENCHMARK", help="Such as badja, jhmdb, davis-2016, tapvid-davis or pf-willow.")
    ],
    root: Annotated[Path, typer.Option("--root", metavar="DIR", help="The data set's own folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="RESULT.json", help="Where the result goes.")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="A name from 'samepoint weights list', fgvc-untrained, or a weight file [samepoint-base].",
        ),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option("--backbone", metavar="MODEL", help="Of a matcher whose file leaves its backbone out."),
    ] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            "--protocol",
            metavar="NAME",
            help="Published settings (fgvc, crw, spa-then-temp ...), or the scoring protocol to report first; one of "
            "each may be given.",
        ),
    ] = None,
    query_mode: Annotated[
        str, typer.Option("--query-mode", metavar="MODE", help="TAP-Vid: first or strided.")
    ] = "first",
    task: Annotated[
        str | None, typer.Option("--task", metavar="TASK", help="JHMDB: joints or masks only [both].")
    ] = None,
    resolution: Annotated[
        str | None,
        typer.Option("--resolution", metavar="SIZE", help="DAVIS: 480p or full [480p, where it is there]."),
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(
            "--search",
            metavar="full|coarse-to-fine",
            help="How label propagation looks for matches: masks by our settings, points without a refiner [full].",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", metavar="N", help="Only the first N items.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Make every prediction anew, whatever made those that are there.")
    ] = False,
    predictions: Annotated[
        Path | None,
        typer.Option("--predictions", metavar="DIR", help="Score what is in this folder, whoever made it; no model."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option("--device", metavar="DEVICE", help="Where to compute: cpu, cuda, cuda:1 ... [the model's own]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Predict a benchmark's items, then score them by its official metrics.

    Predictions are kept beside the result, one file an item: an interrupted run goes on where it stopped, and scoring
    again needs no model. Under 'accelerate launch' the items are shared among the processes.
    """
    if output.suffix.lower() != ".json":
        raise InputError(f"{output}: unknown suffix {output.suffix!r}, expected .json")
    from samepoint.evaluation import evaluate as run
    from samepoint.evaluation.benchmarks import Asked, Model
    from samepoint.evaluation.company import by_environment
    from samepoint.evaluation.names import split_protocols

    settings, scoring = split_protocols(benchmark, protocol or [])
    network = Model(model or "samepoint-base", device, backbone)
    asked = Asked(root, network, settings, scoring, query_mode, task, resolution=resolution, search=search)
    first = by_environment().rank == 0
    result = None
    if predictions is not None:
        unused = {
            "--model": model,
            "--backbone": backbone,
            "--device": device,
            "--overwrite": overwrite,
            "--search": search,
            f"--protocol {settings}": settings,
        }
        for option, given in unused.items():
            if given:
                raise InputError(f"{option} with --predictions: these are there already, nothing is predicted")
        if first:
            result = run.score(benchmark, asked, predictions, output, limit=limit)
    else:
        with progress("predicting") if first else nullcontext() as advance:
            result = run.evaluate(benchmark, asked, output, limit=limit, overwrite=overwrite, progress=advance)
    if result is None:
        return
    print(json.dumps(result, allow_nan=False) if as_json else table(result, output))


def table(result: dict[str, Any], output: Path) -> str:
    """What the command says when it is done."""
    facts = result["protocol"]
    size = "x".join(map(str, facts["size"])) if facts["size"] else "the items' own size"
    counts = ", ".join(f"{count} with {task}" for task, count in result["tasks"].items())
    shared = f" ({counts})" if len(result["tasks"]) > 1 else ""
    more = "".join(f", {key} {facts[key]}" for key in ("annotations", "resolution") if key in facts)
    lines = [
        f"{result['benchmark']}: {result['found']} items{shared}, model {result['model']['name']}",
        f"protocol {facts['name']}: scored at {size}, queries {facts['query_mode']}, mean over {facts['aggregation']}"
        f"{more}; settings {facts['settings']}" + (f", search {facts['search']}" if "search" in facts else ""),
    ]
    # Of classes and difficulties: too many for a screen.
    groups = [name for name in result["metrics"] if " PCK@" in name and not name.startswith("without")]
    lines += [f"  {name:<16}{_number(value):>8}" for name, value in result["metrics"].items() if name not in groups]
    if groups:
        lines.append(f"  and {len(groups)} of single groups, in {output.name}")
    for name, other in result["other_protocols"].items():
        scores = ", ".join(f"{key} {_number(value)}" for key, value in list(other["metrics"].items())[:3])
        lines.append(f"  by {name}: {scores}")
    lines += _left_out("", result["excluded"])
    for name, other in result["other_protocols"].items():
        lines += _left_out(f" by {name}", other["excluded"])
    lines += [f"note: {text}" for text in facts.get("notes", ())]
    lines += [f"missing: {text}" for text in result["missing"]]
    lines.append(f"wrote {output} and {result['predictions']}/ ({result['seconds']:.1f} s of prediction)")
    return "\n".join(lines)


def _left_out(whose: str, excluded: dict[str, int]) -> list[str]:
    told = ", ".join(f"{what} ({count:,})" for what, count in excluded.items() if count)
    return [f"left out{whose}: {told}"] if told else []


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
