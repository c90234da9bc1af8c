"""The benchmark of matching at tiny sizes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import matching


def test_both_ways_give_the_same_and_end_in_a_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(matching, "OWN", 4)

    def here(path: str, args: argparse.Namespace, grid: int, folder: Path) -> tuple[dict, dict[str, np.ndarray]]:
        with torch.inference_mode():
            refined, flow = matching.work(path, args, grid)()
        slower = 1 + (path == "naive")
        numbers = {"seconds": slower / 1000, "median_seconds": slower / 1000, "peak_bytes": slower * 2**20}
        return numbers, {"refined": refined.numpy(), "flow": flow.numpy()}

    monkeypatch.setattr(matching, "in_process", here)
    arguments = ["--grids", "4,6", "--levels", "2", "--channels", "8"]
    matching.main([*arguments, "--json"])
    result = json.loads(capsys.readouterr().out)
    assert list(result["grids"]) == ["4", "6"]
    for row in result["grids"].values():
        assert row["speedup"] == row["memory_ratio"] == pytest.approx(2)
        assert row["max_error_refined"] < 1e-5
        assert row["max_error_flow"] < 1e-3
    matching.main(arguments)
    assert "speed-up" in capsys.readouterr().out
