"""What every training run shares: schedule, averaged weights, checkpoints that appear whole, a log, a clean stop."""

from __future__ import annotations

import json
import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import InputError
from ..io.atomic import atomic_path
from .loop_config import LoopConfig
from .task import Task


def learning_rate(step: int, steps: int, rate: float, final: float, warmup: int) -> float:
    """Linear warm-up, then a cosine from ``rate`` to ``rate * final`` at ``steps``.

    >>> [round(learning_rate(s, 100, 1.0, 0.0, 0), 3) for s in (0, 50, 100)]
    [1.0, 0.5, 0.0]
    """
    if step < warmup:
        return rate * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return rate * (final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2)


class AveragedWeights:
    """Exponential moving average of parameters; buffers are copied."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {key: value.detach().clone() for key, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        # A young average must not remember the random start.
        decay = min(self.decay, (1 + step) / (10 + step))
        for key, value in network.state_dict().items():
            if value.is_floating_point() and not key.endswith(("running_mean", "running_var")):
                self.state[key].lerp_(value, 1 - decay)
            else:
                self.state[key].copy_(value)


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint that is whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        torch.save(state, temporary)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; tensors, numbers and strings only.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no checkpoint to resume from") from error
    except Exception as error:
        raise InputError(f"{path}: not a readable checkpoint ({type(error).__name__})") from error
    if not isinstance(state, dict) or "step" not in state:
        raise InputError(f"{path}: not a checkpoint of this program")
    return state


class Log:
    """One JSON object a line; a resumed run continues the file after the step it resumes from."""

    def __init__(self, path: Path, start: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = []
        if start and path.exists():
            kept = [line for line in path.read_text().splitlines() if line and json.loads(line)["step"] <= start]
        path.write_text("".join(line + "\n" for line in kept))
        self.path = path

    def write(self, record: dict[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")


@contextmanager
def stop_requested() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, so that a step ends and a checkpoint is written before leaving."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    previous = {number: signal.signal(number, lambda *_: event.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def run(
    task: Task[Any],
    settings: LoopConfig,
    folder: Path,
    resume: bool = False,
    progress: Callable[[dict[str, float]], None] | None = None,
) -> bool:
    """Train ``task`` and let it finish; everything but its own files goes into ``folder``.

    ``folder`` gets ``log.jsonl``, ``checkpoints/last.pt`` and what the trackers write. SIGINT and SIGTERM end the step
    at hand and write a checkpoint. Started by ``torchrun`` or ``accelerate launch``, it shares the micro-batches of a
    step among the processes. ``progress`` is called in the main process after every logged step.

    Returns:
        Whether this is the main process, the one that wrote.

    Raises:
        InputError: nothing to resume, or a run already in the folder and ``resume`` not asked for.
        MissingExtraError: accelerate is not installed.
        KeyboardInterrupt: stopped by a signal; the checkpoint is written.
        FloatingPointError: a loss or a gradient is not finite; the message names the micro-batch, and the state before
            its step is the last checkpoint.
    """
    raise NotImplementedError
