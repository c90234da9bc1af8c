"""Weights between those of two models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from samepoint.cli.main import main
from samepoint.errors import InputError
from samepoint.models.mixture import mix
from samepoint.models.network import NetworkConfig, PointNetwork
from samepoint.models.weights import load_model, read_metadata, save_weights
from tests.models.test_network import TINY


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    paths = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        metadata = {"training": {"seed": seed}, "data": f"clips {seed}", "licence": "MIT", "precision": "float32"}
        paths.append(save_weights(PointNetwork(TINY), tmp_path / f"{seed}.safetensors", metadata))
    return paths[0], paths[1]


def test_each_part_lies_where_it_is_said(pair: tuple[Path, Path], tmp_path: Path) -> None:
    command = ["weights", "mix", *map(str, pair), "-o", str(tmp_path / "out.safetensors"), "--share", "1"]
    assert main([*command, "--part", "encoder=0.25"]) == 0
    first, second, mixed = (load_model(path).state_dict() for path in (*pair, tmp_path / "out.safetensors"))
    for key, value in mixed.items():
        if value.is_floating_point():
            share = 0.25 if key.startswith("encoder.") else 1.0
            expected = (1 - share) * first[key] + share * second[key]
            torch.testing.assert_close(value, expected, atol=2e-3, rtol=2e-3)  # matrices are kept as float16
    told = read_metadata(tmp_path / "out.safetensors")
    assert [each["training"] for each in told["training"]["mixed"]] == [{"seed": 0}, {"seed": 1}]
    assert told["training"]["parts"] == {"encoder": 0.25}
    assert (told["data"], told["licence"]) == ("clips 0; clips 1", "MIT")


def test_what_has_no_mean_is_refused(pair: tuple[Path, Path], tmp_path: Path, capsys) -> None:
    out = tmp_path / "out.safetensors"
    with pytest.raises(InputError, match=r"share: expected a share from 0 to 1, got 1.5"):
        mix(*pair, out, 1.5)
    with pytest.raises(InputError, match=r"no part 'decoder'; expected some of encoder, hindsight, refiner"):
        mix(*pair, out, parts={"decoder": 0.5})
    wider = NetworkConfig(**{**TINY.model_dump(), "hidden": TINY.hidden + 8})
    other = save_weights(PointNetwork(wider), tmp_path / "wide.safetensors", {})
    with pytest.raises(InputError, match="of different architectures"):
        mix(pair[0], other, out)
    with pytest.raises(InputError, match=r"out\.pt: expected a name that ends in \.safetensors"):
        mix(*pair, out.with_suffix(".pt"))
    assert main(["weights", "mix", *map(str, pair), "-o", str(out), "--part", "encoder"]) == 2
    assert "expected NAME=SHARE" in capsys.readouterr().err
    assert not out.exists()
