"""The benchmark of collections at tiny sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import web_scaling
from samepoint.errors import InputError


def test_ends_in_a_report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(config: Any, progress: Any) -> None:
        from samepoint.webvideo.catalog import Catalogue

        count = len(list(config.search.folders[0].iterdir()))
        catalogue = Catalogue(config.output)
        for stage, part in (("download", {}), ("label", {"shot": ""})):
            with catalogue.journal(stage) as journal:  # type: ignore[arg-type]
                for number in range(count):
                    name = dict.fromkeys(part, f"{number}/0")
                    journal.add(
                        str(number),
                        [
                            {"video": str(number), "status": "ok", "frames": 10, **name}
                            | ({"bytes": 500} if part else {})
                        ],
                    )
                    progress("shots" if not part else "label", number + 1, count)

    monkeypatch.setattr("samepoint.webvideo.pipeline.run", run)
    web_scaling.main(["--quick"])
    lines = capsys.readouterr().out.splitlines()
    assert "3 videos, 3 shots, 30 labelled frames, 50 bytes a frame" in lines[0]
    assert [line.split(" | ")[0] for line in lines[-2:]] == ["| 1", "| 2"]


def test_the_clock_starts_when_all_workers_run() -> None:
    assert web_scaling.rate([10.0, 10.1, 12.0, 12.1, 14.1], 2) == pytest.approx(3 / 4)
    with pytest.raises(InputError, match="too few for 2 workers"):
        web_scaling.rate([1.0, 2.0], 2)


def test_too_few_videos(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        web_scaling.main(["--source", str(tmp_path), "--videos", "3"])
