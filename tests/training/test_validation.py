"""Scores and pictures while training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from samepoint.structures import Queries, Tracks
from samepoint.training import validation
from samepoint.training.config import load_config
from samepoint.training.recipes import FeaturesTask
from samepoint.training.validation import benchmark_scores
from tests.evaluation import benchmark_trees
from tests.evaluation.commands import run

TINY = Path(__file__).resolve().parents[2] / "configs" / "tiny.yaml"
PERIODIC = ("cpu-base", "cpu-crossing", "cpu-refiner", "crw", "fgvc", "finetune")
SMALL = ["validation={clips: 1, frames: 3, points: 6}", "data.size=[32, 48]"]


@pytest.mark.parametrize("name", PERIODIC)
def test_configurations_validate_now_and_then_and_need_no_benchmark_for_it(name: str) -> None:
    config = load_config(TINY.with_name(f"{name}.yaml"))
    assert 100 <= config.validate_every <= config.steps // 3
    assert config.validation.clips > 0
    assert config.validation.benchmarks == {}


def task_of(tmp_path: Path, *overrides: str) -> FeaturesTask:
    torch.manual_seed(0)
    task = FeaturesTask(load_config(TINY, [f"output={tmp_path}", *SMALL, *overrides]))
    task.networks.eval()
    return task


def test_a_tracker_that_knows_the_truth_scores_full_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of(tmp_path)
    (clip,) = task.validation.clips

    def perfect(frames: np.ndarray, queries: Queries, **_: object) -> Tracks:
        xy, visible = clip.tracks(queries.xy, 0)
        return Tracks.from_confidence(xy.astype(np.float32), visible.astype(np.float32), fps=25.0, size=clip.size)

    monkeypatch.setattr(validation, "track", perfect)
    assert task.validate() == {"AJ": 100.0, "delta_avg": 100.0, "OA": 100.0}


def test_scores_and_pictures_leave_the_student_as_it_is(tmp_path: Path) -> None:
    task = task_of(tmp_path)
    before = {key: value.clone() for key, value in task.student.state_dict().items()}
    scores = task.validate()
    assert scores.keys() == {"AJ", "delta_avg", "OA"}
    assert all(0 <= value <= 100 for value in scores.values())
    pictures = task.pictures()
    assert pictures.keys() == {"tracks", "matches", "correlation", "reconstruction"}
    for name, picture in pictures.items():
        assert picture.dtype == np.uint8
        assert picture.ndim == 3
        assert picture.shape[2] == 3
        gap = 12 if name == "matches" else 0
        assert picture.shape[1] - gap == 3 * picture.shape[0]  # two frames of 32 x 48, or as many cells
    assert all(torch.equal(value, before[key]) for key, value in task.student.state_dict().items())


def test_benchmarks_are_scored_as_by_evaluate(tmp_path: Path) -> None:
    root = benchmark_trees.make(tmp_path / "benchmark", "badja")
    task = task_of(tmp_path, "calibration.clips=0")
    task.finish()
    expected = run("badja", root, tmp_path / "result.json", "--model", str(task.weights), "--limit", "1")["metrics"]
    got = benchmark_scores("badja", root, task.weights, 1)
    assert got == pytest.approx({f"badja/{key}": value for key, value in expected.items() if value is not None})
