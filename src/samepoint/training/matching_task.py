"""What a configuration of ``train matching`` means: its matcher, its pairs, its objectives, what is saved."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..datasets import pf_pascal, pf_willow, spair
from ..datasets.frame_cache import FrameCache
from ..datasets.video_folder import VideoFolder, default_cache
from ..errors import InputError
from ..models.features import load_network
from ..models.hypercolumn import needed_outputs
from ..models.matcher import Matcher
from ..models.weights import load_model, save_weights
from ..structures.matches import Matches
from ..viz.matches import draw_matches
from ..webvideo.catalog import Catalogue
from ..webvideo.pairs import PairSampler
from .command import weights_of
from .loading import in_order
from .match_calibration import matched
from .matching_checks import asking_teacher, check_matching
from .matching_config import LabelledPairsConfig, MatchingConfig, TargetConfig
from .matching_data import (
    Changes,
    CrossPairs,
    KeypointPairs,
    Known,
    PairItem,
    PairSource,
    WarpedPictures,
    WebPairs,
    stacked,
)
from .matching_objectives import NEAR, MatchBatch, MatchingObjectives
from .origins import origin_of, origin_of_teacher, origins
from .pair_names import describe_pairs
from .record import Reading
from .task import Task
from .teacher import load_teacher
from .validation import benchmark_scores

_GIGABYTE = 1_000_000_000
_HELD_OUT, _CALIBRATION = 1, 2  # seeds of pictures that training does not see in this form
_WARPS_RIGHT = "warps/PCK@0.1"
_READERS = {"spair-71k": spair.pairs, "pf-pascal": pf_pascal.pairs, "pf-willow": pf_willow.pairs}


class MatchingTask(Task[MatchBatch]):
    """The matcher of a configuration, and what is trained beside it.

    Raises:
        InputError: an objective lacks its data or its teacher; weights that do not fit; or what
            :func:`~samepoint.training.matching_checks.check_matching` refuses.
    """

    def __init__(self, config: MatchingConfig, reading: Reading | None = None) -> None:
        check_matching(config)
        self.config = config
        self.matcher, self.copied = matcher_of(config)
        asking = asking_teacher(config)
        teacher = load_teacher(config.teacher) if asking else None
        if asking and teacher is None:
            raise InputError(f"loss.{asking[0]}: learns from a teacher; set teacher.model")
        self.metadata = metadata_of(config)
        if config.loss.centred and not (config.loss.distillation or config.loss.relation):
            raise InputError("loss.centred: is about a teacher's maps; set loss.distillation or loss.relation")
        self.size = config.data.size or config.model.side
        frozen = config.optimiser.backbone == 0
        self.objectives = MatchingObjectives(self.matcher, config.loss, self.size, teacher, frozen=frozen)
        self.networks = self.objectives
        self.matcher.hypercolumn.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.exported = self.matcher
        self.dataset = PairBatches(config, self.size, reading)
        self.images = self.dataset.images
        self.held_out = self.dataset.warped  # in other draws than those of training
        if self.held_out is None and config.validate_every and config.validation.warps and config.data.videos:
            self.held_out = self.dataset.warps_of(config, reading)
        self.weights = weights_of(config.output)

    def optimiser(self) -> torch.optim.Optimizer:
        settings = self.config.optimiser
        shares = {"matcher.hypercolumn.": settings.backbone, "discriminator.": settings.discriminator}
        groups: dict[float, list[torch.nn.Parameter]] = {}
        for name, value in self.objectives.named_parameters():
            share = next((share for prefix, share in shares.items() if name.startswith(prefix)), 1.0)
            if share > 0 and value.requires_grad:
                groups.setdefault(share, []).append(value)
        kind = torch.optim.AdamW if settings.kind == "adamw" else torch.optim.Adam
        made = [{"params": values, "scale": share} for share, values in groups.items()]
        return kind(made, lr=settings.rate, weight_decay=settings.weight_decay)

    def rate(self, step: int) -> float:
        return self.config.optimiser.rate_at(step, self.config.steps)

    def batches(self, positions: range) -> Iterator[MatchBatch]:
        return in_order(self.dataset, positions, self.config.data.workers)

    def loss(self, batch: MatchBatch, progress: float) -> tuple[Tensor, dict[str, float]]:
        loss: Tensor
        loss, figures = self.objectives(batch, progress)
        return loss, figures

    def updated(self) -> None:
        self.objectives.follow()

    def describe(self, position: int) -> str:
        return describe_pairs(self.dataset, position)

    def place(self, device: torch.device) -> None:
        if self.objectives.teacher is not None:
            self.objectives.teacher.to(device)

    def validate(self) -> dict[str, float]:
        settings, device = self.config.validation, self.matcher.confidence.weight.device
        outside = self.config.backbone if self.matcher.config.external else None
        figures = {}
        with tempfile.TemporaryDirectory() as folder:
            # What a file keeps is tried, not what it was made of: numbers are rounded there.
            weights = self.save(Path(folder) / "model.safetensors", {})
            if settings.warps and self.held_out is not None:
                saved = load_network(weights, backbone=outside).network.to(device)
                assert isinstance(saved, Matcher)
                pairs = map(Known.of, _some(self.held_out, settings.warps, _HELD_OUT))
                _, right = matched(saved, pairs, NEAR)
                figures[_WARPS_RIGHT] = 100 * float(right.float().mean())
            if settings.benchmark is not None and settings.root is not None:
                figures |= benchmark_scores(
                    settings.benchmark,
                    Path(settings.root),
                    weights,
                    settings.limit,
                    split="val",
                    device=str(device),
                    backbone=outside,
                )
        return figures

    def leading(self, figures: Mapping[str, float]) -> str | None:
        names = (f"{self.config.validation.benchmark}/PCK@0.1 ", _WARPS_RIGHT)  # of a benchmark, by averaging
        return next((figure for name in names for figure in figures if figure.startswith(name)), None)

    def save(self, path: Path, notes: Mapping[str, Any]) -> Path:
        return save_weights(self.matcher, path, {**self.metadata, **notes})

    def pictures(self) -> dict[str, np.ndarray]:
        shown = {}
        if self.held_out is not None:
            shown["warped"] = self._drawn(_some(self.held_out, 1, _HELD_OUT)[0])
        if self.dataset.web is not None:
            shown["web"] = self._drawn(self.dataset.web.item(0))
        return shown

    def _drawn(self, item: PairItem) -> np.ndarray:
        source, target = (each.permute(1, 2, 0).numpy() for each in (item.source, item.target))
        points = item.source_xy[item.valid].numpy()[:40]
        xy, confidence = self.matcher.match(source, target, points)
        size = (self.size, self.size)
        return draw_matches(source, target, Matches(points, xy, confidence, size, size))

    def finish(self) -> dict[str, Any]:
        notes: dict[str, Any] = {"copied": self.copied} if self.copied else {}
        settings = self.config.calibration
        if settings.pairs:
            evidence, right = matched(self.matcher, self._known(), settings.tolerance, settings.points)
            if right.any() and not right.all():
                notes["calibration"] = self.matcher.confidence.fit(evidence, right)
            elif len(right):
                verdict = "right" if right.all() else "wrong"
                warnings.warn(f"confidence is not fitted: all {len(right)} matches are {verdict}", stacklevel=1)
        self.save(self.weights, notes)
        return notes

    def _known(self) -> Iterator[Known]:
        """Pairs for the confidence: warps, which have points that are not there; else what the run has learnt from."""
        data = self.dataset
        places = range(2**30 * _CALIBRATION, 2**30 * _CALIBRATION + self.config.calibration.pairs)
        if data.warped is not None:
            return map(data.warped.known, places)
        labelled = data.web or data.labelled
        return iter(()) if labelled is None else (Known.of(labelled.item(place)) for place in places)


def _some(source: PairSource, count: int, purpose: int) -> list[PairItem]:
    return [source.item(2**30 * purpose + index) for index in range(count)]


class PairBatches(Dataset[MatchBatch]):
    """Item ``p`` is the micro-batch at position ``p`` of the run: the same in any process.

    Raises:
        InputError: an objective lacks its data, or there is none.
    """

    def __init__(self, config: MatchingConfig, size: int, reading: Reading | None = None) -> None:
        data, loss, seed = config.data, config.loss, config.seed
        self.changes = changes = Changes(size, data.warp.build(), data.colours.build())
        shots = None
        self.counts = {"warps": data.warps, "web": data.web, "keypoints": data.keypoints, "cross": data.cross}
        self.warped: WarpedPictures | None = None
        self.web: WebPairs | None = None
        self.labelled: KeypointPairs | None = None
        self.target: PairSource | None = None
        self.crossed: CrossPairs | None = None
        self.cross_on = loss.cross.weight > 0
        self.adversary_on = loss.adversary > 0
        if loss.warps > 0:
            if data.videos is None:
                raise InputError("loss.warps: warps pictures; set data.videos to a folder of videos or pictures")
            self.warped = self.warps_of(config, reading)
        crossing = self.cross_on or (self.adversary_on and data.target.cross)
        if loss.web > 0 or crossing:
            if data.collection is None:
                raise InputError(
                    "loss: web pairs come from a collection; set data.collection to the output folder of samepoint web"
                )
            catalogue = Catalogue.existing(data.collection)
            shots = catalogue.read("shots").to_pylist()
            copies = FrameCache(data.cache or default_cache(), data.short_side, data.cache_gb * _GIGABYTE, shots=False)
            if loss.web > 0:
                labels = catalogue.read("labels").to_pylist()
                sampler = PairSampler(labels, shots, data.collection, data.pairs, seed)
                self.web = WebPairs(sampler, changes, data.points, copies, seed)
            if crossing:
                self.crossed = CrossPairs(shots, Path(data.collection), changes, copies, seed)
        if loss.keypoints > 0:
            if data.labelled is None:
                raise InputError("loss.keypoints: needs labelled pairs; set data.labelled")
            self.labelled = _keypoints(data.labelled, changes, data.points, seed)
        if self.adversary_on:
            if not (self.web or self.warped):
                raise InputError("loss.adversary: needs pairs of its own domain, web pairs or warps")
            if data.target.pairs is not None:
                self.target = _keypoints(data.target.pairs, changes, data.points, seed + 1)
            elif data.target.cross:
                self.target = self.crossed
            else:
                raise InputError("loss.adversary: needs a target domain; set data.target.pairs or data.target.cross")
        if self.warped is self.web is self.labelled is None and not self.cross_on:
            if beside := [name for name in ("distillation", "relation") if getattr(loss, name) > 0]:
                raise InputError(
                    f"loss.{beside[0]}: learns from the pictures of other objectives; set loss.warps, loss.web, "
                    "loss.keypoints or loss.cross.weight above 0"
                )
            raise InputError("loss: every objective has weight 0, there is nothing to learn")

    def warps_of(self, config: MatchingConfig, reading: Reading | None = None) -> WarpedPictures:
        """Warped pictures of ``data.videos``, which is set; ``reading`` is told how many videos have been read."""
        data = config.data
        assert data.videos is not None
        cache = data.cache or default_cache()
        frames = VideoFolder(
            data.videos,
            1,
            seed=config.seed,
            short_side=data.short_side,
            cache=cache,
            cache_gb=data.cache_gb,
            workers=data.workers,
            progress=reading,
        )
        return WarpedPictures(frames, self.changes, data.points, config.seed)

    @property
    def images(self) -> int:
        """Pictures in a micro-batch."""
        crossed = self.crossed if self.cross_on else None
        kinds = {"warps": self.warped, "web": self.web, "keypoints": self.labelled, "cross": crossed}
        count = sum(2 * self.counts[name] for name, source in kinds.items() if source is not None)
        return count + (2 * self.counts["cross"] if self.target is not None else 0)

    def __len__(self) -> int:
        return 2**30

    def __getitem__(self, position: int) -> MatchBatch:
        return MatchBatch(
            self._batch(self.warped, "warps", position),
            self._batch(self.web, "web", position),
            self._batch(self.labelled, "keypoints", position),
            self._batch(self.target, "cross", position),
            self._crossed(position) if self.cross_on else None,
        )

    def _batch(self, source: PairSource | None, name: str, position: int) -> PairItem | None:
        if source is None:
            return None
        count = self.counts[name]
        items: PairItem = stacked([source.item(position * count + place) for place in range(count)])
        return items

    def _crossed(self, position: int) -> Any:
        assert self.crossed is not None
        count = self.counts["cross"]
        return stacked([self.crossed.cross(position * count + place) for place in range(count)])


def _keypoints(config: LabelledPairsConfig, changes: Changes, points: int, seed: int) -> KeypointPairs:
    pairs = _READERS[config.benchmark](config.root, config.split)
    if config.categories is not None:
        known = ", ".join(pairs.counts())
        pairs = pairs.without({entry.name for entry in pairs.entries if entry.category not in config.categories})
        if not len(pairs):
            raise InputError(f"categories: none of {', '.join(config.categories)} is there; expected some of {known}")
    if config.colours is not None:
        changes = changes._replace(colours=config.colours.build())
    return KeypointPairs(pairs, changes, points, seed, config.crop)


def matcher_of(config: MatchingConfig) -> tuple[Matcher, dict[str, int]]:
    """The matcher that training begins with, and how many tensors of each part were copied into it.

    Raises:
        InputError: weights that are no matcher's, or a backbone that does not fit.
    """
    matcher = Matcher(config.model)
    copied: dict[str, int] = {}
    if config.backbone is not None:
        network = load_network(config.backbone, needed_outputs(config.model.backbone)).network
        matcher.use_backbone(getattr(network, "encoder", network))
        copied["backbone"] = 1
    if config.init is not None:
        given = load_model(config.init)
        if not isinstance(given, Matcher):
            raise InputError(f"init: {config.init} is a {type(given).__name__}, expected a matcher")
        copied |= matcher.take(given, config.parts)
    return matcher, copied


def metadata_of(config: MatchingConfig) -> dict[str, Any]:
    """What the weight file says of how it came about."""
    data, loss = config.data, config.loss
    adversary = data.target if loss.adversary > 0 else TargetConfig()
    parts = [Path(data.videos).name] if loss.warps > 0 and data.videos is not None else []
    if (loss.web > 0 or loss.cross.weight > 0 or adversary.cross) and data.collection is not None:
        parts.append(Path(data.collection).name)
    labelled = data.labelled if loss.keypoints > 0 else None
    if labelled is not None:
        parts.append(f"{labelled.benchmark} {labelled.split} with keypoints")
    if adversary.pairs is not None:
        parts.append(f"{adversary.pairs.benchmark} {adversary.pairs.split} without keypoints")
    # All of these benchmarks are for research, as their readers say.
    research = labelled is not None or adversary.pairs is not None
    begun = [] if config.model.external else origin_of("backbone", config.backbone)
    begun += origin_of("init", config.init)
    if asking_teacher(config):
        begun += origin_of_teacher(config.teacher)
    return {"training": config.model_dump(mode="json", exclude={"output"}), **origins(parts, research, begun)}
