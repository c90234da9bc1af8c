"""Confidence as a probability."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from samepoint.datasets.synthetic import ClipSettings, ProceduralTextures, SyntheticClips
from samepoint.models.company import COMPANY
from samepoint.models.visibility import EVIDENCE, Hindsight, Visibility
from samepoint.training.calibration import (
    Followed,
    calibration_clips,
    company_of,
    fit,
    fit_hindsight,
    score,
    windows_of,
    with_few,
)
from samepoint.training.config import CalibrationConfig


def test_the_fit_finds_the_law_that_made_the_data() -> None:
    """A law that bends: no straight line through the evidence would tell the probabilities."""
    generator = torch.Generator().manual_seed(0)
    evidence = torch.randn(20_000, len(EVIDENCE), generator=generator) * 2 + 1
    truth = (1.5 * evidence[:, 0] - evidence[:, 4].abs() + 0.5).sigmoid()
    visible = torch.rand(20_000, generator=generator) < truth
    visibility = Visibility()
    fit(visibility, evidence, visible, steps=400)
    found = visibility(evidence).detach()
    assert (found.sigmoid() - truth).abs().mean() < 0.035
    report = score(found, visible)
    assert report["calibration_error"] < 0.015
    assert report["accuracy"] > 0.8


def test_scores_by_hand() -> None:
    logits = torch.tensor([0.75, 0.75, 0.75, 0.25]).logit()
    report = score(logits, torch.tensor([True, True, False, False]))
    assert report["accuracy"] == pytest.approx(0.75)
    assert report["hidden"] == pytest.approx(0.5)
    # Bin 7 says 0.75 and holds 2/3, bin 2 says 0.25 and holds 0: (3 * 1/12 + 1 * 1/4) / 4.
    assert report["calibration_error"] == pytest.approx((3 * (0.75 - 2 / 3) + 0.25) / 4, abs=1e-5)


def test_before_any_fit_the_refiner_is_believed() -> None:
    evidence = torch.zeros(2, len(EVIDENCE))
    evidence[0, 0], evidence[1, 0] = 2.0, -2.0
    assert Visibility()(evidence).tolist() == [2.0, -2.0]


def test_hindsight_sees_what_a_single_frame_cannot() -> None:
    """Whether a point is visible follows from the evidence two frames later."""
    generator = torch.Generator().manual_seed(0)
    evidence = torch.randn(20, 12, 40, len(EVIDENCE), generator=generator) * 3 + 1
    later = evidence[:, :, :, 0].roll(-2, dims=1)
    visible = (later > 0) & (torch.arange(12) < 10)[None, :, None]
    windows = torch.cat([windows_of(evidence), torch.zeros(20 * 12 * 40, len(COMPANY))], dim=1)
    hindsight = Hindsight((16, 8))
    logits = torch.zeros(len(windows))
    fit_hindsight(hindsight, windows, logits, visible.flatten(), steps=400)
    assert score(hindsight(windows, logits).detach(), visible.flatten())["accuracy"] > 0.95


def test_a_point_among_few_has_the_company_of_few() -> None:
    generator = torch.Generator().manual_seed(0)
    clips, times, points = 2, 3, 12
    xy = torch.rand(clips, times, points, 2, generator=generator) * 64
    followed = Followed(
        torch.randn(clips, times, points, len(EVIDENCE), generator=generator),
        torch.ones(clips, times, points, dtype=torch.bool),
        xy,
        torch.rand(clips, times, points, generator=generator),
        xy[:, 0],
        (64, 64),
    )
    windows = torch.cat([windows_of(followed.evidence), company_of(followed)], dim=1)
    few, rows = with_few(followed, windows)
    assert len(rows) == clips * times * (8 + 1)  # of SUBSETS, 32 are more than there are
    assert torch.equal(few[:, : -len(COMPANY)], windows[rows][:, : -len(COMPANY)])
    alone = few[-clips * times :, -len(COMPANY) :]
    assert (alone == 0).all()
    assert (few[: clips * times * 8, -len(COMPANY) :] != 0).any()
    assert not torch.equal(
        few[: clips * times * 8, -len(COMPANY) :], windows[rows[: clips * times * 8], -len(COMPANY) :]
    )


@pytest.mark.parametrize(("share", "crossing"), [(0, ""), (0.5, "02"), (0.75, "012"), (1, "0123")])
def test_as_many_clips_cross_as_are_asked_for(share: float, crossing: str) -> None:
    config = CalibrationConfig(clips=4, crossing=share, frames=2, size=(32, 32))
    textures = ProceduralTextures()
    clips = calibration_clips(textures, config, seed=5)
    often = SyntheticClips(ClipSettings.occluding(2, size=(32, 32)), textures, 5)
    same = [index for index, clip in enumerate(clips) if np.array_equal(clip.frames, often.clip(index).frames)]
    assert "".join(map(str, same)) == crossing
