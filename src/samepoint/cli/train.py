"""``samepoint train``: learn a model from a configuration."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Train a model.", rich_markup_mode=None)


@app.callback()
def _group() -> None:
    pass


ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="What to train, on what, and where to put it.")]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a key of the configuration, data.size for example. Repeatable."
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in the output folder.")]


@app.command("features")
def features(config: ConfigFile, change: Changes = None, resume: Resume = False) -> None:
    """Train features, by the objectives of a configuration, on rendered clips, real videos or labelled pairs.

    Ctrl-C finishes the step at hand and writes a checkpoint; --resume goes on from there. Started by torchrun or
    accelerate launch, several processes train together.
    """
    from samepoint.training.features import train

    _train(train, config, change, resume)


@app.command("matching")
def matching(config: ConfigFile, change: Changes = None, resume: Resume = False) -> None:
    """Train a matcher, on warped pictures, a collection of web videos, or pairs with keypoints.

    Ctrl-C finishes the step at hand and writes a checkpoint; --resume goes on from there. Started by torchrun or
    accelerate launch, several processes train together.
    """
    from samepoint.training.matching import train_matching

    _train(train_matching, config, change, resume)


def _train(train: Callable[..., Path], config: Path, change: list[str] | None, resume: bool) -> None:
    with _progress() as (show, reading):
        try:
            weights = train(config, change or [], resume, show, reading)
        except FloatingPointError as error:
            print(f"samepoint: error: {error}", file=sys.stderr)
            raise typer.Exit(1) from error
    if os.environ.get("RANK", "0") == "0":  # of several processes, one speaks
        print(f"wrote {weights}")


@contextmanager
def _progress() -> Iterator[tuple[Callable[[Mapping[str, float]], None], Callable[[int, int], None]]]:
    """A line on standard error that the log's records move, and before them the videos that have been read.

    Silent where nobody watches, and in all processes but one; absent before there is something to tell.
    """
    if not sys.stderr.isatty() or os.environ.get("RANK", "0") != "0":
        yield lambda record: None, lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    doing, said = TextColumn("{task.fields[doing]}"), TextColumn("{task.description}")
    bar = Progress(doing, BarColumn(20), MofNCompleteColumn(), said, console=Console(stderr=True), transient=True)
    with ExitStack() as stack:

        def move(doing: str, done: int, total: int, said: str) -> None:
            if not bar.tasks:
                stack.enter_context(bar)
                bar.add_task(said, completed=done, total=total, doing=doing)
            bar.update(bar.tasks[0].id, completed=done, total=total, description=said, doing=doing)

        def show(record: Mapping[str, float]) -> None:
            move("training", int(record["step"]), int(record["steps"]), _line(record))

        def reading(done: int, total: int) -> None:
            move("reading videos", done, total, "")

        yield show, reading


def _line(record: Mapping[str, float]) -> str:
    """Loss, accuracy within cells or a tenth of the side, speed and time left, as far as the record has them.

    >>> _line({"loss": 1.23456, "match_1": 0.5, "match_2": 0.625, "match_4": 0.75, "left": 3725.0})
    'loss 1.235, 50/62/75 % within 1/2/4 cells, 1:02:05 left'
    >>> _line({"loss": 1.23456, "right": 0.75})
    'loss 1.235, 75 % within 0.1 of the side'
    """
    parts = [f"loss {record['loss']:.4g}"] if "loss" in record else []
    cells = [reach for reach in (1, 2, 4) if f"match_{reach}" in record]
    if cells:
        shares = "/".join(f"{100 * record[f'match_{reach}']:.0f}" for reach in cells)
        parts.append(f"{shares} % within {'/'.join(map(str, cells))} cells")
    if "right" in record:
        parts.append(f"{100 * record['right']:.0f} % within 0.1 of the side")
    if "images_per_second" in record:
        parts.append(f"{record['images_per_second']:.3g} images/s")
    if "left" in record:
        minutes, seconds = divmod(round(record["left"]), 60)
        parts.append(f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d} left")
    return ", ".join(parts)
