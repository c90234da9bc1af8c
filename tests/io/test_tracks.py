from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from samepoint.errors import InputError, MissingExtraError
from samepoint.io.pickles import load_pickle
from samepoint.io.tracks import SUFFIXES, check_suffix
from samepoint.structures import Queries, Tracks

quick = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


def sample_tracks() -> Tracks:
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


@pytest.mark.parametrize("suffix", [".csv", ".json", ".npz"])
def test_the_largest_numbers_come_back(tmp_path: Path, suffix: str) -> None:
    largest = np.finfo(np.float32).max
    tracks = Tracks(np.full((1, 1, 2), largest), [[True]], [[1.0]], 25.0, (1, 1), ("far",))
    tracks.save(tmp_path / f"far{suffix}")
    assert (Tracks.load(tmp_path / f"far{suffix}").xy == largest).all()


def test_csv_by_hand(tmp_path: Path) -> None:
    sample_tracks().save(tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes().decode() == (
        "# fps=12.5\n# size=480x854\n# frames=2\npoint,name,frame,time,x,y,visible,confidence\n"
        '0,"eye, left",0,0.000000,,,0,0.0\n0,"eye, left",1,0.080000,1.5,2.25,1,0.75\n'
        "1,b,0,0.000000,3.0,4.0,0,0.25\n1,b,1,0.080000,5.0,6.0,1,1.0\n"
    )


def test_csv_rows_in_any_order_and_other_ends_of_lines(tmp_path: Path) -> None:
    sample_tracks().save(tmp_path / "a.csv")
    lines = (tmp_path / "a.csv").read_text().splitlines()
    (tmp_path / "a.csv").write_bytes("\ufeff".encode() + "\r\n".join(lines[:4] + lines[:3:-1]).encode())
    same(Tracks.load(tmp_path / "a.csv"), sample_tracks())


def test_json_by_hand(tmp_path: Path) -> None:
    sample_tracks().save(tmp_path / "a.json")
    data = json.loads((tmp_path / "a.json").read_text())
    assert (data["fps"], data["size"], data["frames"]) == (12.5, [480, 854], 2)
    assert data["points"][0] == {
        "name": "eye, left",
        "xy": [None, [1.5, 2.25]],
        "visible": [False, True],
        "confidence": [0, 0.75],
    }


def test_npz_keys(tmp_path: Path) -> None:
    sample_tracks().save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert sorted(archive) == ["confidence", "fps", "names", "size", "visible", "xy"]
        assert archive["size"].tolist() == [480, 854]


def test_parquet_columns(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    sample_tracks().save(tmp_path / "a.parquet")
    table = pd.read_parquet(tmp_path / "a.parquet")
    assert list(table.columns) == ["point", "name", "frame", "time", "x", "y", "visible", "confidence"]
    assert table["x"].isna().tolist() == [True, False, False, False]
    pd.testing.assert_frame_equal(table, sample_tracks().to_dataframe(), check_dtype=False)


@pytest.mark.parametrize("module", ["pyarrow", "pandas"])
def test_missing_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / "b.parquet").touch()
    uses = {
        "pyarrow": [lambda: sample_tracks().save(tmp_path / "a.parquet"), lambda: Tracks.load(tmp_path / "b.parquet")],
        "pandas": [sample_tracks().to_dataframe],
    }
    for use in uses[module]:
        with pytest.raises(MissingExtraError, match=r"pip install 'samepoint\[tables\]'"):
            use()
    assert not (tmp_path / "a.parquet").exists()


class TestTapVid:
    def test_official_keys(self, tmp_path: Path) -> None:
        sample_tracks().save(tmp_path / "a.pkl")
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
            pickle.dumps({1, 2}, 4),
            pickle.dumps(np.ndarray),
            pickle.dumps(np.zeros(2, "M8[s]")),
            pickle.dumps(np.zeros(2, [("a", "f4")])),
        ],
    )
    def test_foreign_classes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
        monkeypatch.chdir(tmp_path)
        Path("a.pkl").write_bytes(content)
        with pytest.raises(InputError, match=r"a\.pkl: not a pickle of plain arrays .*allowed"):
            Tracks.load("a.pkl")
        assert [entry.name for entry in tmp_path.iterdir()] == ["a.pkl"]

    def test_types_and_shapes_that_lie_about_the_content(self, tmp_path: Path) -> None:
        data = pickle.dumps(np.arange(3.0), 2)
        flags = data.replace(b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00", b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x3f")
        (tmp_path / "a.pkl").write_bytes(flags)  # claims that the numbers are pointers to objects
        assert flags != data
        assert load_pickle(tmp_path / "a.pkl").tolist() == [0, 1, 2]
        (tmp_path / "a.pkl").write_bytes(data.replace(b"K\x03\x85", b"K\x7f\x85"))
        with pytest.raises(InputError, match="does not fit its shape"):
            load_pickle(tmp_path / "a.pkl")
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(np.array([2], np.uint8), 2).replace(b"u1", b"b1"))
        with pytest.raises(InputError, match="booleans"):
            load_pickle(tmp_path / "a.pkl")

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
            sample_tracks().save(tmp_path / path)
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
        sample_tracks().save(tmp_path / "none" / "a.csv")
