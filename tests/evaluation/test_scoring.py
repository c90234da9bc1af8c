"""``samepoint evaluate --predictions``: what others predicted, scored without a model."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samepoint.cli.main import main
from samepoint.datasets import badja, davis, spair, tapvid
from samepoint.evaluation.benchmarks import Asked, Model, make
from samepoint.evaluation.benchmarks.base import rescaled
from samepoint.evaluation.metrics.davis import sequence_scores
from samepoint.evaluation.metrics.pck import badja_counts
from samepoint.evaluation.metrics.tapvid import sample_queries_strided, tapvid_metrics
from samepoint.evaluation.names import NAMES
from samepoint.evaluation.result_file import read_result
from tests.datasets.test_davis import write_sequence
from tests.datasets.test_tapvid import sample, write
from tests.datasets.test_tapvid_csv import row, write_clip
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


def test_what_the_scores_leave_out_is_counted(tmp_path, capsys) -> None:
    """A frame with an empty mask has no length to compare errors with."""
    root = trees.make(tmp_path / "data", "badja")
    given = trees.save(tmp_path / "mine", trees.truth(root, "badja"))
    whole = run("badja", root, tmp_path / "w.json", "--predictions", str(given))
    points = "points in frames without a length to compare with"
    assert whole["excluded"] == {"videos without a scored point": 0, points: 0}
    assert "left out" not in capsys.readouterr().out
    empty = Image.new("P", (48, 32))
    empty.putpalette([0, 0, 0, 128, 0, 0])
    empty.save(root / "Annotations/480p/cow/00003.png")  # the only frame of the cow that is scored
    result = run("badja", root, tmp_path / "r.json", "--predictions", str(given))
    assert result["excluded"] == {"videos without a scored point": 1, points: 1}
    others = {name: one["excluded"] for name, one in result["other_protocols"].items()}
    assert others["badja-3px"] == {"videos without a scored point": 0, points: 0}
    assert others["badja-fgvc"] == {points: 1}
    out = capsys.readouterr().out
    assert f"\nleft out: videos without a scored point (1), {points} (1)\n" in out
    assert f"\nleft out by badja-fgvc: {points} (1)\n" in out
    assert main(["report", str(tmp_path / "r.json"), str(tmp_path / "w.json")]) == 0
    told = (
        f"Left out of the scores of not stated ({tmp_path / 'r.json'}), not stated: videos without a scored point (1)"
    )
    assert told in capsys.readouterr().out


def test_videos_and_tracks_without_a_score_are_counted(tmp_path) -> None:
    gone = sample(7, (32, 48), tracks=3)
    gone["points"] = np.full((3, 7, 2), 0.5, np.float32)
    gone["occluded"] = np.ones((3, 7), bool)
    gone["occluded"][0, 6] = False  # seen in the last frame alone, which gives its query
    seen = sample(7, (32, 48), tracks=3, seed=1) | {"occluded": np.zeros((3, 7), bool)}
    write(tmp_path / "tapvid_davis.pkl", {"goat": gone, "bike": seen})
    given = trees.save(tmp_path / "mine", trees.truth(tmp_path, "tapvid-davis"))
    result = run("tapvid-davis", tmp_path, tmp_path / "r.json", "--predictions", str(given))
    without = {f"videos without {name}": 1 for name in ("AJ", "delta_avg", "OA")}
    assert result["excluded"] == {
        "tracks never visible where queries are taken": 2,
        **without,
        **{f"videos without {name}": 1 for name in ("survival", "MTE")},
        "tracks without MTE, not predicted in most frames": 0,
    }
    assert result["other_protocols"]["tapvid-track"]["excluded"]["videos without OA"] == 0  # frames before count there
    assert result["metrics"]["AJ"] == 100


def test_one_track_that_is_not_predicted_leaves_the_others_their_scores(tmp_path) -> None:
    root = trees.make(tmp_path / "data", "tapvid-davis")
    truth = trees.truth(root, "tapvid-davis")
    truth["points"]["goat"]["xy"] = np.array(truth["points"]["goat"]["xy"])
    truth["points"]["goat"]["xy"][0, 1:] = np.nan
    given = trees.save(tmp_path / "mine", truth)
    result = run("tapvid-davis", root, tmp_path / "r.json", "--predictions", str(given))
    assert result["metrics"]["MTE"] == pytest.approx(0, abs=1e-4)
    assert result["excluded"]["tracks without MTE, not predicted in most frames"] == 1


def test_a_confidence_that_is_no_number_is_not_from_0_5_on(tmp_path) -> None:
    root = trees.make(tmp_path / "data", "tapvid-davis")
    truth = trees.truth(root, "tapvid-davis")
    for arrays in truth["points"].values():
        arrays["confidence"] = np.full_like(arrays["confidence"], np.nan)
    nothing = run("tapvid-davis", root, tmp_path / "n.json", "--predictions", str(trees.save(tmp_path / "n", truth)))
    for arrays in truth["points"].values():
        arrays["confidence"] = np.zeros_like(arrays["confidence"])
    hidden = run("tapvid-davis", root, tmp_path / "h.json", "--predictions", str(trees.save(tmp_path / "h", truth)))
    assert nothing["metrics"] == hidden["metrics"]
    assert nothing["metrics"]["AJ"] == 0


def test_objects_and_pairs_without_a_score_are_counted(tmp_path) -> None:
    root = tmp_path / "davis"
    for name, count in (("goat", 4), ("bike", 2)):  # first and last frame are not scored
        mask = np.zeros((24, 36), np.uint8)
        mask[4:14, 5:18] = 1
        write_sequence(root, name, [mask] * count)
    given = trees.save(tmp_path / "mine", trees.truth(root, "davis-2017"))
    result = run("davis-2017", root, tmp_path / "d.json", "--predictions", str(given))
    assert result["excluded"] == {"objects without a scored frame": 1, "sequences without an object": 0}
    root = trees.make(tmp_path / "spair", "spair-71k")
    path = root / "PairAnnotation/test/000000-a-b:cat.json"
    fields = json.loads(path.read_text())
    path.write_text(json.dumps(fields | {"trg_bndbox": [7, 8, 7, 8]}))  # no length to compare with
    given = trees.save(tmp_path / "pairs", trees.truth(root, "spair-71k"))
    result = run("spair-71k", root, tmp_path / "p.json", "--predictions", str(given))
    points = "points in pairs without a length to compare with"
    assert result["excluded"] == {"pairs without a scored point": 1, points: 2}
    assert result["metrics"]["PCK@0.1 pair"] == 100


def test_where_annotations_are_from_is_told(tmp_path, capsys) -> None:
    """Kinetics' pickles lie half a native pixel beside its CSV."""
    root = trees.make(tmp_path / "pickled", "tapvid-kinetics")
    given = trees.save(tmp_path / "mine", trees.truth(root, "tapvid-kinetics"))
    result = run("tapvid-kinetics", root, tmp_path / "p.json", "--predictions", str(given))
    assert result["protocol"]["annotations"] == "pickle"
    clips = tmp_path / "clips"
    clips.mkdir()
    write_clip(clips / "a_000001_000011.mp4", 6, 25)
    (clips / "labels.csv").write_text(row("a,1,11", 250))
    given = trees.save(tmp_path / "other", trees.truth(clips, "tapvid-kinetics"))
    capsys.readouterr()
    result = run("tapvid-kinetics", clips, tmp_path / "c.json", "--predictions", str(given))
    assert result["protocol"]["annotations"] == "csv"
    assert {one["protocol"]["annotations"] for one in result["other_protocols"].values()} == {"csv"}
    assert "mean over video, annotations csv; settings" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "gone", "left"),
    [
        ("spair-71k", "JPEGImages/cow/c.jpg", 2),
        ("spair-71k", "PairAnnotation/test/000001-b-a:cat.json", 2),
        ("spair-u", "JPEGImages/cow/c.jpg", 2),
        ("pf-pascal", "PF-dataset-PASCAL/JPEGImages/c.jpg", 1),
        ("pf-willow", "duck(S)/x_000.png", 2),
    ],
)
def test_pairs_without_their_files_are_left_out_and_told(name, gone, left, tmp_path, capsys) -> None:
    root = trees.make(tmp_path / "data", name)
    if name == "pf-willow":  # without a list nothing is missed
        ducks, cars = (f"{kind}/x_000.png,{kind}/x_001.png" for kind in ("duck(S)", "car(G)"))
        numbers = "," + ",".join(map(str, range(40))) + "\n"
        head = ",".join(["imageA", "imageB", *(f"{axis}{n}" for axis in ("XA", "YA", "XB", "YB") for n in range(10))])
        (root / "test_pairs.csv").write_text(f"{head}\n{ducks}{numbers}{cars}{numbers}{cars}{numbers}")
    count = run(name, root, tmp_path / "a.json", "--predictions", str(perfect(tmp_path, root, name)))["found"]
    (root / gone).unlink()
    capsys.readouterr()
    given = perfect(tmp_path, root, name)
    result = run(name, root, tmp_path / "r.json", "--predictions", str(given))
    assert (result["found"], len(result["per_item"]), count) == (left, left, left + 1)
    assert result["missing"][0].startswith(f"of the {count} listed pairs 1 missing (")
    assert any(Path(gone).name in line for line in result["missing"][1:]) or name == "pf-willow"
    assert f"missing: {result['missing'][0]}\n" in capsys.readouterr().out
    report = read_result(tmp_path / "r.json")
    assert not report.whole


def perfect(folder: Path, root: Path, name: str) -> Path:
    """Predictions for what is there."""
    asked = Asked(root, Model("none"))
    items = make(name, asked)["pairs"]
    pairs = {item.name: item for item in items.items(items.names())}
    arrays = {name: {"xy": one.target_xy, "size": np.array(one.target_size)} for name, one in pairs.items()}
    return trees.save(folder / "mine", {"pairs": arrays})


def test_nothing_of_the_pairs_is_there(tmp_path, capsys) -> None:
    root = trees.make(tmp_path / "data", "pf-pascal")
    shutil.rmtree(root / "PF-dataset-PASCAL/JPEGImages")
    said = refused(capsys, "pf-pascal", "--root", root, "--output", tmp_path / "r.json")
    assert "nothing of pf-pascal to evaluate; of the 2 listed pairs 2 missing (0001-a-b, 0002-c-a), left out" in said
    assert not (tmp_path / "r.predictions").exists()


def test_other_splits_do_not_count_as_missing(tmp_path, monkeypatch) -> None:
    root = trees.make(tmp_path / "data", "spair-71k")  # has the test list alone
    monkeypatch.setitem(spair.SPLITS, "test", 3)
    result = run("spair-71k", root, tmp_path / "r.json", "--predictions", str(perfect(tmp_path, root, "spair-71k")))
    assert (result["found"], result["missing"]) == (3, [])


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


def test_the_resolution_of_badjas_frames_is_told(tmp_path, capsys) -> None:
    root = trees.make(tmp_path / "data", "badja")
    given = trees.save(tmp_path / "mine", trees.truth(root, "badja"))
    result = run("badja", root, tmp_path / "r.json", "--predictions", str(given))
    told = [result["protocol"], *(other["protocol"] for other in result["other_protocols"].values())]
    assert {protocol["resolution"] for protocol in told} == {"480p"}
    assert "mean over video, resolution 480p; settings" in capsys.readouterr().out
    for kind in ("JPEGImages", "Annotations"):
        (root / kind / "Full-Resolution").mkdir()
        (root / kind / "480p/cow").rename(root / kind / "Full-Resolution/cow")
    mixed = run("badja", root, tmp_path / "m.json", "--predictions", str(given))
    assert mixed["protocol"]["resolution"] == "480p and full"


def test_without_the_training_list_it_is_said_that_leaks_are_not_known(tmp_path) -> None:
    root = trees.make(tmp_path / "data", "pf-pascal")
    given = trees.save(tmp_path / "mine", trees.truth(root, "pf-pascal"))
    known = run("pf-pascal", root, tmp_path / "r.json", "--predictions", str(given))
    assert "notes" not in known["protocol"]
    (root / "trn_pairs.csv").unlink()
    unknown = run("pf-pascal", root, tmp_path / "r.json", "--predictions", str(given))
    assert not any("leaked" in name for name in unknown["metrics"])
    for protocol in (unknown["protocol"], *(one["protocol"] for one in unknown["other_protocols"].values())):
        assert "trn_pairs.csv is not there" in protocol["notes"][0]
    assert read_result(tmp_path / "r.json").scored[0].protocol["notes"]
