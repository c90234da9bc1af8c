"""``samepoint train features``: what it hands to the training and how it ends."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from samepoint.cli.main import main
from samepoint.errors import InputError


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module = types.ModuleType("samepoint.training.features")
    monkeypatch.setitem(sys.modules, "samepoint.training.features", module)
    return module


def test_hands_over_configuration_changes_and_resume(training, capsys) -> None:
    calls = []

    def train(config, overrides, resume, progress, reading) -> Path:
        calls.append((config, overrides, resume))
        reading(1, 2)
        progress({"step": 1, "steps": 2, "loss": 0.5})
        return Path("run/model.safetensors")

    training.train = train
    assert main(["train", "features", "a.yaml", "--set", "steps=2", "--set", "data.size=[64, 64]", "--resume"]) == 0
    assert main(["train", "features", "a.yaml"]) == 0
    assert calls == [(Path("a.yaml"), ["steps=2", "data.size=[64, 64]"], True), (Path("a.yaml"), [], False)]
    assert capsys.readouterr().out == "wrote run/model.safetensors\n" * 2


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (InputError("a.yaml: unknown key"), 2),
        (KeyboardInterrupt(), 130),
        (OSError(28, "full"), 1),
        (FloatingPointError("loss"), 1),
    ],
)
def test_ends_as_every_command(training, capsys, failure, status: int) -> None:
    def train(*arguments: object) -> None:
        raise failure

    training.train = train
    assert main(["train", "features", "a.yaml"]) == status
    assert capsys.readouterr().err.count("\n") == 1


def test_of_several_processes_one_speaks(training, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    training.train = lambda *_: Path("run/model.safetensors")
    monkeypatch.setenv("RANK", "1")
    assert main(["train", "features", "a.yaml"]) == 0
    assert capsys.readouterr().out == ""


def test_somebody_who_watches_sees_how_it_goes(training, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(config, overrides, resume, progress, reading) -> Path:
        for done in (200, 500):
            reading(done, 500)
        for step in (1, 2):
            progress({"step": step, "steps": 2, "loss": 0.5, "match_1": 0.25, "images_per_second": 31.4, "left": 61.0})
        return Path("run/model.safetensors")

    training.train = train
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["train", "features", "a.yaml"]) == 0
    said = capsys.readouterr().err
    assert "reading videos" in said
    assert "200/500" in said
    assert "loss 0.5, 25 % within 1 cells, 31.4 images/s, 0:01:01 left" in said[said.index("200/500") :]
