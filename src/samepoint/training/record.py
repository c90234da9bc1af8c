"""What a run says while it goes: lines of the log, trackers, progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .log import Log, Trackers
from .loop_config import LoopConfig

Progress = Callable[[dict[str, float]], None]
Reading = Callable[[int, int], None]
"""Told how many videos of a folder have been read, and of how many."""


class Record:
    """Written by the main process; the others have one that does nothing."""

    def __init__(self, folder: Path, settings: LoopConfig, start: int, main: bool, progress: Progress | None) -> None:
        self.main, self.start, self.steps, self.progress = main, start, settings.steps, progress
        self.began = time.perf_counter()
        if main:
            self.log = Log(folder / "log.jsonl", start)
            self.trackers = Trackers(settings.trackers, folder, start)

    def step(self, step: int, figures: Mapping[str, float], rate: float, images: int) -> None:
        """``images``: pictures in a step of all processes, the effective batch."""
        if not self.main:
            return
        seconds = (time.perf_counter() - self.began) / (step - self.start)
        line: dict[str, float] = {
            "step": step,
            **{key: round(value, 5) for key, value in figures.items()},
            "rate": rate,
        }
        line |= {"images": images, "seconds": round(seconds, 4), "images_per_second": round(images / seconds, 2)}
        self.log.write(line)
        self.trackers.scalars(step, {key: value for key, value in line.items() if key != "step"})
        if self.progress:
            self.progress({**line, "steps": self.steps, "left": seconds * (self.steps - step)})

    def validation(self, step: int, figures: Mapping[str, float], pictures: Mapping[str, np.ndarray]) -> None:
        if figures:
            self.log.write({"step": step, "validation": {key: round(value, 5) for key, value in figures.items()}})
        self.trackers.scalars(step, {f"validation/{key}": value for key, value in figures.items()})
        self.trackers.pictures(step, pictures)

    def note(self, step: int, values: Mapping[str, Any]) -> None:
        """A line of anything else, once a step; not for the trackers."""
        if values:
            self.log.note({"step": step, **values})

    def close(self) -> None:
        if self.main:
            self.trackers.close()
