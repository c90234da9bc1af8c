"""Files of keypoints read and written again: nothing is lost, and what cannot be kept is said."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from samepoint.structures import Keypoints
from tests.io.keypoints.files import COCO, FILES, WRITTEN, any_keypoints, content, quick, save, write
from tests.shared import shared_path


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".csv")])
def test_tables_come_back_byte_for_byte(tmp_path: Path, name: str) -> None:
    path, again = write(tmp_path, name), tmp_path / f"again_{name}"
    assert save(Keypoints.load(path), again) == []
    assert again.read_bytes() == path.read_bytes()


def test_line_ends_and_byte_order_mark_come_back(tmp_path: Path) -> None:
    path, again = tmp_path / "a.csv", tmp_path / "b.csv"
    for name in ("labels.csv", "sleap.csv", "predicted.csv", "plain.csv"):
        path.write_bytes(b"\xef\xbb\xbf" + FILES[name].replace("\n", "\r\n").encode())
        save(Keypoints.load(path), again)
        assert again.read_bytes() == path.read_bytes()


def test_coco_and_cvat_come_back_with_what_only_they_know(tmp_path: Path) -> None:
    again = tmp_path / "again.json"
    assert save(Keypoints.load(write(tmp_path, "coco.json")), again) == []
    assert json.loads(again.read_text()) == COCO
    for name in ("cvat.xml", "skeleton.xml"):
        path, again = write(tmp_path, name), tmp_path / "again.xml"
        save(Keypoints.load(path), again)
        assert ET.canonicalize(again.read_text(), strip_text=True) == ET.canonicalize(path.read_text(), strip_text=True)


@pytest.mark.parametrize(
    "note", ['# skeleton=[["nose","tail"]]', ' #skeleton = [ ["nose", "tail"] ]', '# "a note", 5" long']
)
def test_notes_above_a_table_are_no_csv(tmp_path: Path, note: str) -> None:
    path, again = tmp_path / "a.csv", tmp_path / "b.csv"
    path.write_text(FILES["plain.csv"].replace('# skeleton=[["nose", "tail"]]', note))
    keypoints = Keypoints.load(path)
    assert keypoints.skeleton == (((0, 1),) if "skeleton" in note else ())
    save(keypoints, again)
    assert again.read_bytes() == path.read_bytes()


def test_the_mouse_comes_back_through_every_format(tmp_path: Path) -> None:
    path = shared_path("data", "keypoints", "mirror-mouse", "CollectedData.csv")
    mouse = Keypoints.load(path)
    assert mouse.shape == (90, 1, 17)
    assert mouse.images[0] == "labeled-data/img01.png"
    assert mouse.frame[0] == 1
    np.testing.assert_array_equal(mouse.xy[0, 0, 0], np.float32([77.75, 36.75]))
    save(mouse, tmp_path / "mouse.csv")
    assert (tmp_path / "mouse.csv").read_bytes() == path.read_bytes()
    for format, suffix in WRITTEN.items():
        if format == "deeplabcut-h5":
            pytest.importorskip("h5py")
        other = tmp_path / f"other{suffix}"
        save(mouse, other, format.removesuffix("-h5"))
        assert content(Keypoints.load(other)) == content(mouse)


def test_positions_are_ours(tmp_path: Path) -> None:
    """The centre of the first pixel in each convention is (0.5, 0.5) in ours."""

    def xy(name: str, *place: int) -> list[float]:
        return Keypoints.load(write(tmp_path, name)).xy[place].tolist()

    assert xy("labels.csv", 0, 0, 0) == [77.75, 36.75]
    assert xy("predicted.csv", 0, 0, 1) == [1.5, 2.5]
    assert xy("sleap.csv", 0, 0, 0) == [12.75, 31]
    assert xy("coco.json", 0, 0, 2) == [6, 6.75]
    assert xy("cvat.xml", 0, 0, 0) == [10, 20.5]
    assert xy("plain.csv", 0, 0, 0) == [10.5, 20]


def test_what_the_files_say(tmp_path: Path) -> None:
    several = Keypoints.load(write(tmp_path, "several.csv"))
    assert (several.individuals, several.bodyparts) == (("a", "b", "single"), ("nose", "tail", "corner"))
    assert several.frame.tolist() == [7, 12]
    assert several.labelled.any(axis=2).tolist() == [[True, False, True], [False, True, True]]
    sleap = Keypoints.load(write(tmp_path, "sleap.csv"))
    assert sleap.confidence[:, :, 0].tolist() == [[1, 0.5], [0.75, 0]]
    coco = Keypoints.load(write(tmp_path, "coco.json"))
    assert (coco.size, coco.skeleton, coco.frame.tolist()) == ((48, 64), ((0, 2), (1, 0)), [4, 20])
    assert coco.visible[0, 0].tolist() == [True, False, False]
    assert coco.known[:, 0].tolist() == [[True, False, True], [True, False, True]]
    cvat = Keypoints.load(write(tmp_path, "cvat.xml"))
    assert (cvat.bodyparts, cvat.frame.tolist(), cvat.size) == (("nose", "tail"), [0, 1, 4], (48, 64))
    assert cvat.labelled[:, 0].tolist() == [[True, True], [False, False], [True, True]]
    assert cvat.known[:, 0].tolist() == [[True, True], [True, False], [True, False]]
    assert not cvat.visible[2, 0].any()
    skeleton = Keypoints.load(write(tmp_path, "skeleton.xml"))
    assert (skeleton.shape, skeleton.individuals) == ((1, 2, 2), ("0", "1"))
    assert skeleton.known[0].tolist() == [[True, True], [False, True]]
    plain = Keypoints.load(write(tmp_path, "plain.csv"))
    assert plain.skeleton == ((0, 1),)
    assert plain.labelled[:, 0].tolist() == [[True, True], [False, False]]


@quick
@given(keypoints=any_keypoints())
def test_any_keypoints_through_every_format(tmp_path: Path, keypoints: Keypoints) -> None:
    for format, suffix in WRITTEN.items():
        if format == "deeplabcut-h5":
            pytest.importorskip("h5py")
        path, again = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
        lost = save(keypoints, path, format.removesuffix("-h5"))
        found = Keypoints.load(path)
        kept = [] if any("confidence" in line for line in lost) else ["confidence"]
        kept += [] if any("hidden" in line for line in lost) or "confidence" not in kept else ["visible"]
        expected = keypoints
        if any("individuals" in line for line in lost):
            expected = replace(keypoints, individuals=[f"group {i + 1}" for i in range(keypoints.shape[1])])
            expected = replace(expected, individuals=dict(zip(expected.individuals, found.individuals, strict=False)))
        assert content(found, *kept) == content(expected, *kept)
        assert save(found, again) == [line.replace("a.", "b.", 1) for line in save(found, path)]
        if suffix != ".h5":
            assert again.read_bytes() == path.read_bytes()


def test_a_moved_joint_changes_nothing_else(tmp_path: Path) -> None:
    for name in ("labels.csv", "predicted.csv", "sleap.csv", "plain.csv"):
        path, again = write(tmp_path, name), tmp_path / "again.csv"
        keypoints = Keypoints.load(path)
        xy = keypoints.xy.copy()
        xy[1, 0, 1] = 33.25, 44.75
        save(replace(keypoints, xy=xy), again, keypoints.source.format)
        before, after = path.read_text().splitlines(), again.read_text().splitlines()
        changed = [number for number, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
        assert len(changed) == 1, name
        np.testing.assert_array_equal(Keypoints.load(again).xy, xy)


def test_an_edited_annotation_keeps_its_own_box(tmp_path: Path) -> None:
    """What scores COCO's keypoints goes by the area."""
    path = tmp_path / "coco.json"
    data = json.loads(FILES["coco.json"])
    data["annotations"][0] |= {"bbox": [1.0, 2, 30, 40], "area": 777.5}
    path.write_text(json.dumps(data))
    keypoints = Keypoints.load(path)
    xy = keypoints.xy.copy()
    xy[0, 0, 0] = 12.5, 13.5
    xy[1, 0, 2] = 3.5, 4.5
    save(replace(keypoints, xy=xy), path)
    first, second = json.loads(path.read_text())["annotations"]
    assert first == data["annotations"][0] | {"keypoints": [12, 13, 2, 0, 0, 0, 5.5, 6.25, 1]}
    assert (second["bbox"], second["area"]) == ([3.5, 4.5, 8.0, 17.0], 136.0)


def test_new_frames_join_what_was_read(tmp_path: Path) -> None:
    for name in ("coco.json", "cvat.xml", "skeleton.xml"):
        path = write(tmp_path, name)
        keypoints = Keypoints.load(path)
        frames = np.append(keypoints.frame, 30)
        xy = np.concatenate([keypoints.xy, np.full((1, *keypoints.shape[1:], 2), 8.25)])
        images = (*keypoints.images, "mouse/img0030.png") if keypoints.images else ()
        more = replace(
            keypoints,
            frame=frames,
            xy=xy,
            images=images,
            confidence=None,
            visible=np.concatenate([keypoints.visible, np.ones((1, *keypoints.shape[1:]), bool)]),
            labelled=np.concatenate([keypoints.labelled, np.ones((1, *keypoints.shape[1:]), bool)]),
            origin=np.append(keypoints.origin, -1),
        )
        save(more, path)
        found = Keypoints.load(path)
        assert content(found, "visible", "labelled") == content(more, "visible", "labelled"), name
    assert json.loads((tmp_path / "coco.json").read_text())["annotations"][:2] == COCO["annotations"]


def test_a_moved_interpolation_becomes_a_keyframe(tmp_path: Path) -> None:
    """Else CVAT would pass over it."""
    path = write(tmp_path, "cvat.xml")
    keypoints = Keypoints.load(path)
    xy = keypoints.xy.copy()
    xy[1, 0, 0] = 11.5, 21
    assert "labelled by a person" in " ".join(save(replace(keypoints, xy=xy), path))
    found = Keypoints.load(path)
    np.testing.assert_array_equal(found.xy, xy)
    assert found.labelled[:, 0, 0].all()


def test_tracks_for_napari(tmp_path: Path) -> None:
    save(Keypoints.load(write(tmp_path, "cvat.xml")), tmp_path / "napari.csv", "napari")
    lines = (tmp_path / "napari.csv").read_text().splitlines()
    assert lines[0] == "track_id,t,y,x,individual,bodypart,likelihood,visible,labelled"
    assert lines[1] == "0,0,20.0,9.5,,nose,1.0,1,1"
    assert [line.split(",")[:2] for line in lines[1:]] == [["0", "0"], ["0", "1"], ["0", "4"], ["1", "0"]]
