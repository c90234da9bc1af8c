"""Made-up weights of the golden files: each tensor filled from its name, as their README says."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


def golden_tensors(keys_file: Path, part: str | None = None) -> dict[str, Tensor]:
    """Every tensor of a ``*.keys.json``, or of a part of it; counters are zero."""
    shapes = json.loads(keys_file.read_text())
    shapes = shapes if part is None else shapes[part]
    return {key: _fill(key, tuple(shape)) for key, shape in shapes.items()}


def _fill(key: str, shape: tuple[int, ...]) -> Tensor:
    if key.endswith("num_batches_tracked"):
        return torch.tensor(0)
    random = np.random.RandomState(zlib.crc32(key.encode()))
    if key.endswith("running_var"):
        values = random.rand(*shape) * 0.5 + 0.75
    elif key.endswith("running_mean"):
        values = random.randn(*shape) * 0.1
    elif len(shape) == 1:
        values = random.rand(*shape) * 0.5 + 0.5 if key.endswith("weight") else random.randn(*shape) * 0.1
    elif len(shape) == 2:
        values = random.randn(*shape) * (1 / shape[1]) ** 0.5
    elif len(shape) == 4:
        values = random.randn(*shape) * (2 / (shape[1] * shape[2] * shape[3])) ** 0.5
    else:
        values = random.randn(*shape) * 0.02
    return torch.from_numpy(np.asarray(values, np.float64).astype(np.float32))
