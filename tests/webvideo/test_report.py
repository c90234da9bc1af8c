"""The report of a small collection whose figures can be counted by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from samepoint.errors import InputError
from samepoint.io.images import read_image
from samepoint.webvideo.catalog import Catalogue
from samepoint.webvideo.curves import Curve, draw_curves
from samepoint.webvideo.report import markdown, quality, report_collection, survival_curves, write_report
from samepoint.webvideo.shots import ShotSettings, cut
from tests.webvideo.scenes import scene, video

VIDEOS = [
    {"video": "a", "class": "cow", "status": "ok"},
    {"video": "b", "class": "cow", "status": "failed", "reason": "private"},
    {"video": "c", "class": "dog", "status": "skipped", "reason": "same picture as a"},
    {"video": "d", "class": "dog", "status": "ok"},
]


def shot(video: str, number: int, start: int, end: int, reason: str | None = None, **more) -> dict:
    name = {"a": "cow", "d": "dog"}[video]
    row = {"shot": f"{video}/{number}", "video": video, "class": name, "index": number, "start": start, "end": end}
    return row | {"fps": 25.0, "kept": reason is None, "reason": reason, "status": "ok"} | more


SHOTS = [
    shot("a", 0, 0, 100, motion=1.0, repeats=[5, 10]),
    shot("a", 1, 100, 130, motion=3.0, repeats=[]),
    shot("a", 2, 130, 140, "black"),
    {"shot": "d", "video": "d", "class": "dog", "kept": False, "status": "failed", "reason": "not a video"},
]
LABELS = [
    {"shot": "a/0", "video": "a", "class": "cow", "status": "ok", "seeds": 400, "frames": 100, "bytes": 150_000}
    | {"alive": [1.0, 0.8, 0.6], "cycle_error": 0.5, "similarity": 0.9, "motion": 2.0, "coverage": 0.4, "seconds": 3.0},
    {"shot": "a/1", "video": "a", "class": "cow", "status": "ok", "seeds": 200, "frames": 20, "bytes": 10_000}
    | {"alive": [1.0, 0.4], "cycle_error": 1.5, "similarity": 0.7, "motion": None, "coverage": 0.2, "seconds": 1.0},
    {"shot": "a/9", "video": "a", "class": "cow", "status": "failed", "reason": "out of memory"},
]


def test_figures() -> None:
    report = quality(VIDEOS, SHOTS, LABELS)
    assert sorted(report["classes"]) == ["cow", "dog"]
    cow = report["classes"]["cow"]
    assert cow["videos"] == {"failed": 1, "ok": 1, "lost": {"private": 1}}
    shots = cow["shots"]
    assert (shots["all"], shots["kept"], shots["frames"], shots["frames_kept"]) == (3, 2, 140, 130)
    assert (shots["length"], shots["motion"], shots["repeats"]) == (65, 2, 2 / 130)
    assert shots["hours"] == pytest.approx(130 / 25 / 3600)
    assert shots["lost"] == {"black": 1}
    labels = cow["labels"]
    assert labels["survival"] == {"alive": [1.0, 0.6, 0.6], "shots": [2, 2, 1]}
    assert (labels["shots"], labels["frames"], labels["bytes"], labels["seeds"]) == (2, 120, 160_000, 300)
    assert (labels["cycle_error"], labels["similarity"], labels["motion"]) == (1.0, pytest.approx(0.8), 2.0)
    assert (labels["coverage"], labels["bytes_per_frame"]) == (pytest.approx(0.3), 1000)
    assert labels["lost"] == {"out of memory": 1}
    dog = report["classes"]["dog"]
    assert dog["shots"]["lost"] == {"not a video": 1}
    assert dog["labels"]["cycle_error"] is None
    assert report["all"]["videos"]["lost"] == {"private": 1, "same picture as a": 1}
    assert report["all"]["shots"]["frames"] == 140


def test_files(tmp_path) -> None:
    written = write_report(tmp_path / "report", VIDEOS, SHOTS, LABELS)
    assert [path.name for path in written] == ["report.json", "survival.png", "report.md"]
    assert json.loads(written[0].read_text()) == quality(VIDEOS, SHOTS, LABELS)
    assert read_image(written[1]).shape[2] == 3
    text = written[2].read_text()
    assert "| cow | 1 | 1 | 3 | 2 | 0:00:05 | 65 | 2.00 | 1.5 % |" in text
    assert "| cow | 2 | 60.0 % | - | - | - | - | - |" in text
    assert "| dog | videos | same picture as a | 1 |" in text
    assert "survival.png" in text


def test_a_collection_without_labels_or_with_nothing_at_all(tmp_path) -> None:
    assert [path.name for path in write_report(tmp_path, VIDEOS, SHOTS, [])] == ["report.json", "report.md"]
    assert "Survival" not in (tmp_path / "report.md").read_text()
    assert "Nothing was lost" in markdown(quality([], [], []))


def test_what_the_web_says_does_not_become_markup() -> None:
    report = quality([{"video": "a", "class": "x|y", "status": "failed", "reason": "<b>\n| [a](b)"}], [], [])
    lines = [line for line in markdown(report).splitlines() if "videos |" in line and "lost" not in line]
    assert lines[-2] == r"| x\|y | videos | \<b\> \| \[a\](b) | 1 |"


def test_reasons_of_videos_are_counted_by_their_word() -> None:
    lost = [
        {"video": str(n), "class": "cow", "status": "skipped", "reason": f"too long: {1800 + n} s"} for n in range(40)
    ]
    assert "| cow | videos | too long | 40 |" in markdown(quality(lost, [], []))


def test_many_reasons_are_counted_together() -> None:
    lost = [{"video": str(n), "class": "cow", "status": "failed", "reason": f"reason {n}"} for n in range(20)]
    assert "| cow | videos | 12 other reasons | 12 |" in markdown(quality(lost, [], []))


def test_a_curve_ends_where_few_shots_are_that_long() -> None:
    labels = [
        {"shot": f"s{n}", "class": "cow", "status": "ok", "alive": [1.0, 0.5] + [0.25] * (8 if n < 2 else 3)}
        for n in range(10)
    ]
    (curve,) = survival_curves(quality([], [], labels))
    assert curve.values == (1.0, 0.5, 0.25, 0.25, 0.25)
    assert survival_curves(quality([], [], [])) == []


def test_curves_are_where_their_values_are() -> None:
    flat = (0.5,) * 11
    picture = draw_curves(
        [Curve("one", flat, True), Curve("another with a name that is too long", (1.0, 0.0))], "x", "y"
    )
    height, left = 440, 70
    dark = (picture[:, left + 360] < 60).all(axis=1)
    assert 34 + height // 2 in np.flatnonzero(dark)
    with pytest.raises(InputError, match="two values"):
        draw_curves([Curve("one", (1.0,))], "x", "y")


def test_a_folder_that_cannot_be_made(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot make this folder"):
        write_report(tmp_path / "file" / "report", [], [], [])


def test_a_whole_collection(tmp_path) -> None:
    row = video(tmp_path, [scene(20, 0), scene(20, 1)])
    catalogue = Catalogue(tmp_path)
    with catalogue.held():
        for stage, rows in (("download", [row]), ("shots", cut(row, ShotSettings(), tmp_path))):
            with catalogue.journal(stage) as journal:
                journal.add("clip", rows)
    written = report_collection(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in written] == [
        "report/report.json",
        "report/report.md",
        "sheets/horse/clip.jpg",
    ]
    assert json.loads(written[0].read_text())["classes"]["horse"]["shots"]["frames_kept"] == 40
    with pytest.raises(InputError, match="no collection of web videos"):
        report_collection(tmp_path / "sheets")
