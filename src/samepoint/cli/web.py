"""``samepoint web``: videos of the web, or of a folder, into correspondence labels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from samepoint.cli.console import Advance, check_model, progress
from samepoint.errors import InputError

if TYPE_CHECKING:
    from samepoint.webvideo.catalog import Stage
    from samepoint.webvideo.config import WebConfig
    from samepoint.webvideo.pipeline import Progress

app = typer.Typer(help="Web videos into correspondence labels.", rich_markup_mode=None)

Config = Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="Of the collection; one is in configs/.")]
Change = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the configuration, shots.threshold for example."),
]
Workers = Annotated[
    int | None, typer.Option("--workers", metavar="N", help="Processes; 0: this one alone [one a core].")
]
Kind = Annotated[str | None, typer.Option("--engine", metavar="NAME", help="local or ray [local].")]
Address = Annotated[
    str | None, typer.Option("--address", metavar="ADDRESS", help="Of a Ray cluster; implies --engine ray.")
]
Retry = Annotated[bool, typer.Option("--retry-failed", help="Work on failed rows again.")]
Json = Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")]


@app.callback()
def _group() -> None:
    pass


@app.command("run")
def run(
    config: Annotated[
        Path | None, typer.Argument(metavar="CONFIG.yaml", help="Of the collection; one is in configs/.")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--source",
            metavar="DIR_OR_LIST",
            help="Instead of a configuration: a folder of videos, whose sub-folders are classes, or a list of URLs.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="The collection's folder; with --source.")
    ] = None,
    change: Change = None,
    workers: Workers = None,
    engine: Kind = None,
    address: Address = None,
    retry_failed: Retry = False,
    as_json: Json = False,
) -> None:
    """Search, download, cut into shots, label, and report what was collected.

    Started again, after Ctrl-C or anything else, it goes on where it was.
    """
    from samepoint.webvideo.catalog import STAGES
    from samepoint.webvideo.config import config_of_source, load_config

    changes = [*(change or []), *_engine_changes(workers, engine, address)]
    if config is not None:
        if source is not None:
            raise InputError("expected CONFIG.yaml or --source, got both")
        if output is not None:
            changes.append(f"output={json.dumps(str(output))}")
        settings = load_config(config, changes)
    elif source is None or output is None:
        raise InputError("expected CONFIG.yaml, or --source with --output")
    else:
        settings = config_of_source(source, output, changes)
    _work(settings, STAGES, retry_failed, as_json)


def _one_stage(stage: Stage, text: str) -> None:
    def command(
        config: Config,
        change: Change = None,
        workers: Workers = None,
        engine: Kind = None,
        address: Address = None,
        retry_failed: Retry = False,
        as_json: Json = False,
    ) -> None:
        from samepoint.webvideo.config import load_config

        changes = [*(change or []), *_engine_changes(workers, engine, address)]
        _work(load_config(config, changes), (stage,), retry_failed, as_json)

    app.command(stage, help=text)(command)


_one_stage("search", "Find candidate videos: searches, playlists, lists of URLs, folders.")
_one_stage("download", "Fetch the videos that were found.")
_one_stage("shots", "Cut the videos into shots.")
_one_stage("label", "Follow points through the shots, and report what was collected.")


def _engine_changes(workers: int | None, engine: str | None, address: str | None) -> list[str]:
    """The options as overrides of the configuration.

    >>> _engine_changes(2, None, "ray://head:10001")
    ['engine.workers=2', 'engine.address="ray://head:10001"', 'engine.kind="ray"']
    """
    kind = engine if engine is not None or address is None else "ray"
    options = {"workers": workers, "address": address, "kind": kind}
    return [f"engine.{name}={json.dumps(value)}" for name, value in options.items() if value is not None]


def _work(config: WebConfig, stages: tuple[Stage, ...], retry_failed: bool, as_json: bool) -> None:
    from samepoint.training.stopping import stop_requested
    from samepoint.webvideo import pipeline

    if "label" in stages and config.engine.kind == "local":
        check_model(config.labels.model, config.engine.device)
        config.labels.check_masks()
    with stop_requested() as stop, stop.at_once(), _bars() as tell:
        summaries = pipeline.run(config, stages, retry_failed=retry_failed, progress=tell)
    held = pipeline.counts(config)
    report = config.output / "report" / "report.md" if "label" in stages else None
    if as_json:
        done = {"output": str(config.output), "stages": pipeline.as_json(summaries), "catalogue": held}
        print(json.dumps(done | {"report": str(report) if report else None}))
        return
    for summary in summaries:
        print(summary)
    for table, statuses in held.items():
        if statuses:
            print(f"{table}: " + ", ".join(f"{count} {status}" for status, count in statuses.items()))
    print(f"wrote {config.output / 'catalogue'}/" + (f" and {report}" if report else ""))


@contextmanager
def _bars() -> Iterator[Progress]:
    """A bar for each stage, one after the other."""
    with ExitStack() as stack:
        shown: dict[str, Advance] = {}

        def tell(stage: Stage, done: int, total: int | None) -> None:
            if stage not in shown:
                stack.close()
                shown[stage] = stack.enter_context(progress(stage))
            shown[stage](done, total)

        yield tell
