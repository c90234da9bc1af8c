"""Training configurations: typed, every unknown key an error that names the nearest known one."""

from __future__ import annotations

import difflib
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..datasets.synthetic import ClipSettings
from ..errors import InputError
from ..models.network import NetworkConfig


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DataConfig(_Strict):
    """Rendered clips: where their textures come from, and how much of each goes into a step."""

    videos: str | None = None  # a folder of videos or pictures; procedural textures without
    size: tuple[int, int] = (256, 256)  # height, width
    scales: tuple[float, ...] = Field((1.0,), min_length=1)  # a clip is rendered at one of these times size, enlarged
    clips: int = Field(3, ge=1)  # clips in a step
    frames: int = Field(8, ge=2)  # frames of a clip
    pairs: int = Field(6, ge=1)  # ordered pairs of frames drawn from each clip
    points: int = Field(128, ge=1)  # points a pair, for matching
    followed: int = Field(64, ge=1)  # points a clip, followed from its first frame
    balanced: float = Field(0.0, ge=0, le=1)  # share of the points spread evenly over the layers, small ones too
    clip: dict[str, Any] = Field(default_factory=dict)  # other values of ClipSettings, by their names there
    workers: int = Field(1, ge=0)  # rendering processes; 0 renders in the training process

    def clip_settings(self) -> ClipSettings:
        """The distribution of the clips.

        Raises:
            InputError: ``clip`` names a value that there is not, or one out of range.
        """
        known = [field.name for field in fields(ClipSettings)]
        for key in self.clip:
            if key not in known or key in ("frames", "size"):
                nearest = difflib.get_close_matches(key, known, 1, 0.4)
                raise InputError(f"unknown key data.clip.{key}" + (f"; did you mean {nearest[0]}?" if nearest else ""))
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in self.clip.items()
        }
        return ClipSettings(frames=self.frames, size=self.size, **values)


class LossConfig(_Strict):
    """Weights of the objectives and the softmax temperature of matching."""

    matching: tuple[float, float, float] = (0.5, 0.5, 1.0)  # strides 16, 8, 4
    refinement: float = Field(0.3, ge=0)
    iterations: int = Field(2, ge=1)
    drift: float = Field(0.5, ge=0, le=1)  # share of the latest looks that are taken a little off the point
    temperature: float = Field(0.05, gt=0)


class OptimiserConfig(_Strict):
    """AdamW with a linear warm-up and a cosine to ``final`` times the rate."""

    rate: float = Field(1e-3, gt=0)
    final: float = Field(1e-2, ge=0)
    weight_decay: float = Field(1e-4, ge=0)
    warmup: int = Field(100, ge=0)
    clip: float = Field(1.0, gt=0)
    ema: float = Field(0.998, ge=0, lt=1)


class CalibrationConfig(_Strict):
    """Rendered clips on which confidence is made a probability once training has ended; no clips leave it as it is."""

    clips: int = Field(32, ge=0)
    frames: int = Field(24, ge=2)
    size: tuple[int, int] = (256, 256)
    points: int = Field(128, ge=1)
    rounds: int = Field(2, ge=1)
    short_side: int | None = 480  # working resolution of the tracker


class FeaturesConfig(_Strict):
    """``samepoint train features``."""

    output: str  # the run's folder
    steps: int = Field(ge=1)
    seed: int = 0
    init: str | None = None  # start from these weights: a name in the table or a .safetensors file
    data: DataConfig = DataConfig()
    model: NetworkConfig = NetworkConfig()
    loss: LossConfig = LossConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    calibration: CalibrationConfig = CalibrationConfig()
    precision: str = Field("auto", pattern="^(auto|fp32|bf16)$")
    log_every: int = Field(10, ge=1)
    checkpoint_every: int = Field(200, ge=1)


def load_config(path: str | Path, overrides: list[str] | None = None) -> FeaturesConfig:
    """Read a YAML configuration and apply ``key.sub=value`` overrides (values are YAML).

    Raises:
        InputError: missing file, bad YAML, unknown key (with the nearest known one) or a value out of range.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise InputError(f"{path}: cannot read the configuration ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a YAML file ({' '.join(str(error).split())})") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a mapping of keys to values")
    for override in overrides or []:
        _apply(values, override)
    try:
        return FeaturesConfig.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{path}: {_explain(error)}") from error


def _apply(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise InputError(f"--set {override}: expected key=value")
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise InputError(f"--set {override}: {parent} is not a group of keys")
    try:
        values[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"--set {override}: the value is not YAML") from error


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] != "extra_forbidden":
        return f"{where}: {first['msg']}" + (f" (got {first['input']!r})" if first["type"] != "missing" else "")
    known = _known_keys(FeaturesConfig)
    nearest = difflib.get_close_matches(where, known, 1, 0.4)
    return f"unknown key {where}" + (f"; did you mean {nearest[0]}?" if nearest else "")


def _known_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += _known_keys(field.annotation, f"{prefix}{name}.")
    return keys
