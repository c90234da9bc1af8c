from __future__ import annotations

import contextlib
import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from samepoint.errors import InputError, MissingExtraError
from samepoint.io.pickles import load_pickle
from samepoint.io.tracks import SUFFIXES, check_suffix
from samepoint.structures import Queries, Tracks

quick = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
names_strategy = st.text(
    st.characters(exclude_categories=("Cs",)).filter(lambda char: ord(char) >= 32 and ord(char) != 127), max_size=6
)


@st.composite
def any_tracks(draw: st.DrawFn) -> Tracks:
    count, frames = draw(st.integers(0, 3)), draw(st.integers(1, 4))
    xy = draw(
        hnp.arrays(np.float32, (count, frames, 2), elements=st.floats(width=32, allow_nan=False, allow_infinity=False))
    )
    confidence = draw(hnp.arrays(np.float32, (count, frames), elements=st.floats(0, 1, width=32)))
    unknown = draw(hnp.arrays(np.bool_, (count, frames)))
    xy[unknown] = np.nan
    confidence[unknown] = 0
    fps = draw(st.floats(1e-3, 1e4))
    size = (draw(st.integers(1, 9999)), draw(st.integers(1, 9999)))
    names = draw(st.lists(names_strategy, min_size=count, max_size=count))
    return Tracks.from_confidence(xy, confidence, fps, size, names)


def same(first: Tracks, second: Tracks) -> None:
    np.testing.assert_array_equal(first.xy, second.xy)
    np.testing.assert_array_equal(first.confidence, second.confidence)
    np.testing.assert_array_equal(first.visible, second.visible)
    assert (first.fps, first.size, first.names) == (second.fps, second.size, second.names)


def _sample() -> Tracks:
    xy = [[[np.nan, np.nan], [1.5, 2.25]], [[3, 4], [5, 6]]]
    return Tracks.from_confidence(np.array(xy), np.array([[0, 0.75], [0.25, 1]]), 12.5, (480, 854), ("eye, left", "b"))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip(tmp_path: Path, suffix: str) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"tracks{suffix}"

    @quick
    @given(any_tracks())
    def check(tracks: Tracks) -> None:
        tracks.save(path)
        back = Tracks.load(path)
        if suffix == ".pkl":  # fractions of a float32 near its smallest number lose digits
            np.testing.assert_allclose(back.xy, tracks.xy, rtol=1e-6, atol=1e-30)
            back = Tracks(tracks.xy, back.visible, back.confidence, back.fps, back.size, back.names)
        same(back, tracks)

    check()
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_csv_by_hand(tmp_path: Path) -> None:
    _sample().save(tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes().decode() == (
        "# fps=12.5\n# size=480x854\n# frames=2\npoint,name,frame,time,x,y,visible,confidence\n"
        '0,"eye, left",0,0.000000,,,0,0.0\n0,"eye, left",1,0.080000,1.5,2.25,1,0.75\n'
        "1,b,0,0.000000,3.0,4.0,0,0.25\n1,b,1,0.080000,5.0,6.0,1,1.0\n"
    )


def test_csv_rows_in_any_order_and_other_ends_of_lines(tmp_path: Path) -> None:
    _sample().save(tmp_path / "a.csv")
    lines = (tmp_path / "a.csv").read_text().splitlines()
    (tmp_path / "a.csv").write_bytes("\ufeff".encode() + "\r\n".join(lines[:4] + lines[:3:-1]).encode())
    same(Tracks.load(tmp_path / "a.csv"), _sample())


def test_json_by_hand(tmp_path: Path) -> None:
    _sample().save(tmp_path / "a.json")
    data = json.loads((tmp_path / "a.json").read_text())
    assert (data["fps"], data["size"], data["frames"]) == (12.5, [480, 854], 2)
    assert data["points"][0] == {
        "name": "eye, left",
        "xy": [None, [1.5, 2.25]],
        "visible": [False, True],
        "confidence": [0, 0.75],
    }


def test_npz_keys(tmp_path: Path) -> None:
    _sample().save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert sorted(archive) == ["confidence", "fps", "names", "size", "visible", "xy"]
        assert archive["size"].tolist() == [480, 854]


def test_parquet_columns(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    _sample().save(tmp_path / "a.parquet")
    table = pd.read_parquet(tmp_path / "a.parquet")
    assert list(table.columns) == ["point", "name", "frame", "time", "x", "y", "visible", "confidence"]
    assert table["x"].isna().tolist() == [True, False, False, False]
    pd.testing.assert_frame_equal(table, _sample().to_dataframe(), check_dtype=False)


@pytest.mark.parametrize("module", ["pyarrow", "pandas"])
def test_missing_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / "b.parquet").touch()
    uses = {
        "pyarrow": [lambda: _sample().save(tmp_path / "a.parquet"), lambda: Tracks.load(tmp_path / "b.parquet")],
        "pandas": [_sample().to_dataframe],
    }
    for use in uses[module]:
        with pytest.raises(MissingExtraError, match=r"pip install 'samepoint\[tables\]'"):
            use()
    assert not (tmp_path / "a.parquet").exists()


class TestTapVid:
    def test_official_keys(self, tmp_path: Path) -> None:
        _sample().save(tmp_path / "a.pkl")
        sample = pickle.loads((tmp_path / "a.pkl").read_bytes())
        assert (sample["points"].dtype.kind, sample["points"].shape) == ("f", (2, 2, 2))
        np.testing.assert_allclose(sample["points"][0], [[0, 0], [1.5 / 854, 2.25 / 480]])
        assert sample["occluded"].tolist() == [[True, False], [True, False]]

    @pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"dog": s}, lambda s: [s]])
    def test_official_sample_with_its_video(self, tmp_path: Path, wrap: object) -> None:
        official = {
            "video": np.zeros((2, 480, 854, 3), np.uint8),
            "points": np.array([[[0.5, 0.5], [0.25, 1.0]]]),
            "occluded": np.array([[False, True]]),
        }
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(wrap(official)))  # type: ignore[operator]
        tracks = Tracks.load(tmp_path / "a.pkl")
        assert tracks.xy.tolist() == [[[427, 240], [213.5, 480]]]
        assert (tracks.size, tracks.fps, tracks.visible.tolist()) == ((480, 854), 25, [[True, False]])

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    @pytest.mark.parametrize("core", [b"numpy.core.", b"numpy._core."])
    def test_all_protocols_and_both_numpy_names(self, tmp_path: Path, protocol: int, core: bytes) -> None:
        content = {
            "points": np.arange(12.0).reshape(1, 6, 2),
            "occluded": np.asfortranarray(np.array([[True, False]] * 3)),
            "scalar": np.float32(2.5),
            "raw": b"\xff\x00bytes",
            "list": [1, 2.5, True, None, "text", (3, 4)],
            "frames": np.array([b"jpeg", b"jpg2"], dtype=object),
        }
        data = pickle.dumps(content, protocol)
        if protocol < 4:  # names without a length before them can be replaced
            data = data.replace(b"numpy._core.", core)
        (tmp_path / "a.pkl").write_bytes(data)
        back = load_pickle(tmp_path / "a.pkl")
        np.testing.assert_array_equal(back["points"], content["points"])
        np.testing.assert_array_equal(back["occluded"], content["occluded"])
        assert (back["scalar"], back["raw"], back["list"]) == (2.5, content["raw"], content["list"])
        assert back["frames"].tolist() == [b"jpeg", b"jpg2"]

    @pytest.mark.parametrize(
        "content",
        [
            b"cos\nsystem\n(S'touch hacked'\ntR.",
            b"cbuiltins\neval\n(S'1/0'\ntR.",
            b"cnumpy\nload\n(S'x'\ntR.",
            b"cnumpy.core.multiarray\nfromstring\n.",
            b"c_codecs\ndecode\n.",
            pickle.dumps(Path("x")),
            pickle.dumps({"points": Queries.at([(1, 2)])}),
            pickle.dumps(complex(1, 2)),
            pickle.dumps({1, 2}, 2),
        ],
    )
    def test_foreign_classes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
        monkeypatch.chdir(tmp_path)
        Path("a.pkl").write_bytes(content)
        with pytest.raises(InputError, match=r"a\.pkl: not a pickle of plain arrays .*not allowed"):
            Tracks.load("a.pkl")
        assert [entry.name for entry in tmp_path.iterdir()] == ["a.pkl"]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ([], "0 samples"),
            ({"a": {}, "b": {}}, "2 samples"),
            (3, "expected a dict"),
            ({"points": np.zeros((1, 1, 2))}, "expected a dict|1 samples"),
            ({"points": np.zeros((1, 1, 2)), "occluded": np.ones((1, 1), bool)}, "neither size nor video"),
            (
                {"points": np.zeros((1, 1, 2)), "occluded": np.ones((1, 1), bool), "video": [b"x"]},
                "no readable pictures",
            ),
            ({"points": np.zeros((1, 1, 2)), "occluded": np.ones((1, 1), bool), "size": 3}, "size"),
            ({"points": np.zeros((1, 1, 3)), "occluded": np.ones((1, 1), bool), "size": (3, 3)}, "points"),
            ({"points": "x", "occluded": np.ones((1, 1), bool), "size": (3, 3)}, "points"),
            ({"points": np.zeros((1, 1, 2)), "occluded": None, "size": (3, 3)}, "occluded"),
        ],
    )
    def test_wrong_structure(self, tmp_path: Path, content: object, message: str) -> None:
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))
        with pytest.raises(InputError, match=message):
            Tracks.load(tmp_path / "a.pkl")


def test_unknown_suffix_and_missing_files(tmp_path: Path) -> None:
    for path in ("a.txt", "a", "a.csv.gz"):
        with pytest.raises(InputError, match=r"unknown format .* \.csv, \.npz, \.parquet, \.json, \.pkl"):
            _sample().save(tmp_path / path)
        with pytest.raises(InputError, match="unknown format"):
            Tracks.load(tmp_path / path)
    assert check_suffix("A.CSV") == ".csv"
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match=r"none\.csv: no such file"):
        Tracks.load(tmp_path / "none.csv")
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(InputError, match=r"d\.csv: is a folder"):
        Tracks.load(tmp_path / "d.csv")
    with pytest.raises(InputError, match="there is no folder"):
        _sample().save(tmp_path / "none" / "a.csv")


HEAD = "# fps=25\n# size=4x5\n"
COLUMNS = "point,name,frame,time,x,y,visible,confidence\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the columns"),
        ("a,b,c\n", "expected the columns"),
        (COLUMNS, "the head lacks 'fps'"),
        ("# fps=25\n" + COLUMNS, "the head lacks 'size'"),
        ("# fps=x\n# size=4x5\n" + COLUMNS, "fps is 'x'"),
        ("# fps=0\n# size=4x5\n" + COLUMNS, "fps"),
        ("# fps=25\n# size=4\n" + COLUMNS, "height x width"),
        (HEAD + COLUMNS + "0,a,0,0,1,2,1\n", "row 1 of the table"),
        (HEAD + COLUMNS + "0,a,0,0,1,2,1,1,7\n", "row 1"),
        (HEAD + COLUMNS + "0,a,0,0,1,2,1,1\n0,a,x,0,1,2,1,1\n", "row 2"),
        (HEAD + COLUMNS + "0,a,0,0,1,,1,1\n", "row 1"),
        (HEAD + COLUMNS + "0,a,0,0,1,inf,1,1\n", "row 1"),
        (HEAD + COLUMNS + "0,a,0,0,1,2,maybe,1\n", "row 1"),
        (HEAD + COLUMNS + "0,a,0,0,1,2,1,nan\n", "row 1"),
        (HEAD + COLUMNS + "0,a,0,0,1,2,1,0.2\n", "visible is True at confidence 0.2"),
        (HEAD + COLUMNS + "0,a,0,0,1,2,1,1\n0,a,0,0,1,2,1,1\n", "2 rows for 1 points and 1 frames"),
        (HEAD + COLUMNS + "0,a,0,0,1,2,1,1\n0,b,1,0,1,2,1,1\n", "two names"),
        (HEAD + COLUMNS + "0,a,0,0,1,2,1,1\n0,a,0,0,1,2,1,1\n1,a,0,0,1,2,1,1\n1,a,2,0,1,2,1,1\n", "expected one row"),
        (HEAD + COLUMNS + "-1,a,0,0,1,2,1,1\n", "negative"),
        (HEAD + COLUMNS + "99999999999,a,99999999999,0,1,2,1,1\n", "expected one row"),
        (HEAD + COLUMNS + "999999999999999999999,a,0,0,1,2,1,1\n", "row 1"),
        (HEAD + "# frames=3\n" + COLUMNS + "0,a,0,0,1,2,1,1\n", "the head says 3 frames, the rows hold 1"),
    ],
)
def test_malformed_csv(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        Tracks.load(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("fps"), "expected an object with fps"),
        (lambda d: d.update(fps="x"), "fps"),
        (lambda d: d.update(fps=True), "fps"),
        (lambda d: d.update(size=[4]), "size"),
        (lambda d: d.update(size=[4.5, 5]), "size"),
        (lambda d: d.update(frames=3), "point 0: xy must be a list of 3 entries"),
        (lambda d: d.update(frames=10**30), "frames"),
        (lambda d: d.update(points={}), "points"),
        (lambda d: d["points"].append(3), "point 2: expected an object"),
        (lambda d: d["points"][1].pop("name"), "point 1: expected an object"),
        (lambda d: d["points"][1]["xy"].__setitem__(0, [1, "2"]), "point 1"),
        (lambda d: d["points"][1]["xy"].__setitem__(0, [1, None]), "point 1"),
        (lambda d: d["points"][1]["xy"].__setitem__(0, [1, 10**400]), "point 1"),
        (lambda d: d["points"][1]["visible"].__setitem__(0, "false"), "point 1: visible"),
        (lambda d: d["points"][1]["confidence"].__setitem__(0, None), "point 1: visible"),
        (lambda d: d["points"][1]["confidence"].__setitem__(0, 2), r"0\.\.1"),
    ],
)
def test_malformed_json(tmp_path: Path, change: object, message: str) -> None:
    path = tmp_path / "a.json"
    _sample().save(path)
    data = json.loads(path.read_text())
    change(data)  # type: ignore[operator]
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=message):
        Tracks.load(path)


def test_malformed_npz(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    good = {"xy": _sample().xy, "visible": _sample().visible, "confidence": _sample().confidence}
    good |= {"fps": np.array(25.0), "size": np.array([4, 5]), "names": np.array(["a", "b"])}
    for key in good:
        np.savez(path, **{name: array for name, array in good.items() if name != key})  # type: ignore[arg-type]
        with pytest.raises(InputError, match=f"the key '{key}' is missing"):
            Tracks.load(path)
        np.savez(path, **{**good, key: np.array(3 if key == "names" else ["?"])})  # type: ignore[arg-type]
        with pytest.raises(InputError):
            Tracks.load(path)
    np.savez(path, **{**good, "names": np.array(["a", None])})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="allow_pickle"):
        Tracks.load(path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(InputError, match="a single array"):
        Tracks.load(path)


def test_malformed_parquet(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    path = tmp_path / "a.parquet"
    table = _sample().to_dataframe()
    table.to_parquet(path)
    with pytest.raises(InputError, match="the head lacks"):
        Tracks.load(path)
    table.drop(columns="x").to_parquet(path)
    with pytest.raises(InputError, match="column 'x' is missing"):
        Tracks.load(path)
    table.assign(x="somewhere").to_parquet(path)
    with pytest.raises(InputError, match="not Parquet with the expected columns"):
        Tracks.load(path)
    table.assign(frame=pd.array([0, None, 0, 1], dtype="Int64")).to_parquet(path)
    with pytest.raises(InputError, match="empty cells in the column 'frame'"):
        Tracks.load(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_files_give_input_errors_only(tmp_path: Path, suffix: str) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"tracks{suffix}"
    _sample().save(path)
    good = path.read_bytes()

    @settings(quick, max_examples=120)
    @given(
        st.lists(st.tuples(st.integers(0, len(good) - 1), st.binary(max_size=3), st.integers(0, 4)), max_size=4),
        st.integers(0, len(good)),
    )
    @example([], 0)
    def check(edits: list[tuple[int, bytes, int]], end: int) -> None:
        data = good
        for at, piece, removed in edits:
            data = data[:at] + piece + data[at + removed :]
        path.write_bytes(data if edits else data[:end])
        with contextlib.suppress(InputError):
            Tracks.load(path)

    check()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_any_bytes_give_input_errors(tmp_path: Path, suffix: str) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"tracks{suffix}"

    @quick
    @given(st.binary(max_size=60))
    @example(b"[" * 100_000)
    @example(b"\xff\xfe\x00")
    @example(b"{}")
    @example(b"null")
    @example(b"# size=1x1\n# fps=1\n" + COLUMNS.encode() + b'0,"a\n')
    def check(data: bytes) -> None:
        path.write_bytes(data)
        with pytest.raises(InputError):
            Tracks.load(path)

    check()


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
