"""Training configurations: typed, every unknown key an error that names the nearest known one."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from ..datasets.augment import Augmentation
from ..datasets.synthetic import ClipSettings
from ..datasets.video_folder import Gap
from ..errors import InputError
from ..io.config_file import read_config
from ..models.colour import ColourSpace
from ..models.network import NetworkConfig
from .loop_config import LoopConfig, Seed, Strict, TrackerNames
from .losses import Label, TeacherNorm
from .schedule import learning_rate

_Weight = Annotated[float, Field(ge=0)]
_Share = Annotated[float, Field(gt=0, lt=1)]
_Side = Annotated[int, Field(ge=16)]  # pixels


@contextmanager
def _as_values() -> Iterator[None]:
    """Mistakes become those of the values that are validated."""
    try:
        yield
    except InputError as error:
        raise ValueError(str(error)) from None


class AugmentConfig(Strict):
    """What is drawn for a clip; the keys of :class:`~samepoint.datasets.augment.Augmentation`, but its size."""

    area: tuple[float, float] | None = (0.6, 1.0)  # share of the picture that a crop covers; null: cut out unscaled
    aspect: tuple[float, float] = (0.75, 1.333)  # width over height of a crop
    flip: float = Field(0.5, ge=0, le=1)
    blur: float = Field(0.2, ge=0, le=1)
    sigma: tuple[float, float] = (0.1, 2.0)  # pixels
    jitter: float = Field(0.5, ge=0, le=1)
    brightness: float = Field(0.2, ge=0, le=1)
    contrast: float = Field(0.2, ge=0, le=1)
    saturation: float = Field(0.2, ge=0, le=1)
    hue: float = Field(0.05, ge=0, le=0.5)
    same_view: bool = True  # one crop and flip for all frames of a clip
    same_colour: bool = True

    @model_validator(mode="after")
    def _can_be_built(self) -> AugmentConfig:
        """Before videos are read for it."""
        with _as_values():
            self.build((64, 64))
        return self

    def build(self, size: tuple[int, int]) -> Augmentation:
        return Augmentation(size=size, **self.model_dump())


class PairAugmentConfig(AugmentConfig):
    """The same with pairs that have labels, whose pixels stay as large as they are."""

    area: tuple[float, float] | None = None


class GapConfig(Strict):
    """Time between neighbouring frames of a clip; one draw a clip."""

    between: tuple[float, float] = (1, 5)
    weights: dict[float, float] | None = None  # one of these gaps instead, in proportion to its weight
    unit: Literal["frames", "seconds"] = "frames"

    @model_validator(mode="after")
    def _can_be_built(self) -> GapConfig:
        with _as_values():
            self.build()
        return self

    def build(self) -> Gap:
        return Gap(self.between, self.weights, self.unit)


class PairGapConfig(GapConfig):
    """Frames between the two of a rendered pair."""

    between: tuple[float, float] = (1, 4)


class RealConfig(Strict):
    """Unlabelled clips of real videos; read only if an objective asks for them."""

    videos: str | None = None  # a folder of videos; data.videos without
    youtube_vos: str | None = None  # the set's folder instead
    rendered: bool = False  # rendered clips without their labels instead: to try things out
    index: str | None = None  # of YouTube-VOS: a JSON file {video: [frames]}
    clips: int = Field(2, ge=1)  # clips in a step
    frames: int = Field(2, ge=2)  # frames of a clip
    gap: GapConfig = GapConfig()  # YouTube-VOS: the frames that it lists, one after the other
    size: tuple[int, int] | None = None  # data.size without
    short_side: int = Field(256, ge=16)  # at which frames are kept ready
    cache: str | None = None  # folder for the copies; one in the user's cache folder without
    cache_gb: float = Field(20.0, ge=0)
    augment: AugmentConfig = AugmentConfig()
    augment_on: Literal["workers", "device"] = "workers"  # device: where the network is, by the same draws


class LabelledConfig(Strict):
    """Pairs of frames with flow, for soft targets, relations and the adversary; read only if one asks for them."""

    flyingthings: str | None = None  # the set's folder; pairs of rendered clips without
    pairs: int = Field(2, ge=1)  # a step
    gap: PairGapConfig = PairGapConfig()  # of rendered clips
    size: tuple[int, int] | None = None  # data.size without
    augment: PairAugmentConfig = PairAugmentConfig()


class DataConfig(Strict):
    """Rendered clips: where their textures come from, and how much of each goes into a step."""

    videos: str | None = None  # a folder of videos or pictures; procedural textures without
    size: tuple[int, int] = (256, 256)  # height, width
    scales: tuple[float, ...] = Field((1.0,), min_length=1)  # a clip is rendered at one of these times size, enlarged
    clips: int = Field(3, ge=1)  # clips in a step
    frames: int = Field(8, ge=2)  # frames of a clip
    pairs: int = Field(6, ge=1)  # ordered pairs of frames drawn from each clip
    points: int = Field(128, ge=1)  # points a pair, for matching
    followed: int = Field(64, ge=1)  # points a clip, followed from its first frame
    crossing: float = Field(0.0, ge=0, le=1)  # share of the clips whose layers cross often instead
    balanced: float = Field(0.0, ge=0, le=1)  # share of the points spread evenly over the layers, small ones too
    clip: dict[str, Any] = Field(default_factory=dict)  # other values of ClipSettings, by their names there
    workers: int = Field(1, ge=0)  # processes that read and render ahead; 0: the training process does
    real: RealConfig = RealConfig()
    labelled: LabelledConfig = LabelledConfig()

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
        kinds, values, finite = get_type_hints(ClipSettings), {}, ConfigDict(allow_inf_nan=False)
        for key, value in self.clip.items():
            try:
                values[key] = TypeAdapter(kinds[key], config=finite).validate_python(value)
            except ValidationError as error:
                raise InputError(f"data.clip.{key}: {value!r} given; {error.errors()[0]['msg'].lower()}") from None
        try:
            return ClipSettings(frames=self.frames, size=self.size, **values)
        except InputError as error:
            raise InputError(f"data.clip: {error}") from None


class _Objective(Strict):
    weight: _Weight = 0.0
    stride: int | None = Field(None, ge=1)  # of the student's map that it acts on; the finest without


class ReconstructionConfig(_Objective):
    """Real clips: the colours of a frame follow from those of the one before by their affinity (FGVC, loss A)."""

    radius: int = Field(24, ge=1)  # cells
    temperature: float | None = Field(None, gt=0)  # sqrt(channels) without, 0.07 if normalised
    normalised: bool = False  # cosines, not dot products
    legacy: bool = False  # half a pixel off, and places outside the picture take part as grey ones


class SoftTargetsConfig(_Objective):
    """Labelled pairs: the match as a distribution that the teacher shapes (FGVC, loss B)."""

    radius: int = Field(24, ge=1)
    temperature: float = Field(0.07, gt=0)
    label: Label = "teacher"
    label_temperature: float | None = Field(None, gt=0)  # 0.035 for channel, 0.07 for height
    teacher_norm: TeacherNorm = "channel"  # height as published
    sigma: float | None = Field(None, gt=0)  # of the Gaussian labels, cells
    legacy: bool = False  # places outside the picture take part


class AdversaryConfig(_Objective):
    """Labelled pairs and real clips: their correlations must not be told apart (FGVC, loss C)."""

    radius: int = Field(24, ge=1)
    hidden: tuple[int, ...] | None = None  # half and a quarter of the window's cells
    normalised: bool = True  # cosines; dot products as published
    coefficient: float = Field(1.0, gt=0)  # of the reversed gradient
    schedule: Literal["constant", "rising"] = "constant"  # rising: times tanh(5 progress)


class RandomWalkConfig(_Objective):
    """Real clips: a walk along a clip and back ends where it began (CRW)."""

    nodes: Literal["cells", "patches"] = "cells"  # patches: each goes through the network alone
    temperature: float = Field(0.05, gt=0)
    dropout: float = Field(0.1, ge=0, lt=1)  # share of the edges that a step has to do without
    nearest: int = Field(2, ge=1)  # first frame to turn at
    grid: int = Field(16, ge=2)  # cells a side at most; a finer map is averaged
    patch: int = Field(64, ge=8)  # pixels
    step: int = Field(32, ge=1)  # pixels from patch to patch
    embedding: int = Field(128, ge=1)  # channels of the head that patches have while training


class CycleConfig(_Objective):
    """Real clips: points followed along a clip and back arrive where they began."""

    radius: int | None = Field(None, ge=1)  # cells that a step reaches; the whole map without
    temperature: float = Field(0.07, gt=0)
    samples: int = Field(256, ge=1)  # points a clip


class RelationConfig(_Objective):
    """Real clips: cells are as alike as the teacher finds them."""

    temperature: float = Field(0.07, gt=0)
    teacher_temperature: float = Field(0.07, gt=0)
    samples: int = Field(1024, ge=2)  # cells of all frames together


class LossConfig(Strict):
    """Weights of the objectives; what has weight 0 is not computed, nor is data read for it.

    ``matching`` and ``refinement`` learn from rendered clips and are on by default.
    """

    matching: tuple[_Weight, _Weight, _Weight] = (0.5, 0.5, 1.0)  # strides 16, 8, 4; a ResNet's one map has the last
    refinement: float = Field(0.3, ge=0)
    iterations: int = Field(2, ge=1)
    drift: float = Field(0.5, ge=0, le=1)  # share of the latest looks that are taken a little off the point
    recovery: float = Field(0.0, ge=0)  # of points looked for in the whole picture, as lost ones are in use
    sought: float = Field(0.1, ge=0, le=1)  # share of the points at hand that are, beside half of the lost
    temperature: float = Field(0.05, gt=0)
    reconstruction: ReconstructionConfig = ReconstructionConfig()
    soft_targets: SoftTargetsConfig = SoftTargetsConfig()
    adversary: AdversaryConfig = AdversaryConfig()
    random_walk: RandomWalkConfig = RandomWalkConfig()
    cycle: CycleConfig = CycleConfig()
    relation: RelationConfig = RelationConfig()
    channel_dropout: bool = True  # labelled pairs lose a colour too, as the frames of reconstruction always do

    @property
    def on_pairs(self) -> bool:
        return self.soft_targets.weight > 0 or self.adversary.weight > 0

    @property
    def on_clips(self) -> bool:
        parts = (self.reconstruction, self.adversary, self.random_walk, self.cycle, self.relation)
        return any(part.weight > 0 for part in parts)


class TeacherConfig(Strict):
    """A frozen network that shapes soft targets and relations; without one, the student's own maps, detached."""

    model: str | None = None  # a name, a weight file, or a Hub repository id, owner/name
    file: str | None = None  # in a Hub repository; the only weight file there without
    outputs: tuple[int, ...] | None = None  # blocks of a transformer (from 0), stages of a ResNet (from 1)
    short_side: int | None = Field(None, ge=1)  # it sees frames of this size; those of the student without


class ResNetConfig(Strict):
    """A ResNet as student; the defaults are FGVC's."""

    depth: Literal[18, 34, 50, 101] = 18
    strides: tuple[int, int, int, int] = (1, 1, 1, 4)
    pool: bool = False
    output: int = Field(3, ge=1, le=4)  # stage whose map is used and whose end is the end of the saved network
    colour: ColourSpace = "lab"
    padding: Literal["zeros", "reflect"] = "zeros"


MOST_RATE = 100.0
"""Of a learning rate, and of a share of one: nothing learns at more, and the optimiser cannot compute with 1e38."""


class OptimiserConfig(Strict):
    """AdamW with a linear warm-up and a cosine to ``final`` times the rate; or steps down, or Adam."""

    kind: Literal["adamw", "adam"] = "adamw"
    rate: float = Field(1e-3, gt=0, le=MOST_RATE)
    final: float = Field(1e-2, ge=0, le=MOST_RATE)
    weight_decay: float = Field(1e-4, ge=0)
    warmup: int = Field(100, ge=0)
    schedule: Literal["cosine", "steps"] = "cosine"
    milestones: tuple[_Share, ...] = ()  # steps: shares of the run after which the rate is multiplied by gamma
    gamma: float = Field(0.3, gt=0, le=1)
    clip: float | None = Field(1.0, gt=0)  # largest norm of the gradient; null does not limit it
    ema: float = Field(0.998, ge=0, lt=1)  # 0: no average

    @model_validator(mode="after")
    def _milestones_are_passed(self) -> OptimiserConfig:
        if self.milestones and self.schedule == "cosine":
            raise ValueError("milestones are of schedule: steps, and the schedule is cosine; leave one of them out")
        return self

    def rate_at(self, step: int, steps: int) -> float:
        """Learning rate of a step, counted from 0, of so many."""
        if self.schedule == "cosine" or step < self.warmup:
            return learning_rate(step, steps, self.rate, self.final, self.warmup)
        passed = sum(step >= share * steps for share in self.milestones)
        return self.rate * self.gamma**passed


class FeaturesOptimiserConfig(OptimiserConfig):
    """``rate`` is the refiner's; our network's encoder has its own in a share of it."""

    encoder: float = Field(1.0, ge=0, le=MOST_RATE)  # share of the rate; 0 leaves it as it is, statistics too


class CalibrationConfig(Strict):
    """Rendered clips on which confidence is made a probability once training has ended; no clips leave it as it is."""

    clips: int = Field(32, ge=0)
    crossing: float = Field(0.5, ge=0, le=1)  # share of them whose layers cross often
    frames: int = Field(24, ge=2)
    size: tuple[_Side, _Side] = (256, 256)
    points: int = Field(128, ge=1)
    rounds: int = Field(2, ge=0)  # 0: visibility stays as it is, hindsight alone is fitted
    steps: int = Field(1500, ge=1)  # of each round's fit of visibility
    hindsight_steps: int = Field(1000, ge=1)  # more learn the clips by heart
    short_side: _Side | None = 480  # working resolution of the tracker


class ValidationConfig(Strict):
    """What the student is tried on, every ``validate_every`` steps: rendered clips of another seed, and benchmarks."""

    clips: int = Field(8, ge=0)
    frames: int = Field(24, ge=2)
    points: int = Field(64, ge=1)
    benchmarks: dict[str, str] = Field(default_factory=dict)  # name: folder, as for samepoint evaluate
    limit: int | None = Field(None, ge=1)  # items of each benchmark


class FeaturesConfig(Strict):
    """``samepoint train features``."""

    output: str  # the run's folder
    steps: int = Field(ge=0)  # 0: nothing is learnt, only confidence is fitted
    seed: Seed = 0
    init: str | None = None  # start from these weights: a name in the table or a .safetensors file
    data: DataConfig = DataConfig()
    model: NetworkConfig = NetworkConfig()
    resnet: ResNetConfig | None = None  # as student, instead of our own network
    teacher: TeacherConfig = TeacherConfig()
    loss: LossConfig = LossConfig()
    optimiser: FeaturesOptimiserConfig = FeaturesOptimiserConfig()
    calibration: CalibrationConfig = CalibrationConfig()
    validation: ValidationConfig = ValidationConfig()
    device: Literal["auto", "cpu"] = "auto"  # auto: a GPU if there is one
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    accumulation: int = Field(1, ge=1)  # micro-batches of each process in a step
    sync_norm: bool = False  # batch statistics of all processes together, on GPUs
    log_every: int = Field(10, ge=1)
    checkpoint_every: int = Field(200, ge=1)
    validate_every: int = Field(0, ge=0)  # steps between validations; 0 for none
    keep: int = Field(2, ge=1)  # checkpoints on disk
    trackers: TrackerNames = ("tensorboard",)

    @property
    def on_rendered(self) -> bool:
        """Whether rendered clips are learnt from; of ``loss.matching`` a ResNet has the last weight alone."""
        matching = self.loss.matching if self.resnet is None else self.loss.matching[-1:]
        return any(matching) or self.loss.refinement > 0

    def loop(self) -> LoopConfig:
        """What the loop has to know."""
        return LoopConfig(
            steps=self.steps,
            seed=self.seed,
            device=self.device,
            precision=self.precision,
            accumulation=self.accumulation,
            clip=self.optimiser.clip,
            ema=self.optimiser.ema,
            log_every=self.log_every,
            checkpoint_every=self.checkpoint_every,
            validate_every=self.validate_every,
            keep=self.keep,
            trackers=self.trackers,
        )


def load_config(path: str | Path, overrides: list[str] | None = None) -> FeaturesConfig:
    """The configuration in a YAML file, changed by ``key.sub=value`` overrides.

    Raises:
        InputError: missing file, bad YAML, unknown key (with the nearest known one) or a value out of range.
    """
    return read_config(path, FeaturesConfig, overrides or [])
