"""Learn features and refiner by matching rendered frames whose correspondence is known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from ..errors import InputError
from ..geometry import sample_patches
from ..io.atomic import atomic_write
from ..models.network import PointNetwork
from ..models.refiner import channels_last
from ..models.resnet import initialise
from ..models.weights import load_model, save_weights
from .calibration import calibrate, calibration_clips
from .checkpoints import Checkpoints
from .config import FeaturesConfig, LossConfig, load_config
from .data import TrainingBatch, batches, textures_of
from .draws import kept_draws
from .loop import run
from .loop_config import LoopConfig
from .losses import matching_loss
from .record import Progress
from .rollout import follow
from .schedule import learning_rate
from .task import Task


def train(
    config: str | Path | FeaturesConfig,
    overrides: list[str] | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Train a :class:`PointNetwork` on rendered clips and write ``model.safetensors`` into the run's folder.

    The folder also gets ``config.yaml``, ``log.jsonl``, ``checkpoints/last.pt`` and TensorBoard's files. SIGINT and
    SIGTERM end the step at hand, write a checkpoint and raise ``KeyboardInterrupt``; ``resume=True`` goes on from there
    with the same data. See :func:`~samepoint.training.loop.run` for what several processes do.

    Returns:
        The path of the weights.

    Raises:
        InputError: bad configuration, nothing to resume, or a run already in the folder and ``resume`` not asked for.
        MissingExtraError: accelerate is not installed.
        FloatingPointError: the loss is not finite; the state before it is the last checkpoint.
    """
    if not isinstance(config, FeaturesConfig):
        config = load_config(config, overrides)
    folder = Path(config.output)
    Checkpoints(folder).open(resume)  # before the work of building, and before anything is written
    with kept_draws():
        torch.manual_seed(config.seed)
        task = _Features(config)
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(folder / "config.yaml", "w") as file:
            yaml.safe_dump(config.model_dump(mode="json"), file, sort_keys=False)
        run(task, _loop(config), folder, resume, progress)
    return task.weights


class _Features(Task[TrainingBatch]):
    """The encoder and the refiner; visibility is fitted when both are learnt."""

    def __init__(self, config: FeaturesConfig) -> None:
        self.config = config
        self.network = _network(config)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.networks = self.exported = self.network
        self.images = config.data.clips * config.data.frames
        self.weights = Path(config.output) / "model.safetensors"

    def optimiser(self) -> torch.optim.Optimizer:
        trained = [*self.network.encoder.parameters(), *self.network.refiner.parameters()]
        optimiser = self.config.optimiser
        return torch.optim.AdamW(trained, lr=optimiser.rate, weight_decay=optimiser.weight_decay)

    def rate(self, step: int) -> float:
        optimiser = self.config.optimiser
        return learning_rate(step, self.config.steps, optimiser.rate, optimiser.final, optimiser.warmup)

    def batches(self, positions: range) -> Iterator[TrainingBatch]:
        return batches(self.config.data, self.config.seed, positions)

    def loss(self, batch: TrainingBatch, progress: float) -> tuple[Tensor, dict[str, float]]:
        return objectives(self.network, batch, self.config.loss)

    def finish(self) -> dict[str, Any]:
        config, metadata, notes = self.config, _metadata(self.config), {}
        if config.calibration.clips:
            clips = calibration_clips(textures_of(config.data), config.calibration, config.seed + 1)
            notes["calibration"] = calibrate(self.network, clips, config.calibration)
        save_weights(self.network, self.weights, metadata | notes)
        return notes


def _loop(config: FeaturesConfig) -> LoopConfig:
    return LoopConfig(
        steps=config.steps,
        seed=config.seed,
        device="cpu",  # label propagation, which training follows, is made for the CPU
        precision=config.precision,
        clip=config.optimiser.clip,
        ema=config.optimiser.ema,
        log_every=config.log_every,
        checkpoint_every=config.checkpoint_every,
    )


def objectives(network: PointNetwork, batch: TrainingBatch, config: LossConfig) -> tuple[Tensor, dict[str, float]]:
    """Weighted sum of the objectives on one batch, and figures for the log.

    ``match_1``, ``match_2``, ``match_4``: share of visible points whose best stride-4 cell, over the whole frame, lies
    within that many cells of the truth. The others are those of :func:`~samepoint.training.rollout.follow`.
    """
    frames = network.preprocess(batch.frames.flatten(0, 1)).contiguous(memory_format=torch.channels_last)
    maps = channels_last(network.features(frames))
    report: dict[str, float] = {}
    total = batch.source_xy.new_zeros(())
    # Stride 2 has too many cells to match against all of them; the refiner teaches it.
    for level, weight, lattice in zip(maps[:3], config.matching, network.lattices[:3], strict=True):
        descriptors = sample_patches(level, lattice.to_cells(batch.source_xy), 0, batch.source)[:, 0]
        logits = _correlate(descriptors, level, batch.target) / config.temperature
        target = lattice.to_cells(batch.target_xy)
        loss = matching_loss(logits.float(), target, batch.matched)
        report[f"matching{lattice.stride}"] = loss.item()
        total = total + weight * loss
    best = logits.detach().flatten(1).argmax(dim=1)
    cells = torch.stack([best % logits.shape[2], best // logits.shape[2]], dim=1).float()
    distance = (cells - target).norm(dim=1)[batch.matched]
    for reach in (1, 2, 4):
        report[f"match_{reach}"] = (distance <= reach).float().mean().item() if len(distance) else 0.0
    if config.refinement > 0:
        loss, figures = follow(network, maps, batch, config)
        total = total + config.refinement * loss
        report.update(figures)
    return total, report


def _correlate(descriptors: Tensor, level: Tensor, frame: Tensor) -> Tensor:
    """Similarity (N, h, w) of descriptors (N, C) with every cell of the frame (N,) that each is sought in."""
    parts = [descriptors[frame == index] @ level[index].flatten(0, 1).T for index in range(len(level))]
    order = torch.cat([torch.nonzero(frame == index)[:, 0] for index in range(len(level))])
    inverse = torch.empty_like(order).scatter_(0, order, torch.arange(len(order)))
    return torch.cat(parts).index_select(0, inverse).reshape(-1, level.shape[1], level.shape[2])


def _network(config: FeaturesConfig) -> PointNetwork:
    if config.init is None:
        network = PointNetwork(config.model)
        initialise(network.encoder)
        return network
    loaded = load_model(config.init)
    if not isinstance(loaded, PointNetwork) or loaded.config != config.model:
        raise InputError(f"init: {config.init} has another architecture than the configuration's model")
    return loaded


def _metadata(config: FeaturesConfig) -> dict[str, Any]:
    return {
        "training": config.model_dump(mode="json", exclude={"output"}),
        "data": "rendered clips" + (" textured from videos" if config.data.videos else " of procedural textures"),
        "licence": "Apache-2.0",
    }
