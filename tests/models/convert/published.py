"""Checkpoints as others publish them, made of the golden recipe or of shapes alone."""

from __future__ import annotations

import argparse
import json
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from samepoint.models.resnet import ResNet
from tests.models.golden import golden_tensors
from tests.shared import shared_path


def golden(name: str) -> dict[str, Tensor]:
    """The tensors of ``golden/NAME.keys.json``, filled by their names; a matcher's without its discriminator."""
    path = shared_path("golden", f"{name}.keys.json")
    if "matcher" not in json.loads(path.read_text()):
        return golden_tensors(path)
    tensors = golden_tensors(path, "matcher")
    side = len(tensors["x_normal"])
    return tensors | {key: torch.linspace(-1, 1, side) for key in ("x_normal", "y_normal")}


def expected(name: str) -> dict[str, np.ndarray]:
    """What the published implementation made of them."""
    return dict(np.load(shared_path("golden", f"{name}.npz")))


def training_file(path: Path, tensors: dict[str, Tensor], under: str = "state_dict", old: bool = False) -> Path:
    """A checkpoint with all that a training script leaves beside its weights."""
    content: dict[str, Any] = {
        "meta": {"epoch": 3, "iter": 1200, "mmcv_version": "1.6.0"},
        under: OrderedDict(tensors),
        "optimizer": {
            "state": {140234561234567: {"step": 7, "exp_avg": torch.zeros(3)}},
            "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999), "params": [140234561234567]}],
        },
        "lr_scheduler": {"milestones": Counter([20, 30, 40]), "gamma": 0.3},
        "best_score": np.float64(0.5),
        "args": argparse.Namespace(lr=1e-4, device=torch.device("cpu"), name="x"),
    }
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    return path


def random_resnet(depth: int = 18, **options: Any) -> dict[str, Tensor]:
    """The tensors of a whole ResNet, as torchvision names them, with what a classifier adds."""
    torch.manual_seed(0)
    network = ResNet(depth, **options)
    tensors = dict(network.state_dict())
    for key, value in tensors.items():
        if key.endswith("running_mean"):
            tensors[key] = torch.randn(value.shape) * 0.1
    return {**tensors, "fc.weight": torch.zeros(10, 8), "fc.bias": torch.zeros(10)}


def as_fgvc(tensors: dict[str, Tensor], prefix: str = "backbone.") -> dict[str, Tensor]:
    """Plain names as FGVC and Spa-then-Temp write them."""
    result = {}
    for key, value in tensors.items():
        parts = key.split(".")
        if parts[0] == "fc":
            continue
        if "downsample" in parts:
            parts[-2] = "conv" if parts[-2] == "0" else "bn"
        elif parts[-2].startswith("bn"):
            parts[-2:-1] = [parts[-2].replace("bn", "conv"), "bn"]
        else:
            parts.insert(-1, "conv")
        result[prefix + ".".join(parts)] = value
    return result
