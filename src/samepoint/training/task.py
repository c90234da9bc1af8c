"""What a training loop has to know of what it trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

Batch = TypeVar("Batch")


class Task(Protocol[Batch]):
    """Networks, their data and their objective. Inherit from it for the defaults of what is optional.

    A *micro-batch* is what one process hands to ``loss`` at once; a step takes ``accumulation`` times the number of
    processes of them. They are counted through the whole run, so a position names the same data in any process.
    """

    networks: nn.Module
    """Everything that is trained, an ``nn.ModuleDict`` if there are several; checkpoints hold all of its state.

    ``loss`` computes with these very modules. A frozen teacher stays outside; ``place`` moves it.
    """

    exported: nn.Module
    """The part of ``networks`` that is kept in the end; its averaged weights are validated and saved."""

    images: int
    """Pictures in a micro-batch, for images a second."""

    def optimiser(self) -> torch.optim.Optimizer:
        """Made once, after ``networks`` are on their device. Parameters in no group are frozen while the run lasts."""

    def rate(self, step: int) -> float:
        """Learning rate of a step counted from 0; a parameter group's ``scale`` (1 without) multiplies it."""

    def batches(self, positions: range) -> Iterator[Batch]:
        """The micro-batches at ``positions`` in this order, each a function of seed and position only.

        Tensors in tuples, named tuples, lists and dictionaries are moved to the device. See
        :func:`~samepoint.training.loading.in_order` for making them ahead in other processes.
        """

    def loss(self, batch: Batch, progress: float) -> tuple[Tensor, dict[str, float]]:
        """Mean loss of a micro-batch, and figures for the log, the same keys each time.

        ``progress``: share of the run's steps done. ``match_1``, ``match_2``, ``match_4`` and ``right`` are shown while
        training.
        Random draws come from torch's, numpy's or Python's global generators, seeded for each micro-batch.
        """

    def updated(self) -> None:
        """Called after each update by the optimiser, whatever the number of micro-batches that led to it."""
        return None

    def place(self, device: torch.device) -> None:
        """Move what is not in ``networks`` to the device."""
        return None

    def describe(self, position: int) -> str:
        """What the micro-batch at a position holds: names of files, say. For the message about one that went wrong."""
        return ""

    def validate(self) -> dict[str, float]:
        """Figures of ``exported``, which has its averaged weights and is in evaluation mode; main process only."""
        return {}

    def leading(self, figures: Mapping[str, float]) -> str | None:
        """Which of the figures tells the best weights, the higher the better; None: none are kept."""
        return None

    def save(self, path: Path, notes: Mapping[str, Any]) -> Path:
        """Write ``exported`` as ``finish`` will, whole or not at all; ``notes`` go into its metadata.

        Main process only, in the midst of a validation: what lies there gives the figures again. A task that names no
        leading figure is never asked.
        """
        raise NotImplementedError(f"{type(self).__name__} names a leading figure and cannot save what led to it")

    def pictures(self) -> dict[str, np.ndarray]:
        """Pictures (H, W, 3) uint8 by name, made as ``validate`` is."""
        return {}

    def finish(self) -> dict[str, Any]:
        """Save ``exported``, which has its averaged weights and is in evaluation mode; main process only.

        Returns:
            What is to be written to the log.
        """
        return {}
