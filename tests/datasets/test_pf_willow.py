"""PF-WILLOW on tiny copies in the official layout and on the real half."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

from samepoint.datasets import pf_willow
from samepoint.errors import InputError
from tests.datasets import pair_trees as trees
from tests.shared import shared_path

HEAD = "imageA,imageB," + ",".join(f"{axis}{n}" for axis in ("XA", "YA", "XB", "YB") for n in range(1, 11)) + "\n"


def listed(a: str, b: str) -> str:
    return f"PF-dataset/{a},PF-dataset/{b}," + ",".join(str(n + 0.5) for n in range(40)) + "\n"


def test_all_ordered_pairs_within_each_sub_class(tmp_path) -> None:
    pairs = pf_willow.pairs(trees.willow(tmp_path, {"duck(S)": 3, "car(G)": 2}))
    assert (len(pairs), pairs.counts()) == (8, {"car(G)": 2, "duck(S)": 6})
    assert [pair.name for pair in pairs[:3]] == ["car(G)/x_000-x_001", "car(G)/x_001-x_000", "duck(S)/x_000-x_001"]
    pair = pairs[4]  # pictures 1 and 0 of duck(S)
    assert (pair.source_path.stem, pair.target_path.stem) == ("x_001", "x_000")
    np.testing.assert_array_equal(pair.source_xy, np.stack([1 + 2.0 * np.arange(10), 3.0 * np.arange(10)], axis=1))
    assert (pair.source_xy.dtype, pair.source_box, pair.source().shape) == (np.float32, None, (40, 60, 3))


def test_the_list_where_it_is_there(tmp_path) -> None:
    root = trees.willow(tmp_path / "PF-dataset", {"duck(S)": 3}).parent
    (root / "test_pairs.csv").write_text(HEAD + listed("duck(S)/x_002.png", "duck(S)/x_000.png"))
    pairs = pf_willow.pairs(root)
    assert [pair.name for pair in pairs] == ["0001-duck(S)/x_002-x_000"]
    # 10 x of A, 10 y of A, then B.
    np.testing.assert_array_equal(pairs[0].source_xy[1], np.float32([1.5, 11.5]))
    np.testing.assert_array_equal(pairs[0].target_xy[9], np.float32([29.5, 39.5]))
    assert pairs[0].source_path == root / "PF-dataset" / "duck(S)" / "x_002.png"
    assert pairs[0].source_path.is_file()


def test_pairs_that_lack_a_file(tmp_path) -> None:
    root = trees.willow(tmp_path, {"duck(S)": 2})
    drawn = pf_willow.pairs(root).entries
    path = root / "test_pairs.csv"
    path.write_text(HEAD + listed("duck(S)/x_001.png", "duck(S)/x_000.png") + listed("car(S)/a.png", "car(S)/b.png"))
    entries = pf_willow.pairs(root).entries
    assert pf_willow.lacking(root, entries) == ["0002-car(S)/a-b"]
    (root / "duck(S)" / "x_001.mat").unlink()
    assert pf_willow.lacking(root, entries) == ["0002-car(S)/a-b"]  # the list has the points
    assert pf_willow.lacking(root, drawn) == [entry.name for entry in drawn]
    assert pf_willow.check(root).found == 1
    (root / "duck(S)" / "x_001.png").unlink()
    assert pf_willow.lacking(root, entries) == [entry.name for entry in entries]


def test_check_names_missing_sub_classes_and_files(tmp_path) -> None:
    root = trees.willow(tmp_path, dict.fromkeys(pf_willow.SUB_CLASSES[1:], 10))
    answer = pf_willow.check(root)
    assert answer.found == 9 * 90
    assert [line.split(";")[0] for line in answer.missing] == ["1 of 10 sub-classes (car(G))"]
    (root / "duck(S)" / "x_003.mat").unlink()
    (root / "car(S)" / "x_003.png").unlink()
    answer = pf_willow.check(root)
    assert answer.found == 7 * 90 + 2 * 72
    text = " ".join(answer.missing)
    assert "duck(S)/: 1 missing (x_003.mat)" in text
    assert "car(S)/: 9 pictures, expected 10" in text


def test_mistakes_are_named(tmp_path) -> None:
    with pytest.raises(InputError, match=r"no <sub-class>/<name>\.png"):
        pf_willow.pairs(tmp_path)
    root = trees.willow(tmp_path, {"duck(S)": 2})
    with pytest.raises(InputError, match="only 'test'"):
        pf_willow.pairs(root, "trn")
    path = root / "duck(S)" / "x_001.mat"
    for content, message in [
        ({"x": 1}, "no array 'pts_coord'; it has x"),
        ({"pts_coord": np.zeros((10, 2))}, r"pts_coord has shape \(10, 2\)"),
        ({"pts_coord": np.full((2, 10), np.nan)}, "pts_coord: expected finite"),
    ]:
        scipy.io.savemat(path, content)
        with pytest.raises(InputError, match=rf"x_001\.mat: {message}"):
            pf_willow.pairs(root)[0]
    for text, message in [
        ("a,b\n", "line 1 must begin with imageA,imageB"),
        (HEAD, "no pair in it"),
        (HEAD + "a,b\n", "line 2 has 2 columns; expected 42"),
        (HEAD + listed("duck(S)/a.png", "car(S)/b.png"), "line 2: expected two pictures"),
        (HEAD + listed("duck(S)/a.png", "duck(S)/b.png").replace("12.5", "no"), "line 2: columns 3 to 42 must be"),
        (HEAD + listed("duck(S)/a.png", "duck(S)/b.png").replace("12.5", "inf"), "line 2: expected finite"),
    ]:
        (root / "test_pairs.csv").write_text(text)
        with pytest.raises(InputError, match=rf"test_pairs\.csv: {message}"):
            pf_willow.pairs(root)


@settings(max_examples=100)
@given(data=st.data())
def test_any_list_is_read_or_refused(tmp_path_factory, data) -> None:
    root = tmp_path_factory.mktemp("fuzz")
    content = bytearray((HEAD + listed("duck(S)/a.png", "duck(S)/b.png")).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    (root / "test_pairs.csv").write_bytes(content)
    with suppress(InputError):
        for pair in pf_willow.pairs(root):
            assert pair.source_xy.shape == pair.target_xy.shape == (10, 2)
            assert np.isfinite(pair.source_xy).all()


def test_real_half() -> None:
    root = shared_path("data", "pf-willow")
    pairs = pf_willow.pairs(root)
    names = ("car(M)", "car(S)", "duck(S)", "motorbike(M)", "winebottle(woC)")
    assert pairs.counts() == dict.fromkeys(names, 90)
    assert len({pair.name for pair in pairs}) == 450
    for pair in pairs[::9]:  # every picture is the source of 9 pairs
        height, width = pair.source_size
        assert (pair.source_xy >= 0).all()
        assert (pair.source_xy <= [width, height]).all()
    answer = pf_willow.check(root)
    assert (answer.found, len(answer.missing)) == (450, 1)
    assert (
        "5 of 10 sub-classes (car(G), motorbike(G), motorbike(S), winebottle(M), winebottle(wC))" in answer.missing[0]
    )
