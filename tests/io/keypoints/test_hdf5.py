"""DeepLabCut's HDF5 against pandas and PyTables, which DeepLabCut itself uses."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samepoint.errors import InputError, MissingExtraError
from samepoint.structures import Keypoints
from tests.io.keypoints.files import content, quick, save, write

h5py = pytest.importorskip("h5py", reason="needs the extra 'tables'")


@pytest.fixture
def pd():
    pytest.importorskip("tables", reason="needs PyTables, with which DeepLabCut writes")
    return pytest.importorskip("pandas")


@pytest.mark.parametrize("name", ["labels.csv", "one_piece.csv", "predicted.csv", "several.csv"])
@pytest.mark.parametrize("format", ["fixed", "table"])
def test_what_pandas_writes_is_read_and_written_so_that_pandas_reads_the_same(
    tmp_path: Path, pd, name: str, format: str
) -> None:
    csv, path, again = write(tmp_path, name), tmp_path / "a.h5", tmp_path / "b.h5"
    keypoints = Keypoints.load(csv)
    levels = 4 if name == "several.csv" else 3
    table = pd.read_csv(csv, header=list(range(levels)), index_col=[0, 1, 2] if name == "labels.csv" else 0)
    table.index.names = [None] * table.index.nlevels
    if format == "table" and name == "labels.csv":
        pytest.skip("pandas has no table with pictures in three pieces")
    table.to_hdf(path, key="df_with_missing", mode="w", format=format)
    found = Keypoints.load(path)
    assert content(found, "confidence") == content(keypoints, "confidence")
    assert (found.images, found.individuals) == (keypoints.images, keypoints.individuals)
    save(found, again)
    pd.testing.assert_frame_equal(pd.read_hdf(again), table, check_exact=True, check_column_type=False)
    save(keypoints, again)
    pd.testing.assert_frame_equal(pd.read_hdf(again), table, check_exact=True, check_column_type=False)


def test_numbers_pass_between_csv_and_hdf5_to_the_last_digit(tmp_path: Path) -> None:
    csv, path, again = write(tmp_path, "predicted.csv"), tmp_path / "a.h5", tmp_path / "b.csv"
    save(Keypoints.load(csv), path)
    save(Keypoints.load(path), again)
    assert again.read_bytes() == csv.read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.__delitem__("df_with_missing"), "tables of pandas in this file: none"),
        (lambda file: file["df_with_missing"].attrs.__setitem__("pandas_type", np.bytes_(b"series")), "series"),
        (lambda file: file.__delitem__("df_with_missing/block0_values"), "not an HDF5 file of DeepLabCut"),
        (lambda file: file.__delitem__("df_with_missing/axis0_level1"), "not an HDF5 file of DeepLabCut"),
        (lambda file: file["df_with_missing/axis0_label1"].__setitem__(0, 9), "axis0_label1"),
        (lambda file: file["df_with_missing/block0_items_label1"].__setitem__(0, 1), "no values for the column"),
        (lambda file: file["df_with_missing/block0_values"].__setitem__((0, 0), np.inf), "row 1, nose: inf"),
        (lambda file: file["df_with_missing/block0_values"].__setitem__((0, 0), np.nan), "row 1, nose: x is missing"),
        (lambda file: file["df_with_missing/axis0_level2"].__setitem__(0, b"z"), "does not fit"),
        (lambda file: file["df_with_missing"].attrs.__setitem__("axis0_nlevels", 2), "does not fit"),
    ],
)
def test_malformed(tmp_path: Path, change, message: str) -> None:
    path = tmp_path / "a.h5"
    save(Keypoints.load(write(tmp_path, "predicted.csv")), path)
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(InputError, match=message) as caught:
        Keypoints.load(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_frames_that_are_no_whole_numbers(tmp_path: Path, pd) -> None:
    path = tmp_path / "a.h5"
    columns = pd.MultiIndex.from_product([["me"], ["nose"], ["x", "y"]], names=["scorer", "bodyparts", "coords"])
    for format in ("fixed", "table"):
        pd.DataFrame([[1.0, 2.0]], [1.5], columns).to_hdf(path, key="df_with_missing", mode="w", format=format)
        with pytest.raises(InputError, match=r"float64 \(1,\); expected a list of words or whole numbers"):
            Keypoints.load(path)


def test_not_hdf5_or_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    save(Keypoints.load(write(tmp_path, "labels.csv")), path)
    data = path.read_bytes()
    for part in (b"", b"scorer,me", data[:64], data[: len(data) // 2]):
        path.write_bytes(part)
        with pytest.raises(InputError, match="not an HDF5 file of DeepLabCut"):
            Keypoints.load(path)


@pytest.fixture(params=["ours", "fixed", "table"])
def predicted(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Two frames of two joints, as we and as pandas in its two layouts write them."""
    csv, path = write(tmp_path, "predicted.csv"), tmp_path / "whole.h5"
    if request.param == "ours":
        save(Keypoints.load(csv), path)
    else:
        table = request.getfixturevalue("pd").read_csv(csv, header=[0, 1, 2], index_col=0)
        table.index.names = [None]
        table.to_hdf(path, key="df_with_missing", mode="w", format=request.param)
    return path


def in_the_file(path: Path) -> tuple[list[int], dict[tuple[int, bytes, bytes], float]]:
    """Frames, and cells by row, body part and coords, read off the arrays."""
    with h5py.File(path) as file:
        (group,) = file.values()
        if "table" in group:
            frames, values = group["table"]["index"], group["table"]["values_block_0"]
            names = [(part, coord) for part in (b"nose", b"tail") for coord in (b"x", b"y", b"likelihood")]
        else:
            frames, values = group["axis1"][()], group["block0_values"][()]
            levels = [group[f"block0_items_level{n}"][()][group[f"block0_items_label{n}"][()]] for n in (1, 2)]
            names = list(zip(*(level.tolist() for level in levels), strict=True))
    cells = {(r, *names[c]): float(values[r, c]) for r, c in np.ndindex(*values.shape)}
    return frames.tolist(), cells


def is_in_the_file(found: Keypoints, path: Path) -> None:
    frames, cells = in_the_file(path)
    assert found.frame.tolist() == frames
    for (r, part, coord), value in cells.items():
        place = r, 0, found.bodyparts.index(part.decode())
        if coord == b"likelihood":
            expected, got = np.clip(np.nan_to_num(value, nan=1), 0, 1) * found.known[place], found.confidence[place]
        else:
            expected, got = value + 0.5, found.xy[place]["xy".index(coord.decode())]
        np.testing.assert_array_equal(got, np.float32(expected))


@quick
@given(data=st.data())
def test_damaged_files(tmp_path: Path, predicted: Path, data: st.DataObject) -> None:
    """Bytes changed, or the end cut off: one line of InputError, or what the file's tables hold."""
    content = bytearray(predicted.read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    stop = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
    path = tmp_path / "damaged.h5"
    path.write_bytes(content[:stop])
    try:
        found = Keypoints.load(path)
    except InputError as error:
        message = str(error)
    else:
        message = f"{path}: fine"
        is_in_the_file(found, path)
    assert message.startswith(str(path))
    assert "\n" not in message


class _Evil:
    def __reduce__(self):
        return (sys.exit, ("executed",))


def test_a_pickle_in_the_file_is_not_run(tmp_path: Path, pd) -> None:
    path = tmp_path / "a.h5"
    columns = pd.MultiIndex.from_product([["me"], ["nose"], ["x", "y"]], names=["scorer", "bodyparts", "coords"])
    pd.DataFrame([[1.0, 2.0]], columns=columns).to_hdf(path, key="df_with_missing", mode="w", format="table")
    assert Keypoints.load(path).xy.tolist() == [[[[1.5, 2.5]]]]
    with h5py.File(path, "r+") as file:
        file["df_with_missing"].attrs["non_index_axes"] = np.bytes_(pickle.dumps(_Evil(), 0))
    with pytest.raises(InputError, match="non_index_axes: not a pickle of plain content"):
        Keypoints.load(path)


def test_without_the_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.h5"
    path.touch()
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"samepoint\[tables\]"):
        Keypoints.load(path)
