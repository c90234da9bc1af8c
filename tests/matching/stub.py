"""A model that knows where everything is: for tests of what is built upon models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from samepoint.matching import Carried, Picture


@dataclass
class Scaled:
    """Every point lies at the same share of the picture; it counts what it encodes."""

    confidence: float = 0.9
    encoded: list[str] = field(default_factory=list)

    def encode(self, picture: Picture) -> Any:
        self.encoded.append(picture.name)
        return picture.size

    def carry(self, source: Any, target: Any, xy: np.ndarray) -> Carried:
        found = xy * (target[1] / source[1], target[0] / source[0])
        ones = np.ones(len(xy), np.float32)
        return Carried(found.astype(np.float32), self.confidence * ones, ones)
