"""A tiny model, and its parts exported once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from samepoint.export import Exported, PropagationOptions, export_part
from samepoint.export.parts import rendered
from samepoint.models.network import NetworkConfig, PointNetwork
from samepoint.models.weights import save_weights

TINY = NetworkConfig(stem=8, widths=(8, 8, 8), blocks=1, pyramid=8, descriptors=(8, 8, 8, 8), hidden=8, state=4)
STEP = PropagationOptions(window=5.0, context=2, topk=5)


@pytest.fixture(scope="session")
def tiny() -> PointNetwork:
    """Random, but no two cells alike: where all are, rounding decides which match best."""
    torch.manual_seed(0)
    network = PointNetwork(TINY).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # else every block adds nothing
            torch.nn.init.ones_(module.weight)
    x = network.preprocess(rendered((96, 128), 0, 1))
    for name in ("describe16", "describe8", "describe4", "describe2"):
        seen: list[torch.Tensor] = []
        project = getattr(network.encoder, name).project
        handle = project.register_forward_hook(lambda *call, seen=seen: seen.append(call[2]))
        with torch.no_grad():
            network.features(x)
            project.bias -= seen[0].mean((0, 2, 3))
        handle.remove()
    return network


@pytest.fixture(scope="session")
def weights(tiny: PointNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    about = {"licence": "Apache-2.0", "data": "none", "precision": "float32"}
    return save_weights(tiny, tmp_path_factory.mktemp("weights") / "tiny.safetensors", about)


def _exported(tmp_path_factory: pytest.TempPathFactory, *arguments: Any, **options: Any) -> Exported:
    for module in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(module)
    return export_part(*arguments, tmp_path_factory.mktemp("onnx") / "part.onnx", **options)


@pytest.fixture(scope="session")
def encoder(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return _exported(tmp_path_factory, weights)


@pytest.fixture(scope="session")
def step(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return _exported(tmp_path_factory, weights, part="propagation", propagation=STEP)
