"""The benchmark of exported parts: its report, from results that are given."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import export
from samepoint.export import Exported, PropagationOptions


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    """Files that cost nothing and a tracker that is a pixel off; gives the files asked for."""
    asked: list[tuple[str, str, str]] = []

    def export_part(model: str, path: Path, *, form: str, part: str, dtype: str, **options: Any) -> Exported:
        asked.append((part, form, dtype))
        vectors = (0.999, 0.9) if part == "encoder" else (None, None)
        return Exported(
            str(path), form, part, dtype, 10**6, "", ((64, 96),), False, 1e-6, 1e-7, *vectors, 20.0, 10.0, 1
        )

    def track(offset: float) -> Any:
        return lambda frames, points: np.repeat(points[:, None] + offset, len(frames), axis=1)

    monkeypatch.setattr(export, "export_part", export_part)
    monkeypatch.setattr(export, "_level", lambda path: 2)
    monkeypatch.setattr(export, "by_pytorch", lambda *arguments: track(0.0))
    monkeypatch.setattr(export, "by_files", lambda encoder, *rest: track(1.0 if encoder.dtype == "int8" else 0.0))
    return asked


def test_the_report(made: list[tuple[str, str, str]], capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    export.main(["--quick", "--json", "--threads", "1"])
    result = json.loads(capsys.readouterr().out)
    assert made == list(export.FILES)
    assert [row["speedup"] for row in result["files"]] == [2.0] * len(export.FILES)
    assert result["tracks"]["float32 encoder"]["max_px"] == 0
    assert result["tracks"]["int8 encoder"]["max_px"] == pytest.approx(2**0.5)
    assert result["tracks"]["PyTorch"]["within_2_px"] > 0
    text = export.markdown(result)
    assert "| encoder | onnx | int8 | 1.0 | 1.0e-06 | 1.0e-07 | 0.99900 | 90.0 % | 10 | 20 | 2.00 |" in text
    assert "| int8 encoder | 1.4 | 1.4 |" in text


def test_errors_by_hand() -> None:
    truth = np.zeros((2, 2, 2))
    found = truth + np.array([3.0, 4.0])
    got = export.errors(found, found - np.array([0.0, 1.0]), truth, np.array([[True, False], [False, False]]))
    assert got["truth"].tolist() == [5.0]
    assert got["reference"].tolist() == [1.0] * 4


def test_the_options_are_those_of_the_command() -> None:
    assert PropagationOptions() == (None, 15.0, 5, 10, 0.07)
    names = [field.name for field in dataclasses.fields(Exported)]
    assert names[:5] == ["path", "format", "part", "dtype", "bytes"]
