"""Files of matches: what goes in comes out, and what is no such file is refused in words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from samepoint.errors import InputError
from samepoint.io.matches import FORMATS, Template, check_format, load_matches, save_matches
from samepoint.io.matches.points import load_points
from samepoint.structures import Keypoints, Matches, Queries

SUFFIXES = (".csv", ".json", ".npz")
NAN = np.nan


def pairs(count: int = 2) -> list[Matches]:
    source = [[1.5, 2.25], [30.1, 4]]
    return [
        Matches(
            source,
            [[5.7, n], [NAN, NAN]],
            [0.9, 0.1],
            (10, 40),
            (30 + n, 44),
            ("nose", "tail, the"),
            "a,b.jpg",
            f"{n}.png",
        )
        for n in range(count)
    ]


def same(one: Matches, other: Matches) -> None:
    for key in ("source_xy", "target_xy", "confidence", "found"):
        np.testing.assert_array_equal(getattr(one, key), getattr(other, key), key)
    for key in ("names", "source", "target", "source_size", "target_size"):
        assert getattr(one, key) == getattr(other, key)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_many_targets_come_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"m{suffix}"
    save_matches(pairs(), path)
    for one, other in zip(load_matches(path), pairs(), strict=True):
        same(one, other)
    with pytest.raises(InputError, match="of 2 target pictures"):
        Matches.load(path)


FLOATS = st.floats(-1e6, 1e6, width=32)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), count=st.integers(1, 4), suffix=st.sampled_from(SUFFIXES))
def test_any_matches_come_back_to_the_last_bit(tmp_path: Path, data, count: int, suffix: str) -> None:
    text = st.text(st.characters(exclude_categories=("C", "Z")), max_size=6)
    confidence = data.draw(arrays(np.float32, count, elements=st.floats(0, 1, width=32)))
    target = data.draw(arrays(np.float32, (count, 2), elements=FLOATS))
    target[(confidence < 0.5) & data.draw(arrays(bool, count))] = NAN
    matches = Matches(
        data.draw(arrays(np.float32, (count, 2), elements=FLOATS)),
        target,
        confidence,
        (3, 4),
        (5, 6),
        tuple(data.draw(text) for _ in range(count)),
        data.draw(text),
        data.draw(text),
    )
    path = tmp_path / f"m{suffix}"
    matches.save(path)
    same(Matches.load(path), matches)


def test_the_csv_is_what_the_guide_says(tmp_path: Path) -> None:
    matches = Matches([[1, 2]], [[3.5, 4]], [0.75], (10, 20), (30, 40), ("nose",), "a.jpg", "b.jpg")
    matches.save(tmp_path / "m.csv")
    assert (tmp_path / "m.csv").read_text().splitlines() == [
        "# source=a.jpg",
        "# source_size=10x20",
        "target,point,name,source_x,source_y,target_x,target_y,found,confidence,target_height,target_width",
        "b.jpg,0,nose,1.0,2.0,3.5,4.0,1,0.75,30,40",
    ]


def test_dataframe() -> None:
    pytest.importorskip("pandas")
    table = pairs()[1].to_dataframe()
    assert table["found"].tolist() == [True, False]
    assert (table["target"][0], table["target_height"][0], table["name"][1]) == ("1.png", 31, "tail, the")
    assert np.isnan(table["target_x"][1])


def test_coco_is_what_others_read(tmp_path: Path) -> None:
    """Two individuals of three joints, one joint of the second unknown: read back by our own reader of COCO."""
    xy = np.array([[[[1, 1], [2, 2], [3, 3]], [[4, 4], [NAN, NAN], [6, 6]]]])
    keypoints = Keypoints([0], xy, ("a", "b", "c"), ("one", "two"), skeleton=((0, 2),))
    template = Template.of(keypoints)
    source = xy.reshape(-1, 2)[~np.isnan(xy.reshape(-1, 2)[:, 0])]
    found = np.array([0.9, 0.2, 0.8, 0.7, 0.6], np.float32)
    names = ("one a", "one b", "one c", "two a", "two c")
    matches = [
        Matches(source, source + n, found, (9, 9), (30 + n, 40), names, "s.jpg", f"folder/{n}.jpg") for n in (0, 10)
    ]
    path = tmp_path / "m.json"
    save_matches(matches, path, "coco", template)
    back = Keypoints.load(path)
    assert (back.images, back.individuals, back.bodyparts) == (("0.jpg", "10.jpg"), ("one", "two"), ("a", "b", "c"))
    assert back.skeleton == ((0, 2),)
    np.testing.assert_array_equal(back.xy[1, 0], [[11, 11], [NAN, NAN], [13, 13]])
    np.testing.assert_array_equal(back.xy[1, 1], [[14, 14], [NAN, NAN], [16, 16]])
    data = json.loads(path.read_text())
    assert data["images"][1] == {"id": 2, "file_name": "10.jpg", "width": 40, "height": 40}
    first = data["annotations"][0]
    assert first["keypoints"] == [0.5, 0.5, 2, 0, 0, 0, 2.5, 2.5, 2]  # COCO counts pixels from the middle of the first
    assert (first["num_keypoints"], first["bbox"]) == (2, [1, 1, 2, 2])
    np.testing.assert_allclose(first["confidence"], [0.9, 0.2, 0.8], atol=1e-6)
    assert len(data["annotations"]) == 4
    with pytest.raises(InputError, match="COCO file"):
        load_matches(path)


def test_coco_stays_of_the_category_it_was(tmp_path: Path) -> None:
    """Id, name, supercategory and what else a file says of the thing; of no other category in it."""
    horse = {"id": 7, "name": "horse", "supercategory": "animal", "keypoints": ["nose", "tail"], "skeleton": [[1, 2]]}
    cow = {**horse, "id": 3, "name": "cow"}
    annotation = {"id": 5, "image_id": 9, "category_id": 7, "keypoints": [1, 2, 2, 3, 4, 2], "num_keypoints": 2}
    images = [{"id": 9, "file_name": "s.jpg", "width": 9, "height": 9}]
    data = {"images": images, "annotations": [annotation], "categories": [{"id": 1, "name": "road"}, cow, horse]}
    (tmp_path / "labels.json").write_text(json.dumps(data))
    points = load_points(tmp_path / "labels.json", "s.jpg")
    xy = points.queries.xy
    matches = Matches(xy, xy, [1, 1], (9, 9), (9, 9), points.queries.name or (), "s.jpg", "t.jpg")
    save_matches([matches], tmp_path / "m.json", "coco", points.template)
    out = json.loads((tmp_path / "m.json").read_text())
    assert out["categories"] == [horse]
    assert out["annotations"][0]["category_id"] == 7
    assert Keypoints.load(tmp_path / "m.json").bodyparts == ("nose", "tail")
    plain = Template(("nose", "tail"), ((0, 0), (0, 1)))
    save_matches([matches], tmp_path / "m.json", "coco", plain)
    (category,) = json.loads((tmp_path / "m.json").read_text())["categories"]
    assert (category["id"], category["name"], category["supercategory"]) == (1, "object", "object")


def test_coco_of_plain_points(tmp_path: Path) -> None:
    save_matches(pairs(), tmp_path / "m.json", "coco")
    assert Keypoints.load(tmp_path / "m.json").bodyparts == ("nose", "tail, the")
    twice = Matches([[1, 1], [2, 2]], [[1, 1], [2, 2]], [1, 1], (9, 9), (9, 9), ("x", "x"))
    with pytest.raises(InputError, match="'x' is there twice"):
        save_matches([twice], tmp_path / "n.json", "coco")
    assert [path.name for path in tmp_path.iterdir()] == ["m.json"]


def test_what_cannot_be_written(tmp_path: Path) -> None:
    one = pairs(1)[0]
    empty = Matches(np.zeros((0, 2)), np.zeros((0, 2)), [], (1, 1), (1, 1))
    with pytest.raises(InputError, match="no match to write"):
        empty.save(tmp_path / "m.csv")
    with pytest.raises(InputError, match=r"two target pictures are called '0\.png'"):
        save_matches([one, one], tmp_path / "m.csv")
    with pytest.raises(InputError, match="several sources"):
        save_matches([*pairs(1), empty], tmp_path / "m.csv")
    for name, format, said in [
        ("m.xls", None, "expected one of .csv, .json, .npz"),
        ("m.csv", "coco", "expected one of .json"),
        ("m.csv", "tsv", "expected one of csv, json, npz, coco"),
    ]:
        with pytest.raises(InputError, match=said):
            check_format(name, format)
    assert FORMATS == ("csv", "json", "npz", "coco")
    assert not list(tmp_path.iterdir())


HEAD = "# source=a\n# source_size=3x4\n"
COLUMNS = "target,point,name,source_x,source_y,target_x,target_y,found,confidence,target_height,target_width\n"
BAD = {
    "empty.csv": ("", "empty"),
    "columns.csv": (f"{HEAD}a,b\n", "expected the columns"),
    "size.csv": (f"{COLUMNS}b,0,n,1,1,1,1,1,0.9,3,4\n", "source_size"),
    "cells.csv": (f"{HEAD}{COLUMNS}b,0,n\n", "line 4: 3 cells"),
    "number.csv": (f"{HEAD}{COLUMNS}b,0,n,1,1,one,1,1,0.9,3,4\n", "line 4"),
    "found.csv": (f"{HEAD}{COLUMNS}b,0,n,1,1,1,1,0,0.9,3,4\n", "line 4"),
    "order.csv": (f"{HEAD}{COLUMNS}b,1,n,1,1,1,1,1,0.9,3,4\n", "line 4"),
    "sizes.csv": (f"{HEAD}{COLUMNS}b,0,n,1,1,1,1,1,0.9,3,4\nb,1,n,1,1,1,1,1,0.9,3,5\n", "line 5"),
    "range.csv": (f"{HEAD}{COLUMNS}b,0,n,1,1,1,1,1,1.9,3,4\n", "0..1"),
    "text.json": ("{", "not JSON"),
    "list.json": ("[]", "source, source_size and targets"),
    "size.json": ('{"source": "", "source_size": [0, 1], "targets": []}', "source_size"),
    "target.json": ('{"source": "", "source_size": [1, 1], "targets": [3]}', "targets[0]"),
    "point.json": (
        '{"source": "", "source_size": [1, 1], "targets": [{"target": "", "size": [1, 1], "points": [3]}]}',
        "targets[0]: points[0]",
    ),
    "text.npz": ("once", "not NPZ"),
    "none.npz": (None, "no such file"),
    "m.txt": ("", "unknown suffix '.txt'"),
}


@pytest.mark.parametrize("name", BAD)
def test_malformed_files_are_refused(tmp_path: Path, name: str) -> None:
    text, said = BAD[name]
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as error:
        load_matches(tmp_path / name)
    assert said in str(error.value)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_points_of_a_picture_from_any_file(tmp_path: Path) -> None:
    for text, xy, names in [
        ("x,y\n1,2\n3,4\n", [[1, 2], [3, 4]], None),
        ("# note\nX,Y,Name\n1,2,nose\n", [[1, 2]], ("nose",)),
        ("frame,x,y\n7,1,2\n", [[1, 2]], None),
        ("frame,x,y,name\n7,1,2,tail\n", [[1, 2]], ("tail",)),
    ]:
        (tmp_path / "p.csv").write_text(text)
        points = load_points(tmp_path / "p.csv", "horse.jpg")
        assert (points.queries.xy.tolist(), points.queries.name, points.template) == (xy, names, None)
    for text, said in [
        ("x,y\n", "no point"),
        ("a,b\n1,2\n", "x,y"),
        ("", "empty"),
        ("x,y\n1,two\n", "line 2: y 'two'"),
    ]:
        (tmp_path / "p.csv").write_text(text)
        with pytest.raises(InputError, match=said):
            load_points(tmp_path / "p.csv", "horse.jpg")
    with pytest.raises(InputError, match="no such file"):
        load_points(tmp_path / "none.csv", "horse.jpg")


def test_points_of_one_picture_among_keypoints(tmp_path: Path) -> None:
    xy = [[[[1.5, 2.5], [NAN, NAN]]], [[[3.5, 4.5], [5.5, 6.5]]]]
    keypoints = Keypoints([-1, -1], xy, ("nose", "tail"), images=("zebra.jpg", "deep/horse.jpg"))
    keypoints.save(tmp_path / "k.json")
    points = load_points(tmp_path / "k.json", "elsewhere/horse.jpg")
    assert points.queries.xy.tolist() == [[3.5, 4.5], [5.5, 6.5]]
    assert (points.queries.name, points.is_coco) == (("nose", "tail"), True)
    template = load_points(tmp_path / "k.json", "zebra.jpg").template
    assert template is not None
    assert (template.keypoints, template.part, template.category["name"]) == (("nose", "tail"), ((0, 0),), "individual")
    with pytest.raises(InputError, match="holds 2 pictures"):
        load_points(tmp_path / "k.json", "cow.jpg")
    Keypoints([3, 9], xy, ("nose", "tail")).save(tmp_path / "k.csv")
    points = load_points(tmp_path / "k.csv", "clip.mp4", 9)
    assert (len(points.queries), points.is_coco) == (2, False)
    Keypoints([3, 9], xy, ("nose", "tail"), images=("v/img03.png", "v/img09.png")).save(tmp_path / "f.json")
    assert len(load_points(tmp_path / "f.json", "clip.mp4", 9).queries) == 2  # pictures that were its frames
    Keypoints([3], np.full((1, 1, 1, 2), NAN), ("nose",), labelled=[[[True]]]).save(tmp_path / "n.csv")
    with pytest.raises(InputError, match="no keypoint with a position"):
        load_points(tmp_path / "n.csv", "clip.mp4", 3)


def test_queries_of_a_video_still_need_their_frame(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("x,y\n1,2\n")
    with pytest.raises(InputError, match="frame,x,y"):
        Queries.load(tmp_path / "p.csv")
