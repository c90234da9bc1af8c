"""Make confidence a probability: fit the visibility of a trained network where occlusion is known."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from math import ceil
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..datasets.synthetic import Clip, ClipSettings, SyntheticClips
from ..datasets.synthetic.textures import TextureSource
from ..models.company import COMPANY, company
from ..models.network import PointNetwork
from ..models.visibility import HORIZON, Hindsight, Visibility, surroundings
from ..structures import Queries
from ..tracking import PointTracker, RefinedPoints
from .config import CalibrationConfig

SUBSETS = (32, 8, 1)
"""So many points of a clip, drawn from it, stand for a video in which few are followed: little company, or none."""


class Followed(NamedTuple):
    """N points followed from frame 0 through C clips of T + 1 frames."""

    evidence: Tensor  # (C, T, N, 7)
    visible: Tensor  # (C, T, N) bool
    xy: Tensor  # (C, T, N, 2) pixels
    confidence: Tensor  # (C, T, N)
    start: Tensor  # (C, N, 2) pixels, in frame 0
    size: tuple[int, int]  # (H, W)


def calibration_clips(textures: TextureSource, config: CalibrationConfig, seed: int) -> list[Clip]:
    """As many as ``config.crossing`` says with layers that cross often, the others with what clips have on average."""
    kinds = (
        ClipSettings.occluding(config.frames, size=config.size),
        ClipSettings(frames=config.frames, size=config.size, layers=(2, 8)),
    )
    sources = [SyntheticClips(kind, textures, seed) for kind in kinds]
    crossing = [ceil(index * config.crossing) for index in range(config.clips + 1)]
    return [sources[now == after].clip(index) for index, (now, after) in enumerate(pairwise(crossing))]


def calibrate(network: PointNetwork, clips: Iterable[Clip], config: CalibrationConfig) -> dict[str, float]:
    """Fit ``network.visibility`` and ``network.hindsight`` in place.

    The evidence of a step depends on the confidence of the step before, so the visibility's fit is made
    ``config.rounds`` times, each on what the one before does; with none it stays as it is. Hindsight, on which nothing
    depends, is fitted last, to evidence gathered once more.

    Returns:
        Of the last evidence, on which hindsight was fitted: ``accuracy``, ``log_loss``, ``hidden`` (share of hidden
        points) and ``calibration_error`` (mean difference between confidence and frequency over ten bins, weighed by
        their size); with hindsight ``hindsight_accuracy`` and so on.
    """
    clips = list(clips)
    for _ in range(config.rounds):
        followed = collect_evidence(network, clips, config)
        fit(network.visibility, followed.evidence.flatten(0, 2), followed.visible.flatten(), steps=config.steps)
    # What others say, and what was said before, must be said by the visibility that is in use.
    followed = collect_evidence(network, clips, config)
    visible = followed.visible.flatten()
    logits = _asked(network.visibility, followed.evidence.flatten(0, 2))
    windows = torch.cat([windows_of(followed.evidence), company_of(followed)], dim=1)
    few, rows = with_few(followed, windows)
    fit_hindsight(
        network.hindsight,
        torch.cat([windows, few]),
        torch.cat([logits, logits[rows]]),
        torch.cat([visible, visible[rows]]),
        steps=config.hindsight_steps,
    )
    reviewed = score(_asked(network.hindsight, windows, logits), visible)
    report = {f"hindsight_{key}": value for key, value in reviewed.items() if key != "hidden"}
    return score(logits, visible) | report


@torch.no_grad()
def _asked(module: nn.Module, *inputs: Tensor) -> Tensor:
    """What a module, wherever it is, says of inputs on the CPU, where everything is fitted."""
    device = next(module.parameters()).device
    said: Tensor = module(*(value.to(device) for value in inputs))
    return said.cpu()


def collect_evidence(network: PointNetwork, clips: Iterable[Clip], config: CalibrationConfig) -> Followed:
    """What following points through clips brings."""
    found: list[tuple[Tensor, ...]] = []
    for index, clip in enumerate(clips):
        rng = np.random.default_rng(index)
        start = clip.sample_points(rng, config.points, 0, balanced=0.5)
        _, visible = clip.tracks(start, 0)
        method = RefinedPoints(network)
        tracker = PointTracker(network, method=method, short_side=config.short_side)
        tracker.add(Queries(frame=np.zeros(len(start), np.int64), xy=start))
        steps: list[tuple[Tensor, ...]] = []
        for frame in clip.frames:
            state = tracker.step(frame)
            steps.append(
                (method.evidence.cpu().clone(), torch.from_numpy(state.xy), torch.from_numpy(state.confidence))
            )
        evidence, xy, confidence = (torch.stack(values) for values in zip(*steps[1:], strict=True))
        truth = torch.from_numpy(visible[:, 1:].T.copy())
        found.append((evidence, truth, xy, confidence, torch.from_numpy(start).float()))
    evidence, truth, xy, confidence, starts = (torch.stack(values) for values in zip(*found, strict=True))
    return Followed(evidence, truth, xy, confidence, starts, config.size)


def company_of(followed: Followed, points: Tensor | None = None) -> Tensor:
    """The company (C * T * M, 9) of all points, or of some, ``points`` (C, M), alone with each other."""
    parts = []
    for clip, start in enumerate(followed.start):
        chosen = torch.arange(len(start)) if points is None else points[clip]
        given = torch.zeros(len(chosen), dtype=torch.long)
        for xy, confidence in zip(followed.xy[clip], followed.confidence[clip], strict=True):
            parts.append(company(start[chosen], xy[chosen], confidence[chosen], given, followed.size))
    return torch.cat(parts)


def with_few(followed: Followed, windows: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Rows of ``windows`` (C * T * N, inputs), their company that of few points, and which rows these are."""
    generator = torch.Generator().manual_seed(seed)
    clips, times, count = followed.visible.shape
    numbers = torch.arange(clips * times * count).reshape(clips, times, count)
    parts, rows = [], []
    for subset in SUBSETS:
        if subset < count:
            points = torch.stack([torch.randperm(count, generator=generator)[:subset] for _ in range(clips)])
            own = numbers.gather(2, points[:, None].expand(-1, times, -1)).flatten()
            parts.append(torch.cat([windows[own, : -len(COMPANY)], company_of(followed, points)], dim=1))
            rows.append(own)
    if not rows:
        return windows[:0], torch.zeros(0, dtype=torch.long)
    return torch.cat(parts), torch.cat(rows)


def windows_of(evidence: Tensor) -> Tensor:
    """What hindsight reads of each point alone (C * T * N, inputs), of evidence (C, T, N, 7)."""
    clips, times, points, width = evidence.shape
    padded = evidence.new_zeros((times + 2 * HORIZON, clips * points, width))
    padded[HORIZON : HORIZON + times] = evidence.transpose(0, 1).flatten(1, 2)
    there = torch.zeros(times + 2 * HORIZON, clips * points, dtype=torch.bool)
    there[HORIZON : HORIZON + times] = True
    size = 2 * HORIZON + 1
    found = [surroundings(padded[time : time + size], there[time : time + size]) for time in range(times)]
    return torch.stack(found).unflatten(1, (clips, points)).transpose(0, 1).flatten(0, 2)


def fit(
    visibility: Visibility, evidence: Tensor, visible: Tensor, *, steps: int, rate: float = 5e-3, seed: int = 0
) -> None:
    """Cross-entropy on standardised evidence (M, 7)."""
    mean, deviation = evidence.mean(0), evidence.std(0).clamp_min(1e-3)
    fitted = Visibility(visibility.bend.out_features)
    nn.init.zeros_(fitted.linear.weight)
    _redraw(fitted.bend, seed)
    _minimise(fitted, ((evidence - mean) / deviation,), visible, steps, rate, seed)
    for layer in (fitted.linear, fitted.bend):
        _undo(layer, mean, deviation)
    visibility.load_state_dict(fitted.state_dict())


def fit_hindsight(
    hindsight: Hindsight,
    windows: Tensor,
    logits: Tensor,
    visible: Tensor,
    *,
    steps: int,
    rate: float = 3e-3,
    seed: int = 0,
) -> None:
    """Cross-entropy of what ``windows`` (M, inputs) add to the visibility's logits (M,)."""
    mean, deviation = windows.mean(0), windows.std(0).clamp_min(1e-3)
    fitted = Hindsight((hindsight.first.out_features, hindsight.second.out_features))
    for layer in (fitted.first, fitted.second):
        _redraw(layer, seed)
    _minimise(fitted, ((windows - mean) / deviation, logits), visible, steps, rate, seed)
    _undo(fitted.first, mean, deviation)
    hindsight.load_state_dict(fitted.state_dict())


def _redraw(layer: nn.Linear, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    nn.init.kaiming_uniform_(layer.weight, a=5**0.5, generator=generator)
    nn.init.zeros_(layer.bias)


def _minimise(
    network: nn.Module, inputs: tuple[Tensor, ...], visible: Tensor, steps: int, rate: float, seed: int
) -> None:
    """AdamW on batches of 8,192, the rate falling to nothing along a cosine."""
    optimiser = torch.optim.AdamW(network.parameters(), rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    generator = torch.Generator().manual_seed(seed)
    y = visible.float()
    for _ in range(steps):
        chosen = torch.randint(len(y), (min(8192, len(y)),), generator=generator)
        loss = F.binary_cross_entropy_with_logits(network(*(x[chosen] for x in inputs)), y[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


@torch.no_grad()
def _undo(layer: nn.Linear, mean: Tensor, deviation: Tensor) -> None:
    """What a layer learnt of standardised values, said of values as they are."""
    layer.weight.div_(deviation)
    layer.bias.sub_(layer.weight @ mean)


def score(logits: Tensor, visible: Tensor) -> dict[str, float]:
    """How good and how honest confidences are; see :func:`calibrate`."""
    probability, truth = logits.sigmoid(), visible.float()
    bins = (probability * 10).long().clamp_max(9)
    counts = torch.bincount(bins, minlength=10).clamp_min(1)
    gap = torch.bincount(bins, probability - truth, minlength=10).abs() / counts
    return {
        "accuracy": ((probability >= 0.5) == visible).float().mean().item(),
        "log_loss": F.binary_cross_entropy_with_logits(logits, truth).item(),
        "hidden": 1 - truth.mean().item(),
        "calibration_error": (gap * torch.bincount(bins, minlength=10)).sum().item() / len(bins),
    }
