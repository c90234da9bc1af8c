"""The objectives of a configuration, together: what each needs of a batch is computed once, and only if it is asked."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from ..geometry import Lattice, sample_patches
from ..models.colour import lab_to_rgb, normalise, rgb_to_lab, standardise
from ..models.network import PointNetwork
from ..models.refiner import channels_last
from ..models.resnet import ResNet
from .config import LossConfig
from .data import TrainingBatch
from .losses import (
    CorrelationDiscriminator,
    adversary_loss,
    cycle_loss,
    drop_channel,
    matching_loss,
    random_walk_loss,
    reconstruction_loss,
    relation_loss,
    scheduled_coefficient,
    soft_target_loss,
    walk_patches,
)
from .losses.precision import in_full_precision
from .losses.unit import unit
from .rollout import follow
from .sources import FlowItem, PlainClips
from .teacher import Teacher

Student = PointNetwork | ResNet
Figures = dict[str, float]
Data = TypeVar("Data")

REACHES = (1, 2, 4)
"""Cells within which a match counts as found, in the figures."""
_LOOKED_AT = 256
"""Cells of a batch of labelled pairs that these figures are taken from."""


class Batch(NamedTuple):
    """A micro-batch; None is what no objective asks for."""

    rendered: TrainingBatch | None
    pairs: FlowItem | None  # B pairs: frames (B, 2, 3, H, W), reference and target
    clips: Tensor | None  # (B, T, 3, H, W) uint8 RGB
    plain: PlainClips | None = None  # of which the clips are yet to be made


class Objectives(nn.Module):
    """The student and what is trained beside it: an adversary, the head of the random walk.

    The teacher is no part of it, so that no checkpoint holds it. A ``frozen`` encoder learns nothing, nor does it
    take note of what it sees.
    """

    def __init__(
        self, student: Student, config: LossConfig, teacher: Teacher | None = None, frozen: bool = False
    ) -> None:
        super().__init__()
        self.student, self.config, self._frozen = student, config, frozen
        self._teacher = [teacher]  # in a list: not a sub-module
        self.discriminator: CorrelationDiscriminator | None = None
        self.head: nn.Linear | None = None
        if config.adversary.weight > 0:
            self.discriminator = CorrelationDiscriminator(config.adversary.radius, config.adversary.hidden)
        if config.random_walk.weight > 0 and config.random_walk.nodes == "patches":
            self.head = nn.Linear(student.channels[0], config.random_walk.embedding)
        if config.relation.weight > 0 and teacher is None:
            raise InputError("loss.relation: needs a teacher, set teacher.model")
        if config.refinement > 0 and not isinstance(student, PointNetwork):
            raise InputError("loss.refinement: a ResNet has no refiner; set loss.refinement to 0")
        for part in ("reconstruction", "soft_targets", "adversary", "random_walk", "cycle", "relation"):
            objective = getattr(config, part)
            if objective.weight > 0:
                _level(student, objective.stride, part)

        if frozen and isinstance(student, PointNetwork):
            student.encoder.requires_grad_(False)

    @property
    def teacher(self) -> Teacher | None:
        return self._teacher[0]

    def train(self, mode: bool = True) -> Objectives:
        super().train(mode)
        if self._frozen and isinstance(self.student, PointNetwork):
            self.student.encoder.eval()  # batch normalisation goes by what it has learnt
        return self

    def forward(self, batch: Batch, progress: float = 0.0) -> tuple[Tensor, Figures]:
        """Weighted sum of the objectives on one batch, and figures for the log, each loss unweighted.

        ``progress`` is the share of the run that is done. Random draws come from the global generators.
        """
        config, losses, report = self.config, [], dict[str, float]()

        def add(name: str, weight: float, loss: Tensor) -> None:
            losses.append(weight * loss)
            report[name] = loss.item()

        if batch.rendered is not None:
            loss, figures = supervised(self.student, batch.rendered, config)
            losses.append(loss)
            report.update(figures)
        channel = int(torch.randint(1, 3, ()))
        real = None if batch.clips is None else _RealClips(self.student, batch.clips, channel)
        if config.reconstruction.weight > 0:
            add("reconstruction", config.reconstruction.weight, self._reconstruction(_needed(real)))
        pairs = None if batch.pairs is None else self._pairs(batch.pairs)
        if config.soft_targets.weight > 0:
            add("soft_targets", config.soft_targets.weight, self._soft_targets(_needed(pairs), report))
        if config.adversary.weight > 0:
            add("adversary", config.adversary.weight, self._adversary(_needed(pairs), _needed(real), progress))
        if config.random_walk.weight > 0:
            add("random_walk", config.random_walk.weight, self._random_walk(_needed(real)))
        if config.cycle.weight > 0:
            add("cycle", config.cycle.weight, self._cycle(_needed(real)))
        if config.relation.weight > 0:
            add("relation", config.relation.weight, self._relation(_needed(real)))
        return torch.stack(losses).sum(), report

    def _reconstruction(self, real: _RealClips) -> Tensor:
        config = self.config.reconstruction
        level, lattice = _level(self.student, config.stride)
        reference, target = real.neighbours(real.dropped[level])
        before, after = real.neighbours(real.colour)
        return reconstruction_loss(
            target,
            reference,
            after,
            before,
            radius=config.radius,
            stride=lattice.stride,
            temperature=config.temperature,
            normalise=config.normalised,
            legacy=config.legacy,
        )

    def _pairs(self, pairs: FlowItem) -> _Pairs:
        frames = pairs.frames.flatten(0, 1).permute(0, 2, 3, 1)
        if self.config.channel_dropout:
            maps = self.student.features(without_channel(frames, int(torch.randint(1, 3, ())), self.student))
        else:
            maps = self.student.features(self.student.preprocess(frames))
        return _Pairs(pairs, maps)

    def _soft_targets(self, pairs: _Pairs, report: Figures) -> Tensor:
        config = self.config.soft_targets
        level, lattice = _level(self.student, config.stride)
        reference, target = pairs.maps[level][0::2], pairs.maps[level][1::2]
        known = None
        if self.teacher is not None and config.label != "gaussian":
            frames = pairs.item.frames[:, 0].permute(0, 2, 3, 1)
            known = self.teacher(frames, lattice, (reference.shape[2], reference.shape[3]))
        if "match_1" not in report:
            report.update(_found(reference, target, pairs.item, lattice))
        return soft_target_loss(
            target,
            reference,
            pairs.item.flow,
            pairs.item.valid,
            known,
            radius=config.radius,
            stride=lattice.stride,
            temperature=config.temperature,
            label=config.label,
            label_temperature=config.label_temperature,
            teacher_norm=config.teacher_norm,
            sigma=config.sigma,
            legacy=config.legacy,
        )

    def _adversary(self, pairs: _Pairs, real: _RealClips, progress: float) -> Tensor:
        config = self.config.adversary
        level, _ = _level(self.student, config.stride)
        # Alike or not at all: a colour that only one kind of frame lacks would tell them apart.
        maps = real.dropped if self.config.channel_dropout else real.whole
        reference, target = real.neighbours(maps[level])
        rising = scheduled_coefficient(progress) if config.schedule == "rising" else 1.0
        assert self.discriminator is not None
        return adversary_loss(
            self.discriminator,
            (pairs.maps[level][1::2], pairs.maps[level][0::2]),
            (target, reference),
            coefficient=config.coefficient * rising,
            normalise=config.normalised,
        )

    def _random_walk(self, real: _RealClips) -> Tensor:
        config = self.config.random_walk
        clips, times = real.clips.shape[:2]
        if self.head is not None:
            frames = self.student.preprocess(real.frames).unflatten(0, (clips, times))
            patches = walk_patches(frames, None, size=config.patch, step=config.step)
            maps = self.student.features(patches.flatten(0, 2))[0]
            nodes = self.head(maps.float().mean((2, 3))).unflatten(0, (clips, times, -1))
        else:
            cells = real.whole[_level(self.student, config.stride)[0]].float()
            size = (min(cells.shape[2], config.grid), min(cells.shape[3], config.grid))
            nodes = F.adaptive_avg_pool2d(cells, size).flatten(2).transpose(1, 2).unflatten(0, (clips, times))
        return random_walk_loss(
            nodes, None, temperature=config.temperature, dropout=config.dropout, nearest=config.nearest
        )

    def _cycle(self, real: _RealClips) -> Tensor:
        config = self.config.cycle
        maps = real.whole[_level(self.student, config.stride)[0]].unflatten(0, real.clips.shape[:2])
        return cycle_loss(maps, None, radius=config.radius, temperature=config.temperature, samples=config.samples)

    def _relation(self, real: _RealClips) -> Tensor:
        config = self.config.relation
        level, lattice = _level(self.student, config.stride)
        maps = real.whole[level]
        assert self.teacher is not None
        known = self.teacher(real.frames, lattice, (maps.shape[2], maps.shape[3]))
        return relation_loss(
            maps,
            known,
            None,
            temperature=config.temperature,
            teacher_temperature=config.teacher_temperature,
            samples=config.samples,
        )


class _Pairs(NamedTuple):
    item: FlowItem
    maps: tuple[Tensor, ...]  # (2 B, C, h, w): reference, target, reference, ...


class _RealClips:
    """Real clips and their maps, whole and without a colour, each encoded when first asked for."""

    def __init__(self, student: Student, clips: Tensor, channel: int) -> None:
        self.student, self.clips, self.channel = student, clips, channel
        self.frames = clips.flatten(0, 1).permute(0, 2, 3, 1)  # (B * T, H, W, 3)
        self._whole: tuple[Tensor, ...] | None = None
        self._dropped: tuple[Tensor, ...] | None = None

    @property
    def whole(self) -> tuple[Tensor, ...]:
        if self._whole is None:
            self._whole = self.student.features(self.student.preprocess(self.frames))
        return self._whole

    @property
    def dropped(self) -> tuple[Tensor, ...]:
        if self._dropped is None:
            self._dropped = self.student.features(without_channel(self.frames, self.channel, self.student))
        return self._dropped

    @property
    def colour(self) -> Tensor:
        """The dropped channel (B * T, 1, H, W), as it was."""
        return normalise(self.frames, "lab")[:, self.channel, None]

    def neighbours(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Of values (B * T, ...), those of each frame but the last and those of the next, (B * (T - 1), ...)."""
        clips = values.unflatten(0, self.clips.shape[:2])
        return clips[:, :-1].flatten(0, 1), clips[:, 1:].flatten(0, 1)


def without_channel(frames: Tensor, channel: int, student: Student) -> Tensor:
    """The student's input (B, 3, H, W) for uint8 RGB frames (B, H, W, 3) that have lost Lab's channel 1 or 2.

    A student that reads Lab gets what :func:`~samepoint.training.losses.drop_channel` leaves; one that reads RGB gets
    the colours that remain, at their own lightness.
    """
    if student.colour == "lab":
        return drop_channel(student.preprocess(frames), None, channel)[0]
    kept = frames.new_ones(3, dtype=torch.float32)
    kept[channel] = 0
    return standardise(lab_to_rgb(rgb_to_lab(frames.float() / 255) * kept), student.colour)


def _needed(value: Data | None) -> Data:
    if value is None:
        raise ValueError("the batch lacks what an objective of the configuration learns from")
    return value


def _level(student: Student, stride: int | None, objective: str = "") -> tuple[int, Lattice]:
    """Index and lattice of the student's map at a stride, the last of several; the finest if None."""
    if stride is None:
        return -1, student.lattices[-1]
    for index, lattice in reversed(list(enumerate(student.lattices))):
        if lattice.stride == stride:
            return index, lattice
    known = ", ".join(str(lattice.stride) for lattice in student.lattices)
    raise InputError(f"loss.{objective}.stride: the student has no map at stride {stride}; there are {known}")


def supervised(student: Student, batch: TrainingBatch, config: LossConfig) -> tuple[Tensor, Figures]:
    """Matching and refinement on rendered clips: their weighted sum, and figures for the log.

    ``match_1``, ``match_2``, ``match_4``: share of visible points whose best cell of the finest map matched, over the
    whole frame, lies within that many cells of the truth. The others are those of
    :func:`~samepoint.training.rollout.follow`.
    """
    frames = student.preprocess(batch.frames.flatten(0, 1)).contiguous(memory_format=torch.channels_last)
    maps = channels_last(student.features(frames))
    report: Figures = {}
    total, finest = batch.source_xy.new_zeros(()), None
    # Stride 2 of a pyramid has too many cells to match against all of them; the refiner teaches it.
    ours = isinstance(student, PointNetwork)
    weights = config.matching if ours else config.matching[-1:]
    # A ResNet that the random walk teaches has stage 4 before it, which is not saved.
    taught = slice(len(weights)) if ours else slice(-1, None)
    for level, weight, lattice in zip(maps[taught], weights, student.lattices[taught], strict=True):
        if weight == 0:
            continue
        level = level if ours else unit(level.float(), dim=-1)
        descriptors = sample_patches(level, lattice.to_cells(batch.source_xy), 0, batch.source)[:, 0]
        logits = _correlate(descriptors, level, batch.target) / config.temperature
        target = lattice.to_cells(batch.target_xy)
        loss = matching_loss(logits, target, batch.matched)
        report[f"matching{lattice.stride}"] = loss.item()
        total = total + weight * loss
        finest = logits, target
    if finest is not None:
        report.update(_within(*finest, batch.matched))
    if config.refinement > 0 and isinstance(student, PointNetwork):
        loss, figures = follow(student, maps, batch, config)
        total = total + config.refinement * loss
        report.update(figures)
    return total, report


@in_full_precision
def _correlate(descriptors: Tensor, level: Tensor, frame: Tensor) -> Tensor:
    """Similarity (N, h, w) of descriptors (N, C) with every cell of the frame (N,) that each is sought in."""
    parts = [descriptors[frame == index] @ level[index].flatten(0, 1).T for index in range(len(level))]
    order = torch.cat([torch.nonzero(frame == index)[:, 0] for index in range(len(level))])
    inverse = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    return torch.cat(parts).index_select(0, inverse).reshape(-1, level.shape[1], level.shape[2])


@torch.no_grad()
def _within(logits: Tensor, target: Tensor, counted: Tensor) -> Figures:
    """Share of the counted rows of ``logits`` (N, h, w) whose best cell lies near ``target`` (N, 2), in cells."""
    best = logits.flatten(1).argmax(dim=1)
    cells = torch.stack([best % logits.shape[2], best // logits.shape[2]], dim=1).float()
    distance = (cells - target).norm(dim=1)[counted]
    return {f"match_{reach}": (distance <= reach).float().mean().item() if len(distance) else 0.0 for reach in REACHES}


@torch.no_grad()
def _found(reference: Tensor, target: Tensor, pairs: FlowItem, lattice: Lattice) -> Figures:
    """How often cells of labelled pairs find their match, over the whole frame."""
    count, _, height, width = target.shape
    cell = torch.randint(count * height * width, (_LOOKED_AT,)).to(target.device)
    pair, row, column = cell // (height * width), cell // width % height, cell % width
    pixel = pair, row * lattice.stride, column * lattice.stride
    looks = F.normalize(target.float()[pair, :, row, column], dim=1)
    there = F.normalize(reference.float(), dim=1).permute(0, 2, 3, 1)
    match = torch.stack([column, row], dim=1) + pairs.flow[pixel] / lattice.stride
    return _within(_correlate(looks, there, pair), match, pairs.valid[pixel])
