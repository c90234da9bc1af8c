"""``samepoint evaluate --predictions``: predictions that cannot be scored are refused in one line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from samepoint.cli.main import main
from tests.evaluation import benchmark_trees as trees
from tests.evaluation.commands import refused


def damaged(path: Path, **changes: np.ndarray | None) -> None:
    with np.load(path) as archive:
        arrays = {**archive, **changes}
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})


@pytest.mark.parametrize("value", [[1.0, 2.0], float("nan"), float("inf"), -1.0, "x"])
@pytest.mark.parametrize("name", ["seconds", "peak_memory"])
def test_costs_that_cannot_be_added_up_are_named(name, value, tmp_path, capsys) -> None:
    root = trees.make(tmp_path / "data", "badja")
    given = trees.save(tmp_path / "mine", trees.truth(root, "badja"))
    damaged(given / "joints/cow.npz", **{name: np.array(value)})
    said = refused(capsys, "badja", "--root", root, "--output", tmp_path / "r.json", "--predictions", given)
    assert f"cow.npz: {name} is " in said
    assert "expected one finite number, 0 or more" in said


@pytest.mark.parametrize(
    ("name", "task", "stored", "more", "message"),
    [
        ("spair-71k", "pairs", {"direction": "t2s"}, (), 'direction: "t2s", now "s2t"'),
        ("spair-71k", "pairs", {"whole_queries": True}, (), "whole_queries: true, now false"),
        ("spair-71k", "pairs", {"direction": "s2t"}, ("--protocol", "cats-spair"), 'direction: "s2t", now "t2s"'),
        ("tapvid-davis", "points", {"query_mode": "strided"}, (), 'query_mode: "strided", now "first"'),
        ("davis-2016", "masks", {"resolution": "full"}, (), 'resolution: "full", now "480p"'),
    ],
)
def test_predictions_that_answer_other_questions_are_refused(name, task, stored, more, message, tmp_path, capsys):
    root = trees.make(tmp_path / "data", name)
    given = trees.save(tmp_path / "mine", trees.truth(root, name))
    settings = given / task / "settings.json"
    settings.write_text(json.dumps({"settings": stored}))
    asked = (name, "--root", root, "--output", tmp_path / "r.json", "--predictions", given)
    assert f"{task}: holds predictions that were asked for otherwise ({message})" in refused(capsys, *asked, *more)
    settings.write_text(json.dumps({"settings": {"name": "mine"}}))  # says nothing of it
    if not more:
        assert main(["evaluate", *map(str, asked)]) == 0


@pytest.mark.parametrize(
    ("name", "task", "item", "changes", "message"),
    [
        ("badja", "joints", "cow", {"xy": np.zeros((20, 2, 2))}, r"xy is float64 of shape \(20, 2, 2\), expected"),
        ("badja", "joints", "cow", {"xy": None}, "no array 'xy'; it has size"),
        ("badja", "joints", "cow", {"size": np.array([480, 854])}, r"size is \[480, 854\], the item is \[32, 48\]"),
        ("badja", "joints", "cow", {"xy": np.full((20, 3, 2), "a")}, "expected numbers of"),
        ("tapvid-davis", "points", "goat", {"query_frame": np.array([0, 0, 0])}, "the queries are in"),
        ("tapvid-davis", "points", "goat", {"track": np.array([0, 2, 1])}, "the queries are of the tracks"),
        ("tapvid-davis", "points", "goat", {"confidence": np.zeros(3)}, "confidence is float64"),
        ("davis-2017", "masks", "goat", {"labels": np.full((4, 24, 36), 3)}, "frame 0 of the prediction holds label 3"),
        ("davis-2017", "masks", "goat", {"labels": np.zeros((4, 24, 36))}, "expected whole numbers of"),
        ("jhmdb", "masks", "walk/a", {"labels": np.zeros((3, 48, 68), int)}, r"labels is int64 of shape \(3, 48, 68\)"),
        ("jhmdb", "joints", "walk/a", {"xy": np.zeros((15, 3, 2))}, r"expected numbers of \(15, 4, 2\)"),
        ("pf-willow", "pairs", "duck(S)/x_000-x_001", {"xy": np.zeros((9, 2))}, r"expected numbers of \(10, 2\)"),
    ],
)
def test_predictions_that_do_not_fit_are_named(name, task, item, changes, message, tmp_path, capsys) -> None:
    root = trees.make(tmp_path / "data", name)
    given = trees.save(tmp_path / "mine", trees.truth(root, name))
    path = given / task / f"{item}.npz"
    damaged(path, **changes)
    said = refused(capsys, name, "--root", root, "--output", tmp_path / "r.json", "--predictions", given)
    assert f"{path}: " in said
    assert re.search(message, said), said
    assert not (tmp_path / "r.json").exists()


def test_a_prediction_that_lacks_or_is_damaged(tmp_path, capsys) -> None:
    root = trees.make(tmp_path / "data", "badja")
    given = trees.save(tmp_path / "mine", trees.truth(root, "badja"))
    asked = ("badja", "--root", root, "--output", tmp_path / "r.json", "--predictions")
    cow = given / "joints/cow.npz"
    content = cow.read_bytes()
    for piece in (b"", content[: len(content) // 2], b"PK\3\4", content.replace(b"NUMPY", b"NUMPI")):
        cow.write_bytes(piece)
        assert "cow.npz: not a readable prediction" in refused(capsys, *asked, given)
    cow.unlink()
    assert "cow.npz: missing" in refused(capsys, *asked, given)
    assert main(["evaluate", *map(str, asked), str(given), "--limit", "1"]) == 0  # the first is ant
    assert "joints: no such folder" in refused(capsys, *asked, root)
    made_for = {"benchmark": "jhmdb", "model": {}, "settings": {}}
    (given / "joints/settings.json").write_text(json.dumps(made_for))
    assert "holds predictions of jhmdb, not of badja" in refused(capsys, *asked, given)
