"""A clip to give to the commands and a tracker that follows nothing, for tests of the commands alone."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from samepoint.structures import Queries, Tracks, Video
from samepoint.viz.writer import VideoWriter

FRAMES, SIZE = 6, (48, 64)


def stay(
    video: Video,
    queries: Queries,
    *,
    model: str = "samepoint-base",
    quality: str = "balanced",
    backward: bool = False,
    device: str | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Tracks:
    """What ``samepoint.track`` would return if nothing ever moved."""
    count = sum(1 for _ in video)
    for t in range(count):
        if progress is not None:
            progress(t + 1, count)
    known = (np.arange(count) >= queries.frame[:, None]) | backward
    xy = np.where(known[..., None], queries.xy[:, None], np.nan)
    return Tracks.from_confidence(xy, known, video.fps, video.size, queries.name or ())


@pytest.fixture
def still_tracker(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Puts ``stay`` in the place of the tracker; its ``track`` may be replaced again."""
    module = types.ModuleType("samepoint.tracking.points")
    module.track = stay  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "samepoint.tracking.points", module)
    return module


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder; the clip lies elsewhere."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small video file of 6 frames of 64x48."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    with VideoWriter(path, 25.0) as writer:
        for t in range(FRAMES):
            writer.write(np.stack([rows * 4, columns * 3, rows * 0 + 30 * t], axis=2).astype(np.uint8))
    return str(path)
