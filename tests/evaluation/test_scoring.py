"""``samepoint evaluate --predictions``: what others predicted, scored without a model."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from samepoint.cli.main import main
from samepoint.datasets import badja, davis, tapvid
from samepoint.evaluation.benchmarks.base import rescaled
from samepoint.evaluation.metrics.davis import sequence_scores
from samepoint.evaluation.metrics.pck import badja_counts
from samepoint.evaluation.metrics.tapvid import sample_queries_strided, tapvid_metrics
from samepoint.evaluation.names import NAMES
from tests.evaluation import benchmark_trees as trees
from tests.evaluation.commands import refused, run


@pytest.mark.parametrize("name", NAMES)
def test_ground_truth_fed_back_is_perfect(name, tmp_path) -> None:
    root = trees.make(tmp_path / "data", name)
    given = trees.save(tmp_path / "mine", trees.truth(root, name))
    result = run(name, root, tmp_path / "r.json", "--predictions", str(given))
    scored = [result, *result["other_protocols"].values()]
    for one in scored:
        for metrics in (one["metrics"], *one["per_item"].values()):
            expected = {key: 0.0 if key in ("MTE", "J_decay", "F_decay") else 100.0 for key in metrics}
            known = {key: value for key, value in metrics.items() if value is not None}
            assert known
            assert known == pytest.approx({key: expected[key] for key in known}, abs=1e-3)
    assert (result["model"], result["seconds"], result["peak_memory"]) == (
        {"name": "not stated", "sha256": None},
        0.0,
        None,
    )
    assert result["predictions"] == "mine"


def test_strided_truth_is_perfect_too(tmp_path) -> None:
    root = trees.make(tmp_path / "data", "tapvid-davis")
    given = trees.save(tmp_path / "mine", trees.truth(root, "tapvid-davis", "strided"))
    result = run("tapvid-davis", root, tmp_path / "r.json", "--predictions", str(given), "--query-mode", "strided")
    assert (result["metrics"]["AJ"], result["protocol"]["query_mode"]) == (100, "strided")


def shifted(predictions: trees.Truth, spread: float) -> trees.Truth:
    """Points moved by random pixels of the frames."""
    random = np.random.default_rng(0)
    for items in predictions.values():
        for arrays in items.values():
            arrays["xy"] = np.asarray(arrays["xy"]) + random.normal(0, spread, np.shape(arrays["xy"]))
    return predictions


def test_metrics_of_points_are_those_of_the_official_function(tmp_path) -> None:
    root = trees.make(tmp_path / "data", "tapvid-davis")
    truth = shifted(trees.truth(root, "tapvid-davis", "strided"), 1.5)
    given = trees.save(tmp_path / "mine", truth)
    arguments = ("--predictions", str(given), "--query-mode", "strided", "--protocol", "tapvid-track")
    result = run("tapvid-davis", root, tmp_path / "r.json", *arguments)
    assert result["protocol"]["name"] == "tapvid-track"
    for video in tapvid.sequences(root, "tapvid-davis"):
        arrays = truth["points"][video.name]
        queries = sample_queries_strided(video.scaled_xy(), video.occluded)
        xy = arrays["xy"] * np.array([256 / 48, 256 / 32])
        for variant in ("tapvid", "tapvid-pooled"):
            expected = tapvid_metrics(
                queries.frame,
                video.scaled_xy()[queries.track],
                video.occluded[queries.track],
                xy,
                arrays["confidence"] < 0.5,
                "strided",
                variant,
            )
            found = result["other_protocols"][variant]["per_item"][video.name]
            assert found == pytest.approx({key: 100 * value for key, value in expected.items()}, abs=1e-4)
    means = [items["AJ"] for items in result["other_protocols"]["tapvid"]["per_item"].values()]
    assert result["other_protocols"]["tapvid"]["metrics"]["AJ"] == pytest.approx(np.mean(means))


def test_metrics_of_joints_are_those_of_the_function(tmp_path) -> None:
    root = trees.make(tmp_path / "data", "badja")
    truth = shifted(trees.truth(root, "badja"), 0.2)
    given = trees.save(tmp_path / "mine", truth)
    result = run("badja", root, tmp_path / "r.json", "--predictions", str(given), "--protocol", "badja-3px")
    for animal in badja.sequences(root):
        guess = rescaled(truth["joints"][animal.name]["xy"], animal.size, badja.SCORED_SIZE)[:, animal.annotated]
        areas = animal.masks(badja.SCORED_SIZE).sum(axis=(1, 2))
        counts = badja_counts(guess, animal.protocol_xy(), animal.visible, areas, "badja-3px")
        assert result["per_item"][animal.name] == {"delta_3px": 100 * counts.fractions()[3]}
    assert 0 < result["metrics"]["delta_3px"] < 100


def test_metrics_of_masks_are_those_of_the_function(tmp_path) -> None:
    root = trees.make(tmp_path / "data", "davis-2017")
    truth = trees.truth(root, "davis-2017")
    for arrays in truth["masks"].values():
        arrays["labels"] = np.roll(arrays["labels"], 3, axis=2)
    given = trees.save(tmp_path / "mine", truth)
    result = run("davis-2017", root, tmp_path / "r.json", "--predictions", str(given))
    for sequence in davis.sequences(root, "davis-2017"):
        expected = sequence_scores(truth["masks"][sequence.name]["labels"], sequence.masks(), "davis2017").metrics()
        found = result["per_item"][sequence.name]
        assert found == pytest.approx({key: 100 * value for key, value in expected.items()})
        assert 0 < found["J_mean"] < 100


def test_jhmdb_has_joints_and_masks_in_one_result(tmp_path) -> None:
    root = trees.make(tmp_path / "data", "jhmdb")
    given = trees.save(tmp_path / "mine", trees.truth(root, "jhmdb"))
    result = run("jhmdb", root, tmp_path / "r.json", "--predictions", str(given), "--protocol", "jhmdb-vfs")
    assert {"PCK@0.1", "J_mean", "F_mean", "J&F"} <= set(result["metrics"])
    assert {"PCK@0.1", "J_mean"} <= set(result["per_item"]["walk/a"])
    assert "J_mean" not in result["per_item"]["run/b"]
    assert result["tasks"] == {"joints": 2, "masks": 1}
    assert (result["found"], result["protocol"]["name"], result["protocol"]["frame_0"]) == (2, "jhmdb-vfs", True)
    assert (result["protocol"]["masks"]["name"], result["protocol"]["masks"]["frame_0"]) == ("masks", False)
    alone = run("jhmdb", root, tmp_path / "m.json", "--predictions", str(given), "--task", "masks")
    assert (alone["found"], alone["protocol"]["name"], set(alone["per_item"])) == (1, "masks", {"walk/a"})


def test_scoring_alone_imports_no_network(tmp_path) -> None:
    code = "import json, sys; from samepoint.cli.main import main; print([main(a) for a in json.loads(sys.argv[1])])"
    calls = []
    for name in ("jhmdb", "davis-2016", "pf-willow", "tapvid-davis"):
        root = trees.make(tmp_path / name, name)
        given = trees.save(tmp_path / f"{name}-mine", trees.truth(root, name))
        call = ["evaluate", name, "--root", root, "--output", tmp_path / "r.json", "--predictions", given]
        calls.append(list(map(str, call)))
    arguments = [sys.executable, "-c", f"{code}; sys.exit('torch' in sys.modules)", json.dumps(calls)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, done.stdout.splitlines()[-1]) == (0, "", "[0, 0, 0, 0]")


def damaged(path: Path, **changes: np.ndarray | None) -> None:
    with np.load(path) as archive:
        arrays = {**archive, **changes}
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})


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
