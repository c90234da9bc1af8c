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
from ..models.visibility import Visibility
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
    """Fit ``network.visibility`` in place.

    The evidence of a step depends on the confidence of the step before, so the fit is made twice, the second time on
    what the first one does.

    Returns:
        Of the last fit, on its own data: ``accuracy``, ``log_loss``, ``hidden`` (share of hidden points) and
        ``calibration_error`` (mean difference between confidence and frequency over ten bins, weighed by their size).
    """
    clips = list(clips)
    report: dict[str, float] = {}
    for _ in range(config.rounds):
        evidence, visible = collect_evidence(network, clips, config)
        fit(network.visibility, evidence, visible)
        report = score(network.visibility(evidence).detach(), visible)
    return report


def collect_evidence(network: PointNetwork, clips: Iterable[Clip], config: CalibrationConfig) -> tuple[Tensor, Tensor]:
    """Evidence (M, 7) of following points through clips, and whether each was visible (M,)."""
    rows, truth = [], []
    for index, clip in enumerate(clips):
        rng = np.random.default_rng(index)
        start = clip.sample_points(rng, config.points, 0, balanced=0.5)
        _, visible = clip.tracks(start, 0)
        method = RefinedPoints(network)
        tracker = PointTracker(network, method=method, short_side=config.short_side)
        tracker.add(Queries(frame=np.zeros(len(start), np.int64), xy=start))
        for time, frame in enumerate(clip.frames):
            tracker.step(frame)
            if time:
                rows.append(method.evidence.clone())
                truth.append(torch.from_numpy(visible[:, time]))
    return torch.cat(rows), torch.cat(truth)


def fit(
    visibility: Visibility, evidence: Tensor, visible: Tensor, *, steps: int = 1500, rate: float = 5e-3, seed: int = 0
) -> None:
    """Cross-entropy by AdamW on standardised evidence, batches of 8,192, the rate falling to nothing along a cosine."""
    mean, deviation = evidence.mean(0), evidence.std(0).clamp_min(1e-3)
    x, y = (evidence - mean) / deviation, visible.float()
    fitted = Visibility(visibility.bend.out_features)
    with torch.no_grad():
        fitted.linear.weight.zero_()
    optimiser = torch.optim.AdamW(fitted.parameters(), rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    generator = torch.Generator().manual_seed(seed)
    nn.init.kaiming_uniform_(fitted.bend.weight, a=5**0.5, generator=generator)
    nn.init.zeros_(fitted.bend.bias)
    for _ in range(steps):
        chosen = torch.randint(len(x), (min(8192, len(x)),), generator=generator)
        loss = F.binary_cross_entropy_with_logits(fitted(x[chosen]), y[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():  # what was learnt of standardised evidence, said of evidence as it is
        for layer in (fitted.linear, fitted.bend):
            layer.weight.div_(deviation)
            layer.bias.sub_(layer.weight @ mean)
    visibility.load_state_dict(fitted.state_dict())


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
