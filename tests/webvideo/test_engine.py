"""The local engine: what happens to a row never happens to the run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import pytest
from pydantic import ValidationError

from samepoint.errors import InputError
from samepoint.webvideo.engine import DIED, EngineSettings, Outcome, Work, run
from samepoint.webvideo.rows import Row
from tests.webvideo import works

TWO = EngineSettings(workers=2)


def outcomes(rows: list[Row], settings: EngineSettings = TWO) -> list[Outcome]:
    return list(run(Work(works.obedient), rows, settings))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A child of a killed process may stay a zombie until somebody waits for it.
    status = Path(f"/proc/{pid}/status")
    return not status.exists() or "State:\tZ" not in status.read_text()


def wait_until(true: object, seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_every_row_has_one_outcome(workers: int) -> None:
    rows = [{"do": do, "n": n} for n, do in enumerate(["work", "fail", "many", "run out of memory", "work"])]
    found = {one.row["n"]: one for one in outcomes(rows, EngineSettings(workers=workers))}
    assert sorted(found) == [0, 1, 2, 3, 4]
    assert [found[n].reason for n in range(5)] == [None, "KeyError: 'fps'", None, "MemoryError", None]
    assert found[2].results == [{"part": 0}, {"part": 1}, {"part": 2}]
    assert found[1].results == []


def test_without_workers_the_process_itself_works() -> None:
    (one,) = outcomes([{"do": "work"}], EngineSettings(workers=0))
    assert one.results[0]["pid"] == os.getpid()


def test_a_worker_is_set_up_once() -> None:
    found = outcomes([{"do": "work"} for _ in range(6)], EngineSettings(workers=1))
    assert [one.results[0]["done"] for one in found] == [1, 2, 3, 4, 5, 6]
    assert {one.results[0]["pid"] for one in found} != {os.getpid()}


def test_the_death_of_a_worker_is_its_rows_own_and_tried_again(tmp_path: Path) -> None:
    rows = [
        {"do": "work", "n": 0},
        {"do": "die", "n": 1, "marker": str(tmp_path / "always")},
        {"do": "die once", "n": 2, "marker": str(tmp_path / "once")},
        {"do": "work", "n": 3},
    ]
    found = {one.row["n"]: one.reason for one in outcomes(rows)}
    assert found == {0: None, 1: DIED, 2: None, 3: None}


def test_without_retries_one_death_is_enough(tmp_path: Path) -> None:
    rows: list[Row] = [{"do": "die once", "marker": str(tmp_path / "once")}]
    (one,) = outcomes(rows, EngineSettings(workers=1, retries=0))
    assert one.reason == DIED


def test_a_row_that_hangs_is_given_up_and_the_next_gets_a_new_process(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    rows: list[Row] = [{"do": "sleep", "n": 0, "marker": str(marker)}, {"do": "work", "n": 1}]
    found = outcomes(rows, EngineSettings(workers=1, patience=3.0))
    assert [one.reason for one in found] == ["took longer than 3 s (engine.patience)", None]
    hung = int(marker.read_text())
    assert found[1].results[0]["pid"] != hung
    assert wait_until(lambda: not alive(hung))


@pytest.mark.parametrize("workers", [0, 2])
def test_what_would_meet_every_row_ends_the_run(workers: int) -> None:
    settings = EngineSettings(workers=workers)
    with pytest.raises(OSError, match="No space left"):
        outcomes([{"do": "fill the disk"}], settings)
    with pytest.raises(InputError, match=r"samepoint\[web\]"):
        outcomes([{"do": "miss a package"}], settings)
    with pytest.raises(InputError, match="dot: no such model"):
        list(run(Work(works.unusable, ("dot",)), [{"n": 1}], settings))


def test_an_error_of_the_rows_source_is_raised() -> None:
    def source() -> Iterator[Row]:
        yield {"do": "work"}
        raise RuntimeError("the catalogue is gone")

    with pytest.raises(RuntimeError, match="catalogue is gone"):
        list(run(Work(works.obedient), source(), TWO))


def test_rows_are_taken_as_workers_get_free() -> None:
    taken = []

    def source() -> Iterator[Row]:
        for n in range(1000):
            taken.append(n)
            yield {"do": "work"}

    with closing(run(Work(works.obedient), source(), EngineSettings(workers=1))) as found:
        next(found)
    assert len(taken) < 1000


@pytest.mark.skipif(sys.platform == "win32", reason="asks for a process by its number")
def test_closing_ends_workers_at_once(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    rows: list[Row] = [{"do": "work"}, {"do": "sleep", "marker": str(marker)}]
    with closing(run(Work(works.obedient), rows, EngineSettings(workers=1))) as found:
        next(found)
        assert wait_until(lambda: marker.exists() and marker.read_text())
        began = time.monotonic()
    assert time.monotonic() - began < 20
    assert not alive(int(marker.read_text()))


def test_a_script_without_a_guard_is_told(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from functools import partial\n"
        "from samepoint.webvideo.engine import EngineSettings, Work, run\n"
        "list(run(Work(partial, (dict,)), [{}], EngineSettings(workers=1)))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("a script must call this below: if __name__ == '__main__'")


def _sleep_in_a_worker(marker: str) -> None:
    list(run(Work(works.obedient), [{"do": "sleep", "marker": marker}], EngineSettings(workers=1)))


@pytest.mark.skipif(sys.platform == "win32", reason="asks for a process by its number")
def test_workers_do_not_outlive_a_killed_run(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    process = get_context("spawn").Process(target=_sleep_in_a_worker, args=(str(marker),))
    process.start()
    try:
        assert wait_until(lambda: marker.exists() and marker.read_text())
    finally:
        process.kill()
        process.join()
    assert wait_until(lambda: not alive(int(marker.read_text())))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"address": "auto"}, "address is for kind: ray"),
        ({"gpus": 1}, "gpus is for kind: ray"),
        ({"kind": "ray", "workers": 0}, "at least 1 worker"),
        ({"workers": -1}, "greater than or equal to 0"),
    ],
)
def test_settings_that_would_do_nothing_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EngineSettings.model_validate(values)
