"""``samepoint web``: what it hands to the pipeline, what it prints and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samepoint.cli.main import main
from samepoint.viz.writer import VideoWriter
from samepoint.webvideo.pipeline import Summary


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, tuple[str, ...], bool]]:
    """What the pipeline was asked for; it does nothing."""
    calls: list[tuple[Any, tuple[str, ...], bool]] = []

    def run(config: Any, stages: Any, *, retry_failed: bool, progress: Any) -> list[Summary]:
        calls.append((config, tuple(stages), retry_failed))
        for stage in stages:
            progress(stage, 1, 2)
        return [Summary(stage, 2, 1, 0.5) for stage in stages]

    monkeypatch.setattr("samepoint.webvideo.pipeline.run", run)
    return calls


@pytest.fixture
def config(folder: Path) -> str:
    (folder / "web.yaml").write_text("output: out\nsearch: {classes: [cat]}\n")
    return "web.yaml"


@pytest.mark.parametrize("stage", ["search", "download", "shots", "label"])
def test_each_stage_alone(stage: str, config: str, asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["web", stage, config, "--set", "shots.threshold=20", "--workers", "3", "--retry-failed"]) == 0
    ((settings, stages, retry),) = asked
    assert (stages, retry) == ((stage,), True)
    assert (settings.shots.threshold, settings.engine.workers, settings.engine.kind) == (20, 3, "local")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{stage}: 2 rows, 1 failed (0.5 s)"
    assert lines[-1].startswith("wrote out/catalogue/")


def test_run_of_a_folder(folder: Path, asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "source").mkdir()
    assert main(["web", "run", "--source", "source", "--output", "out", "--engine", "ray", "--json"]) == 0
    ((settings, stages, _),) = asked
    assert stages == ("search", "download", "shots", "label")
    assert settings.search.folders == (Path("source"),)
    assert (settings.engine.kind, settings.engine.address) == ("ray", None)
    answer = json.loads(capsys.readouterr().out)
    assert answer["output"] == "out"
    assert answer["stages"][0] == {"stage": "search", "rows": 2, "failed": 1, "seconds": 0.5}
    assert answer["catalogue"] == {"videos": {}, "shots": {}, "labels": {}}
    assert answer["report"] == str(Path("out/report/report.md"))


def test_an_address_implies_ray(config: str, asked: list[Any]) -> None:
    assert main(["web", "run", config, "--address", "ray://head:10001", "-o", "elsewhere"]) == 0
    settings = asked[0][0]
    assert (settings.engine.kind, settings.engine.address) == ("ray", "ray://head:10001")
    assert settings.output == Path("elsewhere")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "expected CONFIG.yaml, or --source with --output"),
        (["run", "--source", "."], "expected CONFIG.yaml, or --source with --output"),
        (["run", "web.yaml", "--source", "."], "got both"),
        (["run", "--source", "none", "-o", "out"], "expected a folder of videos or a list"),
        (["shots", "none.yaml"], "none.yaml: cannot read the configuration"),
        (["shots", "web.yaml", "--set", "shots.treshold=2"], "did you mean shots.threshold?"),
        (["shots", "web.yaml", "--engine", "spark"], "engine.kind: Input should be 'local' or 'ray'"),
        (["shots", "web.yaml", "--engine", "local", "--address", "auto"], "address is for kind: ray"),
        (["run", "web.yaml", "--set", "labels.foreground=masks"], "labels: foreground: masks needs masks"),
        (["run", "web.yaml", "--set", "labels={foreground: masks, masks: none}"], "labels.masks: 'none' is no folder"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], message: str, config: str, asked: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["web", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert asked == []


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(number: signal.Signals, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (10, 64, 64, 3), dtype=np.uint8)
    for name in ("a", "b", "c", "d"):
        with VideoWriter(source / f"{name}.mp4", 25.0) as writer:
            for frame in np.roll(noise, ord(name), axis=1):
                writer.write(frame)
    command = [sys.executable, "-m", "samepoint.cli.main", "web", "run", "--source", source, "-o", tmp_path / "out"]
    process = subprocess.Popen(
        [*map(str, command), "--workers", "1", "--set", "search.duplicates.perceptual=false"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a group of its own, to which Ctrl-C goes as a terminal sends it
    )
    try:
        end = time.monotonic() + 120
        while not (tmp_path / "out" / "catalogue" / "journal" / "download.jsonl").exists():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.005)
        os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
        out, err = process.communicate(timeout=120)  # returns once nobody holds the pipes: workers have ended too
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert (process.returncode, out, err) == (130, "", "samepoint: interrupted\n")


def test_the_guide_names_every_option() -> None:
    import re

    import typer

    from samepoint.cli.main import app

    guide = (Path(__file__).resolve().parents[2] / "docs" / "web.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"--[a-z-]+|(?<=`)-[a-z]\b", "".join(re.findall(r"^\| `-.*? \|", guide, re.MULTILINE))))
    group: Any = typer.main.get_command(app)
    commands = group.commands["web"].commands
    assert list(commands) == ["run", "search", "download", "shots", "label"]
    for name, command in commands.items():
        known = {word for option in command.params for word in option.opts if word.startswith("-")} | {"-h", "--help"}
        assert listed >= known if name != "run" else listed == known
