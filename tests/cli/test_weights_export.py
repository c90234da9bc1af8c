"""``samepoint weights export``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from samepoint.cli.main import main
from samepoint.models.network import NetworkConfig, PointNetwork
from samepoint.models.weights import save_weights


@pytest.fixture
def model(tmp_path: Path) -> str:
    torch.manual_seed(0)
    config = NetworkConfig(stem=8, widths=(8, 8, 8), blocks=1, pyramid=8, descriptors=(8, 8, 8, 8), hidden=8, state=4)
    (tmp_path / "in").mkdir()
    return str(save_weights(PointNetwork(config).eval(), tmp_path / "in" / "tiny.safetensors", {}))


def test_it_writes_checks_and_tells(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "encoder.pt2"
    assert main(["weights", "export", model, "-o", str(output), "--size", "64,96"]) == 0
    captured = capsys.readouterr()
    assert f"wrote {output}: encoder, float32" in captured.out
    assert "against PyTorch at 64x96" in captured.out
    assert "times as fast" in captured.out
    assert captured.err == ""
    torch.export.load(output)  # the format that the name tells


def test_a_step_of_propagation_to_onnx(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    output = tmp_path / "step.onnx"
    words = ["weights", "export", model, "-o", str(output), "--part", "propagation"]
    assert main([*words, "--size", "72,96", "--level", "1", "--window", "3", "--context", "1", "--json"]) == 0
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert (told["part"], told["path"], told["sizes"]) == ("propagation", str(output), [[72, 96]])
    assert told["bytes"] == output.stat().st_size
    assert told["difference"] < 1e-3
    assert captured.err == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--size", "64"], "--size 64: expected H,W in pixels"),
        (["--part", "propagation", "--level", "9"], "level: 9 given, but the model has 4 maps"),
        (["--dtype", "double"], "dtype 'double'"),
        (["--window", "9"], "level, window and context are for the part propagation, got the part encoder"),
    ],
)
def test_mistakes_are_one_line(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    output = tmp_path / "part.pt2"
    assert main(["weights", "export", model, "-o", str(output), "--format", "exported-program", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not output.exists()


def test_no_folder_to_write_to(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "nowhere" / "part.pt2"
    assert main(["weights", "export", model, "-o", str(output), "--format", "exported-program"]) == 2
    assert "there is no folder" in capsys.readouterr().err
