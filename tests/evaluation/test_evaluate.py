"""``samepoint evaluate`` from data in official layouts to RESULT.json."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
import typer

import samepoint
from samepoint.cli.main import app, main
from samepoint.evaluation.benchmarks.base import Model
from samepoint.evaluation.benchmarks.joints import BadjaBenchmark
from samepoint.evaluation.names import NAMES, SCORING, SETTINGS
from samepoint.models import precision
from samepoint.models.matcher import Matcher, MatcherConfig
from samepoint.models.vit import VisionTransformer
from samepoint.models.weights import save_weights
from samepoint.tracking import frames
from samepoint.tracking.quality import QUALITIES
from tests.datasets.test_davis import write_sequence
from tests.evaluation import benchmark_trees as trees
from tests.evaluation.commands import refused, run

KEYS = {"benchmark", "protocol", "found", "missing", "metrics", "per_item", "model", "settings", "version", "seconds"}
KEYS |= {"peak_memory", "other_protocols", "predictions", "tasks", "excluded"}


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def stamps(folder: Path) -> dict[str, int]:
    return {name: (folder / name).stat().st_mtime_ns for name in files(folder)}


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch):
    """Called, it makes every later use of a network fail."""

    def forbid() -> None:
        monkeypatch.setattr(Model, "network", property(lambda self: pytest.fail("a network was asked for")))

    return forbid


@pytest.mark.usefixtures("small_work")
@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_end_to_end(name, tmp_path, weights, no_network, capsys) -> None:
    root = trees.make(tmp_path / "data", name)
    result = run(name, root, tmp_path / "r.json", "--model", weights)
    out = capsys.readouterr().out
    truth = trees.truth(root, name)
    items = set().union(*truth.values())
    assert set(result) == KEYS
    assert (result["benchmark"], result["found"], set(result["per_item"])) == (name, len(items), items)
    assert result["model"]["name"] == "tiny.safetensors"
    assert len(result["model"]["sha256"]) == 64
    assert {"name", "size", "query_mode", "aggregation", "settings"} <= set(result["protocol"])
    assert result["protocol"]["name"] == SCORING[name][0]
    assert result["metrics"]
    assert all(value is None or value >= 0 or "decay" in key for key, value in result["metrics"].items())
    assert result["seconds"] > 0
    assert result["peak_memory"] > 1e7
    assert bool(result["missing"]) == (name != "spair-u")  # these trees are a part of the sets; nobody counts SPair-U
    counts = " (2 with joints, 1 with masks)" if name == "jhmdb" else ""
    assert out.startswith(f"{name}: {len(items)} items{counts}, model tiny.safetensors\n")
    folder = tmp_path / "r.predictions"
    count = sum(map(len, truth.values()))
    assert len(files(folder)) == count + len(truth)  # one a video (or pair) and task, and the settings of each task
    before = stamps(folder)
    no_network()
    assert run(name, root, tmp_path / "r.json", "--model", weights) == result
    assert stamps(folder) == before


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch):
    """BADJA without a network: what is asked of it, and an item at which it fails."""
    calls: list[str] = []
    fail: dict[str, BaseException] = {}

    def predict(self, item):
        calls.append(item.name)
        if item.name in fail:
            raise fail[item.name]
        xy = np.full((20, len(item.frame_paths), 2), 5.0, np.float32)
        return {"xy": xy, "confidence": xy[..., 0], "size": np.array(item.size)}

    monkeypatch.setattr(BadjaBenchmark, "predict", predict)
    monkeypatch.setattr(BadjaBenchmark, "ready", lambda self: None)
    monkeypatch.setattr(Model, "network", None)
    return calls, fail


def test_an_interrupted_run_goes_on(tmp_path, weights, counted, capsys) -> None:
    calls, fail = counted
    root, folder = trees.make(tmp_path / "data", "badja"), tmp_path / "r.predictions"
    arguments = ["evaluate", "badja", "--root", str(root), "--output", str(tmp_path / "r.json"), "--model", weights]
    fail["cow"] = KeyboardInterrupt()
    assert main(arguments) == 130
    assert capsys.readouterr().err == "samepoint: interrupted\n"
    assert files(folder) == ["joints/ant.npz", "joints/settings.json"]
    assert not (tmp_path / "r.json").exists()
    fail.clear()
    assert main(arguments) == 0
    assert calls == ["ant", "cow", "cow"]
    assert files(folder) == ["joints/ant.npz", "joints/cow.npz", "joints/settings.json"]


def test_a_limited_run_and_the_whole_one_share_predictions(tmp_path, weights, counted) -> None:
    calls, _ = counted
    root = trees.make(tmp_path / "data", "badja")
    part = run("badja", root, tmp_path / "r.json", "--model", weights, "--limit", "1")
    assert (part["found"], list(part["per_item"]), part["settings"]["limit"]) == (1, ["ant"], 1)
    whole = run("badja", root, tmp_path / "r.json", "--model", weights)
    assert (whole["found"], calls) == (2, ["ant", "cow"])
    assert whole["seconds"] >= part["seconds"]
    again = run("badja", root, tmp_path / "r.json", "--model", weights, "--limit", "1", "--protocol", "badja-visible")
    assert (again["found"], again["protocol"]["name"], calls) == (1, "badja-visible", ["ant", "cow"])


def test_overwriting_a_part_keeps_the_rest(tmp_path, weights, counted) -> None:
    calls, _ = counted
    root = trees.make(tmp_path / "data", "badja")
    run("badja", root, tmp_path / "r.json", "--model", weights)
    run("badja", root, tmp_path / "r.json", "--model", weights, "--overwrite", "--limit", "1")
    assert calls == ["ant", "cow", "ant"]
    assert run("badja", root, tmp_path / "r.json", "--model", weights)["found"] == 2
    assert calls == ["ant", "cow", "ant"]


def test_other_data_is_not_mixed(tmp_path, weights, counted, capsys) -> None:
    calls, _ = counted
    root, other = (trees.make(tmp_path / name, "badja") for name in ("data", "other"))
    asked = ("--output", str(tmp_path / "r.json"), "--model", weights)
    assert main(["evaluate", "badja", "--root", str(root), *asked]) == 0
    said = refused(capsys, "badja", "--root", other, *asked)
    assert f'made from other data (root: "{root}", now "{other}"); give another output, or --overwrite to' in said
    (tmp_path / "link").symlink_to(root)
    assert main(["evaluate", "badja", "--root", str(tmp_path / "link"), *asked]) == 0
    assert len(calls) == 2
    assert main(["evaluate", "badja", "--root", str(other), *asked, "--overwrite"]) == 0
    assert len(calls) == 4


def test_other_settings_are_not_mixed(tmp_path, weights, counted, capsys) -> None:
    calls, _ = counted
    root, output = trees.make(tmp_path / "data", "badja"), tmp_path / "r.json"
    run("badja", root, output, "--model", weights)
    asked = ("badja", "--root", root, "--output", output, "--model", weights, "--protocol", "fgvc")
    said = refused(capsys, *asked)
    assert 'settings.name: "samepoint", now "fgvc"' in said
    assert "--overwrite" in said
    assert len(calls) == 2
    assert main(["evaluate", *map(str, asked), "--overwrite"]) == 0
    assert (len(calls), json.loads(output.read_text())["protocol"]["settings"]) == (4, "fgvc")
    # The same weights under another name are the same model; other weights are not.
    same = tmp_path / "same.safetensors"
    same.write_bytes(Path(weights).read_bytes())
    run("badja", root, output, "--model", str(same), "--protocol", "fgvc")
    assert len(calls) == 4
    assert "model.sha256: " in refused(capsys, *asked[:5], "--model", "fgvc-untrained", "--protocol", "fgvc")


def test_another_version_or_precision_is_not_mixed(tmp_path, weights, counted, capsys, monkeypatch) -> None:
    calls, _ = counted
    root, output = trees.make(tmp_path / "data", "badja"), tmp_path / "r.json"
    monkeypatch.setattr(precision, "prefers_bf16", lambda device: False)
    told = run("badja", root, output, "--model", weights)["settings"]["joints"]
    assert (told["precision"], told["version"]) == ("float32", samepoint.__version__)
    asked = ("badja", "--root", root, "--output", output, "--model", weights)
    with monkeypatch.context() as changed:
        changed.setattr(precision, "prefers_bf16", lambda device: True)
        said = refused(capsys, *asked)
        assert 'made with other settings (settings.precision: "float32", now "bfloat16")' in said
    monkeypatch.setattr(samepoint, "__version__", "99.0")
    said = refused(capsys, *asked)
    assert f'made by another version (version: "{told["version"]}", now "99.0")' in said
    assert len(calls) == 2
    run("badja", root, output, "--predictions", str(tmp_path / "r.predictions"))  # scored by whatever version


@pytest.mark.usefixtures("small_work")
@pytest.mark.parametrize("wanted", [False, True])
@pytest.mark.parametrize(("name", "task"), [("badja", "joints"), ("davis-2016", "masks"), ("pf-willow", "pairs")])
def test_the_precision_that_is_told_is_that_of_the_encoder(name, task, wanted, tmp_path, weights, monkeypatch) -> None:
    used = []
    real = frames.autocast
    monkeypatch.setattr(frames, "autocast", lambda device, enabled: used.append(enabled) or real(device, enabled))
    monkeypatch.setattr(precision, "prefers_bf16", lambda device: wanted)
    monkeypatch.setattr(frames, "prefers_bf16", lambda device: not wanted)  # not asked: it was told
    root = trees.make(tmp_path / "data", name)
    result = run(name, root, tmp_path / "r.json", "--model", weights, "--limit", "1")
    assert result["settings"][task]["precision"] == ("bfloat16" if wanted else "float32")
    assert set(used) == {wanted}


def test_the_default_trackers_settings_are_told(tmp_path, weights, counted) -> None:
    root = trees.make(tmp_path / "data", "badja")
    told = run("badja", root, tmp_path / "r.json", "--model", weights)["settings"]["joints"]
    assert (told["propagation"], told["quality"], told["short_side"]) == (None, "balanced", 480)
    assert told["refine"] == asdict(QUALITIES["balanced"].refine)


@pytest.mark.usefixtures("small_work")
def test_davis_in_both_resolutions(tmp_path, weights, capsys) -> None:
    root = trees.make(tmp_path / "data", "davis-2016")
    large = np.zeros((48, 72), np.uint8)
    large[8:28, 10:36] = 255
    write_sequence(root, "goat", [np.roll(large, 2 * t, axis=1) for t in range(3)], "L", "Full-Resolution")
    small = run("davis-2016", root, tmp_path / "s.json", "--model", weights)
    full = run("davis-2016", root, tmp_path / "f.json", "--model", weights, "--resolution", "full")
    assert "mean over video, resolution full; settings" in capsys.readouterr().out
    assert (small["found"], small["protocol"]["resolution"]) == (2, "480p")
    assert (full["found"], full["protocol"]["resolution"]) == (1, "full")
    assert full["settings"]["masks"]["resolution"] == "full"
    with np.load(tmp_path / "f.predictions/masks/goat.npz") as archive:
        assert archive["labels"].shape == (3, 48, 72)
    said = refused(capsys, "davis-2016", "--root", root, "--output", tmp_path / "f.json", "--model", weights)
    assert 'settings.resolution: "full", now "480p"' in said
    drawn = ("--pictures", tmp_path / "pics")
    assert main(["report", *map(str, (tmp_path / "s.json", tmp_path / "f.json", *drawn))]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert 'resolution "480p"' in out
    assert 'resolution "full"' in out
    assert sorted(path.name for path in (tmp_path / "pics").iterdir()) == ["f", "s"]


def test_predictions_of_unknown_origin_are_not_used(tmp_path, weights, counted, capsys) -> None:
    root, output = trees.make(tmp_path / "data", "badja"), tmp_path / "r.json"
    run("badja", root, output, "--model", weights)
    (tmp_path / "r.predictions/joints/settings.json").unlink()
    asked = ("badja", "--root", root, "--output", output, "--model", weights)
    assert "holds predictions but no settings.json" in refused(capsys, *asked)
    (tmp_path / "r.predictions/joints/settings.json").write_text("[1]")
    assert "settings.json: expected an object" in refused(capsys, *asked)


def test_a_folder_in_which_nothing_can_be_kept(tmp_path, weights, counted, capsys) -> None:
    calls, _ = counted
    root = trees.make(tmp_path / "data", "badja")
    (tmp_path / "r.predictions").write_text("mine")
    asked = ("badja", "--root", root, "--model", weights, "--output")
    assert "predictions cannot be kept there" in refused(capsys, *asked, tmp_path / "r.json")
    assert "there is no folder" in refused(capsys, *asked, tmp_path / "none" / "r.json")
    assert calls == []


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("badj", (), "no benchmark is called 'badj'; did you mean badja?"),
        ("badja", ("--limit", "0"), "--limit 0: expected at least 1"),
        ("badja", ("--protocol", "fgcv"), "--protocol fgcv: unknown for badja; did you mean fgvc?"),
        ("badja", ("--protocol", "crw"), "--protocol crw: no settings for following points"),
        ("badja", ("--protocol", "fgvc", "--protocol", "samepoint"), "both are prediction settings"),
        ("badja", ("--protocol", "badja-pips", "--protocol", "badja-3px"), "both are scoring protocols"),
        ("badja", ("--protocol", "jhmdb-vfs"), "--protocol jhmdb-vfs: unknown for badja"),
        ("badja", ("--task", "joints"), "badja has one task only"),
        ("badja", ("--query-mode", "strided"), "gives all queries in the first frame"),
        ("badja", ("--resolution", "full"), "--resolution full: only davis-2016 and davis-2017 have this choice"),
        ("davis-2016", ("--resolution", "4K"), "--resolution 4K: unknown; expected one of 480p, full"),
        ("davis-2016", ("--resolution", "full"), "JPEGImages: no folder Full-Resolution or 1080p in it"),
        ("badja", ("--device", "foo"), "--device foo: cannot be used here ("),
        ("badja", ("--device", "meta"), "--device meta: cannot be used here ("),
        ("badja", ("--model", "samepoint-bas"), "unknown model 'samepoint-bas'"),
        ("badja", ("--predictions", ".", "--overwrite"), "--overwrite with --predictions"),
        ("badja", ("--predictions", ".", "--model", "fgvc-untrained"), "--model with --predictions"),
        ("badja", ("--predictions", ".", "--protocol", "fgvc"), "--protocol fgvc with --predictions"),
        ("tapvid-davis", ("--query-mode", "second"), "unknown query mode 'second'"),
        ("jhmdb", ("--task", "faces"), "jhmdb has the tasks joints and masks"),
        ("jhmdb", ("--task", "masks", "--protocol", "jhmdb-vfs"), "a way of scoring joints"),
        ("davis-2016", ("--protocol", "davis2017"), "unknown for davis-2016"),
        ("pf-willow", ("--protocol", "fgvc"), "settings for videos; pf-willow compares pictures"),
        ("pf-willow", ("--protocol", "cats"), "expected one of samepoint, consensus, pf-willow, pf-willow-padded"),
    ],
)
def test_bad_requests_are_one_line(name, more, message, tmp_path, capsys) -> None:
    root = trees.make(tmp_path / "data", name if name in NAMES else "badja")
    assert message in refused(capsys, name, "--root", root, "--output", tmp_path / "r.json", *more)
    assert not (tmp_path / "r.json").exists()
    assert not (tmp_path / "r.predictions").exists()


def test_bad_places_are_one_line(tmp_path, capsys) -> None:
    (tmp_path / "empty").mkdir()
    output = ("--output", tmp_path / "r.json")
    assert "none: no such folder" in refused(capsys, "badja", "--root", tmp_path / "none", *output)
    assert "joint_annotations" in refused(capsys, "badja", "--root", tmp_path / "empty", *output)
    assert "expected .json" in refused(capsys, "badja", "--root", tmp_path / "empty", "--output", tmp_path / "r.txt")
    assert "Missing option" in refused(capsys, "badja", *output)


@pytest.fixture(scope="module")
def matcher(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    return str(save_weights(Matcher(MatcherConfig.tiny()), tmp_path_factory.mktemp("m") / "m.safetensors", {}))


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("badja", ()),
        ("badja", ("--protocol", "fgvc")),
        ("jhmdb", ()),
        ("tapvid-davis", ()),
        ("davis-2016", ()),
        ("davis-2017", ("--protocol", "crw")),
    ],
)
def test_a_matcher_follows_nothing(name, more, matcher, tmp_path, capsys) -> None:
    root = trees.make(tmp_path / "data", name)
    said = refused(capsys, name, "--root", root, "--output", tmp_path / "r.json", "--model", matcher, *more)
    assert f"--model {matcher}: a matcher follows nothing through a video; it is for spair-71k, spair-u, pf-" in said
    assert not (tmp_path / "r.predictions").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a PyTorch without CUDA")
def test_a_device_that_is_not_there(weights, tmp_path, capsys) -> None:
    root = trees.make(tmp_path / "data", "badja")
    asked = ("badja", "--root", root, "--output", tmp_path / "r.json", "--model", weights, "--device", "cuda")
    assert "--device cuda: cannot be used here (" in refused(capsys, *asked)
    assert not (tmp_path / "r.predictions").exists()


def test_a_network_without_the_map_that_settings_want(weights, tmp_path, capsys) -> None:
    vit = tmp_path / "vit.pth"
    torch.save(VisionTransformer(64, 4, 1, 64, 8, 4, True, (2,)).state_dict(), vit)
    for name, message in (("jhmdb", "wants a map of stride 4"), ("davis-2016", "strides: 4 wanted")):
        root = trees.make(tmp_path / name, name)
        asked = (name, "--root", root, "--output", tmp_path / "r.json", "--model", vit)
        assert message in refused(capsys, *asked, "--protocol", "spa-then-temp-stride4")
        assert not (tmp_path / "r.predictions").exists()


def test_strided_queries_are_followed_back(tmp_path, weights, small_work) -> None:
    root = trees.make(tmp_path / "data", "tapvid-davis")
    first = run("tapvid-davis", root, tmp_path / "f.json", "--model", weights, "--limit", "1")
    strided = run(
        "tapvid-davis", root, tmp_path / "s.json", "--model", weights, "--limit", "1", "--query-mode", "strided"
    )
    (path,) = (tmp_path / "s.predictions/points").glob("*.npz")
    with np.load(path) as archive:
        assert np.isfinite(archive["xy"]).all()
        assert archive["query_frame"].max() == 5
    assert path.name == "bike%3A a%3F.npz"
    assert (first["protocol"]["query_mode"], strided["protocol"]["query_mode"]) == ("first", "strided")


@pytest.mark.usefixtures("small_work")
@pytest.mark.parametrize("name", ["crw", "spa-then-temp", "spa-then-temp-stride4", "fgvc"])
def test_published_settings_run_and_are_told(name, tmp_path, weights) -> None:
    root = trees.make(tmp_path / "data", "jhmdb")
    result = run("jhmdb", root, tmp_path / "r.json", "--model", weights, "--protocol", name, "--task", "joints")
    told = result["settings"]["joints"]
    assert (told["name"], told["size"], result["protocol"]["settings"]) == (name, [320, 320], name)
    assert told["propagation"]["context"] == (5 if name == "fgvc" else 20)
    assert told["propagation"]["temperature"] == (0.05 if name == "crw" else 0.07)
    assert told["stride"] == {"fgvc": None, "spa-then-temp-stride4": 4}.get(name, 8)


def test_the_guide_names_every_option_benchmark_and_protocol() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "evaluate.md").read_text()
    command = typer.main.get_command(app).commands["evaluate"]
    known = {name for option in command.params for name in option.opts if name.startswith("-")} | {"-h", "--help"}
    listed = re.findall(r"--[a-z-]+|(?<=`)-[a-z]\b", "".join(re.findall(r"^\| `-.*? \|", text, re.MULTILINE)))
    assert set(listed) == known
    words = set(re.findall(r"`([\w-]+)`", text))
    assert {*NAMES, *SETTINGS, *(protocol for names in SCORING.values() for protocol in names)} <= words
    assert words >= KEYS
