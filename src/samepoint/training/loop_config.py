"""What every task can be told about its loop; a run's own configuration embeds or extends it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Tracker = Literal["tensorboard", "wandb", "trackio"]


def _once(trackers: tuple[Tracker, ...]) -> tuple[Tracker, ...]:
    if len(set(trackers)) != len(trackers):
        raise ValueError("each tracker can be named once")
    return trackers


TrackerNames = Annotated[tuple[Tracker, ...], AfterValidator(_once)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
"""What torch's generators take."""


class Strict(BaseModel):
    """A group of keys: unknown ones and numbers that are not finite are mistakes."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class LoopConfig(Strict):
    """How long, how exact, how often; a step is one update by the optimiser."""

    steps: int = Field(ge=0)
    seed: Seed = 0  # of every random draw; micro-batch m of a run draws the same numbers in any process
    device: Literal["auto", "cpu"] = "auto"  # auto: a GPU if there is one
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"  # auto: bf16 where the device gains from it
    accumulation: int = Field(1, ge=1)  # micro-batches of each process in a step
    clip: float | None = Field(None, gt=0)  # largest norm of the gradient
    ema: float = Field(0.0, ge=0, lt=1)  # decay of the average of the weights that is exported; 0 exports the last ones
    log_every: int = Field(10, ge=1)  # steps between lines of the log
    checkpoint_every: int = Field(200, ge=1)
    validate_every: int = Field(0, ge=0)  # steps between validations, pictures included; 0 for none
    keep: int = Field(2, ge=1)  # checkpoints on disk: last.pt and those before it
    trackers: TrackerNames = ("tensorboard",)  # beside log.jsonl
