"""``samepoint train matching``: a configuration in, a matcher out."""

from __future__ import annotations

from pathlib import Path

from .command import train_task
from .matching_config import MatchingConfig, load_matching_config
from .matching_task import MatchingTask
from .record import Progress, Reading


def train_matching(
    config: str | Path | MatchingConfig,
    overrides: list[str] | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    reading: Reading | None = None,
) -> Path:
    """Train the matcher of a configuration and write ``model.safetensors`` into the run's folder.

    Folder, signals, resuming and what is told meanwhile are as for :func:`~samepoint.training.features.train`.

    Returns:
        The path of the weights.

    Raises:
        InputError: bad configuration, nothing to resume, a run to resume that learns something else, or a run already
            in the folder and ``resume`` not asked for.
        MissingExtraError: accelerate or, for a collection, pyarrow is not installed.
        FloatingPointError: the loss is not finite; the state before it is the last checkpoint.
    """
    if not isinstance(config, MatchingConfig):
        config = load_matching_config(config, overrides)
    return train_task(config, MatchingTask, resume, progress, reading)
