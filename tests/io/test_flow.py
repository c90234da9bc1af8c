"""Flow files written by hand: rows, order of bytes, unknown values, damage."""

from __future__ import annotations

import struct
import sys
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from samepoint.errors import InputError, MissingExtraError
from samepoint.io.flow import read_flow
from tests.datasets.fuzz import used_or_named

FLOWS = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.just(2)),
    elements=st.floats(-1e4, 1e4, width=32),
)


def pfm(flow: np.ndarray, order: str = "<", scale: str = "1.0") -> bytes:
    height, width = flow.shape[:2]
    content = f"PF\n{width} {height}\n{'-' if order == '<' else ''}{scale}\n".encode()
    for row in reversed(range(height)):
        for column in range(width):
            content += struct.pack(order + "fff", *flow[row, column], 0.0)
    return content


def flo(flow: np.ndarray) -> bytes:
    height, width = flow.shape[:2]
    return struct.pack("<fii", 202021.25, width, height) + b"".join(
        struct.pack("<ff", *uv) for uv in flow.reshape(-1, 2)
    )


def test_pfm_of_the_specification(tmp_path) -> None:
    path = tmp_path / "a.pfm"
    path.write_bytes(b"PF\n1 2\n-1.0\n" + struct.pack("<6f", 1, 2, 0, 3, 4, 0))
    flow = read_flow(path)
    assert flow.tolist() == [[[3, 4]], [[1, 2]]]
    assert flow.dtype == np.float32


@settings(max_examples=60)
@given(flow=FLOWS, order=st.sampled_from("<>"), scale=st.sampled_from(["1", "1.000000", "0.5", "2e-1"]))
def test_what_was_written_is_read(tmp_path_factory, flow, order, scale) -> None:
    folder = tmp_path_factory.mktemp("flow")
    (folder / "a.pfm").write_bytes(pfm(flow, order, scale))
    (folder / "a.flo").write_bytes(flo(flow))
    for path in folder.iterdir():
        found = read_flow(path)
        assert (found.dtype, found.flags["C_CONTIGUOUS"]) == (np.dtype(np.float32), True)
        np.testing.assert_array_equal(found, flow)


def test_unknown_flow_is_nan(tmp_path) -> None:
    path = tmp_path / "a.flo"
    path.write_bytes(flo(np.float32([[[1, 2], [1.6e9, 0]], [[0, -1.7e9], [3, 4]]])))
    expected = np.float32([[[1, 2], [np.nan, np.nan]], [[np.nan, np.nan], [3, 4]]])
    np.testing.assert_array_equal(read_flow(path), expected)


def test_flo5(tmp_path) -> None:
    h5py = pytest.importorskip("h5py", reason="needs h5py")
    flow = np.arange(24, dtype=np.float32).reshape(3, 4, 2)
    path = tmp_path / "a.flo5"
    with h5py.File(path, "w") as file:
        file.create_dataset("flow", data=flow, compression="gzip")
    np.testing.assert_array_equal(read_flow(path), flow)
    with h5py.File(path, "w") as file:
        file.create_dataset("flow", data=flow[..., :1])
    with pytest.raises(InputError, match=r"a\.flo5: 'flow' is float32 \(3, 4, 1\)"):
        read_flow(path)
    with h5py.File(path, "w") as file:
        file.create_dataset("other", data=flow)
    with pytest.raises(InputError, match=r"a\.flo5: not an HDF5 file with a data set 'flow'"):
        read_flow(path)
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(InputError, match=r"a\.flo5: not an HDF5 file"):
        read_flow(path)


STORED = arrays.array_shapes(min_dims=3, max_dims=3, max_side=4).map(lambda shape: (*shape[:2], 2))
SHAPES = STORED | arrays.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=3)
TYPES = st.sampled_from(["<f2", "<f4", ">f4", "<f8", ">f8", "<i4", "|u1", "?", "<c8"])
CONTENT = st.tuples(TYPES, SHAPES).flatmap(lambda kind: arrays.arrays(*kind))
HOW = st.sampled_from([{}, {"compression": "gzip"}, {"fletcher32": True}, {"chunks": True}])


@settings(max_examples=200)
@given(
    content=CONTENT, how=HOW, name=st.sampled_from(["flow", "flow", "flow", "flow/x", "other"]), rows=st.integers(0, 4)
)
def test_any_flo5_is_read_as_it_stands_or_named(tmp_path_factory, content, how, name, rows) -> None:
    """Whatever numbers, kind and shape were written, or how much of them."""
    h5py = pytest.importorskip("h5py", reason="needs h5py")
    path = tmp_path_factory.mktemp("flow") / "a.flo5"
    whole = rows >= len(content)
    with h5py.File(path, "w") as file:
        if not whole:  # a writer that was killed: HDF5 fills up with zeros
            how = {**how, "chunks": (1,) * content.ndim} if 0 not in content.shape else {}
        stored = file.create_dataset(name, content.shape, content.dtype, **(how if 0 not in content.shape else {}))
        if rows and content.size:
            stored[:rows] = content[:rows]
    with used_or_named(path):
        flow = read_flow(path)
        assert (name, whole, flow.dtype, content.dtype.kind) == ("flow", True, np.float32, "f")
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(flow, content.astype(np.float32))
        np.testing.assert_array_equal(np.isinf(flow), np.isinf(content))  # too large for float32 is not infinite


@settings(max_examples=100)
@given(data=st.data())
def test_damaged_flo5_is_read_as_it_was_or_named(tmp_path_factory, data) -> None:
    """Cut anywhere, or its compressed numbers changed: HDF5's own structures are not, its library may crash on them."""
    h5py = pytest.importorskip("h5py", reason="needs h5py")
    path = tmp_path_factory.mktemp("flow") / "a.flo5"
    flow = np.arange(24, dtype=np.float32).reshape(3, 4, 2)
    with h5py.File(path, "w") as file:
        stored = file.create_dataset("flow", data=flow, compression="gzip", fletcher32=data.draw(st.booleans()))
        chunk = stored.id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            content[chunk.byte_offset + data.draw(st.integers(0, chunk.size - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with used_or_named(path):
        np.testing.assert_array_equal(read_flow(path), flow)


def test_flo5_too_large_for_float32_is_no_motion(tmp_path) -> None:
    h5py = pytest.importorskip("h5py", reason="needs h5py")
    with h5py.File(tmp_path / "a.flo5", "w") as file:
        file.create_dataset("flow", data=np.full((1, 1, 2), 1e300))
    with pytest.raises(InputError, match=r"a\.flo5: 'flow' holds numbers that are no motion in pixels, up to 1e\+300"):
        read_flow(tmp_path / "a.flo5")


def test_flo5_that_was_not_written_to_its_end(tmp_path) -> None:
    h5py = pytest.importorskip("h5py", reason="needs h5py")
    for how in ({}, {"chunks": (1, 2, 2)}, {"chunks": (4096, 4096, 2)}):
        with h5py.File(tmp_path / "a.flo5", "w") as file:
            file.create_dataset("flow", (1_000_000, 1_000_000, 2), np.float32, **how)
        with pytest.raises(InputError, match=r"a\.flo5: a part of 'flow' was never written"):
            read_flow(tmp_path / "a.flo5")


def test_flo5_without_h5py_names_the_extra(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "a.flo5").write_bytes(b"")
    with pytest.raises(MissingExtraError, match=r"samepoint\[tables\]"):
        read_flow(tmp_path / "a.flo5")


GOOD = pfm(np.zeros((2, 3, 2), np.float32))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.png", b"", "unknown format of flow '.png'; expected one of .pfm, .flo, .flo5"),
        ("a.pfm", b"", "not a PFM file"),
        ("a.pfm", b"P6\n1 1\n255\n", "not a PFM file"),
        ("a.pfm", b"Pf\n1 1\n-1\n" + bytes(4), "one number a pixel"),
        ("a.pfm", GOOD[:-1], "71 bytes of flow; 3 x 2 pixels need 72"),
        ("a.pfm", GOOD + b"\0", "73 bytes of flow"),
        ("a.pfm", b"PF\n0 1\n-1\n", "width 0 and height 1"),
        ("a.pfm", b"PF\n1 1\n0\n" + bytes(12), "scale is '0'"),
        ("a.pfm", b"PF\n1 1\n1.1.1\n" + bytes(12), "scale is '1.1.1'"),
        ("a.pfm", b"PF\n999999999 999999999\n-1\n", "0 bytes of flow"),
        ("a.flo", b"PIEH", "not a .flo file"),
        ("a.flo", b"XIEH" + bytes(16), "not a .flo file"),
        ("a.flo", struct.pack("<fii", 202021.25, 1, -1) + bytes(8), "width 1 and height -1"),
        ("a.flo", struct.pack("<fii", 202021.25, 2, 1) + bytes(8), "8 bytes of flow; 2 x 1 pixels need 16"),
    ],
)
def test_damage_is_named(tmp_path, name, content, message) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_flow(path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)


def test_a_file_that_is_not_there(tmp_path) -> None:
    with pytest.raises(InputError, match=r"none\.flo: cannot be read \(No such file or directory\)"):
        read_flow(tmp_path / "none.flo")


@settings(max_examples=150)
@given(data=st.data(), suffix=st.sampled_from([".pfm", ".flo"]))
def test_any_bytes_are_read_or_refused(tmp_path_factory, data, suffix) -> None:
    flow = np.ones((2, 2, 2), np.float32)
    content = bytearray(pfm(flow) if suffix == ".pfm" else flo(flow))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, min(20, len(content) - 1)))
        content[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    path = tmp_path_factory.mktemp("flow") / f"a{suffix}"
    path.write_bytes(content)
    with suppress(InputError):
        assert read_flow(path).shape[2] == 2
