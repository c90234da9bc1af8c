from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from samepoint.errors import InputError
from samepoint.structures import Queries
from tests.io.test_tracks import names_strategy, quick


class TestQueriesFile:
    @quick
    @given(
        hnp.arrays(np.float32, st.tuples(st.integers(0, 4), st.just(2)), elements=st.floats(-1e9, 1e9, width=32)),
        st.data(),
    )
    def test_round_trip(self, tmp_path: Path, xy: np.ndarray, data: st.DataObject) -> None:
        frame = data.draw(st.lists(st.integers(0, 10**12), min_size=len(xy), max_size=len(xy)))
        names = data.draw(st.none() | st.lists(names_strategy, min_size=len(xy), max_size=len(xy)))
        queries = Queries(np.array(frame, np.int64), xy, None if names is None else tuple(names))
        queries.save(tmp_path / "q.csv")
        back = Queries.load(tmp_path / "q.csv")
        np.testing.assert_array_equal(back.xy, queries.xy)
        np.testing.assert_array_equal(back.frame, queries.frame)
        assert back.name == queries.name

    def test_spaces_before_a_name_are_kept(self, tmp_path: Path) -> None:
        names = (" ", " a", "b ", "")
        Queries.at([(1, 2)] * 4, name=names).save(tmp_path / "q.csv")
        assert Queries.load(tmp_path / "q.csv").name == names

    def test_by_hand(self, tmp_path: Path) -> None:
        Queries.at([(1.5, 2)], frame=3, name=["a"]).save(tmp_path / "q.csv")
        assert (tmp_path / "q.csv").read_bytes() == b"frame,x,y,name\n3,1.5,2.0,a\n"
        (tmp_path / "q.csv").write_bytes(b"\xef\xbb\xbf# notes, with commas\r\nFrame, X, Y\r\n0, 1, 2\r\n\r\n5,3,4\r\n")
        queries = Queries.load(tmp_path / "q.csv")
        assert (queries.frame.tolist(), queries.xy.tolist(), queries.name) == ([0, 5], [[1, 2], [3, 4]], None)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "empty"),
            ("x,y\n1,2\n", "line 1: expected the header"),
            ("frame,x,y\n0,1\n", "line 2: 2 cells"),
            ("frame,x,y\n0,1,2,3\n", "line 2: 4 cells"),
            ("frame,x,y\n0,1,abc\n", "line 2: y 'abc' is not a number"),
            ("frame,x,y\n0,1,2\n0,nan,2\n", "line 3: x 'nan'"),
            ("frame,x,y\n-1,1,2\n", "line 2: frame '-1'"),
            ("frame,x,y\n1.5,1,2\n", "line 2: frame '1.5'"),
            ("frame,x,y\n0,1,2\n#,1,2\n", "line 3: frame '#'"),
            ('frame,x,y\n0,1,"2\n', "not CSV"),
        ],
    )
    def test_malformed(self, tmp_path: Path, text: str, message: str) -> None:
        (tmp_path / "q.csv").write_text(text)
        with pytest.raises(InputError, match=message) as caught:
            Queries.load(tmp_path / "q.csv")
        assert str(tmp_path / "q.csv") in str(caught.value)

    @quick
    @given(st.binary(max_size=60).map(lambda tail: b"frame,x,y\n" + tail) | st.binary(max_size=60))
    @example(b"\xff")
    def test_any_bytes(self, tmp_path: Path, data: bytes) -> None:
        (tmp_path / "q.csv").write_bytes(data)
        with contextlib.suppress(InputError):
            Queries.load(tmp_path / "q.csv")

    def test_missing(self, tmp_path: Path) -> None:
        for path, message in [(tmp_path / "none.csv", "no such file"), (tmp_path, "is a folder")]:
            with pytest.raises(InputError, match=message):
                Queries.load(path)
