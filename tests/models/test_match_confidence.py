"""Confidence of matches: a logistic that is fitted, and the evidence it reads."""

from __future__ import annotations

import math

import pytest
import torch

from samepoint.errors import InputError
from samepoint.models.match_confidence import MATCH_EVIDENCE, MatchConfidence, match_evidence


def evidence_of(weights: list[list[float]], found: tuple[float, float]) -> torch.Tensor:
    rows, (peak, missed, likeness) = torch.tensor(weights).T, torch.tensor([[2.0], [0.3], [0.7]])
    return match_evidence(rows, peak, (2, 4), torch.tensor([found]), missed, likeness)[0]


def test_evidence_by_hand() -> None:
    sure = evidence_of([[0, 0, 0, 0, 0, 1.0, 0, 0]], (1.5, 1.5))
    torch.testing.assert_close(sure, torch.tensor([0.3, 1, 0, 2, 0.7]), atol=1e-5, rtol=0)
    torn = evidence_of([[0.5, 0, 0, 0, 0, 0, 0, 0.5]], (0.5, 0.5))
    torch.testing.assert_close(torn, torch.tensor([0.3, 0.5, math.log(2) / math.log(8), 2, 0.7]), atol=1e-5, rtol=0)
    lost = evidence_of([[0.125] * 8], (2.0, 1.0))
    assert lost[2].item() == pytest.approx(1)


def test_unfitted_it_believes_the_way_back() -> None:
    confidence = MatchConfidence()
    evidence = torch.zeros(3, len(MATCH_EVIDENCE))
    evidence[:, 0] = torch.tensor([0, 0.1, 0.5])
    probability = confidence(evidence).sigmoid()
    assert probability[0] > 0.95
    assert probability[1].item() == pytest.approx(0.5)
    assert probability[2] < 1e-3


def test_fitting_recovers_what_made_the_answers() -> None:
    generator = torch.Generator().manual_seed(0)
    evidence = torch.rand(20_000, 5, generator=generator) * torch.tensor([0.2, 1, 1, 0.5, 1])
    true = torch.tensor([-20.0, 3, -2, 4, 1])
    logits = evidence @ true + 0.5
    correct = torch.rand(20_000, generator=generator) < logits.sigmoid()
    confidence = MatchConfidence()
    report = confidence.fit(evidence, correct, ridge=0)
    torch.testing.assert_close(confidence.weight, true, atol=0.6, rtol=0.05)
    assert confidence.bias.item() == pytest.approx(0.5, abs=0.3)
    assert report["calibration_error"] < 0.02
    assert report["correct"] == pytest.approx(correct.float().mean().item())
    assert report["accuracy"] > 0.7
    p = logits.sigmoid()
    best = -(torch.where(correct, p, 1 - p)).log().mean().item()
    assert report["log_loss"] == pytest.approx(best, abs=1e-3)
    assert not list(confidence.parameters())
    assert set(confidence.state_dict()) == {"weight", "bias"}


def test_a_perfect_split_and_constant_evidence_stay_finite() -> None:
    evidence = torch.zeros(10, 5)
    evidence[:, 1] = torch.arange(10.0)
    report = MatchConfidence().fit(evidence, evidence[:, 1] > 4)
    assert report["accuracy"] == 1


def test_what_cannot_be_fitted() -> None:
    evidence, some = torch.zeros(4, 5), torch.tensor([True, False, True, False])
    for wrong, correct, message in (
        (evidence[:, :3], some, r"\(M, 5\)"),
        (evidence, some[:2], r"\(M, 5\)"),
        (evidence + torch.nan, some, "finite"),
        (evidence, some | True, "only one kind"),
    ):
        with pytest.raises(InputError, match=message):
            MatchConfidence().fit(wrong, correct)
