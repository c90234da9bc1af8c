"""``samepoint keypoints``: from labels to all frames, and what it says to mistakes."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from samepoint.cli.main import main
from samepoint.models.network import PointNetwork
from samepoint.models.weights import save_weights
from samepoint.structures import Keypoints
from tests.cli.conftest import FRAMES
from tests.models.test_network import TINY

LABELS = """\
scorer,rick,rick,rick,rick
bodyparts,nose,nose,tail,tail
coords,x,y,x,y
labeled-data/clip/img01.png,10.123456789,20,,
labeled-data/clip/img04.png,12,22.50,30,31
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    return str(save_weights(PointNetwork(TINY), tmp_path_factory.mktemp("model") / "tiny.safetensors", {}))


def coco(categories: int = 1, frames: int = 6, of: int = 1) -> dict:
    """Pictures of all frames, the first and the last annotated with the category ``of``."""
    return {
        "images": [{"id": n + 1, "file_name": f"shots/frame_{n:04d}.PNG"} for n in range(frames)],
        "categories": [{"id": n + 1, "name": ("cat", "dog")[n], "keypoints": ["nose"]} for n in range(categories)],
        "annotations": [
            {"id": n, "image_id": 1 + n * (frames - 1), "category_id": of, "keypoints": [20 + n, 20, 2]} for n in (0, 1)
        ],
    }


def test_coco_in_is_coco_out_with_its_pictures_and_category(folder: Path, clip: str, tiny: str, capsys) -> None:
    Path("labels.json").write_text(json.dumps(coco(categories=2, of=2)))
    assert main(["keypoints", clip, "--labels", "labels.json", "--model", tiny, "-o", "out.json"]) == 0
    assert "pictures" not in capsys.readouterr().err
    data = json.loads(Path("out.json").read_text())
    assert data["images"] == coco()["images"]
    assert {entry["category_id"] for entry in data["annotations"]} == {2}
    assert sorted(entry["image_id"] for entry in data["annotations"]) == [1, 2, 3, 4, 5, 6]
    assert Keypoints.load("out.json").frame.tolist() == [0, 5, 1, 2, 3, 4]


def test_names_of_pictures_that_are_lost_are_told(folder: Path, clip: str, tiny: str, capsys) -> None:
    Path("labels.csv").write_text("frame,image,bodypart,x,y\n0, a/img000.png, nose,20,20\n5,a/img005.png,nose,22,20\n")
    assert main(["keypoints", clip, "--labels", "labels.csv", "--model", tiny, "-o", "out.csv", "--to", "csv"]) == 0
    assert "warning: out.csv: the names of the labelled pictures are left out" in capsys.readouterr().err
    assert Keypoints.load("out.csv").bodyparts == ("nose",)


def test_from_labels_to_every_frame(folder: Path, clip: str, tiny: str, capsys) -> None:
    Path("labels.csv").write_text(LABELS)
    arguments = ["keypoints", clip, "--labels", "labels.csv", "--model", tiny, "--suggest", "2"]
    assert main([*arguments, "-o", "out.csv", "--render", "out.mp4", "--json"]) == 0
    answer = capsys.readouterr()
    facts = json.loads(answer.out)
    assert (facts["frames"], facts["labelled"], facts["bodyparts"], facts["outputs"]) == (
        6,
        2,
        2,
        ["out.csv", "out.mp4"],
    )
    assert len(facts["suggest"]) == 2
    assert not {one["frame"] for one in facts["suggest"]} & {1, 4}
    assert answer.err == "samepoint: warning: out.csv: deeplabcut cannot hold which joints were labelled by a person\n"
    rows = [line.split(",") for line in Path("out.csv").read_text().splitlines()]
    assert rows[2] == ["coords", "x", "y", "likelihood", "x", "y", "likelihood"]
    assert [row[0] for row in rows[3:]] == ["0", "1", "2", "3", "4", "5"]
    assert rows[4] == ["1", "10.123456789", "20", "1.0", "", "", ""]
    assert rows[7] == ["4", "12", "22.50", "1.0", "30", "31", "1.0"]
    found = Keypoints.load("out.csv")
    assert np.flatnonzero(found.known[:, 0, 1]).tolist() == [2, 3, 4, 5]
    assert found.known[:, 0, 0].all()
    assert sorted(path.name for path in folder.iterdir()) == ["labels.csv", "out.csv", "out.mp4"]

    assert main([*arguments, "-o", "out.json", "--from", "deeplabcut", "--to", "coco"]) == 0
    answer = capsys.readouterr()
    assert "2 joints carried from 2 labelled to 6 frames" in answer.out
    assert answer.out.count("label next: frame ") == 2
    assert "wrote out.json" in answer.out
    assert len(json.loads(Path("out.json").read_text())["images"]) == FRAMES


BAD = {
    "missing labels": (["{clip}", "--labels", "none.csv"], "none.csv: no such file"),
    "missing video": (["none.mp4", "--labels", "labels.csv"], "none.mp4"),
    "unknown format": (["{clip}", "--labels", "labels.csv", "--from", "yaml"], "unknown format 'yaml'"),
    "unknown target": (["{clip}", "--labels", "labels.csv", "--to", "yaml"], "unknown format 'yaml'"),
    "suffix of another": (["{clip}", "--labels", "labels.csv", "--to", "coco"], "expected one of .json"),
    "unknown suffix": (["{clip}", "--labels", "labels.csv", "-o", "out.xlsx"], "unknown suffix '.xlsx'"),
    "beyond the video": (["{clip}", "--labels", "late.csv"], "late.csv: labels of frame 6"),
    "no number": (["{clip}", "--labels", "names.csv"], "has no frame number in its name"),
    "nothing labelled": (["{clip}", "--labels", "empty.csv"], "empty.csv: no labelled joint"),
    "far outside": (["{clip}", "--labels", "far.csv"], "far outside the 64x48 frame"),
    "over the labels": (["{clip}", "--labels", "labels.csv", "-o", "labels.csv"], "would be overwritten"),
    "render": (["{clip}", "--labels", "labels.csv", "--render", "a.gif"], "expected .mp4"),
    "suggest": (["{clip}", "--labels", "labels.csv", "--suggest", "-1"], "--suggest -1"),
    "model": (["{clip}", "--labels", "labels.csv", "--model", "samepoint-bse"], "samepoint-base"),
    "live": (["0", "--labels", "labels.csv"], "live"),
    "no labels": (["{clip}"], "--labels"),
}


def test_a_library_that_lacks_is_told_before_the_work(
    folder: Path, clip: str, tiny: str, capfd, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("labels.csv").write_text(LABELS)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "h5py" else find(name))
    monkeypatch.setattr("samepoint.tracking.propagate_keypoints", None)  # never reached
    assert main(["keypoints", clip, "--labels", "labels.csv", "-o", "out.h5", "--model", tiny]) == 2
    assert "samepoint[tables]" in capfd.readouterr().err


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(folder: Path, clip: str, tiny: str, capfd, case: str) -> None:
    head = "frame,bodypart,x,y\n"
    files = {"labels.csv": LABELS, "late.csv": LABELS.replace("img04", "img06"), "empty.csv": head + "0,nose,,\n"}
    files |= {"names.csv": LABELS.replace("img04", "left"), "far.csv": head + "0,nose,500,5\n"}
    for name, text in files.items():
        Path(name).write_text(text)
    arguments, message = BAD[case]
    arguments = [argument.format(clip=clip) for argument in arguments]
    for option, value in (("-o", "out.csv"), ("--model", tiny)):
        arguments += [] if option in arguments else [option, value]
    assert main(["keypoints", *arguments]) == 2
    answer = capfd.readouterr()
    assert message in answer.err
    assert answer.err.startswith("samepoint: error: ")
    assert answer.err.count("\n") == 1
    assert answer.out == ""
    assert sorted(path.name for path in folder.iterdir()) == sorted(files)
    assert Path("labels.csv").read_text() == LABELS
