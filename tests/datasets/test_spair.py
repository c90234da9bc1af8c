"""SPair-71k and SPair-U on tiny copies in the official layout."""

from __future__ import annotations

import json
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from samepoint.datasets import spair
from samepoint.errors import InputError
from tests.datasets import pair_trees as trees

TRN = ["000000-2007_01-2007_02:aeroplane", "000001-2008_01-2008_02:tvmonitor"]
TEST = ["000002-2009_01-2009_02:aeroplane", "000003-2009_02-2007_01:aeroplane", "000004-2010_01-2010_02:cat"]
LINE = "000002-2009_01-2009_02:aeroplane"


@pytest.fixture
def root(tmp_path):
    return trees.spair(tmp_path / "SPair-71k", {"trn": TRN, "test": TEST})


def test_pairs_in_the_order_of_the_list(root) -> None:
    pairs = spair.pairs(root)
    assert (len(pairs), pairs.counts(), pairs.skipped) == (3, {"aeroplane": 2, "cat": 1}, ())
    assert [pair.name for pair in pairs] == TEST
    pair = pairs[0]
    assert (pair.category, pair.source_path.name, pair.target_path.name) == ("aeroplane", "2009_01.jpg", "2009_02.jpg")
    np.testing.assert_array_equal(pair.source_xy, np.float32([[10, 20], [30, 25]]))
    np.testing.assert_array_equal(pair.target_xy, np.float32([[12, 21], [33, 9]]))
    np.testing.assert_array_equal(pair.source_box, np.float32([5, 6, 50, 30]))
    np.testing.assert_array_equal(pair.target_box, np.float32([7, 8, 40, 39]))
    assert pair.source_xy.dtype == pair.target_box.dtype == np.float32
    assert pair.flags == {"viewpoint_variation": 1, "scale_variation": 2, "truncation": 0, "occlusion": 3}
    assert pair.source().shape == (40, 60, 3)
    assert pair.target_size == (40, 60)
    assert (pair.mirrored, pair.leaked, pair.source_mask) == (False, None, None)
    assert [pair.name for pair in pairs[1:]] == TEST[1:]
    assert [pair.name for pair in pairs.without([TEST[1]])] == [TEST[0], TEST[2]]


def test_a_line_as_in_the_specification() -> None:
    assert spair._LINE.fullmatch("000001-a-b:cat").groups() == ("000001", "a", "b", "cat")


def test_segmentation_where_it_is_there(root) -> None:
    path = root / "Segmentation" / "cat" / "2010_02.png"
    path.parent.mkdir(parents=True)
    labels = np.zeros((40, 60), np.uint8)
    labels[3, 4:7] = 8  # cat in PASCAL's alphabet
    labels[5] = 9
    Image.fromarray(labels).save(path)
    pair = spair.pairs(root)[2]
    assert (pair.source_mask, pair.target_mask) == (None, path)
    np.testing.assert_array_equal(spair.read_mask(path, "cat"), labels == 8)
    with pytest.raises(InputError, match="'sofa' is no category"):
        spair.read_mask(path, "sofa")


def test_u_skips_what_it_has_no_annotation_of(root) -> None:
    folder = root.parent / "SPair-U"
    place = folder / "PairAnnotation" / "test"
    place.mkdir(parents=True)
    (place / f"{TEST[2]}.json").write_text(
        json.dumps(trees.spair_annotation("2010_01", "2010_02", "cat", src_kps=[[1, 2]], trg_kps=[[3, 4]]))
    )
    for pairs in (spair.pairs_u(folder), spair.pairs_u(folder, root)):
        assert (len(pairs), pairs.skipped) == (1, tuple(TEST[:2]))
        np.testing.assert_array_equal(pairs[0].source_xy, np.float32([[1, 2]]))
        assert pairs[0].source_path.is_file()
    answer = spair.check_u(folder)
    assert (answer.found, answer.missing) == (1, ())
    assert any("2 of SPair-71k's test pairs have no annotation" in note for note in answer.notes)
    (root / "Layout").rename(folder / "Layout")  # the lists alone in its own folder
    moved = spair.pairs_u(folder)
    assert (len(moved), moved[0].source_path) == (1, root / "JPEGImages/cat/2010_01.jpg")
    answer = spair.check_u(folder)
    assert (answer.found, answer.missing, answer.notes[-1]) == (1, (), f"the pictures are those of {root}")
    (folder / "Layout").rename(root / "Layout")
    (root / "JPEGImages" / "cat" / "2010_02.jpg").unlink()
    assert spair.lacking_u(folder, pairs.entries) == [TEST[2]]
    assert spair.check_u(folder).found == 0
    root.rename(root.parent / "elsewhere")
    with pytest.raises(InputError, match="SPair-71k's Layout/ is neither here nor in SPair-71k/ beside it"):
        spair.pairs_u(folder)
    assert spair.check_u(folder).found == 0


def test_check_counts_and_names_what_is_missing(root, monkeypatch) -> None:
    assert any("Layout/large/test.txt: 3 pairs, published are 12,234" in line for line in spair.check(root).missing)
    monkeypatch.setattr(spair, "SPLITS", {"trn": 2, "val": 1, "test": 3})
    answer = spair.check(root)
    assert (answer.name, answer.found) == ("spair-71k", 5)
    assert len(answer.missing) == 1
    assert "val.txt: missing" in answer.missing[0]
    assert "leakage: 1 of 5 test pictures occur in training" in answer.notes
    (root / "PairAnnotation" / "test" / f"{TEST[1]}.json").unlink()
    (root / "JPEGImages" / "cat" / "2010_02.jpg").unlink()
    answer = spair.check(root)
    assert answer.found == 3
    assert spair.lacking(root, spair.pairs(root).entries) == TEST[1:]
    assert spair.lacking(root, spair.pairs(root, "trn").entries, "trn") == []
    assert (spair.check(root, ["test"]).found, spair.check(root, ["trn"]).missing) == (1, ())
    assert f"PairAnnotation/test: 1 missing ({TEST[1]}.json) of 3 listed" in answer.missing[1]
    assert "JPEGImages: 1 missing (cat/2010_02.jpg)" in answer.missing[2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"src_kps": [[1, 2], [3]]}, "src_kps: expected points"),
        ({"src_kps": [[1, 2]]}, "1 source and 2 target points"),
        ({"trg_kps": [[1, float("nan")], [1, 2]]}, "trg_kps: expected finite"),
        ({"trg_kps": "ab"}, "trg_kps: expected points"),
        ({"trg_bndbox": [1, 2, 3]}, "trg_bndbox: expected a box"),
        ({"src_bndbox": [9, 2, 3, 4]}, "corners exchanged"),
        ({"occlusion": "much"}, "occlusion is 'much'"),
        ({"src_imname": "other.jpg"}, "src_imname is 'other.jpg'"),
    ],
)
def test_a_malformed_annotation_is_named(root, changes, message) -> None:
    path = root / "PairAnnotation" / "test" / f"{LINE}.json"
    path.write_text(json.dumps(trees.spair_annotation("2009_01", "2009_02", "aeroplane", **changes)))
    with pytest.raises(InputError, match=rf"{LINE}\.json.*{message}"):
        spair.pairs(root)[0]


def test_other_mistakes_are_named(root) -> None:
    with pytest.raises(InputError, match="split 'train' is not known"):
        spair.pairs(root, "train")
    with pytest.raises(InputError, match=r"val\.txt: missing"):
        spair.pairs(root, "val")
    layout = root / "Layout" / "large" / "test.txt"
    layout.write_text(f"{TEST[0]}\n\n12-a-b:cat\n")
    with pytest.raises(InputError, match=r"test\.txt: line 3 is '12-a-b:cat'"):
        spair.pairs(root)
    path = root / "PairAnnotation" / "trn" / f"{TRN[0]}.json"
    for text, message in [("[]", "expected a JSON object"), ("{", "not a JSON file"), ("{}", "no field 'src_kps'")]:
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            spair.pairs(root, "trn")[0]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=8,
)


@settings(max_examples=150)
@given(key=st.sampled_from(sorted(trees.spair_annotation("a", "b", "cat"))), value=VALUES)
def test_any_value_is_read_or_refused(tmp_path_factory, key, value) -> None:
    root = tmp_path_factory.mktemp("fuzz")
    fields = trees.spair_annotation("2009_01", "2009_02", "aeroplane") | {key: value}
    place = root / "PairAnnotation" / "test" / f"{LINE}.json"
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps(fields))
    (root / "Layout" / "large").mkdir(parents=True)
    (root / "Layout" / "large" / "test.txt").write_text(f"{LINE}\n")
    with suppress(InputError):
        pair = spair.pairs(root)[0]
        assert len(pair.source_xy) == len(pair.target_xy)
        assert np.isfinite(pair.source_xy).all()
        assert all(isinstance(degree, int) for degree in pair.flags.values())
