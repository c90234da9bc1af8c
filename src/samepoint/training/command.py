"""What every ``samepoint train`` command does: a configuration in, weights out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from pydantic import BaseModel

from ..errors import InputError
from ..io.config_file import write_config
from .checkpoints import Checkpoints
from .draws import kept_draws
from .loop import run
from .loop_config import LoopConfig
from .record import Progress, Reading
from .resuming import check_unchanged
from .task import Task


class Config(Protocol):
    """What configurations of training have in common."""

    output: str
    seed: int

    def loop(self) -> LoopConfig:
        """What the loop has to know."""


Kind = TypeVar("Kind", bound=BaseModel)


def train_task(
    config: Kind,
    make: Callable[[Kind, Reading | None], Task[Any]],
    resume: bool = False,
    progress: Progress | None = None,
    reading: Reading | None = None,
) -> Path:
    """Train what ``make`` makes of a configuration, in the run's folder; returns the path of the weights.

    Raises:
        InputError: bad configuration, nothing to resume, a run to resume that learns something else or has more steps
            behind it, or a run already in the folder and ``resume`` not asked for.
        MissingExtraError: accelerate is not installed.
        FloatingPointError: the loss is not finite; the state before it is the last checkpoint.
    """
    settings: Config = config  # type: ignore[assignment]
    folder = Path(settings.output)
    # Before the work of building, and before anything is written.
    state, steps = Checkpoints(folder).open(resume), settings.loop().steps
    if state is not None:
        check_unchanged(config, folder / "config.yaml")
        if state["step"] > steps:
            raise InputError(f"steps: {steps} given, but {folder} holds a run that has taken {state['step']} already")
    elif weights_of(folder).exists() and not (resume and steps == 0):
        # Of a run of no steps, or of one whose checkpoints were removed: there is no state to go on from.
        raise InputError(f"{weights_of(folder)}: is there already, without a checkpoint; choose another output")
    with kept_draws():
        torch.manual_seed(settings.seed)
        task = make(config, reading)
        folder.mkdir(parents=True, exist_ok=True)
        write_config(config, folder / "config.yaml")
        run(task, settings.loop(), folder, resume, progress)
    return weights_of(folder)


def weights_of(folder: str | Path) -> Path:
    """Where a run's weights are written."""
    return Path(folder) / "model.safetensors"
