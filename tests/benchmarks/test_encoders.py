"""The benchmark of encoders at a tiny size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import encoders
from samepoint.models.network import PointNetwork
from samepoint.models.weights import save_weights
from tests.models.test_network import TINY


def test_ratios_are_to_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = [str(save_weights(PointNetwork(TINY), tmp_path / f"{name}.safetensors", {})) for name in "ab"]
    assert encoders.main([*models, "--size", "32", "48", "--repeats", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found[models[0]]["ratio"] == 1
    assert found[models[1]]["ratio"] == pytest.approx(found[models[1]]["ms"] / found[models[0]]["ms"])
    assert encoders.main([models[0], "--size", "32", "48", "--repeats", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"| {models[0]} |")


def test_what_has_no_maps_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert encoders.main(["nothing.safetensors"]) == 2
    assert "nothing.safetensors" in capsys.readouterr().err
