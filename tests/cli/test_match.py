"""``samepoint match``: what it writes, what it says to mistakes, and what it leaves when it fails."""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

import samepoint.matching
from samepoint.cli.main import app, main
from samepoint.cli.match_inputs import mask_files, parse_place
from samepoint.errors import InputError
from samepoint.io.images import read_image
from samepoint.io.masks import read_mask, write_mask
from samepoint.io.matches import load_matches
from samepoint.structures import Keypoints, Matches, Queries
from tests.matching.stub import Scaled
from tests.matching.test_points import blobs
from tests.shared import shared_path


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Scaled:
    """A model that finds every point at the same share of the target."""
    model = Scaled()
    model.options = {}

    def as_pair_model(name: str, **options: object) -> Scaled:
        model.options = {"model": name, **options}
        return model

    monkeypatch.setattr(samepoint.matching, "as_pair_model", as_pair_model)
    return model


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Pictures beside the working folder: two, and a folder with a copy of the source among others."""
    folder = tmp_path / "inputs"
    (folder / "many").mkdir(parents=True)
    (folder / "nothing").mkdir()
    for name, size in {"a.png": (40, 60), "b.png": (80, 30), "many/2.png": (40, 60), "many/10.jpg": (20, 60)}.items():
        Image.fromarray(blobs(size)).save(folder / name)
    labels = np.zeros((40, 60), np.uint8)
    labels[10:30, 15:45] = 1
    write_mask(folder / "mask.png", labels)
    (folder / "text.jpg").write_text("once upon a time")
    (folder / "empty.jpg").touch()
    (folder / "points.csv").write_text("x,y,name\n1,2,nose\n30,20,tail\n")
    (folder / "far.csv").write_text("x,y\n1,2\n300,2\n")
    (folder / "none.csv").write_text("x,y\n")
    (folder / "blank.png").write_bytes((folder / "mask.png").read_bytes())
    write_mask(folder / "blank.png", np.zeros((40, 60), np.uint8))
    write_mask(folder / "small.png", np.ones((4, 6), np.uint8))
    return folder


@pytest.mark.parametrize("suffix", ["csv", "json", "npz"])
def test_points_in_one_picture(folder: Path, inputs: Path, stub: Scaled, capsys, suffix: str) -> None:
    out = f"out.{suffix}"
    assert main(["match", f"{inputs}/a.png", f"{inputs}/b.png", "--point", "30,10", "--point", "0,40", "-o", out]) == 0
    answer = capsys.readouterr()
    assert "2 points looked for in 1 picture, 100% found" in answer.out
    assert f"wrote {out}" in answer.out
    assert answer.err == ""
    assert [path.name for path in folder.iterdir()] == [out]
    matches = Matches.load(out)
    assert matches.target_xy.tolist() == [[15, 20], [0, 80]]
    assert (matches.source, matches.target) == (f"{inputs}/a.png", f"{inputs}/b.png")


def test_points_from_everywhere_add_up(folder: Path, inputs: Path, stub: Scaled, capsys) -> None:
    arguments = ["match", f"{inputs}/a.png", f"{inputs}/b.png", "--point", "5,6", "--points", f"{inputs}/points.csv"]
    assert main([*arguments, "--grid", "3", "--mask", f"{inputs}/mask.png", "-o", "m.csv", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    matches = Matches.load("m.csv")
    assert answer["points"] == len(matches) > 12
    assert matches.names[:3] == ("0", "nose", "tail")
    inside = matches.source_xy[12:]
    assert (inside >= (15, 10)).all()
    assert (inside <= (45, 30)).all()
    assert (answer["targets"], answer["found"], answer["skipped"]) == (1, 1.0, [])
    assert answer["outputs"] == ["m.csv"]
    assert answer["model"] == stub.options["model"] == samepoint.matching.default_model()


def test_a_folder_is_every_picture_but_the_source(folder: Path, inputs: Path, stub: Scaled, capfd) -> None:
    """Annotate once, transfer to a folder: what is no picture there is passed over and said."""
    (inputs / "many" / "bad.png").write_text("once")
    (inputs / "many" / "a.png").symlink_to(inputs / "a.png")
    write_mask(inputs / "many" / "mask.png", np.ones((40, 60), np.uint8))
    latin = Path(os.fsdecode(os.fsencode(inputs / "many") + b"/b\xe4d.png"))
    latin.write_bytes((inputs / "a.png").read_bytes())
    assert main(["match", f"{inputs}/a.png", f"{inputs}/many", "--mask", f"{inputs}/many/mask.png", "-o", "masks"]) == 0
    assert sorted(path.name for path in Path("masks").glob("*.png")) == ["10.png", "2.png"]
    assert "its name is not UTF-8" in capfd.readouterr().err
    (inputs / "many" / "mask.png").unlink()
    latin.unlink()
    stub.encoded.clear()
    arguments = ["match", f"{inputs}/a.png", f"{inputs}/many", f"{inputs}/b.png", "--points", f"{inputs}/points.csv"]
    assert main([*arguments, "-o", "m.csv", "--render", "m.png", "--json"]) == 0
    output = capfd.readouterr()
    assert json.loads(output.out)["skipped"] == [f"{inputs}/many/bad.png"]
    assert output.err.count("\n") == 1
    assert "samepoint: warning: passed over:" in output.err
    found = load_matches(Path("m.csv"))
    assert [Path(matches.target).name for matches in found] == ["2.png", "10.jpg", "b.png"]
    assert stub.encoded.count(f"{inputs}/a.png") == 1
    assert read_image("m.png").shape[1] > 400
    (inputs / "many" / "2.png").write_text("")
    (inputs / "many" / "10.jpg").write_text("")
    assert main([*arguments[:3], "--grid", "1", "-o", "n.csv"]) == 2
    assert "none of the 3 targets can be read" in capfd.readouterr().err


def test_coco_in_is_coco_out(folder: Path, inputs: Path, stub: Scaled) -> None:
    """The annotation of one picture, among others, becomes that of the targets, with its skeleton and individuals."""
    xy = np.array([[[[1, 1], [2, 2]], [[30, 20], [np.nan, np.nan]]], [[[9, 9], [9, 9]], [[9, 9], [9, 9]]]])
    known = Keypoints([-1, -1], xy, ("nose", "tail"), ("0", "1"), skeleton=((0, 1),), images=("a.png", "c.png"))
    known.save("labels.json")
    arguments = ["match", f"{inputs}/a.png", f"{inputs}/many", f"{inputs}/b.png", "--points", "labels.json"]
    assert main([*arguments, "-o", "out.json"]) == 0
    out = Keypoints.load("out.json")
    assert (out.images, out.bodyparts, out.skeleton) == (("2.png", "10.jpg", "b.png"), ("nose", "tail"), ((0, 1),))
    np.testing.assert_array_equal(out.xy[2, 0], [[0.5, 2], [1, 4]])
    np.testing.assert_array_equal(out.xy[2, 1], [[15, 40], [np.nan, np.nan]])
    assert main([*arguments, "-o", "plain.json", "--to", "json"]) == 0
    assert len(load_matches(Path("plain.json"))) == 3
    stub.confidence = 0.3
    assert main([*arguments, "-o", "lost.json"]) == 0
    flags = [entry["keypoints"][2::3] for entry in json.loads(Path("lost.json").read_text())["annotations"]]
    assert flags == [[0, 0]] * 6


@pytest.mark.parametrize(
    ("text", "options", "name"),
    [("x,y,name\n1,2,nose\n30,20,nose\n", [], "nose"), ("x,y,name\n1,2,0\n", ["--point", "3,4"], "0")],
)
def test_names_that_coco_cannot_tell_apart_are_refused_before_matching(
    folder: Path, inputs: Path, stub: Scaled, capfd, text: str, options: list[str], name: str
) -> None:
    """Also where one is called by the number that another, without a name, has."""
    (inputs / "points.csv").write_text(text)
    arguments = ["match", f"{inputs}/a.png", f"{inputs}/many", "--points", f"{inputs}/points.csv", *options]
    assert main([*arguments, "-o", "m.json", "--to", "coco"]) == 2
    assert f"COCO needs points of different names; '{name}' is there twice" in capfd.readouterr().err
    assert stub.encoded == []
    assert not list(folder.iterdir())
    assert main([*arguments, "-o", "m.json"]) == 0  # where names are only names


def test_frames_of_a_video(folder: Path, clip: str, stub: Scaled) -> None:
    targets = [f"{clip}@0", f"{clip}@5"]
    assert main(["match", f"{clip}@2", *targets, "--grid", "1", "-o", "m.csv"]) == 0
    assert [matches.target for matches in load_matches(Path("m.csv"))] == targets
    Keypoints([0, 2], [[[[1, 1]]], [[[3, 4]]]], ("nose",)).save("labels.csv")
    assert main(["match", f"{clip}@2", targets[0], "--points", "labels.csv", "-o", "m.csv"]) == 0
    assert Matches.load("m.csv").source_xy.tolist() == [[3, 4]]


def test_regions(folder: Path, inputs: Path, stub: Scaled, capsys) -> None:
    arguments = ["match", f"{inputs}/a.png", f"{inputs}/b.png", "--mask", f"{inputs}/mask.png"]
    assert main([*arguments, "-o", "m.png", "--render", "r.png"]) == 0
    assert "1 region looked for in 1 picture, 100% found" in capsys.readouterr().out
    labels = read_mask("m.png")
    assert labels.shape == (80, 30)
    assert labels[40, 15] == 1
    assert not labels[:15].any()
    assert sorted(path.name for path in folder.iterdir()) == ["m.png", "r.png"]
    assert main([*arguments, f"{inputs}/many", "-o", "masks", "--render", "r.png", "--json"]) == 0
    assert sorted(path.name for path in Path("masks").iterdir()) == ["10.png", "2.png", "b.png"]
    assert json.loads(capsys.readouterr().out)["outputs"][-1] == "r.png"
    assert read_mask("masks/10.png").shape == (20, 60)


def test_names_of_masks() -> None:
    files = mask_files(Path("out"), ["x/a.jpg", "b.png", "clip.mp4@12"])
    assert [path.as_posix() for path in files.values()] == ["out/a.png", "out/b.png", "out/clip@12.png"]
    files = mask_files(Path("out"), ["x/a.jpg", "a.png"])
    assert [path.as_posix() for path in files.values()] == ["out/a.jpg.png", "out/a.png.png"]
    with pytest.raises(InputError, match=r"two targets are called a\.jpg"):
        mask_files(Path("out"), ["x/a.jpg", "y/a.jpg"])


def test_the_options_reach_the_model(folder: Path, inputs: Path, stub: Scaled) -> None:
    arguments = ["match", f"{inputs}/a.png", f"{inputs}/b.png", "--point", "1,1", "-o", "m.csv"]
    assert main([*arguments, "--mutual", "0.2", "--device", "cpu", "--model", "samepoint-base"]) == 0
    assert stub.options == {"model": "samepoint-base", "mutual": 0.2, "device": "cpu", "backbone": None}
    assert main([*arguments, "--backbone", "dino.safetensors"]) == 0
    assert stub.options["backbone"] == "dino.safetensors"
    stub.encoded.clear()
    assert main(arguments) == 0
    assert len(stub.encoded) == 2
    assert main([*arguments, "--flip-test"]) == 0
    assert len(stub.encoded) == 5  # the target in the mirror, too


A, B = "{folder}/a.png", "{folder}/b.png"
P = ("--point", "1,1")
BAD = {
    "missing source": (["nope.png", B, *P], "nope.png: no such file"),
    "missing target": ([A, "nope.png", *P], "nope.png: no such file"),
    "text": ([A, "{folder}/text.jpg", *P], "text.jpg: not a picture"),
    "empty": ([A, "{folder}/empty.jpg", *P], "empty.jpg: is empty"),
    "empty folder": ([A, "{folder}/nothing", *P], "nothing: no pictures"),
    "folder as source": (["{folder}/many", B, *P], "is a folder"),
    "video without frame": (["{clip}", B, *P], "say which frame"),
    "frame beyond the end": ([A, "{clip}@6", *P], "6 frames"),
    "twice": ([A, B, B, *P], "twice among the targets"),
    "no target": ([A, *P], "TARGET"),
    "no points": ([A, B], "nothing to match"),
    "outside": ([A, B, "--point", "61,1"], "outside the 60x40 picture"),
    "negative": ([A, B, "--point", "-1,1"], "outside"),
    "outside, from a file": ([A, B, "--points", "{folder}/far.csv"], "point 1"),
    "point with a frame": ([A, B, "--point", "1,1@2"], "expected X,Y"),
    "words": ([A, B, "--point", "a,b"], "expected X,Y"),
    "grid of none": ([A, B, "--grid", "0"], "--grid 0"),
    "no points in the file": ([A, B, "--points", "{folder}/none.csv"], "no point in this file"),
    "missing points": ([A, B, "--points", "nope.csv"], "nope.csv"),
    "points of a strange kind": ([A, B, "--points", "{folder}/text.jpg"], "unknown suffix '.jpg' for keypoints"),
    "mask of nothing": ([A, B, "--mask", "{folder}/blank.png"], "all background"),
    "mask of another size": ([A, B, "--mask", "{folder}/small.png", "-o", "m.png"], "is 6x4"),
    "points as a picture": ([A, B, *P, "-o", "m.png"], "is for --mask"),
    "regions with points": ([A, B, *P, "--mask", "{folder}/mask.png", "-o", "m.png"], "--mask alone"),
    "many regions in one picture": (
        [A, "{folder}/many", "--mask", "{folder}/mask.png", "-o", "m.png"],
        "give a folder",
    ),
    "format of regions": ([A, B, "--mask", "{folder}/mask.png", "-o", "m.png", "--to", "csv"], "--to"),
    "unknown suffix": ([A, B, *P, "-o", "m.xlsx"], ".csv, .json, .npz"),
    "unknown format": ([A, B, *P, "--to", "xml"], "csv, json, npz, coco"),
    "format of another suffix": ([A, B, *P, "--to", "coco"], "expected one of .json"),
    "render": ([A, B, *P, "--render", "m.mp4"], "expected .png"),
    "no folder": ([A, B, *P, "-o", "no/m.csv"], "no/m.csv"),
    "no folder for the picture": ([A, B, *P, "--render", "no/m.png"], "no/m.png"),
    "over the target": ([A, B, *P, "--render", B], "overwritten"),
    "over the points": ([A, B, "--points", "{folder}/points.csv", "-o", "{folder}/points.csv"], "overwritten"),
    "over the targets' folder": ([A, B, "--mask", "{folder}/mask.png", "-o", "{folder}"], "overwritten"),
    "two into one": ([A, B, "--mask", "{folder}/mask.png", "-o", "m.png", "--render", "m.png"], "two outputs"),
    "unknown model": ([A, B, *P, "--model", "samepoint-bsae"], "samepoint-base"),
    "unknown device": ([A, B, *P, "--device", "toaster"], "toaster"),
    "mutual": ([A, B, *P, "--mutual", "0"], "mutual"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(
    folder: Path, inputs: Path, clip: str, request: pytest.FixtureRequest, capfd, case: str
) -> None:
    if case != "mutual":  # which the stub does not look at
        request.getfixturevalue("stub")
    before = {path: path.read_bytes() for path in inputs.rglob("*") if path.is_file()}
    arguments, said = BAD[case]
    arguments = [word.format(clip=clip, folder=inputs) for word in arguments]
    assert main(["match", *arguments, *([] if "-o" in arguments else ["-o", "out.csv"])]) == 2
    answer = capfd.readouterr()
    assert answer.out == ""
    assert answer.err.count("\n") == 1, answer.err
    assert answer.err.startswith("samepoint: error: ")
    assert said in answer.err
    assert not list(folder.iterdir())
    assert {path: path.read_bytes() for path in inputs.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("stage", ["carry", "save", "write_mask", "draw"])
@pytest.mark.parametrize(
    ("failure", "status", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", ".x.part.csv"), 1, "error: No space left on device"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 1, "memory"),
    ],
)
def test_failures_leave_what_was_there(
    folder: Path, inputs: Path, stub: Scaled, monkeypatch, capfd, failure, status: int, said: str, stage: str
) -> None:
    """Wherever it fails: no folder, no file, nothing changed."""

    def fail(*args: object, **kwargs: object) -> None:
        raise failure

    place = {
        "carry": (Scaled, "carry"),
        "save": (__import__("samepoint.io.matches", fromlist=["_"]), "save_matches"),
        "write_mask": (__import__("samepoint.io.masks", fromlist=["_"]), "write_mask"),
        "draw": (__import__("samepoint.io.images", fromlist=["_"]), "write_image"),
    }[stage]
    monkeypatch.setattr(*place, fail)
    pictures = ["match", f"{inputs}/a.png", f"{inputs}/b.png"]
    runs = []
    if stage != "write_mask":
        runs.append([*pictures, "--grid", "2", "-o", "m.csv", "--render", "m.png"])
    if stage != "save":
        runs.append([*pictures, "--mask", f"{inputs}/mask.png", "-o", "new/masks", "--render", "m.png"])
    for arguments in runs:
        assert main(arguments) == status
        assert not list(folder.iterdir())
        assert said in capfd.readouterr().err
    Path("m.csv").write_text("old")
    Path("m.png").write_text("old")
    for arguments in runs:
        assert main(arguments) == status
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"m.csv": "old", "m.png": "old"}


def test_animations_warn_once(folder: Path, inputs: Path, stub: Scaled, capfd) -> None:
    frames = [Image.fromarray(np.full((20, 30, 3), 50 * n, np.uint8)) for n in range(3)]
    frames[0].save(inputs / "c.gif", save_all=True, append_images=frames[1:])
    assert main(["match", f"{inputs}/a.png", f"{inputs}/c.gif", "--grid", "1", "-o", "m.csv"]) == 0
    assert capfd.readouterr().err == (
        f"samepoint: warning: {inputs}/c.gif: is animated; the first picture is taken (another: {inputs}/c.gif@FRAME)\n"
    )
    assert main(["match", f"{inputs}/a.png", f"{inputs}/c.gif@1", "--grid", "1", "-o", "m.csv"]) == 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("text", ["", "1", "1,", "1;2", "1,2@3", "inf,1"])
def test_parse_place_refuses(text: str) -> None:
    with pytest.raises(InputError):
        parse_place(text)


def test_the_guide_names_every_option_and_no_other() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "match.md").read_text()
    command = typer.main.get_command(app).commands["match"]  # type: ignore[attr-defined]
    known = {name for option in command.params for name in option.opts if name.startswith("-")} | {"-h", "--help"}
    listed = re.findall(r"--[a-z-]+|(?<=`)-[a-z]\b", "".join(re.findall(r"^\| `-.*? \|", text, re.MULTILINE)))
    assert set(listed) == known
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)) <= known


def test_with_the_model_that_is_shipped(folder: Path) -> None:
    """The whole line, nothing replaced: generated pictures, one a part of the other."""
    whole = blobs((240, 400))
    Image.fromarray(whole[:, :336]).save("a.png")
    Image.fromarray(whole[:, 64:]).save("b.jpg", quality=95)
    assert main(["match", "a.png", "b.jpg", "--grid", "5", "-o", "m.npz", "--render", "m.png"]) == 0
    matches = Matches.load("m.npz")
    there = matches.source_xy[:, 0] > 80
    error = np.linalg.norm(matches.target_xy - (matches.source_xy - np.array([64, 0])), axis=1)
    assert (error[there] < 12).mean() > 0.35  # blobs are no things, which is what this model knows; see the next test
    assert matches.found[there].mean() > 0.6
    assert read_image("m.png").shape[0] == 686


def test_the_shipped_model_finds_a_car_that_has_moved(folder: Path) -> None:
    whole = read_image(min(shared_path("data", "pf-willow", "car(S)").glob("*.png")))
    shift = whole.shape[1] // 6
    Image.fromarray(whole[:, :-shift]).save("a.png")
    Image.fromarray(whole[:, shift:]).save("b.png")
    assert main(["match", "a.png", "b.png", "--grid", "6", "-o", "m.npz"]) == 0
    matches = Matches.load("m.npz")
    there = matches.source_xy[:, 0] > shift + 16
    error = np.linalg.norm(matches.target_xy - (matches.source_xy - np.array([shift, 0])), axis=1)
    assert np.median(error[there]) < 5
    assert matches.found[there].mean() > 0.8


def test_two_pictures_of_pf_willow(folder: Path, capsys) -> None:
    root, weights = shared_path("data", "pf-willow", "car(S)"), shared_path("weights", "dinov2_vits14.safetensors")
    pictures = [str(path) for path in sorted(root.glob("*.png"))[:2]]
    Queries.grid(3, (200, 200)).save("points.csv")
    options = ["--points", "points.csv", "--model", str(weights), "--flip-test", "--json"]
    assert main(["match", *pictures, "-o", "m.json", "--render", "m.png", *options]) == 0
    matches = Matches.load("m.json")
    assert json.loads(capsys.readouterr().out)["found"] == pytest.approx(matches.found.mean())
    assert np.isfinite(matches.target_xy).all()
    height, width = matches.target_size
    assert ((matches.target_xy >= 0) & (matches.target_xy <= (width, height))).all()
