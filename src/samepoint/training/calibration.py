"""Make confidence a probability: fit the visibility of a trained network where occlusion is known."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..datasets.synthetic import Clip, ClipSettings, SyntheticClips
from ..datasets.synthetic.textures import TextureSource
from ..models.network import PointNetwork
from ..models.visibility import EVIDENCE, Visibility
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


def fit(visibility: Visibility, evidence: Tensor, visible: Tensor, penalty: float = 1e-3) -> None:
    """Logistic regression by L-BFGS on standardised evidence, with a small quadratic penalty."""
    mean, deviation = evidence.mean(0), evidence.std(0).clamp_min(1e-3)
    x, y = ((evidence - mean) / deviation).double(), visible.double()
    weights = torch.zeros(len(EVIDENCE) + 1, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        optimiser.zero_grad()
        loss = F.binary_cross_entropy_with_logits(x @ weights[:-1] + weights[-1], y)
        loss = loss + penalty * weights[:-1].square().sum()
        loss.backward()
        return loss

    optimiser.step(objective)
    with torch.no_grad():
        scaled = weights[:-1].float() / deviation
        visibility.linear.weight.copy_(scaled[None])
        visibility.linear.bias.copy_((weights[-1].float() - (scaled * mean).sum())[None])


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
