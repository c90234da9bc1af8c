"""The processes of a run, their device and their precision: what is needed of accelerate."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..errors import InputError, MissingExtraError
from ..models.precision import prefers_bf16
from .loop_config import LoopConfig

if TYPE_CHECKING:
    from accelerate import Accelerator

_LONGEST_WAIT = timedelta(hours=12)  # of the other processes, while the main one validates or saves


@contextmanager
def processes(settings: LoopConfig) -> Iterator[Accelerator]:
    """All processes that ``torchrun`` or ``accelerate launch`` started, or this one alone; left when the block ends.

    Raises:
        MissingExtraError: accelerate is not installed.
        InputError: ``precision`` is not for this device.
    """
    try:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState, GradientState
        from accelerate.utils import GradientAccumulationPlugin, InitProcessGroupKwargs
    except ModuleNotFoundError as error:
        raise MissingExtraError("training", "train") from error
    # Without a GPU accelerate must be told that the CPU is meant, else it takes each process for a run of its own.
    forced = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes", "y", "on", "t")
    usable = settings.device == "auto" and not forced and torch.accelerator.is_available()
    found = torch.accelerator.current_accelerator() if usable else None
    accelerator = Accelerator(
        cpu=found is None,
        mixed_precision=_precision(settings.precision, found or torch.device("cpu")),
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=settings.accumulation),
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_LONGEST_WAIT)],
    )
    try:
        yield accelerator
    finally:
        accelerator.end_training()
        # accelerate keeps one state a Python process; the next run may want another precision.
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()


def _precision(wanted: str, device: torch.device) -> str:
    """In accelerate's words."""
    if wanted == "auto":
        wanted = "bf16" if prefers_bf16(device) else "fp32"
    if wanted == "fp16" and device.type == "cpu":
        raise InputError("precision: fp16 is for GPUs; on this processor use fp32, bf16 or auto")
    return "no" if wanted == "fp32" else wanted


def same_start(accelerator: Accelerator, network: nn.Module) -> None:
    """Give every process the main one's weights."""
    if accelerator.num_processes == 1:
        return
    from accelerate.utils import broadcast

    with torch.no_grad():
        for value in network.state_dict().values():
            value.copy_(broadcast(value.contiguous()))


def exchange(accelerator: Accelerator, values: Sequence[float]) -> list[list[float]]:
    """The values of each process, in all of them."""
    if accelerator.num_processes == 1:
        return [list(values)]
    own = torch.tensor([list(values)], dtype=torch.float32, device=accelerator.device)
    gathered: Tensor = accelerator.gather(own)
    return gathered.tolist()


def average_gradients(accelerator: Accelerator, parameters: Sequence[nn.Parameter]) -> None:
    """Mean over the processes, in one message; what no process used stays without a gradient.

    By hand rather than by ``DistributedDataParallel``: an objective may call parts of a network, several times or not
    at all, which the wrapper allows only with restrictions on each.
    """
    if accelerator.num_processes == 1:
        return
    used = torch.tensor([float(one.grad is not None) for one in parameters], device=accelerator.device)
    counts = accelerator.reduce(used, "sum").tolist()
    shared = [one for one, count in zip(parameters, counts, strict=True) if count]
    if not shared:
        return
    gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in shared]
    mean: Tensor = accelerator.reduce(torch.cat([one.flatten() for one in gradients]), "mean")
    parts = mean.split([one.numel() for one in gradients])
    for one, gradient, part in zip(shared, gradients, parts, strict=True):
        one.grad = gradient.copy_(part.view_as(gradient))


def clip_gradients(accelerator: Accelerator, parameters: Sequence[nn.Parameter], largest: float | None) -> float:
    """Scale the gradients so that their norm is at most ``largest``; the norm before.

    Not finite only if a gradient is not: one whose square overflows is scaled down like any other.
    """
    accelerator.unscale_gradients()
    gradients = [one.grad for one in parameters if one.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    if torch.isfinite(norm):
        if largest is not None:
            nn.utils.clip_grads_with_norm_(parameters, largest, norm)
        return norm.item()
    top = max((one.abs().max().item() for one in gradients), default=0.0)
    if not math.isfinite(top) or any(torch.isnan(one).any() for one in gradients):
        return math.nan
    # Sums of squares of numbers up to 1 fit.
    norm = nn.utils.get_total_norm([one / top for one in gradients])
    if largest is not None:
        for one in gradients:
            one.div_(top).mul_(largest / norm)
    return top * norm.item()
