"""Make confidence a probability: fit the visibility of a trained network where occlusion is known."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..datasets.synthetic import Clip, ClipSettings, SyntheticClips
from ..datasets.synthetic.textures import TextureSource
from ..models.network import PointNetwork
from ..models.visibility import HORIZON, Hindsight, Visibility, surroundings
from ..structures import Queries
from ..tracking import PointTracker, RefinedPoints
from .config import CalibrationConfig


def calibration_clips(textures: TextureSource, config: CalibrationConfig, seed: int) -> list[Clip]:
    """Half of them with layers that cross often, half with what clips have on average."""
    kinds = (
        ClipSettings.occluding(config.frames, size=config.size),
        ClipSettings(frames=config.frames, size=config.size, layers=(2, 8)),
    )
    sources = [SyntheticClips(kind, textures, seed) for kind in kinds]
    return [sources[index % 2].clip(index) for index in range(config.clips)]


def calibrate(network: PointNetwork, clips: Iterable[Clip], config: CalibrationConfig) -> dict[str, float]:
    """Fit ``network.visibility`` and ``network.hindsight`` in place.

    The evidence of a step depends on the confidence of the step before, so the fit is made twice, the second time on
    what the first one does. Hindsight, on which nothing depends, is fitted last.

    Returns:
        Of the last fit, on its own data: ``accuracy``, ``log_loss``, ``hidden`` (share of hidden points) and
        ``calibration_error`` (mean difference between confidence and frequency over ten bins, weighed by their size);
        with hindsight ``hindsight_accuracy`` and so on.
    """
    clips = list(clips)
    report: dict[str, float] = {}
    for _ in range(config.rounds):
        evidence, visible = collect_evidence(network, clips, config)
        fit(network.visibility, evidence.flatten(0, 2), visible.flatten())
        logits = network.visibility(evidence.flatten(0, 2)).detach()
        windows = windows_of(evidence)
        fit_hindsight(network.hindsight, windows, logits, visible.flatten())
        reviewed = score(network.hindsight(windows, logits).detach(), visible.flatten())
        report = score(logits, visible.flatten())
        report |= {f"hindsight_{key}": value for key, value in reviewed.items() if key != "hidden"}
    return report


def collect_evidence(network: PointNetwork, clips: Iterable[Clip], config: CalibrationConfig) -> tuple[Tensor, Tensor]:
    """Evidence (C, T, N, 7) of following N points through C clips, and whether each was visible (C, T, N)."""
    rows, truth = [], []
    for index, clip in enumerate(clips):
        rng = np.random.default_rng(index)
        start = clip.sample_points(rng, config.points, 0, balanced=0.5)
        _, visible = clip.tracks(start, 0)
        method = RefinedPoints(network)
        tracker = PointTracker(network, method=method, short_side=config.short_side)
        tracker.add(Queries(frame=np.zeros(len(start), np.int64), xy=start))
        steps = []
        for time, frame in enumerate(clip.frames):
            tracker.step(frame)
            if time:
                steps.append(method.evidence.clone())
        rows.append(torch.stack(steps))
        truth.append(torch.from_numpy(visible[:, 1:].T.copy()))
    return torch.stack(rows), torch.stack(truth)


def windows_of(evidence: Tensor) -> Tensor:
    """What hindsight reads (C * T * N, inputs) of evidence (C, T, N, 7)."""
    clips, times, points, width = evidence.shape
    padded = evidence.new_zeros((times + 2 * HORIZON, clips * points, width))
    padded[HORIZON : HORIZON + times] = evidence.transpose(0, 1).flatten(1, 2)
    there = torch.zeros(times + 2 * HORIZON, clips * points, dtype=torch.bool)
    there[HORIZON : HORIZON + times] = True
    size = 2 * HORIZON + 1
    found = [surroundings(padded[time : time + size], there[time : time + size]) for time in range(times)]
    return torch.stack(found).unflatten(1, (clips, points)).transpose(0, 1).flatten(0, 2)


def fit(
    visibility: Visibility, evidence: Tensor, visible: Tensor, *, steps: int = 1500, rate: float = 5e-3, seed: int = 0
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
    steps: int = 800,  # more learn the clips by heart
    rate: float = 3e-3,
    seed: int = 0,
) -> None:
    """Cross-entropy of what :func:`windows_of` (M, inputs) add to the visibility's logits (M,)."""
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
