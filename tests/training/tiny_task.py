"""The smallest task that has everything a loop can get wrong; as a script, one process of a run of several."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from samepoint.training.loop import run
from samepoint.training.loop_config import LoopConfig
from samepoint.training.schedule import learning_rate
from samepoint.training.task import Task


class TinyTask(Task[dict[str, Tensor]]):
    """Regression with batch statistics, dropout and draws from every global generator; ``spare`` is never used."""

    images = 6

    def __init__(self, settings: LoopConfig, spoilt: int | None = None) -> None:
        torch.manual_seed(5)
        mixing = nn.Linear(4, 8, bias=False)  # batch norm takes a bias out again: its gradient would be noise alone
        self.exported = nn.Sequential(mixing, nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 2))
        self.networks = nn.ModuleDict(
            {"student": self.exported, "critic": nn.Linear(2, 1), "spare": nn.Linear(3, 3), "still": nn.Linear(2, 2)}
        )
        self.settings, self.spoilt = settings, spoilt
        self.taken: list[int] = []
        self.finished: dict[str, Tensor] | None = None
        self.validated: list[dict[str, Tensor]] = []

    def optimiser(self) -> torch.optim.Optimizer:
        groups = [
            {"params": [*self.exported.parameters(), *self.networks["spare"].parameters()]},
            {"params": [*self.networks["critic"].parameters()], "scale": 0.1},
        ]
        return torch.optim.AdamW(groups, lr=1.0, weight_decay=0.01)

    def rate(self, step: int) -> float:
        return learning_rate(step, self.settings.steps, 0.05, 0.01, 2)

    def batches(self, positions: range) -> Iterator[dict[str, Tensor]]:
        for position in positions:
            self.taken.append(position)
            rng = np.random.default_rng((self.settings.seed, position))
            x, y = (torch.from_numpy(rng.normal(size=(6, size)).astype(np.float32)) for size in (4, 2))
            yield {"x": x, "y": y if position != self.spoilt else y * torch.nan}

    def loss(self, batch: dict[str, Tensor], progress: float) -> tuple[Tensor, dict[str, float]]:
        noise = torch.randn(2) + float(np.random.random()) + random.random()  # noqa: NPY002
        out = self.exported(batch["x"])
        error = (out - batch["y"] - 0.1 * noise).square().mean()
        return error + self.networks["critic"](out).mean().square(), {"error": error.item(), "progress": progress}

    def describe(self, position: int) -> str:
        return f"rows of {position}"

    def validate(self) -> dict[str, float]:
        assert not self.exported.training
        assert not torch.is_grad_enabled()
        self.validated.append({key: value.clone() for key, value in self.exported.state_dict().items()})
        return {"quality": 0.5}

    def pictures(self) -> dict[str, np.ndarray]:
        return {"grey": np.full((4, 5, 3), 128, np.uint8)}

    def finish(self) -> dict[str, Any]:
        self.finished = {key: value.clone() for key, value in self.exported.state_dict().items()}
        return {"done": True}


if __name__ == "__main__":
    settings = LoopConfig.model_validate_json(sys.argv[2])
    folder = Path(sys.argv[1])
    task = TinyTask(settings)
    main = run(task, settings, folder)
    (folder / f"taken-{'main' if main else 'other'}.txt").write_text(" ".join(map(str, task.taken)))
