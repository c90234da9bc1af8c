"""A collection of three small videos whose stages only pretend, and write down what they do; for tests of kills."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samepoint.io.atomic import atomic_write
from samepoint.webvideo import pipeline
from samepoint.webvideo.catalog import Stage
from samepoint.webvideo.engine import Work
from samepoint.webvideo.rows import Row

if TYPE_CHECKING:  # it imports PyTorch, and every worker imports this file
    from samepoint.webvideo.config import WebConfig

VIDEOS = ("ant", "bee", "cat")
PAUSE = 0.02  # seconds of every piece of work


def note(diary: Path, event: str, item: str) -> None:
    with diary.open("a") as file:  # one write: whole, whoever else writes
        file.write(f"{event} {item}\n")


def fetch(diary: Path, folder: Path) -> Callable[[Row], Row]:
    """As the real one: a file that is there and whole is kept."""

    def work(row: Row) -> Row:
        path = folder / f"{row['video']}.mp4"
        if not path.exists():
            time.sleep(PAUSE)
            with atomic_write(path) as file:
                file.write(row["video"].encode())
            note(diary, "downloaded", row["video"])
        if row["video"] == "cat":
            return {**row, "status": "failed", "reason": "removed: by the uploader"}
        return {**row, "status": "ok", "path": path.name, "sha256": f"of {row['video']}"}

    return work


def cut(diary: Path) -> Callable[[Row], list[Row]]:
    def work(row: Row) -> list[Row]:
        time.sleep(PAUSE)
        note(diary, "cut", row["video"])
        same = {name: row[name] for name in ("video", "class", "path")}
        count = {"ant": 3, "bee": 12}[row["video"]]
        return [
            {**same, "shot": f"{row['video']}/{n}", "index": n, "start": 5 * n, "end": 5 * n + 5, "kept": n != 1}
            for n in range(count)
        ]

    return work


def label(diary: Path, folder: Path) -> Callable[[Row], Row]:
    def work(row: Row) -> Row:
        time.sleep(PAUSE)
        if row["shot"] == "bee/4":
            raise ValueError("too dark")
        name = row["shot"].replace("/", "-") + ".npz"
        with atomic_write(folder / name) as file:
            file.write(b"labels")
        note(diary, "labelled", row["shot"])
        same = {name: row[name] for name in ("shot", "video", "class", "start", "end")}
        return {**same, "path": name, "alive": [1.0, 0.5], "seconds": time.perf_counter()}

    return work


def candidates(settings: Any, known: Any) -> list[Row]:
    return [{"video": video, "class": "animal", "status": "found"} for video in VIDEOS if video not in known]


def use_in(patch: Callable[[str, object], None], diary: Path) -> None:
    """Put the pretended stages in the place of the real ones, by ``patch(name, value)``."""

    def work_of(stage: Stage, config: WebConfig) -> Work:
        return {
            "download": Work(fetch, (diary, config.output)),
            "shots": Work(cut, (diary,)),
            "label": Work(label, (diary, config.output)),
        }[stage]

    patch("samepoint.webvideo.pipeline.work_of", work_of)
    patch("samepoint.webvideo.search.candidates", candidates)


def collect(output: Path, diary: Path) -> None:
    """In a process of its own, to be killed."""
    import importlib

    def patch(name: str, value: object) -> None:
        module, _, attribute = name.rpartition(".")
        setattr(importlib.import_module(module), attribute, value)

    use_in(patch, diary)
    pipeline.run(config_for(output))


def config_for(output: Path, workers: int = 2) -> WebConfig:
    from samepoint.webvideo.config import WebConfig

    return WebConfig.model_validate(
        {"output": output, "search": {"classes": ["animal"]}, "engine": {"workers": workers}}
    )
