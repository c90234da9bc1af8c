"""Which domain a pair of pictures comes from, judged by its refined correlations (web-video-matching.md, 8.1)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class LevelDiscriminator(nn.Module):
    """Two convolutions over the correlations of all levels, pooled; 173,825 parameters as published.

    Args:
        levels: of the matcher.
        width: channels of every hidden layer.
    """

    def __init__(self, levels: int = 8, width: int = 128) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(levels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.fc1 = nn.Linear(width, width)
        self.fc2 = nn.Linear(width, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, correlation: Tensor) -> Tensor:
        """Refined correlations (B, L, N_s, N_t) to logits (B,) of the target domain."""
        x = F.relu(self.bn1(self.conv1(correlation)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = F.relu(self.fc1(x.mean(dim=(2, 3))))
        logits: Tensor = self.fc2(x)
        return logits[:, 0]
