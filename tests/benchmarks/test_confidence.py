"""The benchmark of a matcher's confidence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks.confidence import figures, main

from tests.shared import shared_path


def test_figures_by_hand() -> None:
    confidence = np.array([0.95, 0.95, 0.95, 0.25], np.float32)
    right = np.array([True, True, False, False])
    found = figures(confidence, right, np.array([0.4, 0.5], np.float32))
    assert found["right"] == 0.5
    assert found["answers right"] == 0.75
    assert found["mean confidence"] == pytest.approx(0.775)
    # Three of 0.95 of which two are right, one of 0.25 that is not.
    assert found["calibration error"] == pytest.approx((abs(3 * 0.95 - 2) + 0.25) / 4)
    assert found["other class: said there"] == 0.5
    split = figures(np.array([0.9, 0.6, 0.3, 0.2], np.float32), right, np.zeros(1, np.float32))
    assert split["area under ROC"] == 1
    torn = figures(np.array([0.9, 0.2, 0.3, 0.6], np.float32), right, np.zeros(1, np.float32))
    assert torn["area under ROC"] == 0.5


def test_it_runs_on_real_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "found.json"
    main(["--root", str(shared_path("data", "pf-willow")), "--pairs", "4", "-o", str(output)])
    assert "calibration error" in capsys.readouterr().out
    found = json.loads(output.read_text(encoding="utf-8"))
    assert found["matches"] == 40
    assert 0 < found["mean confidence"] < 1
