"""The same functions on Ray Data."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import threading
import types
from collections.abc import Callable

import psutil
import pytest

from samepoint.errors import InputError, MissingExtraError
from samepoint.webvideo import ray_engine
from samepoint.webvideo.engine import DIED, EngineSettings, Work, run
from samepoint.webvideo.rows import Row
from tests.webvideo import works

LOOPBACK = {"127.0.0.1", "::ffff:127.0.0.1", "::1"}


def listening() -> set[str]:
    """Addresses on which this process and those that it started listen."""
    me = psutil.Process()
    sockets = [each for one in (me, *me.children(recursive=True)) for each in one.net_connections("inet")]
    return {each.laddr.ip for each in sockets if each.status == psutil.CONN_LISTEN}


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray, which is not installed")
def test_ten_thousand_rows_are_accounted_for(capfd: pytest.CaptureFixture[str]) -> None:
    rows: list[Row] = [{"n": n, "deadly": n == 4_242} for n in range(10_000)]
    settings = EngineSettings(kind="ray", workers=2, batch=250)
    names = ("RAY_USAGE_STATS_ENABLED", "RAY_BACKEND_LOG_LEVEL", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")
    before = [os.environ.get(name) for name in names], signal.getsignal(signal.SIGTERM)
    good, bad = {}, {}
    with ray_engine._joined(settings):  # Ray takes seconds to start: once for both
        assert {"127.0.0.1"} <= listening() <= LOOPBACK
        for one in run(Work(works.squares), rows, settings):
            assert one.row == rows[one.row["n"]]
            (bad if one.reason else good)[one.row["n"]] = one
        with pytest.raises(InputError, match="dot: no such model"):
            list(run(Work(works.unusable, ("dot",)), rows[:3], settings))
    assert len(good) + len(bad) == 10_000
    assert {n: one.reason for n, one in bad.items()} == {
        **{n: f"row {n}: poisoned" for n in range(37, 10_000, 100)},
        4_242: DIED,
    }
    assert all(one.results[0]["square"] == n * n for n, one in good.items())
    assert good[8].results[0]["note"] == [8]
    assert good[9].results[0]["note"] is None
    assert ([os.environ.get(name) for name in names], signal.getsignal(signal.SIGTERM)) == before
    assert capfd.readouterr() == ("", "")


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"samepoint\[scale\]"):
        list(run(Work(works.squares), [{"n": 1}], EngineSettings(kind="ray")))


def answers_of(worker: Callable[[Row], object], monkeypatch: pytest.MonkeyPatch, rows: list[str]) -> list[str]:
    import numpy as np

    monkeypatch.setattr(ray_engine, "Worker", lambda *_: worker)
    monkeypatch.setitem(sys.modules, "__main__", types.ModuleType("__main__"))  # of an actor's process, not ours
    actor = ray_engine.Actor(Work(works.squares), 1, 1, None)
    found: list[str] = actor({"number": np.arange(len(rows)), "row": np.array(rows, dtype=object)})["outcome"]
    return found


def test_results_that_are_not_json_are_the_rows_own_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    from samepoint.webvideo.engine import Outcome

    (answer,) = answers_of(lambda row: Outcome(row, [{"lock": threading.Lock()}]), monkeypatch, ['{"n": 1}'])
    assert "not JSON values" in answer
