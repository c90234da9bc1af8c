"""The benchmark of tracking, all of it at tiny sizes."""

from __future__ import annotations

import json
import math

import pytest

from benchmarks import tracking


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """Does the jobs in this process, where nothing needs to be imported again; gives the jobs done."""
    jobs: list[dict] = []

    def measure(job: dict, threads: int) -> dict:
        jobs.append(job)
        return tracking.measure(json.loads(json.dumps(job)))

    monkeypatch.setattr(tracking, "in_process", measure)
    return jobs


def test_all_parts_end_in_one_report(here: list[dict], capsys: pytest.CaptureFixture[str]) -> None:
    tracking.main(["--quick", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert [job["part"] for job in here] == ["speed", "speed", "memory", "memory", "cost"]
    assert result["speedup"] == result["speed"]["speedup"] > 0
    assert result["memory_ratio"] == pytest.approx(1, abs=0.5)
    assert list(result["memory"]["peak_mib"]) == ["4", "10"]
    assert [list(row) for row in result["cost"]["milliseconds"].values()] == [["1", "16"]]
    text = tracking.markdown(result)
    assert "| samepoint |" in text
    assert "| 64x48 |" in text


def test_frames_before_the_timed_ones_do_not_count(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = tracking.write_video(tmp_path / "clip.mp4", (32, 48), 6)
    ticks = iter([0.0, 100.0, 101.0, 103.0, 107.0])
    monkeypatch.setattr(tracking.time, "perf_counter", lambda: next(ticks))
    result = tracking.measure_speed("samepoint", str(video), 1, skipped=2, timed=3)
    assert result["seconds"] == [1.0, 2.0, 4.0]


def test_numbers_of_points_are_squares() -> None:
    assert all(math.isqrt(count) ** 2 == count for count in tracking.COUNTS)
