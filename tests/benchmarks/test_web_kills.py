"""The benchmark that kills a collection runs, and would tell a difference."""

from __future__ import annotations

import pytest

from benchmarks import web_kills


def test_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert web_kills.main(["--quick", "--videos", "2", "--kills", "1"]) == 0
    assert "2 videos, 2 label files" in capsys.readouterr().out


def test_a_difference_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(web_kills, "same", lambda *catalogues: ["shots"])
    assert web_kills.main(["--quick", "--videos", "1", "--kills", "0"]) == 1
    assert "tables that differ: shots" in capsys.readouterr().out
