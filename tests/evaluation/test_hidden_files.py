"""Files that macOS leaves on disks, ``.DS_Store`` and a ``._name`` beside each file, are no part of a data set."""

from __future__ import annotations

from pathlib import Path

import pytest

from samepoint.datasets.check import check
from samepoint.evaluation.benchmarks import Asked, Model, make
from samepoint.evaluation.names import NAMES
from tests.datasets.test_jhmdb import write_clip as write_plain
from tests.datasets.test_tapvid_csv import row, write_clip
from tests.evaluation import benchmark_trees as trees


def shadow(root: Path) -> None:
    for path in [path for path in root.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"\x00\x05\x16\x07")
    (root / ".DS_Store").write_bytes(b"Bud1")


def plain_jhmdb(root: Path) -> Path:
    write_plain(root / "run", "a", 2, 2)
    return root


def kinetics_clips(root: Path) -> Path:
    write_clip(root / "a_000001_000011.mp4", 6, 25)
    (root / "labels.csv").write_text(row("a,1,11", 250))
    return root


@pytest.mark.parametrize(
    ("name", "tree"),
    [*((name, trees.make) for name in NAMES), ("jhmdb", plain_jhmdb), ("tapvid-kinetics", kinetics_clips)],
)
def test_hidden_files_change_nothing(name, tree, tmp_path) -> None:
    root = tree(tmp_path, name) if tree is trees.make else tree(tmp_path)
    asked = Asked(root, Model("none"))
    before = check(name, root), {task: one.names() for task, one in make(name, asked).items()}
    shadow(root)
    assert (check(name, root), {task: one.names() for task, one in make(name, asked).items()}) == before
