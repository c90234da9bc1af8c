"""The benchmark of masks at tiny sizes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import segment_memory


def test_ends_in_a_report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(
        segment_memory, "in_process", lambda job, threads, script: segment_memory.measure(json.loads(json.dumps(job)))
    )
    segment_memory.main(["--quick", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert list(result["frames"]) == ["4", "10"]
    assert result["memory_ratio"] == pytest.approx(1, abs=0.5)
    assert "| 10 |" in segment_memory.markdown(result)


def test_objects_lie_side_by_side() -> None:
    labels = segment_memory.boxes((8, 16), 2)
    assert np.unique(labels).tolist() == [0, 1, 2]
    assert labels[4].tolist() == [1] * 4 + [0] * 4 + [2] * 4 + [0] * 4
    assert not labels[0].any()
