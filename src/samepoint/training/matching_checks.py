"""What is wrong with a configuration of ``train matching`` though each of its keys is right: told before any work."""

from __future__ import annotations

import warnings
from pathlib import Path

from ..errors import InputError
from .matching_config import MatchingConfig
from .validation import check_benchmark


def check_matching(config: MatchingConfig) -> None:
    """Compare keys with each other; warns of a teacher that nothing asks, and of a confidence that nothing can fit.

    Raises:
        InputError: a key that would be of no effect; nothing to validate on, or a benchmark that is not there.
    """
    _check_validation(config)
    loss = config.loss
    if config.init is None and config.parts != MatchingConfig.model_fields["parts"].default:
        raise InputError(f"parts: {', '.join(config.parts) or 'none'} given, but there is no init to take them from")
    if config.data.target.cross and loss.adversary == 0:
        raise InputError(
            "data.target.cross: is the adversary's, whose weight is 0; set loss.adversary above 0, or learn from such "
            "pairs by loss.cross"
        )
    known = loss.warps > 0 or loss.web > 0 or loss.keypoints > 0
    if loss.contrastive.weight > 0 and not known:
        raise InputError(
            "loss.contrastive: is about pairs whose matches are known; give loss.warps, loss.web or loss.keypoints a "
            "weight"
        )
    if config.teacher.model is not None and not asking_teacher(config):
        warnings.warn(f"teacher.model: {config.teacher.model} is not used, no objective learns from it", stacklevel=2)
    if config.calibration.pairs and loss.cross.weight > 0 and not known:
        warnings.warn(
            "calibration: of loss.cross alone no match is known, so confidence is not fitted; to have it fitted, give "
            "loss.warps, loss.web or loss.keypoints a weight, however small",
            stacklevel=2,
        )


def asking_teacher(config: MatchingConfig) -> list[str]:
    """Objectives of the configuration that learn from a teacher, by their keys under ``loss``."""
    loss = config.loss
    asks = {
        "distillation": loss.distillation > 0,
        "relation": loss.relation > 0,
        "cross.labels": loss.cross.weight > 0 and loss.cross.labels == "teacher",
    }
    return [name for name, asked in asks.items() if asked]


def _check_validation(config: MatchingConfig) -> None:
    if not config.validate_every:
        return
    settings = config.validation
    if settings.benchmark is not None:
        if settings.root is None:
            raise InputError(f"validation.benchmark: {settings.benchmark} needs its folder, validation.root")
        check_benchmark(settings.benchmark, Path(settings.root), "val")
    elif not (settings.warps and config.data.videos):
        raise InputError(
            f"validate_every: {config.validate_every} given, but there is nothing to validate on; "
            "set validation.benchmark, or data.videos and validation.warps, or validate_every to 0"
        )
