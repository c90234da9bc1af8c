"""Real videos on their way into a training: how they are read, told of, augmented and named."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from samepoint.datasets import video_folder
from samepoint.training.config import FeaturesConfig, load_config
from samepoint.training.features import train
from samepoint.training.matching_task import MatchingTask, PairBatches
from samepoint.training.objectives import Objectives
from samepoint.training.recipes import Batches, FeaturesTask
from tests.training import test_matching
from tests.training.test_matching_workers import spair
from tests.training.test_recipes import QUICK, TINY


def config(folder: Path, videos: Path, *changes: str) -> FeaturesConfig:
    """On real clips and rendered ones."""
    small = ["data.real.rendered=false", f"data.real.videos={videos}", f"data.real.cache={folder / 'cache'}"]
    small += ["data.real.clips=2", "data.size=[32, 32]", "calibration.clips=0"]
    return load_config(TINY, [f"output={folder / 'run'}", *QUICK, *small, *changes])


class Pool(ThreadPoolExecutor):
    """A pool of processes, in threads."""

    asked: list[int]

    def __init__(self, workers: int, context: object, begin: object, arguments: tuple[Any, ...]) -> None:
        super().__init__(workers)
        self.asked.append(workers)
        video_folder._here[:] = arguments


@pytest.mark.parametrize("command", ["features", "matching"])
def test_workers_read_a_folder_first_and_it_is_told(
    command: str, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []
    Pool.asked = []
    monkeypatch.setattr(video_folder, "ProcessPoolExecutor", Pool)
    if command == "features":
        FeaturesTask(config(tmp_path, videos, "data.workers=3"), lambda done, total: told.append((done, total)))
    else:
        changes = [f"data.videos={videos}", f"data.cache={tmp_path / 'cache'}", "data.workers=3"]
        MatchingTask(test_matching.config(tmp_path, *changes), lambda done, total: told.append((done, total)))
    assert Pool.asked == [3]
    assert told == [(done, 4) for done in (1, 2, 3, 4)]


def test_augmenting_on_the_device_teaches_the_same(videos: Path, tmp_path: Path) -> None:
    """With precision bf16 too, in which pixels would be rounded."""
    lines = []
    for place in ("workers", "device"):
        folder = tmp_path / place
        changes = [f"data.real.augment_on={place}", "data.real.augment.jitter=1", "data.real.augment.blur=1"]
        train(config(folder, videos, *changes, "precision=bf16"))
        read = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
        lines.append([{key: line[key] for key in ("loss", "reconstruction", "cycle", "gradient")} for line in read])
    assert len(lines[0]) == 2
    assert lines[0] == lines[1]


def test_clips_to_be_augmented_on_the_device_are_handed_over_as_they_are(videos: Path, tmp_path: Path) -> None:
    batch = Batches(config(tmp_path, videos, "data.real.augment_on=device"))[3]
    assert batch.clips is None
    assert batch.plain is not None
    assert [tuple(clip.shape) for clip in batch.plain.clips] == [(3, 3, 48, 64)] * 2
    assert batch.plain.first == 6


def test_a_loss_that_is_not_finite_names_the_videos(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = config(tmp_path, videos)
    batches = Batches(asked)
    forward = Objectives.forward

    def spoilt(self: Objectives, batch: Any, progress: float) -> tuple[Tensor, dict[str, float]]:
        loss, figures = forward(self, batch, progress)
        return loss if progress == 0 else loss * torch.nan, figures

    monkeypatch.setattr(Objectives, "forward", spoilt)
    with pytest.raises(FloatingPointError) as raised:
        train(asked)
    told = str(raised.value)
    assert batches.clips is not None
    for clip in (2, 3):
        assert batches.clips.describe(clip) in told
        assert ".mp4 frames " in batches.clips.describe(clip)
    assert "data index 1: rendered clips 2 to 3 of seed 0; rendered clip 1 of seed 2; " in told


def test_pairs_of_a_matcher_are_named(videos: Path, collection: Path, tmp_path: Path) -> None:
    asked = ["loss.keypoints=1", "loss.web=1", "loss.cross.weight=1", f"data.labelled={spair(tmp_path / 'set')}"]
    asked += [f"data.collection={collection}", f"data.videos={videos}"]
    asked += [f"data.{name}=1" for name in ("warps", "web", "keypoints", "cross")]
    task = MatchingTask.__new__(MatchingTask)
    task.dataset = made = PairBatches(test_matching.config(tmp_path, *asked), 64)
    warped, web, labelled, cross = task.describe(7).split("; ")
    assert made.warped is not None
    assert made.web is not None
    assert warped == f"warped {made.warped.frames.describe(7)}"
    assert ".mp4 frame " in warped
    pair = made.web.sampler[7]
    assert web == f"web {pair.shot['shot']} frames {pair.frame_i}, {pair.frame_j}"
    assert labelled.startswith("labelled 00000")
    assert cross == "cross pair 7"
