"""The benchmark that kills a collection runs, and would tell a difference."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import web_kills


def test_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert web_kills.main(["--quick", "--videos", "2", "--kills", "1", "--workers", "1"]) == 0
    assert "2 videos, 2 label files" in capsys.readouterr().out


WRITE = "import pathlib, sys; at = pathlib.Path(sys.argv[1], 'labels'); at.mkdir(parents=True); "


@pytest.mark.parametrize(("tables", "content", "told"), [(["shots"], "'same'", "shots"), ([], "at.parts[-2]", "none")])
def test_a_difference_is_told(
    tables: list[str], content: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(source: Path, output: Path, *_: object) -> list[str]:
        return [sys.executable, "-c", f"{WRITE}(at / 'a.npz').write_text({content})", str(output)]

    monkeypatch.setattr(web_kills, "command", command)
    monkeypatch.setattr(web_kills, "same", lambda *catalogues: tables)
    assert web_kills.main(["--quick", "--videos", "1", "--kills", "0"]) == 1
    out = capsys.readouterr().out
    assert "1 videos, 1 label files" in out
    assert f"tables that differ: {told}; label files the same: {bool(tables)}" in out
