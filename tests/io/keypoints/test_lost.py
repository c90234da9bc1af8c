"""What a format cannot hold is said, and what it would hold wrongly is refused."""

from __future__ import annotations

import copy
import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from samepoint.errors import InputError
from samepoint.structures import Keypoints
from tests.io.keypoints.files import COCO, CVAT, CVAT_SKELETON, DLC_LABELS, FILES, content, save, write

NOT_LABELLED = "that joints were not labelled in some frames"


def of_pictures(*images: str) -> Keypoints:
    """Two individuals in pictures, read from a file that names them."""
    annotations = [
        {"id": n + 1, "image_id": n // 2, "category_id": 1, "individual": "ab"[n % 2], "keypoints": [n, n, 2]}
        for n in range(2 * len(images))
    ]
    pictures = [{"id": n, "file_name": image} for n, image in enumerate(images)]
    categories = [{"id": 1, "name": "mouse", "keypoints": ["nose"]}]
    path = Path("pictures.json")
    path.write_text(json.dumps({"images": pictures, "annotations": annotations, "categories": categories}))
    return Keypoints.load(path)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (("a/img3.png", "a/front.png"), "the name of the picture a/front.png does not end in a frame number"),
        (("20261231235959.png",), "the name of the picture 20261231235959.png does not end in a frame number"),
        (("v1/img1.png", "v2/img1.png"), "v1/img1.png and v2/img1.png are both frame 1"),
    ],
)
def test_pictures_without_frames_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    pictures = of_pictures(*images)
    for format, name in (("csv", "a.csv"), ("sleap", "a.csv"), ("napari", "a.csv"), ("cvat", "a.xml")):
        with pytest.raises(InputError, match=f"^{name}: {format} counts frames, but {message}; expected deeplabcut or"):
            pictures.save(name, format)
        assert not Path(name).exists()
    for format, name in (("deeplabcut", "a.csv"), ("coco", "a.json")):
        save(pictures, Path(name), format)
        assert Keypoints.load(name).images == images
        assert content(Keypoints.load(name)) == content(pictures)
    placed = replace(pictures, frame=np.arange(len(images)))
    save(placed, tmp_path / "a.csv", "csv")
    assert content(Keypoints.load("a.csv")) == content(placed)


def test_coco_names_all_individuals_or_none(tmp_path: Path) -> None:
    mixed = Keypoints([0], np.ones((1, 2, 1, 2)), ("nose",), ("rat", ""))
    save(mixed, tmp_path / "a.json")
    assert Keypoints.load(tmp_path / "a.json").individuals == ("rat", "individual1")
    save(replace(mixed, individuals=("", "individual1")), tmp_path / "a.json")
    assert Keypoints.load(tmp_path / "a.json").individuals == ("individual2", "individual1")


def test_coco_without_names_gets_them_where_frames_are_added(tmp_path: Path) -> None:
    data = json.loads(FILES["coco.json"])
    joints = data["annotations"][0]["keypoints"]
    same = {
        "image_id": data["images"][0]["id"],
        "category_id": data["annotations"][0]["category_id"],
        "keypoints": joints,
    }
    data["annotations"] = [{"id": 1, **same}, {"id": 2, **same}]
    (tmp_path / "a.json").write_text(json.dumps(data))
    known = Keypoints.load(tmp_path / "a.json")
    assert known.individuals == ("0", "1")
    twice = np.concatenate([known.xy, known.xy])
    more = replace(
        known,
        frame=np.array([known.frame[0], known.frame[0] + 1]),
        xy=twice,
        confidence=np.concatenate([known.confidence] * 2),
        visible=np.concatenate([known.visible] * 2),
        labelled=np.concatenate([known.labelled] * 2),
        images=(),
        origin=np.array([0, -1]),
    )
    save(more, tmp_path / "b.json", "coco")
    assert Keypoints.load(tmp_path / "b.json").individuals == ("0", "1")
    assert Keypoints.load(tmp_path / "b.json").shape[0] == 2


def test_coco_takes_names_with_any_kind_of_space(tmp_path: Path) -> None:
    data = json.loads(FILES["coco.json"])
    data["images"][0]["file_name"] = "Screenshot 10.00\u202fAM 000004.PNG"
    (tmp_path / "a.json").write_text(json.dumps(data))
    assert Keypoints.load(tmp_path / "a.json").frame[0] == 4
    data["images"][0]["file_name"] = "two\nlines.PNG"
    (tmp_path / "a.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"file_name 'two.*expected the name of a picture"):
        Keypoints.load(tmp_path / "a.json")


def test_several_individuals_in_pictures_of_a_frame_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pictures = of_pictures("a/img1.png", "b/img2.png")
    for format in ("csv", "sleap"):
        save(pictures, Path("a.csv"), format)
        assert content(Keypoints.load("a.csv")) == content(pictures)
    save(pictures, Path("a.xml"))
    assert Keypoints.load("a.xml").xy.tolist() == pictures.xy.tolist()


def shown(path: Path) -> list[tuple[str, int]]:
    """Label and frame, of 0 to 30, of what CVAT shows: keyframes alone count, and hold until the next."""
    found = []
    for track in ET.parse(path).getroot().findall("track"):
        keyframes = [(int(e.get("frame")), e.get("outside")) for e in track if e.get("keyframe") == "1"]
        for frame in range(31):
            last = [outside for at, outside in keyframes if at <= frame]
            found += [(track.get("label"), frame)] if last and last[-1] == "0" else []
    return found


def test_cvat_shows_nothing_where_nothing_was_labelled(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    xy = np.ones((3, 2, 2, 2))
    xy[1, 1] = np.nan  # the second individual was not labelled in frame 10
    keypoints = Keypoints([0, 10, 20], xy, ("nose", "tail"), ("a", "b"))
    assert any(NOT_LABELLED in line for line in save(keypoints, path))
    found = Keypoints.load(path)
    np.testing.assert_array_equal(found.xy, keypoints.xy)
    assert found.labelled[1].tolist() == [[True, True], [True, True]]
    assert shown(path).count(("nose", 15)) == 1
    assert shown(path).count(("nose", 25)) == 2
    assert not any(NOT_LABELLED in line for line in save(found, path))


def test_cvat_keeps_what_was_labelled_as_missing(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    xy = np.ones((6, 1, 2, 2))
    xy[[0, 1, 3, 4, 5], 0, 1] = np.nan
    labelled = np.ones((6, 1, 2), bool)
    labelled[4, 0, 1] = False
    keypoints = Keypoints(np.arange(6), xy, ("nose", "tail"), labelled=labelled)
    assert not any(NOT_LABELLED in line for line in save(keypoints, path))
    found = Keypoints.load(path)
    np.testing.assert_array_equal(found.xy, keypoints.xy)
    np.testing.assert_array_equal(found.labelled, keypoints.labelled)
    assert [frame for label, frame in shown(path) if label == "tail"] == [2]
    never = replace(keypoints.select([0, 1]), labelled=np.ones((2, 1, 2), bool))
    save(never, path)
    assert Keypoints.load(path).labelled.all()


def grown(keypoints: Keypoints, frame: int, xy: np.ndarray, labelled: np.ndarray) -> Keypoints:
    """One frame more."""
    return replace(
        keypoints,
        frame=np.append(keypoints.frame, frame),
        xy=np.concatenate([keypoints.xy, [xy]]),
        labelled=np.concatenate([keypoints.labelled, [labelled]]),
        visible=np.concatenate([keypoints.visible, [~np.isnan(xy[..., 0])]]),
        confidence=None,
        origin=np.append(keypoints.origin, -1),
    )


def test_joints_missing_in_a_frame_that_a_cvat_file_gets(tmp_path: Path) -> None:
    xy = np.full((1, 2, 2), np.nan)
    xy[0, 0] = 3, 4
    for said in (True, False):
        path = write(tmp_path, "cvat.xml")
        more = grown(Keypoints.load(path), 30, xy, np.array([[True, said]]))
        assert not any(NOT_LABELLED in line for line in save(more, path))
        np.testing.assert_array_equal(Keypoints.load(path).labelled, more.labelled)
    path = write(tmp_path, "skeleton.xml")
    keypoints = Keypoints.load(path)
    more = grown(keypoints, 30, np.concatenate([xy, xy]), np.array([[True, False]] * 2))
    assert any(NOT_LABELLED in line for line in save(more, path))
    np.testing.assert_array_equal(Keypoints.load(path).xy, more.xy)
    assert Keypoints.load(path).labelled[1].all()


def test_a_joint_that_a_skeleton_lacks_in_a_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    start, stop = CVAT_SKELETON.index("    <skeleton"), CVAT_SKELETON.index("  </track>")
    whole = CVAT_SKELETON[start:stop]
    tail = whole[whole.index('      <points label="tail"') : whole.index("    </skeleton>")]
    later = whole.replace('frame="2"', 'frame="5"')
    path.write_text(CVAT_SKELETON[:start] + whole.replace(tail, "") + later + CVAT_SKELETON[stop:])
    keypoints = Keypoints.load(path)
    assert keypoints.known[:, 0].tolist() == [[True, False], [True, True]]
    xy, visible = keypoints.xy.copy(), keypoints.visible.copy()
    xy[0, 0, 1], visible[0, 0, 1] = (3, 4), True
    labelled = keypoints.labelled | visible
    save(replace(keypoints, xy=xy, visible=visible, labelled=labelled, confidence=None), path)
    found = Keypoints.load(path)
    np.testing.assert_array_equal(found.xy, xy)
    np.testing.assert_array_equal(found.visible, visible)


def test_a_joint_without_a_track(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(
        CVAT.replace("</annotations>", CVAT[CVAT.index("  <track") : CVAT.index('  <track id="1"')]) + "</annotations>"
    )
    keypoints = Keypoints.load(path)
    assert keypoints.shape == (3, 2, 2)
    assert not keypoints.known[:, 1, 1].any()
    xy = keypoints.xy.copy()
    xy[0, 1, 1] = 3, 4
    lost = save(replace(keypoints, xy=xy, confidence=None), path)
    assert any("the positions of joints that have no track" in line for line in lost)


def test_a_keyframe_that_is_none_any_more(tmp_path: Path) -> None:
    path = write(tmp_path, "cvat.xml")
    keypoints = Keypoints.load(path)
    lost = save(replace(keypoints, labelled=np.zeros(keypoints.shape, bool)), path)
    assert any("labelled by a person" in line for line in lost)
    assert any(NOT_LABELLED in line for line in lost)


def test_what_is_lost_is_said(tmp_path: Path) -> None:
    plain = Keypoints.load(write(tmp_path, "plain.csv"))
    said = " ".join(save(plain, tmp_path / "a.json"))
    assert "coco cannot hold the confidence of each joint" in said
    assert "labelled by a person" in said
    assert "skeleton" not in said
    assert "the skeleton" in " ".join(save(plain, tmp_path / "a.xml"))
    coco = Keypoints.load(write(tmp_path, "coco.json"))
    said = " ".join(save(coco, tmp_path / "b.csv", "sleap"))
    assert "which joints are hidden" in said
    assert "the names of the pictures" in said
    several = Keypoints.load(write(tmp_path, "several.csv"))
    assert "the names of the individuals" in " ".join(save(several, tmp_path / "c.xml"))


BOXES = """\
  <track id="7" label="cage" source="manual">
    <box frame="0" keyframe="1" outside="0" occluded="0" xtl="1" ytl="1" xbr="2" ybr="2" z_order="0" />
    <polygon frame="4" keyframe="1" outside="0" occluded="0" points="1,1;2,2;3,1" z_order="0" />
  </track>
  <track id="8" label="cage" source="manual">
    <box frame="0" keyframe="1" outside="0" occluded="0" xtl="1" ytl="1" xbr="2" ybr="2" z_order="0" />
  </track>
</annotations>
"""
RICH = copy.deepcopy(COCO)
RICH["images"] += [{"id": 10, "file_name": "mouse/img0030.png", "width": 64, "height": 48}]
RICH["annotations"][0] |= {"area": 12, "segmentation": [[1, 2, 3, 4]], "iscrowd": 0}
RICH["annotations"] += [{"id": 3, "image_id": 9, "category_id": 3, "bbox": [1, 1, 2, 2]}]


@pytest.mark.parametrize(
    ("name", "text", "target", "held"),
    [
        ("a.csv", DLC_LABELS, "b.json", "coco cannot hold what else is in the deeplabcut file: the scorer rick"),
        ("a.csv", DLC_LABELS.replace("rick", '"ri\nck"', 1), "b.json", "'the scorer ri\\nck', the scorer rick"),
        (
            "a.xml",
            CVAT.replace("</annotations>\n", BOXES),
            "b.csv",
            "csv cannot hold what else is in the cvat file: <attribute>, <box>, <polygon>, <meta>, the size of the "
            "pictures",
        ),
        ("a.xml", CVAT.replace("<name>mouse</name>", ""), "b.json", "in the cvat file: <attribute>"),
        ("a.xml", CVAT_SKELETON, "b.csv", "in the cvat file: the label mouse"),
        (
            "a.json",
            json.dumps(RICH),
            "b.csv",
            "csv cannot hold what else is in the coco file: info, bbox, note, area, segmentation, the category mouse, "
            "the size of the pictures, annotations without keypoints, pictures without keypoints",
        ),
        ("a.json", json.dumps(COCO), "b.xml", "in the coco file: info, bbox, note, the category mouse"),
        ("a.csv", FILES["sleap.csv"], "b.json", "the scores of instances, how far scores are above 1"),
        ("a.csv", "# by me, in May\n" + FILES["plain.csv"], "b.json", "in the csv file: the notes above its header"),
    ],
)
def test_what_else_a_file_holds_is_said_where_another_format_is_written(
    tmp_path: Path, name: str, text: str, target: str, held: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    keypoints = Keypoints.load(path)
    found = [
        line for line in save(keypoints, tmp_path / target, "csv" if target == "b.csv" else None) if "what else" in line
    ]
    assert len(found) == 1
    assert found[0].endswith(held)
    assert not any("what else" in line for line in save(keypoints, tmp_path / f"again_{name}"))


def test_what_was_written_here_has_nothing_else(tmp_path: Path) -> None:
    keypoints = Keypoints([0, 3], np.ones((2, 1, 1, 2)), ("nose",), skeleton=((0, 0),))
    for format, suffix in (("csv", ".csv"), ("deeplabcut", ".csv"), ("cvat", ".xml")):
        path = tmp_path / f"a{suffix}"
        save(keypoints, path, format)
        assert not any("what else" in line for line in save(Keypoints.load(path), tmp_path / "b.json")), format


def test_tracks_of_boxes_are_no_individuals(tmp_path: Path) -> None:
    path, again = tmp_path / "a.xml", tmp_path / "b.xml"
    path.write_text(CVAT.replace("</annotations>\n", BOXES))
    found = Keypoints.load(path)
    assert (found.shape, found.individuals) == ((3, 1, 2), ("",))
    save(found, again)
    assert ET.canonicalize(again.read_text(), strip_text=True) == ET.canonicalize(path.read_text(), strip_text=True)
