"""``samepoint train matching``: what a configuration says."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from ..datasets.photometric import PhotometricSettings
from ..datasets.warp import WarpSettings
from ..io.config_file import read_config
from ..models.hypercolumn import Geometry
from ..models.matcher import MatcherConfig
from ..webvideo.pairs import PairSettings
from .config import MOST_RATE, OptimiserConfig, TeacherConfig
from .loop_config import LoopConfig, Seed, Strict, TrackerNames


class WarpConfig(Strict):
    """The keys of :class:`~samepoint.datasets.warp.WarpSettings`."""

    area: tuple[float, float] = (0.4, 1.0)
    aspect: tuple[float, float] = (0.75, 1.333)
    rotation: float = Field(15.0, ge=0)
    distortion: float = Field(0.3, ge=0, lt=1)
    perspective: float = Field(0.5, ge=0, le=1)
    bend: float = Field(0.0, ge=0)
    flip: float = Field(0.0, ge=0, le=1)

    def build(self) -> WarpSettings:
        return WarpSettings(**self.model_dump())


class ColourConfig(Strict):
    """The keys of :class:`~samepoint.datasets.photometric.PhotometricSettings`."""

    equalise: float = Field(0.1, ge=0, le=1)
    posterise: float = Field(0.0, ge=0, le=1)
    solarise: float = Field(0.05, ge=0, le=1)
    sharpen: float = Field(0.0, ge=0, le=1)
    light: float = Field(0.0, ge=0, le=1)
    blur: float = Field(0.2, ge=0, le=1)
    jitter: float = Field(0.8, ge=0, le=1)
    grey: float = Field(0.2, ge=0, le=1)
    strength: float = Field(0.3, ge=0, le=1)
    hue: float | None = Field(None, ge=0, le=0.5)

    def build(self) -> PhotometricSettings:
        return PhotometricSettings(**self.model_dump())


class LabelledPairsConfig(Strict):
    """A benchmark's pairs with keypoints, of its training split."""

    benchmark: Literal["spair-71k", "pf-pascal", "pf-willow"]
    root: str
    split: str = "trn"
    categories: tuple[str, ...] | None = None  # only these; all without
    crop: float = Field(0.5, ge=0, le=1)  # chance of a random box around the object; around its points without a box
    colours: ColourConfig | None = None  # data.colours without


class TargetConfig(Strict):
    """The domain that the adversary makes web pairs look like: without labels."""

    # Pictures of a benchmark's training split. Keypoints teach nothing, but where a set has no boxes a crop holds them.
    pairs: LabelledPairsConfig | None = None
    cross: bool = False  # pairs from different videos of one class of the collection instead

    @model_validator(mode="after")
    def _one(self) -> TargetConfig:
        if self.pairs is not None and self.cross:
            raise ValueError("pairs and cross are two target domains; expected one of them")
        return self


class MatchingDataConfig(Strict):
    """Where pairs come from, and how many of each kind go into a micro-batch."""

    videos: str | None = None  # a folder of videos and pictures, to be warped
    collection: str | None = None  # the output folder of samepoint web
    labelled: LabelledPairsConfig | None = None  # supervised
    target: TargetConfig = TargetConfig()
    pairs: PairSettings = PairSettings()  # of a collection
    warps: int = Field(4, ge=1)
    web: int = Field(4, ge=1)
    keypoints: int = Field(4, ge=1)
    cross: int = Field(4, ge=1)
    points: int = Field(256, ge=1)  # of a warped pair; of the others at most
    size: int | None = Field(None, ge=16)  # side of the pictures, pixels; the matcher's own without
    warp: WarpConfig = WarpConfig()
    colours: ColourConfig = ColourConfig()
    short_side: int = Field(256, ge=16)  # at which frames are kept ready
    cache: str | None = None  # folder for the copies; one in the user's cache folder without
    cache_gb: float = Field(20.0, ge=0)
    workers: int = Field(1, ge=0)  # processes that read and warp ahead; 0: the training process does


class CrossConfig(Strict):
    """Different things of one kind: what another matcher finds there and back teaches the matcher.

    ``labels``: of the matcher itself, averaged over its steps, so that they are made anew as it learns; or of the
    teacher's features, matched by what neighbours agree on.
    """

    weight: float = Field(0.0, ge=0)
    labels: Literal["averaged", "teacher"] = "averaged"
    begin: float = Field(0.1, ge=0, le=1)  # share of the run before which it has weight 0
    tolerance: float = Field(0.05, gt=0)  # shares of the side by which a match may miss its point on the way back
    flip: bool = True  # the mirrored target is tried too, and the better of both is believed


class ContrastiveConfig(Strict):
    """Points of a pair against the averaged matcher's hardest mistakes; the published system never uses it."""

    weight: float = Field(0.0, ge=0)
    points: int = Field(10, ge=1)
    negatives: int = Field(25, ge=1)
    temperature: float = Field(0.5, gt=0)
    width: int = Field(128, ge=1)  # channels of the head


class MatchingLossConfig(Strict):
    """Weights of the objectives; what has weight 0 is not computed, nor is data read for it."""

    warps: float = Field(1.0, ge=0)  # two views of one picture
    web: float = Field(0.0, ge=0)  # two frames of a shot of the collection
    keypoints: float = Field(0.0, ge=0)  # supervised
    adversary: float = Field(0.0, ge=0)  # domain adversary on refined correlations
    coefficient: Literal["rising", "constant"] = "rising"
    cross: CrossConfig = CrossConfig()
    contrastive: ContrastiveConfig = ContrastiveConfig()
    distillation: float = Field(0.0, ge=0)  # the backbone's coarsest level learns the teacher's maps
    centred: bool = False  # of these maps only what differs from their average, which most of any cell is
    relation: float = Field(0.0, ge=0)  # and which cells of all pictures of a batch the teacher finds alike
    geometry: Geometry = "exact"  # of the flow that keypoints ask for; "legacy" as published
    momentum: float = Field(0.995, ge=0, lt=1)  # of the averaged matcher that teaches


class MatchOptimiserConfig(OptimiserConfig):
    """``rate`` is the aggregation's; the backbone and the discriminator have theirs in shares of it."""

    rate: float = Field(3e-4, gt=0, le=MOST_RATE)
    weight_decay: float = Field(0.05, ge=0)
    backbone: float = Field(0.1, ge=0, le=MOST_RATE)  # share of the rate; 0 freezes
    discriminator: float = Field(1.0, gt=0, le=MOST_RATE)


class MatchValidationConfig(Strict):
    """Warped pictures of another seed, and a benchmark's validation split, never its test split."""

    warps: int = Field(16, ge=0)
    benchmark: Literal["spair-71k", "pf-pascal"] | None = None
    root: str | None = None
    limit: int | None = Field(None, ge=1)


class MatchCalibrationConfig(Strict):
    """Pairs on which confidence is made a probability once training has ended; 0 leaves it as it is."""

    pairs: int = Field(64, ge=0)
    points: int = Field(64, ge=1)
    tolerance: float = Field(0.1, gt=0)  # a match this near, in shares of the side, is right


class MatchingConfig(Strict):
    """``samepoint train matching``."""

    output: str  # the run's folder
    steps: int = Field(ge=0)  # 0: nothing is learnt, only confidence is fitted
    seed: Seed = 0
    init: str | None = None  # start from a matcher's weights: a name in the table or a file
    parts: tuple[Literal["backbone", "projection", "aggregation"], ...] = ("backbone", "projection", "aggregation")
    backbone: str | None = None  # weights of the backbone: a name, a file, or a Hub repository
    data: MatchingDataConfig = MatchingDataConfig()
    model: MatcherConfig = MatcherConfig()
    teacher: TeacherConfig = TeacherConfig()  # of distillation
    loss: MatchingLossConfig = MatchingLossConfig()
    optimiser: MatchOptimiserConfig = MatchOptimiserConfig()
    validation: MatchValidationConfig = MatchValidationConfig()
    calibration: MatchCalibrationConfig = MatchCalibrationConfig()
    device: Literal["auto", "cpu"] = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    accumulation: int = Field(1, ge=1)
    log_every: int = Field(10, ge=1)
    checkpoint_every: int = Field(200, ge=1)
    validate_every: int = Field(0, ge=0)
    keep: int = Field(2, ge=1)
    trackers: TrackerNames = ("tensorboard",)

    def loop(self) -> LoopConfig:
        """What the loop has to know."""
        names = ("steps", "seed", "device", "precision", "accumulation", "log_every", "checkpoint_every")
        values = {name: getattr(self, name) for name in (*names, "validate_every", "keep", "trackers")}
        return LoopConfig(**values, clip=self.optimiser.clip, ema=self.optimiser.ema)


def load_matching_config(path: str | Path, overrides: list[str] | None = None) -> MatchingConfig:
    """The configuration in a YAML file, changed by ``key.sub=value`` overrides.

    Raises:
        InputError: missing file, bad YAML, unknown key (with the nearest known one) or a value out of range.
    """
    return read_config(path, MatchingConfig, overrides or [])
