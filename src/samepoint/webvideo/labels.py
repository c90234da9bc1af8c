"""Correspondence labels of a shot: a grid of seeds followed through its frames, kept while all checks agree."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from ..errors import InputError
from ..io.masks import read_mask
from ..models.network import PointNetwork
from ..models.refiner import channels_last
from ..models.weights import load_model, resolve, sha256
from ..structures import Queries, Video
from ..tracking.frames import FrameEncoder
from ..tracking.hindsight import Review
from ..tracking.propagated import PropagatedPoints
from ..tracking.refined import RefinedPoints
from ..tracking.tracker import Method
from .chained import ChainedPoints, ChainSettings, best_match, features_at, matching_level
from .label_file import Labels, write_labels
from .legacy_labels import LegacySettings, propagate_maps, write_map
from .motion_rule import MotionSettings, consistent, foreground_weights
from .rows import Row


class AcceptSettings(BaseModel):
    """What a label must pass in every frame to stay alive. Cells are those of the map that is matched on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    confidence: float = Field(0.5, ge=0, le=1)  # of the method
    cycle: float = Field(2.0, gt=0)  # cells between where a label was and where its match leads back to
    similarity: float = Field(0.3, ge=-1, le=1)  # cosine of a label's features in this frame and the one before
    motion: MotionSettings | None = MotionSettings()  # null: any motion
    survival: int = Field(2, ge=0)  # a label lost in fewer frames than these was never good: its seed alone is kept
    returns: bool = False  # whether a lost label may be found again


class LabelSettings(BaseModel):
    """How shots are labelled."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["track", "chain", "legacy"] = "track"  # our tracker; matching alone; as published
    model: str = "samepoint-base"  # a name in the table or a weight file
    seeds: int = Field(20, ge=1)  # a side of the grid
    renew: int | None = Field(None, ge=1)  # frames after which seeds begin where no label is; null: in the first only
    short_side: int | None = Field(320, ge=16)  # frames are worked on at this short side; null: their own
    accept: AcceptSettings = AcceptSettings()
    chain: ChainSettings = ChainSettings()
    legacy: LegacySettings = LegacySettings()
    foreground: Literal["none", "motion", "masks"] = "none"  # what a label's foreground weight comes from
    masks: str | None = None  # folder of <video>/<index>.png: what is foreground in a shot's first frame


class Labeller:
    """Labels shots, one after another; holds the network.

    Args:
        settings: how.
        device: where to compute; the CPU by default.
        network: instead of loading ``settings.model``.

    Raises:
        InputError: an unknown model, or masks asked for without a folder.
    """

    def __init__(
        self,
        settings: LabelSettings | None = None,
        device: torch.device | str | None = None,
        *,
        network: nn.Module | None = None,
    ) -> None:
        self.settings = settings or LabelSettings()

    def __call__(self, row: Row, folder: Path) -> Row:
        """Label one shot.

        Args:
            row: of the table of shots.
            folder: the output folder. Labels go to ``labels/<video>/<index>.npz`` in it; the method ``legacy`` writes
                ``results/<class>/<video>/<index>/pred/<k>_pred.npy``.

        Returns:
            A row of the table of labels; ``status`` is ``failed``, with the reason, where the video cannot be read, and
            ``skipped`` where the shot is not kept.
        """
        raise InputError(f"{row['shot']}: not yet")

    def label(self, frames: Iterator[np.ndarray], size: tuple[int, int]) -> Labels:
        """Labels of frames, uint8 RGB (H, W, 3), that belong to one shot."""
        raise InputError("not yet")
