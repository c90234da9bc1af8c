"""The stages in a row: what is due, what is kept, and that kills change nothing."""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samepoint.errors import InputError
from samepoint.viz.writer import VideoWriter
from samepoint.webvideo import pipeline
from samepoint.webvideo.catalog import STAGES, Catalogue, same
from samepoint.webvideo.config import WebConfig, config_of_source, load_config
from samepoint.webvideo.download import fetch
from samepoint.webvideo.engine import Outcome
from samepoint.webvideo.rows import Row
from tests.webvideo import collection


@pytest.fixture
def diary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of the pretended stages, which are in place."""
    path = tmp_path / "diary"
    path.touch()
    collection.use_in(monkeypatch.setattr, path)
    return path


@pytest.fixture
def config(tmp_path: Path) -> WebConfig:
    return collection.config_for(tmp_path / "out", workers=0)


def rows_done(config: WebConfig, **more: Any) -> list[int]:
    return [summary.rows for summary in pipeline.run(config, **more)]


def changed(config: WebConfig, **parts: dict[str, Any]) -> WebConfig:
    values = config.model_dump()
    for name, part in parts.items():
        values[name] |= part
    return WebConfig.model_validate(values)


def statuses(catalogue: Catalogue, table: Any, key: str) -> dict[str, tuple[str, str | None]]:
    rows = catalogue.read(table).to_pylist()
    return {row[key]: (row["status"], row["reason"]) for row in rows}


def test_every_row_is_accounted_for(config: WebConfig, diary: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    summaries = pipeline.run(config, progress=lambda *now: seen.append(now))
    assert [(one.stage, one.rows, one.failed) for one in summaries] == [
        ("search", 3, 0),
        ("download", 3, 1),
        ("shots", 2, 0),
        ("label", 13, 1),
    ]
    assert [now for now in seen if now[0] == "shots"] == [("shots", 1, 2), ("shots", 2, 2)]
    catalogue = Catalogue(config.output)
    assert statuses(catalogue, "videos", "video")["cat"] == ("failed", "removed: by the uploader")
    labels = statuses(catalogue, "labels", "shot")
    assert labels["bee/4"] == ("failed", "ValueError: too dark")
    assert "bee/1" not in labels  # not kept
    assert len(labels) == 13
    assert pipeline.counts(config) == {
        "videos": {"failed": 1, "ok": 2},
        "shots": {"ok": 15},
        "labels": {"failed": 1, "ok": 12},
    }
    assert load_config(config.output / "web.yaml") == config


def test_what_is_done_is_not_done_again(config: WebConfig, diary: Path) -> None:
    pipeline.run(config)
    before = diary.read_text()
    assert rows_done(config) == [0, 0, 0, 0]
    assert diary.read_text() == before


def test_stages_one_by_one_are_the_same_as_all(config: WebConfig, diary: Path, tmp_path: Path) -> None:
    for stage in STAGES:
        pipeline.run(config, (stage,))
    other = collection.config_for(tmp_path / "at-once", workers=0)
    pipeline.run(other)
    assert same(Catalogue(config.output), Catalogue(other.output)) == []


def test_failed_rows_are_tried_again_on_request(
    config: WebConfig, diary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.run(config)
    assert rows_done(config, retry_failed=True) == [0, 1, 0, 1]
    monkeypatch.setattr("samepoint.webvideo.pipeline.work_of", lambda stage, config: _always(stage))
    assert rows_done(config, retry_failed=True) == [0, 1, 1, 2]  # the video is there now: one shot, and bee/4
    assert set(pipeline.counts(config)["labels"]) == {"ok"}


def _always(stage: str) -> Any:
    from samepoint.webvideo.engine import Work

    def make() -> Any:
        def work(row: Row) -> Row:
            if stage == "download":
                return {**row, "status": "ok", "reason": None, "path": "x.mp4", "sha256": "x"}
            if stage == "shots":
                return {"shot": f"{row['video']}/0", "video": row["video"], "index": 0, "kept": True}
            return {"shot": row["shot"], "video": row["video"]}

        return work

    return Work(make)


def test_other_settings_redo_a_stage_and_what_follows(config: WebConfig, diary: Path) -> None:
    pipeline.run(config)
    # Manners change nothing that is collected.
    assert rows_done(changed(config, download={"timeout": 3.0, "rate": 10_000})) == [0, 0, 0, 0]
    assert rows_done(changed(config, labels={"seeds": 5})) == [0, 0, 0, 13]
    config = changed(config, labels={"seeds": 5}, shots={"min_length": 4})
    assert rows_done(config) == [0, 0, 2, 13]
    assert rows_done(changed(config, download={"height": 240})) == [0, 3, 0, 0]  # the files turned out the same


def test_a_query_that_failed_is_asked_again(config: WebConfig, diary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = {"video": "query-1", "class": "animal", "status": "failed", "reason": "HTTP 503"}
    monkeypatch.setattr("samepoint.webvideo.search.candidates", lambda settings, known: [failed])
    assert rows_done(config) == [1, 0, 0, 0]
    assert rows_done(config) == [0, 0, 0, 0]
    collection.use_in(monkeypatch.setattr, diary)
    assert rows_done(config, retry_failed=True)[:2] == [3, 3]
    assert "query-1" not in statuses(Catalogue(config.output), "videos", "video")


def test_what_was_set_aside_is_judged_again_by_other_settings(
    config: WebConfig, diary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(settings: Any, known: Any) -> list[Row]:
        judged = {"ant": "found", "bee": "found" if settings.results > 5 else "skipped"}
        return [
            {"video": video, "class": "animal", "status": status}
            for video, status in judged.items()
            if video not in known
        ]

    monkeypatch.setattr("samepoint.webvideo.search.candidates", found)
    told = []
    for results in (5, 5, 6):
        pipeline.run(changed(config, search={"results": results}), ("search",))
        told.append(
            {video: status for video, (status, _) in statuses(Catalogue(config.output), "videos", "video").items()}
        )
    assert told == [{"ant": "found", "bee": "skipped"}] * 2 + [{"ant": "found", "bee": "found"}]


def test_new_files_of_a_folder_are_found(tmp_path: Path, diary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    source.mkdir()
    asked = []
    monkeypatch.setattr("samepoint.webvideo.search.candidates", lambda settings, known: asked.append(known) or [])
    config = config_of_source(source, tmp_path / "out")
    pipeline.run(config, ("search",))
    pipeline.run(config, ("search",))
    assert len(asked) == 1
    (source / "new.mp4").touch()
    pipeline.run(config, ("search",))
    assert len(asked) == 2


def test_another_file_and_other_weights_are_worked_on_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "source" / "clip.mp4"
    path.parent.mkdir()
    _write_clip(path, 1)
    changes = ["engine.workers=0", "shots.min_length=8", "shots.min_side=32", "labels.seeds=4", "labels.short_side=64"]
    config = config_of_source(path.parent, tmp_path / "out", changes)
    pipeline.run(config)
    catalogue = Catalogue(config.output)
    assert [row["frames"] for row in catalogue.rows("videos")] == [10]
    _write_clip(path, -1, 14)
    assert {one.stage: one.rows for one in pipeline.run(config)} == {"search": 0, "download": 1, "shots": 1, "label": 1}
    assert [row["end"] for row in catalogue.rows("shots")] == [14]
    assert pipeline.run(config, ("label",))[0].rows == 0
    path.rename(tmp_path / "unplugged")
    assert pipeline.run(config, ("download",))[0].rows == 0
    (tmp_path / "unplugged").rename(path)
    monkeypatch.setattr(pipeline, "_weights", lambda config: "of a model that was trained further")
    assert pipeline._labels(config, catalogue, False).keys() == {row["shot"] for row in catalogue.rows("shots")}


def test_a_run_from_elsewhere_by_what_another_left_redoes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_clip(tmp_path / "clip.mp4", 1)
    for name in ("home/source/left", "away"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "clip.mp4").rename(tmp_path / "home/source/left/clip.mp4")
    monkeypatch.chdir(tmp_path / "home")
    changes = ["engine.workers=0", "shots.min_length=8", "shots.min_side=32", "labels.seeds=4", "labels.short_side=64"]
    config = config_of_source("source", "out", changes)
    assert rows_done(config) == [1, 1, 1, 1]
    for folder in ("away", "home"):
        monkeypatch.chdir(tmp_path / folder)
        assert rows_done(load_config(tmp_path / "home" / "out" / "web.yaml")) == [0, 0, 0, 0]
    assert rows_done(config) == [0, 0, 0, 0]


def test_a_file_that_was_half_copied_is_looked_at_again(tmp_path: Path) -> None:
    path = tmp_path / "source" / "clip.mp4"
    path.parent.mkdir()
    _write_clip(path, 1)
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    config = config_of_source(path.parent, tmp_path / "out", ["engine.workers=0"])
    stages = ("search", "download")
    catalogue = Catalogue(config.output)
    assert [one.failed for one in pipeline.run(config, stages)] == [0, 1]
    assert rows_done(config, stages=stages) == [0, 0]
    path.write_bytes(whole)
    assert pipeline.run(config, stages)[1].rows == 1
    ((status, reason),) = statuses(catalogue, "videos", "video").values()
    assert (status, reason) == ("ok", None)
    (row,) = catalogue.rows("videos")
    path.unlink()
    assert fetch(row, config.download, config.output)["bytes"] == 0
    assert not pipeline._replaced(row)
    path.write_bytes(whole)
    assert pipeline._replaced({**row, "status": "failed", "bytes": 0})
    assert not pipeline._replaced({**row, "status": "failed", "bytes": None})  # of a catalogue that did not know it
    died = pipeline.finished("download", Outcome({**row, "bytes": 1}, [], "the worker died"), "digest")[0]
    assert died["bytes"] == len(whole)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome({"video": "a", "class": "c", "path": "p"}, []), ("a", "skipped", "no shots")),
        (Outcome({"video": "a", "class": "c", "path": "p"}, [], "broken"), ("a", "failed", "broken")),
        (
            Outcome({"video": "a", "class": "c", "path": "p"}, [{"shot": "b/0", "video": "b"}]),
            ("a", "failed", "its results are of another video"),
        ),
        (
            Outcome({"video": "a", "class": "c", "path": "p"}, [{"shot": "a/0", "video": "a", "start": "0"}]),
            ("a", "failed", "shots: a/0, start: expected int, got '0'"),
        ),
    ],
)
def test_bad_results_are_the_rows_own_failure(outcome: Outcome, expected: tuple[str, str, str]) -> None:
    (row,) = pipeline.finished("shots", outcome, "digest")
    assert (row["shot"], row["status"], row["reason"]) == expected
    assert (row["kept"], row["settings"]) == (False, "digest")


def test_a_missing_cookies_file_ends_the_run_and_fails_no_row(config: WebConfig) -> None:
    made = pipeline.work_of("download", changed(config, download={"cookies": Path("cookies.txt")}))
    with pytest.raises(InputError, match=r"download\.cookies: there is no file cookies\.txt"):
        made.make(*made.arguments)


def test_cookies_of_another_kind_end_the_run_and_fail_no_row(config: WebConfig, tmp_path: Path) -> None:
    (tmp_path / "cookies.txt").write_text("[{}]")
    made = pipeline.work_of("download", changed(config, download={"cookies": tmp_path / "cookies.txt"}))
    with pytest.raises(InputError, match=r"cookies\.txt: expected cookies in Netscape's format"):
        made.make(*made.arguments)


Start = Callable[[Path], Any]


@pytest.fixture(scope="module")
def start() -> Start:
    """Starts a collection below a folder in a process of its own."""
    if sys.platform == "win32":
        pytest.skip("needs a fork server")
    context = get_context("forkserver")
    context.set_forkserver_preload(["samepoint.webvideo.config"])  # imports PyTorch once for all

    def started(folder: Path) -> Any:
        process = context.Process(target=collection.collect, args=(folder / "out", folder / "diary"))
        process.start()
        return process

    return started


@pytest.fixture(scope="module")
def undisturbed(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    process = start(folder)
    process.join()
    assert process.exitcode == 0
    return folder


@pytest.mark.parametrize("seed", range(4))
def test_kills_leave_no_trace(seed: int, start: Start, undisturbed: Path, tmp_path: Path) -> None:
    """SIGKILL at three random moments, then to the end: as a run that nothing disturbed."""
    draw = random.Random(seed)
    catalogue = Catalogue(tmp_path / "out")
    written: set[str] = set()
    for _ in range(3):
        process = start(tmp_path)
        # Moments are counted in what is done, not in seconds: they are spread over the run on a busy machine too.
        moment = len(_diary(tmp_path)) + draw.randrange(8)
        while process.is_alive() and len(_diary(tmp_path)) < moment:
            time.sleep(0.001)
        time.sleep(draw.random() * 3 * collection.PAUSE)
        process.kill()
        process.join()
        now = _journalled(catalogue)
        assert not written.intersection(now)  # what was written down is never worked on again
        written.update(now)
    process = start(tmp_path)
    process.join()
    assert process.exitcode == 0

    assert same(Catalogue(undisturbed / "out"), catalogue) == []
    done = Counter(_diary(tmp_path))
    assert set(done) == set(_diary(undisturbed))
    assert {count for line, count in done.items() if line.startswith("downloaded")} == {1}
    # A kill may take what the two workers have done but not yet handed over.
    assert sum(done.values()) - len(done) <= 3 * 2


def _diary(folder: Path) -> list[str]:
    path = folder / "diary"
    return path.read_text().splitlines() if path.exists() else []


def _journalled(catalogue: Catalogue) -> list[str]:
    """Stage and item of what is in the journals, once for every time that it is there."""
    paths = [(stage, catalogue.journal_path(stage)) for stage in STAGES if stage != "search"]
    lines = [(stage, line) for stage, path in paths if path.exists() for line in path.read_text().splitlines(True)]
    found = [f"{stage} {json.loads(line)['item']}" for stage, line in lines if line.endswith("\n")]
    assert len(found) == len(set(found))
    return found


def test_the_whole_line_on_real_files(tmp_path: Path) -> None:
    for label, shift in (("left", -1), ("right", 1)):
        (tmp_path / "source" / label).mkdir(parents=True)
        _write_clip(tmp_path / "source" / label / "clip.mp4", shift)
    (tmp_path / "source" / "left" / "broken.mp4").write_bytes(b"not a video" * 100)
    changes = ["engine.workers=0", "shots.min_length=8", "shots.min_side=32", "labels.seeds=4", "labels.short_side=64"]
    config = config_of_source(tmp_path / "source", tmp_path / "out", changes)
    summaries = {summary.stage: summary for summary in pipeline.run(config)}
    assert (summaries["search"].rows, summaries["download"].failed) == (3, 1)
    labels = sorted(Catalogue(config.output).rows("labels"), key=lambda row: row["class"])
    assert [(row["class"], row["status"], row["seeds"]) for row in labels] == [("left", "ok", 16), ("right", "ok", 16)]
    assert all((config.output / row["path"]).stat().st_size == row["bytes"] for row in labels)


def _write_clip(path: Path, shift: int, frames: int = 10) -> None:
    noise = np.random.default_rng(7 + shift).integers(0, 255, (8, 16, 3), dtype=np.uint8)
    texture = np.kron(noise, np.ones((8, 8, 1), dtype=np.uint8))
    with VideoWriter(path, 25.0) as writer:
        for t in range(frames):
            writer.write(np.ascontiguousarray(np.roll(texture, 2 * shift * t, axis=1)[:, :80]))
