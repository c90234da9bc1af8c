"""Whether a candidate looks like what is wanted: its thumbnail against a few example pictures, by features."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from ..errors import InputError
from ..io.images import list_images, read_image
from ..matching import FeatureMatchSettings, PictureEncoder
from ..models.features import load_features


class RelevanceSettings(BaseModel):
    """What candidates are compared with, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    examples: Path  # a folder with a sub-folder of pictures for each class
    model: str = "samepoint-base"  # a name or weight file, as for samepoint evaluate
    level: int = 0  # of the model's maps; 0 is the coarsest
    size: int = Field(224, ge=32)  # pixels a side at which pictures are compared
    least: float | None = Field(None, ge=-1, le=1)  # candidates below are left out; null only writes it down


class Relevance:
    """Scores pictures by how like the examples of a class they are.

    A picture is described by the mean of its cells' unit features, less the mean over all examples: what all pictures
    share says nothing, and without it every cosine is close to 1 (with examples of one class alone nothing can be taken
    away). The score is the cosine to the nearest example of the class, in [-1, 1].

    Raises:
        InputError: no such folder, a class without readable pictures, or a model that cannot be used.
    """

    def __init__(self, settings: RelevanceSettings) -> None:
        if not settings.examples.is_dir():
            raise InputError(f"{settings.examples}: no such folder of example pictures")
        self._encode = PictureEncoder(
            load_features(settings.model).network,
            FeatureMatchSettings(size=(settings.size, settings.size), level=settings.level),
        )
        raw = {
            folder.name: [self._describe(read_image(path)) for path in list_images(folder)]
            for folder in sorted(settings.examples.iterdir())
            if folder.is_dir() and not folder.name.startswith(".")
        }
        empty = [name for name, vectors in raw.items() if not vectors]
        if empty or not raw:
            missing = f"; {empty[0]} has none" if empty else ""
            raise InputError(f"{settings.examples}: expected a sub-folder of pictures for each class{missing}")
        every = [vector for vectors in raw.values() for vector in vectors]
        self._shared = sum(every) / len(every) if len(raw) > 1 else every[0] * 0
        self._examples = {name: [self._plain(vector) for vector in vectors] for name, vectors in raw.items()}

    def __call__(self, rgb: NDArray[np.uint8], name: str) -> float | None:
        """The score of a picture uint8 RGB (H, W, 3) for a class; None for a class without examples."""
        examples = self._examples.get(name)
        if examples is None:
            return None
        vector = self._plain(self._describe(rgb))
        return max(float(vector @ example) for example in examples)

    def _describe(self, rgb: NDArray[np.uint8]) -> Tensor:
        return F.normalize(self._encode(rgb).cells.flatten(0, 1).float(), dim=1).mean(dim=0)

    def _plain(self, vector: Tensor) -> Tensor:
        return F.normalize(vector - self._shared, dim=0)


@lru_cache(maxsize=1)
def scorer(settings: RelevanceSettings) -> Relevance:
    """The same one for the same settings."""
    return Relevance(settings)
