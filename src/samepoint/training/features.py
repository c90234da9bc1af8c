"""``samepoint train features``: a configuration in, weights out."""

from __future__ import annotations

from pathlib import Path

from .command import train_task
from .config import FeaturesConfig, load_config
from .recipes import FeaturesTask
from .record import Progress, Reading


def train(
    config: str | Path | FeaturesConfig,
    overrides: list[str] | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    reading: Reading | None = None,
) -> Path:
    """Train the student of a configuration and write ``model.safetensors`` into the run's folder.

    The folder also gets ``config.yaml``, ``log.jsonl``, ``checkpoints/last.pt`` and TensorBoard's files. SIGINT and
    SIGTERM end the step at hand, write a checkpoint and raise ``KeyboardInterrupt``; ``resume=True`` goes on from there
    with the same data. See :func:`~samepoint.training.loop.run` for ``progress`` and for what several processes do;
    ``reading`` is told, before the first step, how many videos have been read and of how many.

    Returns:
        The path of the weights.

    Raises:
        InputError: bad configuration, nothing to resume, a run to resume that learns something else, or a run already
            in the folder and ``resume`` not asked for.
        MissingExtraError: accelerate is not installed.
        FloatingPointError: the loss is not finite; the state before it is the last checkpoint.
    """
    if not isinstance(config, FeaturesConfig):
        config = load_config(config, overrides)
    return train_task(config, FeaturesTask, resume, progress, reading)
