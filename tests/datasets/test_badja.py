"""BADJA's reader on a small made-up copy and on the real data."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from samepoint.datasets.badja import EXPECTED, JOINTS, check, names, read_badja, sequences
from samepoint.errors import InputError
from tests.shared import shared_path


def entry(frame, row, column, seen):
    path = f"DAVIS/JPEGImages/Full-Resolution/cow/{frame:05d}.jpg"
    return {
        "image_path": path,
        "segmentation_path": path,
        "joints": [[row, column]] * 37,
        "visibility": [seen and j == 36 for j in range(37)],
    }


@pytest.fixture
def root(tmp_path):
    """A cow of 20x10 pixels in frames 3 to 5, annotated in 3 and 5: annotations beside frames in davis/."""
    notes = tmp_path / "badja" / "joint_annotations"
    notes.mkdir(parents=True)
    (notes / "cow.json").write_text(json.dumps([entry(3, 0, 0, True), entry(5, 1079, 959, False)]))
    pictures, masks = (tmp_path / "davis" / kind / "480p" / "cow" for kind in ("JPEGImages", "Annotations"))
    pictures.mkdir(parents=True)
    masks.mkdir(parents=True)
    for t in range(8):
        Image.new("RGB", (20, 10), (10 * t, 0, 0)).save(pictures / f"{t:05d}.jpg")
        mask = Image.new("P", (20, 10))
        mask.putpalette([0, 0, 0, 128, 0, 0])
        mask.paste(1, (0, 0, 10, t))
        mask.save(masks / f"{t:05d}.png")
    return tmp_path


def test_small_sequence(root):
    (cow,) = read_badja(root)
    assert (cow.name, cow.size, cow.joints_xy.shape) == ("cow", (10, 20), (20, 2, 2))
    assert [path.name for path in cow.frame_paths] == ["00003.jpg", "00004.jpg", "00005.jpg"]
    np.testing.assert_array_equal(cow.annotated, [0, 2])
    np.testing.assert_allclose(cow.joints_xy[0], [[0.5 / 96, 0.5 / 108], [959.5 / 96, 1079.5 / 108]], rtol=1e-6)
    np.testing.assert_allclose(cow.protocol_xy((108, 192))[0], [[0, 0], [95.9, 107.9]], rtol=1e-6)
    np.testing.assert_array_equal(cow.visible.sum(axis=0), [1, 0])
    assert cow.visible[JOINTS.index(36), 0]
    np.testing.assert_array_equal(cow.masks(None).sum(axis=(1, 2)), [30, 50])
    np.testing.assert_array_equal(cow.masks((20, 40)).sum(axis=(1, 2)), [120, 200])
    frames = cow.frames((5, 7))
    assert (frames.shape, frames.dtype) == ((3, 5, 7, 3), np.uint8)
    np.testing.assert_allclose(frames.mean(axis=(1, 2))[:, 0], [30, 40, 50], atol=2)
    assert cow.frames(None).shape == (3, 10, 20, 3)


def test_missing_pieces_are_named(root):
    with pytest.raises(InputError, match="'dog'; there are cow"):
        list(read_badja(root, ("dog",)))
    with pytest.raises(InputError, match="joint_annotations: no such folder"):
        list(read_badja(root / "davis"))
    (root / "davis/JPEGImages/480p/cow/00004.jpg").unlink()
    with pytest.raises(InputError, match=r"00004\.jpg: missing"):
        list(read_badja(root))
    (root / "davis/Annotations/480p/cow").rename(root / "elsewhere")
    with pytest.raises(InputError, match="no Annotations folder; looked for"):
        list(read_badja(root))


def changed(**values):
    return json.dumps([entry(3, 0, 0, True) | values])


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        "[{}]",
        '[{"image_path": "1.jpg", "joints": [], "visibility": []}]',
        changed(image_path="../00003.jpg"),
        changed(image_path="cow.jpg"),
        changed(image_path=3),
        changed(joints=[[1, 2]] * 36),
        changed(joints=[[1, "2"]] * 37),
        changed(joints=[[1, float("nan")]] * 37),
        changed(joints=[[1, 2, 3]] * 37),
        changed(visibility=["false"] * 37),
        json.dumps([entry(5, 0, 0, True), entry(3, 0, 0, True)]),
        "[" * 100_000,
    ],
)
def test_broken_annotation_is_named(root, text):
    (root / "badja/joint_annotations/cow.json").write_text(text)
    with pytest.raises(InputError, match=r"cow\.json"):
        list(read_badja(root))


def test_broken_picture_is_named(root):
    (cow,) = read_badja(root)
    cow.frame_paths[1].write_bytes(b"not a picture")
    with pytest.raises(InputError, match=r"00004\.jpg: not a picture"):
        cow.frames()


def test_real_counts():
    """Table 4.1 of the protocol for the three development animals."""
    shared_path("data", "badja")
    counted = {}
    for animal in read_badja(shared_path("data")):
        seen = animal.visible
        counted[animal.name] = (
            seen.shape[1],
            len(animal.frame_paths),
            int(seen.sum()),
            int(seen[:, 1:].sum()),
            int((seen[:, 1:] & ~seen[:, :1]).sum()),
        )
        assert animal.size == (480, 854)
        # A joint that is seen lies on the animal or next to it, which fails when x and y are exchanged.
        mask = animal.masks(None)[0]
        column, row = animal.joints_xy[seen[:, 0], 0].astype(int).T
        assert np.mean([mask[y - 8 : y + 9, x - 8 : x + 9].any() for x, y in zip(column, row, strict=True)]) > 0.9
    assert counted == {
        "camel": (18, 84, 331, 311, 0),
        "horsejump-high": (10, 50, 169, 151, 12),
        "horsejump-low": (12, 58, 210, 191, 1),
    }


PICTURE, MASK = "JPEGImages/Full-Resolution", "Annotations/Full-Resolution"


@pytest.fixture
def official(tmp_path):
    """The official folder: a bear in Full-Resolution, a camel in 480p, a tiger among the extra videos, a lost dog."""
    (tmp_path / "joint_annotations").mkdir()
    note("bear", tmp_path, [entry(2, 1079, 1919, True), entry(4, 0, 0, False)])
    draw(tmp_path / "DAVIS" / PICTURE / "bear", ".jpg", range(2, 5), (1920, 1080))
    draw(tmp_path / "DAVIS" / MASK / "bear", ".png", (2, 4), (1920, 1080))
    note("camel", tmp_path, [entry(0, 1079, 959, True)])
    draw(tmp_path / "DAVIS/JPEGImages/480p/camel", ".jpg", [0], (854, 480))
    draw(tmp_path / "DAVIS/Annotations/480p/camel", ".png", [0], (854, 480))
    note("dog", tmp_path, [entry(0, 0, 0, True)])
    paths = [
        {"image_path": f"extra_videos/tiger/rgb_{t}.png", "segmentation_path": f"extra_videos/tiger_masks/{t}.png"}
        for t in (8, 12)
    ]
    note("tiger", tmp_path, [entry(0, 9, 19, True) | path for path in paths])
    return tmp_path


def note(name, root, entries):
    (root / "joint_annotations" / f"{name}.json").write_text(json.dumps(entries))


def draw(folder, suffix, numbers, size, stem="{:05d}"):
    folder.mkdir(parents=True, exist_ok=True)
    for t in numbers:
        Image.new("L" if suffix == ".png" else "RGB", size).save(folder / f"{stem.format(t)}{suffix}")


def test_official_layout(official):
    assert names(official) == names(official, extra=True) == ("bear", "camel")
    bear, camel = sequences(official)
    assert (bear.name, len(bear.frame_paths), bear.size, bear.extra) == ("bear", 3, (1080, 1920), False)
    np.testing.assert_array_equal(bear.annotated, [0, 2])
    np.testing.assert_array_equal(bear.joints_xy[0], [[1919.5, 1079.5], [0.5, 0.5]])
    np.testing.assert_allclose(camel.joints_xy[0, 0], [959.5 * 854 / 1920, 1079.5 * 480 / 1080], rtol=1e-6)
    assert [animal.name for animal in sequences(official, only={"camel"})] == ["camel"]
    with pytest.raises(InputError, match="no animal 'dog' with frames and masks; there are bear, camel"):
        sequences(official, only=["dog"])


def test_extra_videos_are_no_part_of_the_published_figures(official):
    folder = official / "extra_videos"
    for t in (8, 9, 10, 12, 20):  # with a hole, in natural order, and one after the last annotation
        draw(folder / "tiger", ".png", [t], (40, 20), "rgb_{}")
    draw(folder / "tiger_masks", ".png", (8, 12), (40, 20), "{}")
    assert names(official) == ("bear", "camel")
    assert names(official, extra=True) == ("bear", "camel", "tiger")
    tiger = sequences(official, extra=True)[2]
    assert [path.name for path in tiger.frame_paths] == ["rgb_8.png", "rgb_9.png", "rgb_10.png", "rgb_12.png"]
    np.testing.assert_array_equal(tiger.annotated, [0, 3])
    np.testing.assert_array_equal(tiger.joints_xy[0, 0], [19.5, 9.5])  # placed at the video's own size
    np.testing.assert_allclose(tiger.protocol_xy((40, 80))[0, 0], [38, 18])
    assert tiger.masks().shape == (2, 320, 512)


def test_an_incomplete_animal_is_left_out_and_told(official):
    (official / "DAVIS" / PICTURE / "bear/00003.jpg").unlink()
    (official / "joint_annotations/dog.json").write_text("{")
    assert names(official) == ("camel",)
    assert [animal.name for animal in sequences(official)] == ["camel"]
    answer = check(official)
    assert answer.found == 1
    for told in (r"bear/00003\.jpg: missing", r"dog\.json: not a BADJA annotation"):
        assert re.search(told, "\n".join(answer.missing))
        with pytest.raises(InputError, match=told):
            sequences(official, only=["bear", "dog"] if "bear" in told else ["dog"])


def test_check_says_what_lacks(official, root):
    answer = check(official)
    assert (answer.name, answer.root, answer.found) == ("badja", official, 2)
    lacking = "\n".join(answer.missing)
    for name in EXPECTED.keys() - {"bear", "camel", "dog"}:
        assert f"{name}.json; get joint_annotations/ from github.com/benjiebob/BADJA" in lacking
    assert "dog: no JPEGImages folder" in lacking
    assert "DAVIS-2017-trainval-Full-Resolution.zip" in lacking
    assert len(answer.missing) == 5
    assert "bear: (2, 1) annotated frames and visible joints, published (17, 300)" in answer.notes
    assert "frames of bear 1920x1080, camel 854x480; the joints were placed at 1920x1080" in answer.notes
    assert any(note.startswith("tiger: an extra video that is not here") for note in answer.notes)
    nothing = check(root / "davis")
    assert nothing.found == 0
    assert "joint_annotations" in nothing.missing[0]


@pytest.mark.parametrize("parts", [("data",), ("data", "badja")])
def test_real_layout_from_either_folder(parts):
    shared_path("data", "badja")
    root = shared_path(*parts)
    assert names(root) == ("camel", "horsejump-high", "horsejump-low")
    answer = check(root)
    assert (answer.found, len(answer.missing)) == (3, 4)
    assert not [note for note in answer.notes if "published (" in note]  # the counts are those of table 4.1


SCRAPS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "00001.jpg", "extra_videos/a/1.png"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*entry(0, 0, 0, True)]), inner),
    max_leaves=12,
)


@settings(max_examples=60)
@given(key=st.sampled_from([*entry(0, 0, 0, True)]), value=SCRAPS, whole=st.booleans())
def test_any_json_is_used_or_named(tmp_path_factory, key, value, whole):
    root = tmp_path_factory.mktemp("badja")
    (root / "joint_annotations").mkdir()
    path = root / "joint_annotations" / "cow.json"
    path.write_text(json.dumps(value if whole else [entry(3, 0, 0, True) | {key: value}]))
    with pytest.raises(InputError, match=r"cow\b"):
        list(read_badja(root))  # there are no frames, so that an annotation that can be used fails at these
    assert check(root).found == 0


@settings(max_examples=40)
@given(data=st.binary(max_size=40))
def test_any_bytes_are_named(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("badja")
    (root / "joint_annotations").mkdir()
    (root / "joint_annotations" / "cow.json").write_bytes(data)
    with pytest.raises(InputError, match=r"cow\.json"):
        list(read_badja(root))
