"""Videos of two classes and their collection, made once for all tests of training."""

from __future__ import annotations

from pathlib import Path

import pytest

from samepoint.webvideo import pipeline
from samepoint.webvideo.config import config_of_source
from tests.training.test_recipes import write_videos


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of two videos."""
    folder = tmp_path_factory.mktemp("videos") / "classes"
    for name in ("cat", "dog"):
        write_videos(folder / name, 2, frames=18)
    return folder


@pytest.fixture(scope="session")
def collection(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("collection") / "out"
    small = ["shots.min_side=16", "labels.seeds=6", "engine.workers=1"]
    pipeline.run(config_of_source(videos, folder, small))
    return folder
