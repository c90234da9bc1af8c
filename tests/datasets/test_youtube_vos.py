"""YouTube-VOS on a tiny copy in the official layout."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from samepoint.datasets import youtube_vos
from samepoint.errors import InputError
from tests.datasets import pair_trees as trees
from tests.datasets.fuzz import used_or_named

META = {"videos": {"003234408d": {"objects": {"1": {"category": "penguin", "frames": ["00000"]}, "2": {}}}}}


@pytest.fixture
def root(tmp_path):
    train = tmp_path / "train"
    for name, frames in {"003234408d": (0, 5, 10), "0043f083b5": (0, 5)}.items():
        for t in frames:
            trees.picture(train / "JPEGImages" / name / f"{t:05d}.jpg", shade=t)
    labels = np.zeros((40, 60), np.uint8)
    labels[2:9] = 2
    for t in (0, 10):
        path = train / "Annotations" / "003234408d" / f"{t:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(labels, "L").convert("P") if t else Image.fromarray(labels)
        picture.save(path)
    (train / "meta.json").write_text(json.dumps(META))
    return tmp_path


def test_clips(root) -> None:
    first, second = youtube_vos.clips(root)
    assert (first.name, len(first), second.name, len(second)) == ("003234408d", 3, "0043f083b5", 2)
    assert [path.name for path in first.frame_paths] == ["00000.jpg", "00005.jpg", "00010.jpg"]
    assert first.frame(2).shape == (40, 60, 3)
    assert first.categories == {1: "penguin", 2: ""}
    np.testing.assert_array_equal(np.unique(first.mask(0)), [0, 2])
    assert first.mask(1) is None
    assert (second.mask(0), second.categories) == (None, {})


def test_without_annotations_the_clips_are_unlabelled(root) -> None:
    (root / "train" / "meta.json").unlink()
    for path in (root / "train" / "Annotations" / "003234408d").iterdir():
        path.unlink()
    clips = youtube_vos.clips(root)
    assert [len(clip) for clip in clips] == [3, 2]
    assert not clips[0].mask_paths


def test_an_index_says_which_frames(root) -> None:
    index = root / "index.json"
    index.write_text(json.dumps({"003234408d": ["00000.jpg", "00010"]}))
    (clip,) = youtube_vos.clips(root, index=index)
    assert [path.name for path in clip.frame_paths] == ["00000.jpg", "00010.jpg"]
    for content, message in [
        ("[]", "expected a JSON object"),
        ("{", "not a JSON file"),
        ('{"003234408d": "00000.jpg"}', "expected a list of file names"),
        ('{"003234408d": ["../../x.jpg"]}', "expected a list of file names"),
        ('{"003234408d": ["00001.jpg"]}', r"1 missing \(00001\.jpg\)"),
    ]:
        index.write_text(content)
        with pytest.raises(InputError, match=rf"index\.json: .*{message}"):
            youtube_vos.clips(root, index=index)


def test_mistakes_are_named(root, tmp_path) -> None:
    with pytest.raises(InputError, match="split 'val' is not known"):
        youtube_vos.clips(root, "val")
    with pytest.raises(InputError, match=r"JPEGImages: no such folder"):
        youtube_vos.clips(root, "valid")
    for text in ("{}", '{"videos": []}', '{"videos": {"a": {"objects": {"x": {}}}}}', '{"videos": {"a": 1}}'):
        (root / "train" / "meta.json").write_text(text)
        with pytest.raises(InputError, match=r"meta\.json: not YouTube-VOS's"):
            youtube_vos.clips(root)
    (root / "train" / "meta.json").write_text(json.dumps(META))
    clip = youtube_vos.clips(root)[0]
    Image.new("RGB", (60, 40)).save(clip.mask_paths["00000"])
    with pytest.raises(InputError, match=r"00000\.png: picture of mode RGB"):
        clip.mask(0)
    clip.mask_paths["00000"].write_bytes(b"none")
    with pytest.raises(InputError, match=r"00000\.png: cannot be read"):
        clip.mask(0)


def lies(folder, meta: bytes):
    """A root with one frame, and ``meta.json``."""
    root = folder.mktemp("vos")
    trees.picture(root / "train" / "JPEGImages" / "a" / "00000.jpg")
    (root / "train" / "meta.json").write_bytes(meta)
    return root


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 300) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
NUMBERS = st.integers(-300, 300).map(str) | st.sampled_from(["01", "1_0", " 1", "1 ", "+1", "١", "1.0", ""]) | st.text()
THINGS = st.fixed_dictionaries({}, optional={"category": st.text(max_size=5) | VALUES, "frames": VALUES}) | VALUES
OBJECTS = st.dictionaries(NUMBERS, THINGS, max_size=3) | VALUES
VIDEO = st.fixed_dictionaries({}, optional={"objects": OBJECTS}) | VALUES
ANY_META = st.fixed_dictionaries({}, optional={"videos": st.dictionaries(st.sampled_from(["a", "b"]), VIDEO) | VALUES})


@settings(max_examples=200)
@given(meta=ANY_META | VALUES)
def test_any_meta_is_read_as_it_stands_or_named(tmp_path_factory, meta) -> None:
    root = lies(tmp_path_factory, json.dumps(meta).encode())
    with used_or_named(root / "train" / "meta.json"):
        (clip,) = youtube_vos.clips(root)
        objects = meta["videos"].get("a", {"objects": {}})["objects"]
        assert {str(number): name for number, name in clip.categories.items()} == {
            number: thing.get("category", "") for number, thing in objects.items()
        }
        assert all(0 < number < 256 for number in clip.categories)


@settings(max_examples=150)
@given(data=st.data())
def test_any_bytes_of_meta_are_read_or_named(tmp_path_factory, data) -> None:
    whole = json.dumps({"videos": {"a": {"objects": {"1": {"category": "penguin"}}}}}).encode()
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3)) or b"}"
    root = lies(tmp_path_factory, bytes(content))
    with used_or_named(root / "train" / "meta.json"):
        (clip,) = youtube_vos.clips(root)
        assert all(type(number) is int and isinstance(name, str) for number, name in clip.categories.items())


def test_check(root) -> None:
    answer = youtube_vos.check(root)
    assert answer.found == 2
    assert "train: 2 videos, expected 3,471" in answer.missing[0]
    assert any("1 missing (0043f083b5)" in note for note in answer.notes)
    assert youtube_vos.check(root / "train").found == 0
