"""Learn features and refiner by matching rendered frames whose correspondence is known."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from ..errors import InputError
from ..geometry import sample_patches
from ..models.network import PointNetwork
from ..models.precision import autocast, prefers_bf16
from ..models.refiner import channels_last
from ..models.resnet import initialise
from ..models.weights import load_model, save_weights
from .calibration import calibrate, calibration_clips
from .config import FeaturesConfig, LossConfig, load_config
from .data import TrainingBatch, batches, textures_of
from .loop import AveragedWeights, Log, learning_rate, load_checkpoint, save_checkpoint, stop_requested
from .losses import matching_loss
from .rollout import follow

Progress = Callable[[dict[str, float]], None]


def train(
    config: str | Path | FeaturesConfig,
    overrides: list[str] | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Train a :class:`PointNetwork` on rendered clips and write ``model.safetensors`` into the run's folder.

    The folder also gets ``config.yaml``, ``log.jsonl`` and ``checkpoints/last.pt``. SIGINT and SIGTERM end the step at
    hand, write a checkpoint and raise ``KeyboardInterrupt``; ``resume=True`` goes on from there with the same data.

    Returns:
        The path of the weights.

    Raises:
        InputError: bad configuration, nothing to resume, or a run already in the folder and ``resume`` not asked for.
        FloatingPointError: the loss is not finite; the last checkpoint is kept.
    """
    if not isinstance(config, FeaturesConfig):
        config = load_config(config, overrides)
    folder = Path(config.output)
    last = folder / "checkpoints" / "last.pt"
    if last.exists() and not resume:
        raise InputError(f"{folder}: holds a run already; resume it or choose another output")
    state = load_checkpoint(last) if resume else None
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))

    torch.manual_seed(config.seed)
    network = _network(config).train()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    trained = [*network.encoder.parameters(), *network.refiner.parameters()]  # visibility is fitted afterwards
    optimiser = torch.optim.AdamW(trained, lr=config.optimiser.rate, weight_decay=config.optimiser.weight_decay)
    average = AveragedWeights(network, config.optimiser.ema)
    start = 0
    if state is not None:
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        average.state = state["average"]
        torch.set_rng_state(state["rng"])
        start = int(state["step"])

    def checkpoint(step: int) -> None:
        save_checkpoint(
            last,
            {
                "step": step,
                "network": network.state_dict(),
                "optimiser": optimiser.state_dict(),
                "average": average.state,
                "rng": torch.get_rng_state(),
            },
        )

    log = Log(folder / "log.jsonl", start)
    bf16 = prefers_bf16() if config.precision == "auto" else config.precision == "bf16"
    with stop_requested() as stop:
        began = time.perf_counter()
        for step, batch in enumerate(batches(config.data, config.seed, config.steps, start), start=start):
            rate = learning_rate(
                step, config.steps, config.optimiser.rate, config.optimiser.final, config.optimiser.warmup
            )
            for group in optimiser.param_groups:
                group["lr"] = rate
            with autocast("cpu", bf16):
                loss, report = objectives(network, batch, config.loss)
            if not torch.isfinite(loss):
                raise FloatingPointError(f"the loss is not finite at step {step}; the last checkpoint is {last}")
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, config.optimiser.clip)
            optimiser.step()
            average.update(network, step)
            done = step + 1
            if done % config.log_every == 0 or done == config.steps:
                report = {key: round(value, 5) for key, value in report.items()}
                seconds = (time.perf_counter() - began) / (done - start)
                record = {"step": done, "loss": round(loss.item(), 5), **report, "rate": rate}
                record["seconds"] = round(seconds, 4)
                log.write(record)
                if progress:
                    progress({**record, "steps": config.steps})
            if done % config.checkpoint_every == 0 or done == config.steps or stop.is_set():
                checkpoint(done)
            if stop.is_set() and done < config.steps:
                raise KeyboardInterrupt
    network.load_state_dict(average.state)
    metadata = _metadata(config)
    if config.calibration.clips:
        clips = calibration_clips(textures_of(config.data), config.calibration, config.seed + 1)
        metadata["calibration"] = calibrate(network.eval(), clips, config.calibration)
        log.write({"step": config.steps, "calibration": metadata["calibration"]})
    return save_weights(network, folder / "model.safetensors", metadata)


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
    network = load_model(config.init)
    if not isinstance(network, PointNetwork) or network.config != config.model:
        raise InputError(f"init: {config.init} has another architecture than the configuration's model")
    return network


def _metadata(config: FeaturesConfig) -> dict[str, Any]:
    return {
        "training": config.model_dump(mode="json", exclude={"output"}),
        "data": "rendered clips" + (" textured from videos" if config.data.videos else " of procedural textures"),
        "licence": "Apache-2.0",
    }
