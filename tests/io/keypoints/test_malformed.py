"""Whatever is in a file of keypoints, the answer is keypoints or one InputError that names file and place."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samepoint.errors import InputError
from samepoint.structures import Keypoints
from tests.io.keypoints.files import COCO, CVAT, CVAT_SKELETON, FILES, quick, write

BAD_CELLS = ["abc", "1;5", "1e999", "inf", "-inf", "0x10", "1_000", "１２", "--3", "1 2", "99999999999", "1e", "True"]


def refused(path: Path, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Keypoints.load(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("labels.csv", "bodyparts", "parts", "line 2: 'parts'; expected the header row 'bodyparts'"),
        ("labels.csv", "coords,,,x,y,x,y", "coords,,,x,y,x,z", "column 4 of the joints .tail z.: unknown coords"),
        ("labels.csv", "coords,,,x,y,x,y", "coords,,,x,y,x,x", "tail x. is there twice"),
        ("labels.csv", "nose,nose,tail", "nose,nosy,tail", "nose has no column y"),
        ("labels.csv", "77.25", "77,25", "line 4: 8 cells; expected 7"),
        ("labels.csv", "36.250", "", "line 4, nose: y is missing"),
        ("labels.csv", "img0010", "img0003", "line 5: labeled-data/mouse/img0003.png is there twice"),
        ("predicted.csv", "\n1,", "\n0,", "line 5: frame 0 is there twice"),
        ("predicted.csv", "\n1,", "\nimg1.png,", "line 4: a number among names of pictures"),
        ("predicted.csv", "\n1,", "\n1.5,", "line 5: '1.5' is not a frame; expected a whole number"),
        ("predicted.csv", "\n1,", "\n-1,", "line 5: '-1' is not a frame"),
        ("one_piece.csv", "labeled-data/mouse/img3.png", "1e3", "line 4: a number among names of pictures"),
        ("one_piece.csv", "labeled-data/mouse/img3.png", "", "line 4: a row without the name"),
        ("labels.csv", "labeled-data,mouse,img0010.png", ",,", "line 5: a row without the name"),
        ("several.csv", "labeled-data/pair/img07.png", "", "line 5: a row without the name"),
        ("sleap.csv", "frame_idx", "frame", "expected track,frame_idx"),
        ("sleap.csv", "tail.y", "tail.z", "column 8: 'tail.z'"),
        ("sleap.csv", "tail.y", "nose.y", "column 8: 'nose.y' is there twice"),
        ("sleap.csv", "tail.y", "ear.y", "node 'tail' has no column tail.y"),
        ("sleap.csv", "mouse2,0", "mouse1,0", "line 3: track 'mouse1' is in frame 0 twice, see line 2"),
        ("sleap.csv", "mouse1,3", "mouse1,3.5", "line 4: '3.5' is not a frame"),
        ("plain.csv", "bodypart", "part", "expected frame,bodypart,x,y"),
        ("plain.csv", "7,tail", "0,tail", "line 5: the same joint and frame as line 4"),
        ("plain.csv", "7,tail,3", "-7,tail,3", "line 5: '-7' is not a frame"),
        ("plain.csv", "0.25,0,0", "0.25,2,0", "line 5: visible: '2'"),
        ("plain.csv", '"tail"]', '"ear"]', "skeleton is"),
        ("cvat.xml", 'frame="4"', 'frame="-4"', r"track 0 \(nose\), frame -4: frame: '-4' is not a frame"),
        ("cvat.xml", 'frame="4"', 'frame="0"', r"track 0 \(nose\), frame 0: 'nose' of this individual is in frame 0"),
        ("cvat.xml", 'occluded="1"', 'occluded="yes"', "frame 4: occluded is 'yes'"),
        ("cvat.xml", "14.25,20.50", "14.25", "frame 4: points '14.25'; expected X,Y"),
        ("cvat.xml", "14.25,20.50", "14.25,nan", "frame 4: y is missing"),
        ("cvat.xml", "<annotations>", "<!DOCTYPE a><annotations>", "document type"),
        ("cvat.xml", "</track>", "</trak>", "not XML"),
        ("skeleton.xml", 'label="tail"', "", r"track 4 \(mouse\), frame 2: a joint of the skeleton needs a label"),
    ],
)
def test_malformed(tmp_path: Path, name: str, old: str, new: str, message: str) -> None:
    path = write(tmp_path, name)
    assert old in FILES[name]
    path.write_text(FILES[name].replace(old, new, 1))
    refused(path, message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("images"), "no list 'images'"),
        (lambda d: d["images"].append(3), r"images\[2\]: 3; expected an object"),
        (lambda d: d["images"][1].update(id=7), r"images\[1\]: id 7; expected a whole number that no other has"),
        (lambda d: d["images"][1].update(file_name=5), r"images\[1\]: file_name '5'"),
        (lambda d: d["images"][1].update(file_name="mouse/img0004.png"), "is there twice"),
        (lambda d: d["annotations"][1].update(image_id=8), r"annotations\[1\]: image_id 8 is that of no picture"),
        (lambda d: d["annotations"][1].update(category_id=4), "expected one that has keypoints"),
        (lambda d: d["annotations"][1].update(keypoints=[1, 2, 2]), r"annotations\[1\]: keypoints must be 9 numbers"),
        (lambda d: d["annotations"][1]["keypoints"].__setitem__(4, "3"), r"annotations\[1\]: keypoints\[4\] is 3"),
        (lambda d: d["annotations"][1]["keypoints"].__setitem__(4, True), r"annotations\[1\]: keypoints\[4\] is True"),
        (lambda d: d["annotations"][1]["keypoints"].__setitem__(2, 3), r"keypoints\[2\] is 3; expected v = 0, 1 or 2"),
        (lambda d: d["annotations"][1].update(image_id=7, track_id=1), r"annotations\[0\]: no individual or track_id"),
        (lambda d: d["categories"][0].update(keypoints=["a", "a", "b"]), r"categories\[0\]: two keypoints"),
        (lambda d: d["categories"][0].update(skeleton=[[0, 1]]), r"categories\[0\]: \[0, 1\] in skeleton"),
    ],
)
def test_malformed_coco(tmp_path: Path, change, message: str) -> None:
    data = copy.deepcopy(COCO)
    change(data)
    path = tmp_path / "a.json"
    path.write_text(json.dumps(data))
    refused(path, message)


def test_not_the_right_kind_of_file(tmp_path: Path) -> None:
    for name, text, message in [
        ("a.csv", "", "empty"),
        ("a.csv", "a,b\n1,2\n", "expected frame,bodypart,x,y"),
        ("a.csv", "track_id,t,y,x\n0,0,1,2\n", "napari tracks are written, not read"),
        ("a.csv", "scorer,me\n", "expected the header rows"),
        ("a.csv", 'scorer,"me\n', "not CSV"),
        ("a.csv", "scorer,me,me\nbodyparts,a,a\ncoords,x,y\n1.5,1,2\n", "line 4: '1.5' is not a frame"),
        ("a.csv", '# a "note"\n\nframe,bodypart,x,y\n0,"a,1,2\n', "line 4: not CSV"),
        ("a.csv", "# a note\n", "empty"),
        ("a.json", "[]", "a list of results"),
        ("a.json", "[" * 100000, "not JSON"),
        ("a.json", '{"images": NaN}', "not JSON"),
        ("a.json", "3", "expected an object"),
        ("a.xml", "", "not XML"),
        ("a.xml", "<a/>", "expected <annotations>"),
        ("a.xml", "<annotations><image/></annotations>", "CVAT for video 1.1"),
        ("a.xml", "<annotations/>", "no <points> in a <track>"),
        ("a.txt", "", "unknown suffix '.txt'"),
    ]:
        path = tmp_path / name
        path.write_text(text)
        refused(path, message)
    (tmp_path / "b.csv").write_bytes(b"frame,\xff\n")
    refused(tmp_path / "b.csv", "not UTF-8 text")
    refused(tmp_path / "none.csv", "no such file")
    with pytest.raises(InputError, match="unknown format 'yaml' for keypoints; expected one of csv, deeplabcut"):
        Keypoints.load(tmp_path / "a.csv", "yaml")
    with pytest.raises(InputError, match="napari is written, not read"):
        Keypoints.load(tmp_path / "a.csv", "napari")


@quick
@given(data=st.data())
def test_a_number_that_is_none_is_never_taken_for_one(tmp_path: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["labels.csv", "predicted.csv", "several.csv", "sleap.csv", "plain.csv"]))
    lines = FILES[name].splitlines()
    first = {"labels.csv": 3, "predicted.csv": 3, "several.csv": 4, "sleap.csv": 1, "plain.csv": 2}[name]
    place = {"labels.csv": 3, "predicted.csv": 1, "several.csv": 1, "sleap.csv": 3, "plain.csv": 2}[name]
    row = data.draw(st.integers(first, len(lines) - 1))
    cells = lines[row].split(",")
    column = data.draw(st.integers(place, len(cells) - 1 - (2 if name == "plain.csv" else 0)))
    cells[column] = data.draw(st.sampled_from(BAD_CELLS))
    path = tmp_path / name
    path.write_text("\n".join([*lines[:row], ",".join(cells), *lines[row + 1 :], ""]))
    refused(path, f"line {row + 1}")


@quick
@given(data=st.data())
def test_damaged_files(tmp_path: Path, data: st.DataObject) -> None:
    """Pieces taken out, doubled, moved or replaced: keypoints that are whole, or one line of InputError."""
    name = data.draw(st.sampled_from(sorted(FILES)))
    text = FILES[name]
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        stop = min(len(text), start + data.draw(st.integers(0, 20)))
        piece = data.draw(
            st.one_of(
                st.just(""),
                st.just(text[start:stop] * 2),
                st.sampled_from(
                    [",", "\n", '"', "<", "/>", "{", "]", "null", "-1", "1e400", "NaN", "\0", "#", "\ufeff"]
                ),
                st.text(max_size=4).filter(lambda piece: piece.isprintable()),
            )
        )
        text = text[:start] + piece + text[stop:]
    path = tmp_path / name
    path.write_bytes(text.encode())
    try:
        found = Keypoints.load(path)
    except InputError as error:
        message = str(error)
    else:
        message = f"{path}: fine"
        assert np.isfinite(found.xy[found.known]).all()
    assert message.startswith(str(path))
    assert "\n" not in message


def test_an_entity_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    for encoding in ("utf-8", "utf-16"):
        text = CVAT.replace("utf-8", encoding).replace("?>", '?><!DOCTYPE a [<!ENTITY b "bbbb">]>', 1)
        path.write_bytes(text.replace("mouse", "&b;").encode(encoding))
        refused(path, "document type")
    assert "track" in CVAT_SKELETON
