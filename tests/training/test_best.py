"""The weights of the best validation: kept, named, restored, and what the file says is what it does."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from samepoint.errors import InputError
from samepoint.models.weights import read_metadata, read_tensors
from samepoint.training.checkpoints import load_checkpoint
from samepoint.training.config import load_config
from samepoint.training.features import train
from samepoint.training.loop import run
from samepoint.training.loop_config import LoopConfig
from samepoint.training.matching import train_matching
from samepoint.training.matching_task import MatchingTask
from samepoint.training.recipes import FeaturesTask
from tests.training import test_matching
from tests.training.test_recipes import QUICK, TINY
from tests.training.tiny_task import TinyTask

SETTINGS = LoopConfig(
    steps=6,
    seed=3,
    device="cpu",
    precision="fp32",
    ema=0.9,
    checkpoint_every=100,
    validate_every=2,
    trackers=(),
)


class Scored(TinyTask):
    """Validations of given quality; one of None fails."""

    def __init__(self, qualities: list[float | None]) -> None:
        super().__init__(SETTINGS)
        self.qualities = list(qualities)

    def validate(self) -> dict[str, float]:
        quality = self.qualities.pop(0)
        if quality is None:
            raise InputError("no benchmark here")
        return {"other": 10 - quality, "quality": quality}

    def leading(self, figures: Mapping[str, float]) -> str | None:
        return "quality"

    def save(self, path: Path, notes: Mapping[str, Any]) -> Path:
        assert not self.exported.training
        save_file(self.exported.state_dict(), path, {"notes": json.dumps(notes)})
        return path


def kept(folder: Path) -> dict[str, Any]:
    """What is said of the weights that were kept."""
    with safe_open(folder / "checkpoints" / "best.safetensors", framework="pt") as file:
        return dict(json.loads(file.metadata()["notes"]))


def state(folder: Path) -> dict[str, Any]:
    return load_checkpoint(folder / "checkpoints" / "last.pt")


def interrupt(record: dict[str, float]) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_the_best_is_kept_and_not_what_comes_after(tmp_path: Path) -> None:
    run(Scored([0.3, 0.5, 0.5]), SETTINGS, tmp_path)
    best = {"figure": "quality", "score": 0.5, "step": 4}
    assert kept(tmp_path)["validation"] == state(tmp_path)["best"] == best
    short = SETTINGS.model_copy(update={"steps": 4})
    run(Scored([0.1, 0.2]), short, tmp_path / "short")
    average = state(tmp_path / "short")["average"]
    for name, value in read_tensors(tmp_path / "short" / "checkpoints" / "best.safetensors").items():
        torch.testing.assert_close(value, average[name], rtol=0, atol=0)


def test_a_figure_that_is_no_number_is_not_the_best(tmp_path: Path) -> None:
    run(Scored([float("nan"), 0.2, float("nan")]), SETTINGS, tmp_path)
    assert kept(tmp_path)["validation"]["score"] == 0.2


def test_resuming_keeps_the_best(tmp_path: Path) -> None:
    often = SETTINGS.model_copy(update={"log_every": 5})
    with pytest.raises(KeyboardInterrupt):
        run(Scored([0.3, 0.5]), often, tmp_path, progress=interrupt)
    assert state(tmp_path)["step"] == 5
    run(Scored([0.4]), often, tmp_path, resume=True)
    best = {"figure": "quality", "score": 0.5, "step": 4}
    assert kept(tmp_path)["validation"] == state(tmp_path)["best"] == best


def test_a_validation_that_fails_costs_no_steps_and_is_made_up_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no benchmark here"):
        run(Scored([0.3, None]), SETTINGS, tmp_path)
    assert (state(tmp_path)["step"], state(tmp_path)["best"]["score"]) == (4, 0.3)
    again = Scored([0.6, 0.1])
    run(again, SETTINGS, tmp_path, resume=True)
    assert again.taken == [4, 5]
    assert kept(tmp_path)["validation"] == {"figure": "quality", "score": 0.6, "step": 4}
    scored = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines() if "validation" in line]
    assert [line["step"] for line in scored] == [2, 4, 6]


def test_half_a_file_of_a_killed_run_goes(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / ".0123.part.safetensors").touch()
    run(TinyTask(SETTINGS), SETTINGS, tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["last.pt", "step-00000004.pt"]


def test_features_reloaded_from_the_best_score_the_same(tmp_path: Path) -> None:
    small = ["validation={clips: 1, frames: 3, points: 6}", "data.size=[32, 48]", "calibration.clips=0"]
    train(load_config(TINY, [f"output={tmp_path / 'run'}", *QUICK, *small, "validate_every=1"]))
    best = tmp_path / "run" / "checkpoints" / "best.safetensors"
    said = read_metadata(best)["validation"]
    assert said["figure"] == "delta_avg"
    again = FeaturesTask(load_config(TINY, [f"output={tmp_path / 'again'}", *QUICK, *small, f"init={best}"]))
    assert again.validate()["delta_avg"] == said["score"]


def test_a_matcher_reloaded_from_the_best_scores_the_same(videos: Path, tmp_path: Path) -> None:
    changes = [f"data.videos={videos}", *test_matching.QUICK, "validate_every=1", "validation.warps=4"]
    train_matching(test_matching.config(tmp_path, *changes))
    best = tmp_path / "run" / "checkpoints" / "best.safetensors"
    said = read_metadata(best)["validation"]
    assert said["figure"] == "warps/PCK@0.1"
    again = MatchingTask(test_matching.config(tmp_path, *changes, f"init={best}"))
    assert again.validate()["warps/PCK@0.1"] == said["score"]
