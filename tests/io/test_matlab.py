"""MATLAB files against scipy's writer and reader, by hand, and damaged."""

from __future__ import annotations

import struct
from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from samepoint.errors import InputError
from samepoint.io.matlab import read_mat
from tests.shared import shared_path

KINDS = st.sampled_from(["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4"])


def saved(content, **options) -> bytes:
    file = BytesIO()
    scipy.io.savemat(file, content, **options)
    return file.getvalue()


@settings(max_examples=40)
@given(data=st.data(), compressed=st.booleans())
def test_arrays_as_scipy_writes_them(tmp_path_factory, data, compressed) -> None:
    path = tmp_path_factory.mktemp("mat") / "a.mat"
    shapes = arrays.array_shapes(min_dims=2, max_dims=3, max_side=5)
    content = {
        name: data.draw(arrays.arrays(data.draw(KINDS), data.draw(shapes), elements={"allow_nan": False}))
        for name in ("kps", "x", "a_long_name_of_an_array")
    }
    extra = {"word": "text", "parts": {"a": 1}, "z": np.array([[1j]])}
    path.write_bytes(saved(content | extra, do_compression=compressed))
    found = read_mat(path)
    assert set(found) == set(content)
    for name, array in content.items():
        np.testing.assert_array_equal(found[name], array.astype(np.float64))


def test_big_endian_by_hand(tmp_path) -> None:
    def element(kind: int, content: bytes) -> bytes:
        return struct.pack(">II", kind, len(content)) + content + bytes(-len(content) % 8)

    flags = struct.pack(">II", 6, 0)
    body = (
        element(6, flags)
        + element(5, struct.pack(">ii", 1, 2))
        + element(1, b"ab")
        + struct.pack(">HHBBxx", 2, 2, 7, 9)
    )
    path = tmp_path / "big.mat"
    path.write_bytes(b"MATLAB 5.0".ljust(124) + b"\x01\x00MI" + element(14, body))
    assert {name: array.tolist() for name, array in read_mat(path).items()} == {"ab": [[7.0, 9.0]]}


def test_other_files_are_named(tmp_path) -> None:
    path = tmp_path / "a.mat"
    for content, message in [
        (b"", "not a MATLAB file of version 5"),
        (b"MATLAB 7.3 MAT-file", "version 7.3"),
        (b"\x89HDF\r\n\x1a\n", "version 7.3"),
        (saved({"a": 1}, format="4"), "not a MATLAB file of version 5"),
        (saved({"a": np.arange(9)})[:-7], "damaged MATLAB file"),
    ]:
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"a\.mat: .*{message}"):
            read_mat(path)
    with pytest.raises(InputError, match=r"none\.mat: cannot be read"):
        read_mat(tmp_path / "none.mat")


@settings(max_examples=150)
@given(data=st.data(), compressed=st.booleans())
def test_damage_is_an_input_error(tmp_path_factory, data, compressed) -> None:
    content = bytearray(
        saved({"kps": np.arange(12.0).reshape(6, 2), "bbox": np.ones((1, 4))}, do_compression=compressed)
    )
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(124, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("mat") / "a.mat"
    path.write_bytes(content[: data.draw(st.integers(100, len(content)))])
    with suppress(InputError):
        read_mat(path)


def test_real_points_as_scipy_reads_them() -> None:
    files = sorted(shared_path("data", "pf-willow").glob("*/*.mat"))
    assert len(files) == 50
    for file in files:
        found = read_mat(file)
        assert list(found) == ["pts_coord"]
        np.testing.assert_array_equal(found["pts_coord"], scipy.io.loadmat(file)["pts_coord"])
