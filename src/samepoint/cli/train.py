"""``samepoint train``: learn a model from a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from samepoint.cli.console import progress

app = typer.Typer(help="Train a model.", rich_markup_mode=None)


@app.callback()
def _group() -> None:
    pass


@app.command("features")
def features(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="What to train, on what, and where to put it.")],
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a key of the configuration, data.size for example. Repeatable."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint in the output folder.")
    ] = False,
) -> None:
    """Train the features and the tracker's refiner on rendered clips.

    Ctrl-C finishes the step at hand and writes a checkpoint; --resume goes on from there.
    """
    from samepoint.training.features import train

    with progress("training") as advance:
        weights = train(config, change or [], resume, lambda record: advance(int(record["step"]), int(record["steps"])))
    print(f"wrote {weights}")
