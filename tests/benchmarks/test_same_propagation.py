"""The benchmark of features under one propagation, at a tiny size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import same_propagation
from samepoint.models.network import PointNetwork
from samepoint.models.weights import save_weights
from tests.evaluation import benchmark_trees as trees
from tests.models.test_network import TINY


def test_cells_divide_the_working_size_and_reach_alike() -> None:
    for stride, size in ((14, 476), (16, 480)):
        settings = same_propagation.settings_for(stride)
        assert settings.size == size
        assert settings.window.size * stride == pytest.approx(64)


def test_networks_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(same_propagation, "SHORT_SIDE", 64)
    torch.manual_seed(0)
    models = [str(save_weights(PointNetwork(TINY), tmp_path / f"{name}.safetensors", {})) for name in "ab"]
    root = trees.make(tmp_path / "davis", "davis-2016")
    assert same_propagation.main([*models, "--data", str(root), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    for each in found.values():
        assert each["stride"] == 16
        assert 0 <= each["J&F"] <= 100
        assert each["J&F"] == pytest.approx(sum(each["sequences"].values()) / len(each["sequences"]))
    assert same_propagation.main([models[0], "--data", str(root), "--limit", "1"]) == 0
    assert "| J&F |" in capsys.readouterr().out
    finer = ["--limit", "1", "--stride", "5", "--appearance", "1", "--json"]
    assert same_propagation.main([models[0], "--data", str(root), *finer]) == 0
    assert json.loads(capsys.readouterr().out)[models[0]]["stride"] == 4
    people = trees.make(tmp_path / "jhmdb", "jhmdb")
    asked = [models[0], "--data", str(people), "--set", "jhmdb", "--json"]
    assert same_propagation.main(asked) == 0
    clips = json.loads(capsys.readouterr().out)[models[0]]
    assert clips["sequences"]
    assert clips["J_mean"] == pytest.approx(sum(clips["sequences"].values()) / len(clips["sequences"]))
    assert same_propagation.main([*asked, "--every", "2"]) == 0
    fewer = json.loads(capsys.readouterr().out)[models[0]]["sequences"]
    assert list(fewer) == list(clips["sequences"])[::2]
    assert same_propagation.main([*asked, "--every", "0"]) == 2
    assert "--every 0" in capsys.readouterr().err
    assert same_propagation.main([models[0], "--data", str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err
