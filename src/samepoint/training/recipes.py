"""What a configuration of ``train features`` means: its student, its data, its objectives, what is saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from ..datasets.synthetic import SyntheticClips
from ..datasets.video_folder import VideoFolder
from ..errors import InputError
from ..models.network import NetworkConfig, PointNetwork
from ..models.resnet import ResNet, initialise
from ..models.weights import load_model, load_strictly, save_weights
from .calibration import calibrate, calibration_clips
from .checks import ON_CLIPS, check_features, uses_teacher
from .command import weights_of
from .config import FeaturesConfig
from .data import RenderedBatches, textures_of
from .loading import in_order
from .losses import visible_by_flow
from .objectives import Batch, Objectives, Student
from .origins import origin_of, origin_of_teacher, origins
from .record import Reading
from .sources import ClipSource, FlowItem, FlowPairs, FlyingPairs, RealClips, RenderedPairs, VosPairs
from .task import Task
from .teacher import load_teacher
from .validation import Validation


class FeaturesTask(Task[Batch]):
    """The student of a configuration, and what is trained beside it.

    ``reading`` is told how many videos of a folder have been read, and of how many.

    Raises:
        InputError: an objective lacks its data, its teacher or its map; weights that do not fit; or what
            :func:`~samepoint.training.checks.check_features` refuses.
    """

    def __init__(self, config: FeaturesConfig, reading: Reading | None = None) -> None:
        check_features(config)
        self.config = config
        self.student = student_of(config)
        self.teacher = load_teacher(config.teacher) if uses_teacher(config) else None
        self.metadata = metadata_of(config)
        self.objectives = Objectives(self.student, config.loss, self.teacher, frozen=config.optimiser.encoder == 0)
        self.networks = self.objectives.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.exported = self.student
        self.dataset = Batches(config, reading)
        self.images = self.dataset.images
        self.weights = weights_of(config.output)

    @cached_property
    def validation(self) -> Validation:
        config = self.config
        settings = replace(config.data.clip_settings(), frames=config.validation.frames)
        return Validation(config.validation, settings, textures_of(config.data), config.seed + 4)

    def optimiser(self) -> torch.optim.Optimizer:
        # Visibility and hindsight are fitted afterwards; a refiner that nothing teaches stays as it is.
        left_out = ["student.visibility.", "student.hindsight."] + (
            [] if self.config.loss.refinement > 0 else ["student.refiner."]
        )
        settings = self.config.optimiser
        groups: dict[float, list[nn.Parameter]] = {}
        for name, value in self.objectives.named_parameters():
            if value.requires_grad and not name.startswith(tuple(left_out)):
                share = settings.encoder if name.startswith("student.encoder.") else 1.0
                groups.setdefault(share, []).append(value)
        kind = torch.optim.AdamW if settings.kind == "adamw" else torch.optim.Adam
        made = [{"params": values, "scale": share} for share, values in groups.items()]
        return kind(made, lr=settings.rate, weight_decay=settings.weight_decay)

    def rate(self, step: int) -> float:
        return self.config.optimiser.rate_at(step, self.config.steps)

    def batches(self, positions: range) -> Iterator[Batch]:
        return in_order(self.dataset, positions, self.config.data.workers)

    def loss(self, batch: Batch, progress: float) -> tuple[Tensor, dict[str, float]]:
        if batch.plain is not None and self.dataset.clips is not None:
            batch = batch._replace(clips=self.dataset.clips.augmented(batch.plain), plain=None)
        loss: Tensor
        loss, figures = self.objectives(batch, progress)
        return loss, figures

    def describe(self, position: int) -> str:
        return self.dataset.describe(position)

    def place(self, device: torch.device) -> None:
        if self.teacher is not None:
            self.teacher.to(device)
        if self.config.sync_norm and device.type == "cuda" and torch.distributed.is_initialized():
            nn.SyncBatchNorm.convert_sync_batchnorm(self.networks)

    def validate(self) -> dict[str, float]:
        return self.validation.scores(self.student, lambda path: self.save(path, {}))

    def leading(self, figures: Mapping[str, float]) -> str | None:
        return "delta_avg" if "delta_avg" in figures else next(iter(figures), None)

    def save(self, path: Path, notes: Mapping[str, Any]) -> Path:
        return save_weights(for_use(self.student, self.config), path, {**self.metadata, **notes})

    def pictures(self) -> dict[str, np.ndarray]:
        return self.validation.pictures(self.student)

    def finish(self) -> dict[str, Any]:
        config, notes = self.config, {}
        if config.calibration.clips and config.loss.refinement > 0 and isinstance(self.student, PointNetwork):
            clips = calibration_clips(textures_of(config.data), config.calibration, config.seed + 1)
            notes["calibration"] = calibrate(self.student, clips, config.calibration)
        self.save(self.weights, notes)
        return notes


class Batches(Dataset[Batch]):
    """Item ``p`` is the micro-batch at position ``p`` of the run: the same in any process."""

    def __init__(self, config: FeaturesConfig, reading: Reading | None = None) -> None:
        data, loss = config.data, config.loss
        data.clip_settings()  # before the work of looking through folders
        self.rendered = RenderedBatches(data, config.seed, 2**31) if config.on_rendered else None
        self.pairs = _labelled(config) if loss.on_pairs else None
        self.exact = data.labelled.flyingthings is None  # what is hidden is known
        self.clips = _real(config, reading) if loss.on_clips else None
        self.plain = data.real.augment_on == "device"
        self.counts, self.frames = (data.labelled.pairs, data.real.clips), data.real.frames
        if self.rendered is self.pairs is self.clips is None:
            raise InputError("loss: every objective has weight 0, there is nothing to learn")

    @property
    def images(self) -> int:
        """Frames in a micro-batch."""
        rendered = 0 if self.rendered is None else self.rendered.config.clips * self.rendered.config.frames
        pairs = 0 if self.pairs is None else 2 * self.counts[0]
        return rendered + pairs + (0 if self.clips is None else self.counts[1] * self.frames)

    def __len__(self) -> int:
        return 2**31

    def __getitem__(self, position: int) -> Batch:
        pairs, clips = self.counts
        return Batch(
            None if self.rendered is None else self.rendered[position],
            None if self.pairs is None else self._seen(self.pairs.batch(position, pairs)),
            None if self.clips is None or self.plain else self.clips.batch(position, clips),
            self.clips.plain(position, clips) if self.clips is not None and self.plain else None,
        )

    def describe(self, position: int) -> str:
        """What the micro-batch at ``position`` is made of: files where there are any."""
        parts = [] if self.rendered is None else [self.rendered.describe(position)]
        for source, count in zip((self.pairs, self.clips), self.counts, strict=True):
            if source is not None:
                parts += [source.describe(position * count + place) for place in range(count)]
        return "; ".join(parts)

    def _seen(self, pairs: FlowItem) -> FlowItem:
        """Where only flow is known, what is hidden follows from the flow there and back."""
        if self.exact:
            return pairs
        return pairs._replace(valid=pairs.valid & visible_by_flow(pairs.flow, pairs.flow_back))


class _RenderedClips:
    """Rendered clips as if nothing were known of them."""

    def __init__(self, clips: SyntheticClips) -> None:
        self.clips = clips

    def __len__(self) -> int:
        return 10_000

    def clip(self, index: int) -> np.ndarray:
        return self.clips.clip(index).frames

    def describe(self, index: int) -> str:
        return f"rendered clip {index} of seed {self.clips.seed}"


def _labelled(config: FeaturesConfig) -> FlowPairs:
    data, settings = config.data, config.data.labelled
    source: FlyingPairs | RenderedPairs
    if settings.flyingthings is not None:
        source = FlyingPairs(settings.flyingthings, config.seed)
    else:
        # Other clips than those that matching learns from, drawn alike.
        source = RenderedPairs.of(data.clip_settings(), textures_of(data), config.seed + 2, settings.gap.build())
    return FlowPairs(source, settings.augment.build(settings.size or data.size), config.seed)


def _real(config: FeaturesConfig, reading: Reading | None) -> RealClips:
    data, settings = config.data, config.data.real
    source: ClipSource
    folder = settings.videos or data.videos
    if settings.youtube_vos is not None:
        source = VosPairs(settings.youtube_vos, config.seed, settings.frames, settings.short_side, index=settings.index)
    elif settings.rendered:
        clips = replace(data.clip_settings(), frames=settings.frames)
        source = _RenderedClips(SyntheticClips(clips, textures_of(data), config.seed + 3))
    elif folder is not None:
        source = VideoFolder(
            folder,
            settings.frames,
            settings.gap.build(),
            config.seed,
            settings.short_side,
            settings.cache,
            settings.cache_gb,
            workers=data.workers,
            progress=reading,
        )
    else:
        names = [name for name in ON_CLIPS if getattr(config.loss, name).weight > 0]
        raise InputError(
            f"loss.{names[0]}: learns from real clips; set data.videos to a folder of videos, or data.real.youtube_vos"
        )
    return RealClips(source, settings.augment.build(settings.size or data.size), config.seed)


def student_of(config: FeaturesConfig) -> Student:
    """The network that a configuration trains, with its first weights.

    Raises:
        InputError: ``init`` is of another architecture, or both ``model`` and ``resnet`` are described.
    """
    if config.resnet is None:
        if config.init is None:
            network = PointNetwork(config.model)
            initialise(network.encoder)
            return network
        given = load_model(config.init)
        if not isinstance(given, PointNetwork) or given.config != config.model:
            raise InputError(f"init: {config.init} has another architecture than the configuration's model")
        return given
    settings = config.resnet
    if config.model != NetworkConfig():
        raise InputError("model and resnet: both describe the student; leave one of them out")
    # The random walk of patches learns through stage 4, which is left out of what is saved.
    walking = config.loss.random_walk.weight > 0 and config.loss.random_walk.nodes == "patches"
    outputs = {settings.output, 4} if walking else {settings.output}
    student = ResNet(settings.depth, settings.strides, settings.pool, tuple(outputs), settings.colour, settings.padding)
    initialise(student)
    if config.init is not None:
        given = load_model(config.init)
        if not isinstance(given, ResNet) or given.config != for_use(student, config).config:
            raise InputError(f"init: {config.init} has another architecture than the configuration's resnet")
        student.load_state_dict(student.state_dict() | given.state_dict())
    return student


def for_use(student: Student, config: FeaturesConfig) -> Student:
    """The student without what only training needs: a ResNet ends with the stage whose map is used."""
    if not isinstance(student, ResNet) or config.resnet is None or student.outputs == (config.resnet.output,):
        return student
    short = ResNet(**(student.config | {"outputs": (config.resnet.output,)}))
    tensors = student.state_dict()
    load_strictly(short, {key: tensors[key] for key in short.state_dict()}, "the student")
    return short.eval()


def metadata_of(config: FeaturesConfig) -> dict[str, Any]:
    """What is written beside the weights."""
    loss, data = config.loss, config.data
    parts = []
    if config.on_rendered or (loss.on_pairs and data.labelled.flyingthings is None):
        parts.append("rendered clips" + (" textured from videos" if data.videos else " of procedural textures"))
    if loss.on_pairs and data.labelled.flyingthings is not None:
        parts.append("FlyingThings3D")
    if loss.on_clips and not data.real.rendered:
        parts.append("YouTube-VOS" if data.real.youtube_vos else "videos without labels")
    research = bool({"FlyingThings3D", "YouTube-VOS"} & set(parts))
    training = config.model_dump(mode="json", exclude={"output"})
    begun = origin_of("init", config.init)
    if uses_teacher(config):
        begun += origin_of_teacher(config.teacher)
    return {"training": training, **origins(parts, research, begun)}
