"""How much a match is to be believed: evidence from the refined correlations, and a logistic fitted to it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from .flow_readout import centres
from .hypercolumn import Size

MATCH_EVIDENCE = (
    "missed",  # how far the match goes astray on its way back, in shares of the longer side
    "mass",  # share of the softmax within two cells of the match
    "spread",  # entropy of the softmax, in shares of the largest there can be
    "peak",  # how strong the point's best match is, before neighbourhood consensus makes all equally strong
    "likeness",  # mean cosine over the levels between the point's features and the match's
)
_NEAR = 2.0
"""Cells: what counts as the match's own peak."""


class MatchConfidence(nn.Module):
    """A logistic on :data:`MATCH_EVIDENCE`; its coefficients are buffers, saved with the matcher, never trained.

    Until it is fitted, confidence is one half where a match misses its point by a tenth of the longer side on the way
    back, and nearly one where it is mutual.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.tensor([-40.0, 0, 0, 0, 0]))
        self.register_buffer("bias", torch.tensor(4.0))

    def forward(self, evidence: Tensor) -> Tensor:
        """Evidence (N, 5) to logits (N,); a match is there where its logit is at least 0."""
        return evidence @ self.weight + self.bias

    @torch.no_grad()
    def fit(self, evidence: Tensor, correct: Tensor, ridge: float = 1e-3, steps: int = 50) -> dict[str, float]:
        """Fit the coefficients in place by Newton's method, on standardised evidence.

        Args:
            evidence: (M, 5).
            correct: bool (M,): whether the match was right; at least one of each kind.
            ridge: weight of the squared coefficients, so that a perfect split stays finite.
            steps: at most.

        Returns:
            On the same data: ``accuracy`` at one half, ``log_loss``, ``correct`` (share) and ``calibration_error``
            (mean difference between confidence and frequency over ten bins, weighed by their size).

        Raises:
            InputError: other shapes, values that are not finite, or matches all right or all wrong.
        """
        if evidence.ndim != 2 or evidence.shape[1] != len(MATCH_EVIDENCE) or correct.shape != evidence.shape[:1]:
            raise InputError(
                f"confidence: expected evidence (M, {len(MATCH_EVIDENCE)}) and correct (M,), "
                f"got {tuple(evidence.shape)} and {tuple(correct.shape)}"
            )
        if not evidence.isfinite().all():
            raise InputError("confidence: evidence must be finite")
        if correct.all() or not correct.any():
            raise InputError("confidence: needs right matches and wrong ones, got only one kind")
        x, y = evidence.double(), correct.double()
        mean, deviation = x.mean(0), x.std(0).clamp_min(1e-6)
        rows = torch.cat([(x - mean) / deviation, x.new_ones(len(x), 1)], dim=1)
        penalty = torch.eye(rows.shape[1], dtype=x.dtype, device=x.device) * ridge
        penalty[-1, -1] = 0
        found = x.new_zeros(rows.shape[1])
        for _ in range(steps):
            p = (rows @ found).sigmoid()
            gradient = rows.T @ (p - y) / len(x) + penalty @ found
            curvature = (rows.T * (p * (1 - p))) @ rows / len(x) + penalty
            step = torch.linalg.solve(curvature, gradient)
            found = found - step * (4 / step.norm().clamp_min(4))  # no leap where the curvature has all but vanished
            if step.norm() < 1e-9:
                break
        weight = found[:-1] / deviation
        self.weight.copy_(weight)
        self.bias.copy_(found[-1] - weight @ mean)
        return _score(self(evidence), correct)


def match_evidence(
    weights: Tensor, peak: Tensor, grid: Size, found: Tensor, missed: Tensor, likeness: Tensor
) -> Tensor:
    """:data:`MATCH_EVIDENCE` (N, 5) of N matches.

    Args:
        weights: (M, N) softmax over the M cells of ``grid`` for each match, without a kernel.
        grid: rows and columns of the picture that matches lie in.
        found: (N, 2) the matches, in cells of ``grid``.
        peak, missed, likeness: (N,) as the table says.
    """
    apart = torch.cdist(centres(grid, weights.device).to(weights), found)  # (M, N)
    mass = (weights * (apart <= _NEAR)).sum(dim=0)
    largest = torch.tensor(float(len(weights))).log().clamp_min(1e-6).to(weights)
    spread = -(weights * weights.clamp_min(1e-12).log()).sum(dim=0) / largest
    return torch.stack([missed.clamp(max=1), mass, spread, peak, likeness], dim=1)


def _score(logits: Tensor, correct: Tensor) -> dict[str, float]:
    probability, truth = logits.sigmoid(), correct.float()
    bins = (probability * 10).long().clamp_max(9)
    gap = torch.bincount(bins, probability - truth, minlength=10).abs().sum() / len(bins)
    return {
        "accuracy": ((logits >= 0) == correct).float().mean().item(),
        "log_loss": F.binary_cross_entropy_with_logits(logits, truth).item(),
        "correct": truth.mean().item(),
        "calibration_error": gap.item(),
    }
