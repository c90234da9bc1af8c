"""What is wrong with a configuration of ``train features`` though each of its keys is right: told before any work."""

from __future__ import annotations

import warnings
from pathlib import Path

from ..errors import InputError
from .config import DataConfig, FeaturesConfig, LossConfig
from .validation import check_benchmark

ON_CLIPS = ("reconstruction", "adversary", "random_walk", "cycle", "relation")
"""Objectives that learn from real clips."""


def check_features(config: FeaturesConfig) -> None:
    """Compare keys with each other; warns of a teacher that nothing asks.

    Raises:
        InputError: keys that contradict each other, or one that would be of no effect; nothing to validate on, or a
            benchmark that is not there.
    """
    _check_validation(config)
    _check_encoder(config)
    _check_pairs(config)
    _check_walk(config)
    if config.teacher.model is not None and not uses_teacher(config):
        warnings.warn(f"teacher.model: {config.teacher.model} is not used, no objective learns from it", stacklevel=2)


def uses_teacher(config: FeaturesConfig) -> bool:
    """Whether an objective of the configuration asks a teacher, if there is one."""
    soft = config.loss.soft_targets
    return (soft.weight > 0 and soft.label != "gaussian") or config.loss.relation.weight > 0


def _check_validation(config: FeaturesConfig) -> None:
    if not config.validate_every:
        return
    settings = config.validation
    if not (settings.clips or settings.benchmarks):
        raise InputError(
            f"validate_every: {config.validate_every} given, but there is nothing to validate on; "
            "set validation.clips or validation.benchmarks, or validate_every to 0"
        )
    for name, root in settings.benchmarks.items():
        check_benchmark(name, Path(root))


def _check_encoder(config: FeaturesConfig) -> None:
    """Above an encoder that stays as it is only the refiner can learn; ``loss.matching`` may have its default."""
    loss = config.loss
    if config.optimiser.encoder != 1 and config.resnet is not None:
        raise InputError("optimiser.encoder: a ResNet is all encoder; set optimiser.rate")
    if config.optimiser.encoder > 0 or config.steps == 0:
        return
    if loss.refinement == 0:
        raise InputError("optimiser.encoder: 0 leaves only the refiner to learn; set loss.refinement above 0")
    idle = [f"loss.{name}.weight" for name in (*ON_CLIPS, "soft_targets") if getattr(loss, name).weight > 0]
    if any(loss.matching) and loss.matching != LossConfig().matching:
        idle.append("loss.matching")
    if idle:
        raise InputError(f"optimiser.encoder: 0 given, but only the encoder learns by {', '.join(idle)}; set 0 there")


def _check_pairs(config: FeaturesConfig) -> None:
    """``data.pairs`` may have its default, however few frames a clip has."""
    data = config.data
    there = data.frames * (data.frames - 1)
    if config.on_rendered and data.pairs > there and data.pairs != DataConfig().pairs:
        raise InputError(f"data.pairs: {data.pairs} given, but a clip of {data.frames} (data.frames) has {there}")


def _check_walk(config: FeaturesConfig) -> None:
    walk, real = config.loss.random_walk, config.data.real
    if walk.weight == 0:
        return
    if real.frames <= walk.nearest:
        raise InputError(
            f"data.real.frames: {real.frames} given, but loss.random_walk.nearest is {walk.nearest}, and a clip needs "
            "more frames than that"
        )
    height, width = real.size or config.data.size
    if walk.nodes == "patches" and walk.patch > min(height, width):
        raise InputError(
            f"loss.random_walk.patch: {walk.patch} given, but clips have {height} x {width} pixels; set data.real.size "
            "or a smaller patch"
        )
