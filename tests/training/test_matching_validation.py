"""What a matcher is validated on: told before the first step, on the device of the training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from samepoint.errors import InputError
from samepoint.training import validation
from samepoint.training.config import load_config
from samepoint.training.matching_task import MatchingTask
from samepoint.training.recipes import FeaturesTask
from tests.datasets import pair_trees
from tests.training.test_matching import config
from tests.training.test_matching_workers import spair
from tests.training.test_recipes import TINY

BENCHMARK = ["validate_every=2", "validation.benchmark=spair-71k"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (BENCHMARK, r"validation\.benchmark: spair-71k needs its folder, validation\.root"),
        ([*BENCHMARK, "validation.root=nowhere"], "nowhere: no such folder"),
        (["validate_every=2", "validation.warps=0"], r"validate_every: 2 given, but there is nothing to validate on"),
    ],
)
def test_what_cannot_be_validated_on_is_said_at_once(
    changes: list[str], said: str, videos: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        MatchingTask(config(tmp_path, f"data.videos={videos}", *changes))


def test_a_benchmark_without_its_validation_split_or_its_first_pair_is_said_at_once(
    videos: Path, tmp_path: Path
) -> None:
    root = pair_trees.spair(tmp_path / "spair", {"trn": ["000001-a-b:cat"], "val": ["000001-a-b:cat"]})
    asked = [f"data.videos={videos}", *BENCHMARK, f"validation.root={root}"]
    MatchingTask(config(tmp_path, *asked))
    (root / "JPEGImages" / "cat" / "b.jpg").unlink()
    with pytest.raises(InputError, match=r"b\.jpg"):
        MatchingTask(config(tmp_path, *asked))
    (root / "Layout" / "large" / "val.txt").unlink()
    with pytest.raises(InputError, match=r"val\.txt"):
        MatchingTask(config(tmp_path, *asked))


def test_warps_are_validated_on_though_they_do_not_teach(videos: Path, tmp_path: Path) -> None:
    asked = ["loss.warps=0", "loss.keypoints=1", f"data.labelled={spair(tmp_path / 'spair')}", "validation.warps=2"]
    task = MatchingTask(config(tmp_path, *asked, f"data.videos={videos}", "validate_every=2"))
    assert task.dataset.warped is None
    assert task.validate().keys() == {"warps/PCK@0.1"}
    with pytest.raises(InputError, match="nothing to validate on"):
        MatchingTask(config(tmp_path, *asked, "data.videos=null", "validate_every=2"))


def test_a_benchmark_is_scored_on_the_device_and_leads(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = pair_trees.spair(tmp_path / "spair", {"val": ["000001-a-b:cat"]})
    changes = [f"data.videos={videos}", *BENCHMARK, f"validation.root={root}", "validation.warps=1"]
    task = MatchingTask(config(tmp_path, *changes))
    devices = []
    make = validation.make

    def noted(name: str, asked: Any) -> Any:
        devices.append(asked.model.device)
        return make(name, asked)

    monkeypatch.setattr(validation, "make", noted)
    figures = task.validate()
    assert devices == ["cpu"]
    leading = task.leading(figures)
    assert leading is not None
    assert leading.startswith("spair-71k/PCK@0.1 ")
    assert task.leading({"warps/PCK@0.1": 1.0}) == "warps/PCK@0.1"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["validation={clips: 0}"], r"validate_every: 2 given, .* set validation\.clips or validation\.benchmarks"),
        (["validation.benchmarks={badja: nowhere}"], "nowhere: no such folder"),
    ],
)
def test_features_say_it_at_once_too(changes: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        FeaturesTask(load_config(TINY, [f"output={tmp_path}", "validate_every=2", *changes]))
