"""Whatever is in a file of tracks, the answer is tracks or one InputError."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from samepoint.errors import InputError
from samepoint.io.tracks import SUFFIXES
from samepoint.structures import Tracks
from tests.io.test_tracks import quick, sample_tracks

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
    sample_tracks().save(path)
    data = json.loads(path.read_text())
    change(data)  # type: ignore[operator]
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=message):
        Tracks.load(path)


def test_malformed_npz(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    good = {"xy": sample_tracks().xy, "visible": sample_tracks().visible, "confidence": sample_tracks().confidence}
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
    table = sample_tracks().to_dataframe()
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
    sample_tracks().save(path)
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
