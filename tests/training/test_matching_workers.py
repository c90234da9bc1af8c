"""Pairs that other processes make ahead."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from samepoint.training.matching import train_matching
from samepoint.training.matching_task import PairBatches
from tests.datasets import pair_trees
from tests.training.test_matching import QUICK, config


def spair(folder: Path) -> str:
    root = pair_trees.spair(folder, {"trn": ["000001-a-b:cat", "000002-c-d:dog"]})
    return f"{{benchmark: spair-71k, root: {root}}}"


def pf_pascal(folder: Path) -> str:
    root = pair_trees.pf_pascal(folder, {"trn_pairs.csv": pair_trees.pf_train(("a", "b", 2, 0), ("a", "d", 2, 1))})
    return f"{{benchmark: pf-pascal, root: {root}}}"


def pf_willow(folder: Path) -> str:
    return f"{{benchmark: pf-willow, root: {pair_trees.willow(folder, {'duck(S)': 3})}, split: test}}"


def tensors(value: Any) -> list[torch.Tensor]:
    """Those of nested named tuples, in order."""
    if value is None or isinstance(value, torch.Tensor):
        return [] if value is None else [value]
    return [one for part in value for one in tensors(part)]


def assert_pickles(made: PairBatches) -> None:
    before = [tensors(made[position]) for position in (0, 5)]
    again = pickle.loads(pickle.dumps(made))  # after it has read something
    for position, expected in zip((0, 5), before, strict=True):
        found = tensors(again[position])
        assert len(found) == len(expected) > 0
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("benchmark", [spair, pf_pascal, pf_willow])
def test_labelled_pairs_pickle(benchmark: Callable[[Path], str], tmp_path: Path) -> None:
    labelled = benchmark(tmp_path / "set")
    assert_pickles(PairBatches(config(tmp_path, "loss.warps=0", "loss.keypoints=1", f"data.labelled={labelled}"), 64))


@pytest.mark.parametrize(
    "asked",
    [
        ["loss.web=1"],
        ["loss.cross.weight=1"],
        ["loss.web=1", "loss.adversary=1", "data.target.cross=true"],
    ],
)
def test_pairs_of_videos_pickle(asked: list[str], videos: Path, collection: Path, tmp_path: Path) -> None:
    sources = [f"data.videos={videos}", f"data.collection={collection}"]
    assert_pickles(PairBatches(config(tmp_path, *sources, *asked), 64))


def test_a_worker_makes_labelled_and_web_pairs(collection: Path, tmp_path: Path) -> None:
    """The same as the training process does."""
    asked = ["loss.warps=0", "loss.keypoints=1", "loss.web=1", f"data.labelled={spair(tmp_path / 'set')}"]
    asked += [f"data.collection={collection}", "data.web=2", "data.keypoints=2", "calibration.pairs=0"]
    losses = []
    for workers in (0, 1):
        folder = tmp_path / str(workers)
        train_matching(config(folder, *QUICK, *asked, f"data.workers={workers}"))
        lines = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
        losses.append([line["loss"] for line in lines if "loss" in line])
    assert len(losses[0]) == 2
    assert losses[0] == pytest.approx(losses[1])
