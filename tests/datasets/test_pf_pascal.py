"""PF-PASCAL on tiny copies in the official layout."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

from samepoint.datasets import pf_pascal
from samepoint.errors import InputError
from samepoint.io.images import image_size
from tests.datasets import pair_trees as trees

TRAIN = trees.pf_train(("a", "b", 2, 0), ("a", "b", 2, 1), ("b", "d", 2, 0))
# (a, b) leaks and is listed twice; (d, b) is a training pair in the other order only; c is in no training pair.
TEST = trees.pf_test(("a", "b", 2), ("d", "b", 2), ("a", "b", 2), ("c", "a", 2))


@pytest.fixture
def root(tmp_path):
    lists = {"trn_pairs.csv": TRAIN, "val_pairs.csv": trees.pf_train(("a", "c", 2, 0)), "test_pairs.csv": TEST}
    return trees.pf_pascal(tmp_path, lists)


def test_points_missing_in_either_picture_are_dropped(root) -> None:
    pairs = pf_pascal.pairs(root, "trn")
    assert (len(pairs), pairs.counts()) == (3, {"bicycle": 3})
    plain = pairs[0]
    np.testing.assert_array_equal(plain.source_xy, np.float32([[10, 20], [30, 5], [59.5, 0.5]]))
    np.testing.assert_array_equal(plain.target_xy, np.float32([[11, 21], [31, 6], [1.5, 2.5]]))
    np.testing.assert_array_equal(plain.source_box, np.float32([5, 6, 50, 30]))
    assert (plain.mirrored, plain.leaked, plain.category) == (False, None, "bicycle")
    only = pf_pascal.pairs(root, "val")[0]  # a has point 1 NaN, c has x of point 2 NaN
    np.testing.assert_array_equal(only.source_xy, np.float32([[10, 20], [59.5, 0.5]]))


def test_flip_mirrors_pictures_points_and_boxes(root) -> None:
    plain, mirrored = pf_pascal.pairs(root, "trn")[:2]
    assert mirrored.mirrored
    np.testing.assert_array_equal(mirrored.source(), plain.source()[:, ::-1])
    np.testing.assert_array_equal(mirrored.target(), plain.target()[:, ::-1])
    width = image_size(plain.source_path)[1]
    np.testing.assert_array_equal(mirrored.source_xy[:, 0], width - plain.source_xy[:, 0])
    np.testing.assert_array_equal(mirrored.target_xy[:, 1], plain.target_xy[:, 1])
    np.testing.assert_array_equal(mirrored.source_box, np.float32([60 - 50, 6, 60 - 5, 30]))
    # The centre of the last column becomes the centre of the first: what is under the point stays under it.
    x, y = (plain.source_xy[2] - 0.5).astype(int)
    u, v = (mirrored.source_xy[2] - 0.5).astype(int)
    assert (u, v) == (0, 0)
    np.testing.assert_array_equal(mirrored.source()[v, u], plain.source()[y, x])


def test_test_points_come_from_the_list(root) -> None:
    pair = pf_pascal.pairs(root)[0]
    np.testing.assert_array_equal(pair.source_xy, np.float32([[10, 20], [59.5, 0.5]]))
    np.testing.assert_array_equal(pair.target_xy, np.float32([[11, 21], [1.5, 2.5]]))
    np.testing.assert_array_equal(pair.target_box, np.float32([5, 6, 50, 30]))
    for file in (root / "PF-dataset-PASCAL" / "Annotations" / "bicycle").iterdir():
        file.unlink()
    assert pf_pascal.pairs(root)[0].source_box is None


def test_leakage_is_counted_over_distinct_pairs_in_order(root) -> None:
    counted = pf_pascal.leakage(root)
    assert (counted.pairs, counted.leaked_pairs, counted.pictures, counted.leaked_pictures) == (3, 1, 4, 3)
    assert counted.names == {"0001-a-b", "0003-a-b"}
    pairs = pf_pascal.pairs(root)
    assert [pair.leaked for pair in pairs] == [True, False, True, False]
    clean = pf_pascal.pairs(root, without_leaked=True)
    assert [pair.name for pair in clean] == ["0002-d-b", "0004-c-a"]
    assert [pair.name for pair in pairs.without(counted.names)] == ["0002-d-b", "0004-c-a"]
    with pytest.raises(InputError, match="'trn' has none to leave out"):
        pf_pascal.pairs(root, "trn", without_leaked=True)


def test_the_older_name_of_the_training_list_and_the_flat_layout(root) -> None:
    (root / "trn_pairs.csv").rename(root / "train_pairs.csv")
    assert len(pf_pascal.pairs(root, "trn")) == 3
    for path in (root / "PF-dataset-PASCAL").iterdir():
        path.rename(root / path.name)
    (root / "PF-dataset-PASCAL").rmdir()
    assert pf_pascal.pairs(root, "trn")[1].source().shape == (40, 60, 3)


def test_without_the_training_list_leakage_is_unknown(root) -> None:
    (root / "trn_pairs.csv").unlink()
    assert pf_pascal.pairs(root)[0].leaked is None
    with pytest.raises(InputError, match=r"trn_pairs\.csv: missing; the official archive has no lists"):
        pf_pascal.pairs(root, without_leaked=True)
    answer = pf_pascal.check(root)
    assert answer.found == 5
    assert any("trn_pairs.csv: missing" in line for line in answer.missing)
    assert any("cannot be counted" in note for note in answer.notes)


def test_check_counts_rows_and_leakage(root, monkeypatch) -> None:
    assert any("val_pairs.csv: 1 rows, published are 308" in line for line in pf_pascal.check(root).missing)
    monkeypatch.setattr(pf_pascal, "SPLITS", {"trn": 3, "val": 1, "test": 4})
    answer = pf_pascal.check(root)
    assert (answer.found, answer.missing, answer.complete) == (8, (), True)
    assert any(
        "leakage: 1 of 3 distinct test pairs" in note and "3 of 4 test pictures" in note for note in answer.notes
    )
    (root / "PF-dataset-PASCAL" / "JPEGImages" / "c.jpg").unlink()
    (root / "PF-dataset-PASCAL" / "Annotations" / "bicycle" / "d.mat").unlink()
    answer = pf_pascal.check(root)
    assert answer.found == 8 - 2 - 1  # rows with c; the training row with d, whose points are in no list
    assert "JPEGImages/c.jpg" in answer.missing[0]
    assert "Annotations/bicycle/d.mat" in answer.missing[1]


def test_pairs_that_lack_a_file(root) -> None:
    home = root / "PF-dataset-PASCAL"
    (home / "Annotations" / "bicycle" / "d.mat").unlink()
    test, trn = pf_pascal.pairs(root).entries, pf_pascal.pairs(root, "trn").entries
    assert pf_pascal.lacking(root, test) == []  # the list has the points
    assert pf_pascal.lacking(root, trn) == ["0003-b-d"]
    (home / "JPEGImages" / "c.jpg").unlink()
    assert pf_pascal.lacking(root, test) == ["0004-c-a"]
    assert pf_pascal.check(root, ["test"]).found == 3
    assert not any("val_pairs" in line for line in pf_pascal.check(root, ["test"]).missing)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("test_pairs.csv", "a,b\n", "line 1 must be source_image,target_image,class,XA,YA,XB,YB"),
        ("test_pairs.csv", trees.TEST, "no pair in it"),
        ("test_pairs.csv", trees.TEST + "a.jpg,b.jpg,2,1;2,1;2,1;2,1\n", "line 2: XA, YA, XB, YB must have as many"),
        ("test_pairs.csv", trees.TEST + "\na.jpg,b.jpg,2,1;x,1;2,1;2,1;2\n", "line 3: XA holds 'x'"),
        ("test_pairs.csv", trees.TEST + "a.jpg,b.jpg,21,1,1,1,1\n", "line 2: class is '21'"),
        ("trn_pairs.csv", trees.TRAIN + "a.jpg,b.jpg,2\n", "line 2 has 3 columns; expected 4"),
        ("trn_pairs.csv", trees.TRAIN + "a.jpg,b.jpg,2,2\n", "line 2: flip is '2'"),
        ("trn_pairs.csv", trees.TRAIN + "a.jpg,,2,1\n", "line 2: expected the paths"),
    ],
)
def test_a_malformed_list_is_named(root, file, text, message) -> None:
    (root / file).write_text(text)
    with pytest.raises(InputError, match=rf"{file}: {message}"):
        pf_pascal.pairs(root, file[:3] if file.startswith("trn") else "test")


def test_a_malformed_annotation_is_named(root) -> None:
    path = root / "PF-dataset-PASCAL" / "Annotations" / "bicycle" / "b.mat"
    for content, message in [
        ({"bbox": [[1, 2, 3, 4]]}, "no array 'kps'"),
        ({"kps": np.zeros((4, 3)), "bbox": [[1, 2, 3, 4]]}, r"kps has shape \(4, 3\)"),
        ({"kps": np.full((4, 2), np.inf), "bbox": [[1, 2, 3, 4]]}, "kps has shape"),
        ({"kps": np.zeros((4, 2)), "bbox": [[1, 2, 3]]}, "bbox: expected a box"),
        ({"kps": np.zeros((5, 2)), "bbox": [[1, 2, 3, 4]]}, r"5 points, a\.mat has 4"),
    ]:
        scipy.io.savemat(path, content)
        with pytest.raises(InputError, match=rf"b\.mat.*{message}"):
            pf_pascal.pairs(root, "trn")[0]


@settings(max_examples=150)
@given(data=st.data(), split=st.sampled_from(["trn", "test"]))
def test_any_list_is_read_or_refused(tmp_path_factory, data, split) -> None:
    root = tmp_path_factory.mktemp("fuzz")
    content = bytearray((TRAIN if split == "trn" else TEST).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    (root / f"{split}_pairs.csv").write_bytes(content)
    with suppress(InputError):
        for row in pf_pascal.pairs(root, split).entries:
            assert row.category in pf_pascal.PASCAL
