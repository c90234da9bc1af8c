"""Whether a candidate looks like what is wanted: its thumbnail against a few example pictures, by features."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class RelevanceSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    examples: Path  # a folder with a sub-folder of pictures for each class
    model: str = "samepoint-base"  # a name or weight file, as for samepoint evaluate
    level: int = 0  # of the model's maps; 0 is the coarsest
    size: int = Field(224, ge=32)  # pixels a side at which pictures are compared
    least: float | None = Field(None, ge=-1, le=1)  # candidates below are left out; null only writes it down
