"""The same video found twice: by id, and by a perceptual hash of its thumbnail or frames."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class DuplicateSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    perceptual: bool = True  # compare thumbnails and frames too, not only ids
    distance: int = Field(10, ge=0, le=64)  # bits of 256 by which pictures of the same may differ
    seconds: float = Field(2.0, ge=0)  # by which their durations may differ
