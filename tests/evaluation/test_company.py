"""Several processes share the items of one evaluation."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from samepoint.evaluation.company import Company, by_environment
from tests.evaluation import benchmark_trees as trees

ROOT = Path(__file__).resolve().parents[2]


def together(folder: Path, code: str, *arguments: object, count: int = 2) -> list[tuple[int, str, str]]:
    """Exit status, output and errors of processes started as a launcher starts them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {**os.environ, "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=folder,
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    answers = []
    for process in processes:
        out, err = process.communicate(timeout=300)
        answers.append((process.returncode, out, err))
    return answers


# BADJA without a network; cow, which falls to the second process, can be made to fail.
CODE = """
import os, sys
import numpy as np
from samepoint.cli.main import main
from samepoint.errors import InputError
from samepoint.evaluation.benchmarks.base import Model
from samepoint.evaluation.benchmarks.joints import BadjaBenchmark
def predict(self, item):
    with open("asked", "a") as file:
        file.write(os.environ.get("RANK", "-") + item.name + " ")
    if item.name == {fail!r}:
        raise InputError("cow: broken")
    xy = np.full((20, len(item.frame_paths), 2), float(len(item.name)), np.float32)
    return dict(xy=xy, confidence=xy[..., 0], size=np.array(item.size))
BadjaBenchmark.predict, BadjaBenchmark.ready, Model.network = predict, lambda self: None, None
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def arguments(tmp_path, weights) -> list[object]:
    root = trees.make(tmp_path / "data", "badja")
    return ["evaluate", "badja", "--root", root, "--model", weights, "--output"]


def test_two_processes_give_the_result_of_one(tmp_path, arguments) -> None:
    code = CODE.format(fail=None)
    first, second = together(tmp_path, code, *arguments, "two.json")
    assert (first[0], first[2], second) == (0, "", (0, "", ""))
    assert first[1].startswith("badja: 2 items")
    assert sorted((tmp_path / "asked").read_text().split()) == ["0ant", "1cow"]
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments), "one.json"], cwd=tmp_path, check=False)
    assert done.returncode == 0
    one, two = (json.loads((tmp_path / name).read_text()) for name in ("one.json", "two.json"))
    for result in (one, two):
        for key in ("seconds", "peak_memory", "predictions"):
            del result[key]
    assert one == two


def test_the_first_says_what_is_wrong_and_nobody_hangs(tmp_path, arguments) -> None:
    first, second = together(tmp_path, CODE.format(fail=None), *arguments, "r.json", "--device", "foo")
    assert first[2].startswith("samepoint: error: --device foo: cannot be used here (")
    assert (first[2].count("\n"), second) == (1, (2, "", ""))
    assert not (tmp_path / "r.predictions").exists()
    first, second = together(tmp_path, CODE.format(fail=None), *arguments, "r.json", "--limit", "0")
    assert first == (2, "", "samepoint: error: --limit 0: expected at least 1 item\n")
    assert second == (2, "", "")
    first, second = together(tmp_path, CODE.format(fail="cow"), *arguments, "r.json")
    assert second == (2, "", "samepoint: error: cow: broken\n")
    assert first == (1, "", "samepoint: error: lost another process; what it says itself tells why\n")
    assert not (tmp_path / "r.json").exists()
    assert (tmp_path / "r.predictions/joints/ant.npz").is_file()  # a run after this one goes on from here


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Company()),
        ({"WORLD_SIZE": "1", "RANK": "0"}, Company()),
        ({"WORLD_SIZE": "4"}, Company()),
        ({"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1"}, Company(3, 4, 1)),
        ({"WORLD_SIZE": "many", "RANK": "0"}, Company()),
        (
            {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_LOCAL_RANK": "1"},
            Company(1, 2, 1),
        ),
    ],
)
def test_who_we_are(environment, expected, monkeypatch) -> None:
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", *(key for key in os.environ if "PMI" in key)):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert by_environment() == expected
