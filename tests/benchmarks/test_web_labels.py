"""The benchmark of web labels, at tiny sizes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks.label_scores import judge_mask, judge_rendered, pooled, pooled_masks

from benchmarks import web_labels
from samepoint.datasets.jhmdb import JhmdbClip
from samepoint.datasets.synthetic import ClipSettings, SyntheticClips
from samepoint.models.weights import TABLE
from samepoint.webvideo.label_file import Labels


def test_live_labels_are_judged_against_their_own_beginnings() -> None:
    clip = SyntheticClips(ClipSettings.clean(6, size=(64, 80), speed=(0.5, 2.0)), seed=1).clip(0)
    start = np.array([[20.5, 30.5], [40.5, 20.5], [60.5, 40.5]], np.float32)
    truth, visible = clip.tracks(start, 0)
    xy = truth.copy()
    xy[0, 5] += (3, 4)
    confidence = np.ones((3, 6), np.float32)
    xy[2, 4:], confidence[2, 4:] = np.nan, 0
    row = judge_rendered(Labels(xy, confidence, (64, 80)), clip, 5)
    assert (row["seeds"], row["alive"]) == (3, 2)
    assert row["visible"] == visible[:, 5].sum()
    assert row["alive_visible"] == visible[:2, 5].sum()
    np.testing.assert_allclose(row["errors"], [5, 0], atol=1e-4)
    table = pooled([row, {**row, "alive": 0, "alive_visible": 0, "errors": []}])
    assert table["alive"] == pytest.approx(2 / 6)
    assert table["error_mean"] == pytest.approx(2.5, abs=1e-4)
    assert judge_rendered(Labels(xy[:, :3], confidence[:, :3], (64, 80)), clip, 5)["alive"] == 0


def test_labels_and_joints_on_a_mask_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = np.zeros((2, 40, 40), bool)
    masks[0, 10:20, 10:20] = masks[1, 10:20, 15:25] = True
    joints = np.array([[[12.5, 12.5], [18.5, 12.5]], [[39, 39], [39, 39]]], np.float32)
    clip = JhmdbClip("a/b", Path("b.avi"), 2, joints, None)
    monkeypatch.setattr(JhmdbClip, "masks", masks)
    # Begin on, on, off, off the person; end on, off, lost, on it.
    xy = np.array(
        [[[12.5, 14.5], [17.5, 14.5]], [[18, 18], [14, 18]], [[5, 5], [np.nan] * 2], [[30, 15], [20, 15]]], np.float32
    )
    row = judge_mask(Labels(xy, np.array([[1, 1], [1, 1], [1, 0], [1, 1]], np.float32), (40, 40)), clip, 1)
    assert (row["on"], row["on_alive"], row["on_stays"]) == (2, 2, 1)
    assert (row["off"], row["off_alive"], row["off_stays"]) == (2, 1, 0)
    # The first joint moves by (6, 0) and its label by (5, 0); no label on the person is near the second.
    assert row["joints"] == 1
    np.testing.assert_allclose(row["joint_errors"], [1])
    assert pooled_masks([row])["joints_alive"] == 1.0


def test_it_runs_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")
    if not TABLE["samepoint-base"].path.is_file():
        pytest.skip("needs samepoint-base, which is not here")
    arguments = ["--quick", "--methods", "chain,legacy", "--parts", "checks,rendered,cost"]
    assert web_labels.main([*arguments, "-o", str(tmp_path / "r.json")]) == 0
    text = capsys.readouterr().out
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["checks"]["methods"]["chain"]["static_alive"] == 1
    assert result["checks"]["methods"]["legacy"]["static_alive"] == 0
    assert result["rendered"]["methods"]["chain"]["after"]["5"]["alive"] > 0.9
    assert result["cost"]["methods"]["chain"]["times_smaller"] > 1
    assert "| legacy | 0.0 % |" in text
    assert web_labels.main(["--parts", "speed"]) == 2
    assert web_labels.main(["--parts", "jhmdb"]) == 2
    assert "needs --data" in capsys.readouterr().err
