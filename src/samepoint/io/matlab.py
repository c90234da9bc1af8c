"""MATLAB files (version 5, what ``save`` writes up to ``-v7``): arrays of real numbers, nothing else.

Layout after MathWorks, "MAT-File Format" (level 5): a head of 128 bytes, then elements of (type, length, content), each
array an element of elements and most often compressed. Cells, structures, text and complex numbers are passed over.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from samepoint.errors import InputError

_HEAD = 128
_COMPRESSED, _MATRIX = 15, 14
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_NUMERIC_CLASSES = range(6, 16)  # double, single and the whole numbers
_COMPLEX = 0x0800
_LIMIT = 1 << 28  # bytes of one array unpacked: a damaged length must not fill the memory


def read_mat(path: str | Path) -> dict[str, NDArray[np.float64]]:
    """Every real numeric array of the file by its name, as float64 with MATLAB's shape (two dimensions or more).

    Raises InputError where the file is not there, damaged, or of another version (4, or 7.3, which is HDF5).
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected a MATLAB file") from None
    if data[:_HEAD].startswith(b"MATLAB 7.3") or data.startswith(b"\x89HDF"):
        raise InputError(f"{path}: MATLAB file of version 7.3; expected version 5 (in MATLAB: save -v7)")
    order = {b"IM": "<", b"MI": ">"}.get(data[126:_HEAD])
    if order is None or data[124:126] != (b"\x00\x01" if order == "<" else b"\x01\x00"):
        raise InputError(f"{path}: not a MATLAB file of version 5")
    found = {}
    try:
        for kind, content in _elements(data[_HEAD:], order):
            if kind == _COMPRESSED:
                unpacker = zlib.decompressobj()
                content = unpacker.decompress(content, _LIMIT)
                if not unpacker.eof:
                    raise ValueError("a compressed array is cut short or too large")
                kind, content = next(_elements(content, order), (0, b""))
            if kind == _MATRIX:
                name, array = _matrix(content, order)
                if array is not None:
                    found[name] = array
    except (ValueError, OverflowError, struct.error, zlib.error) as error:
        raise InputError(f"{path}: damaged MATLAB file ({error})") from None
    return found


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """(type, content) one after the other; lengths are rounded up to 8 bytes except after a compressed one."""
    place = 0
    while place < len(data):
        if len(data) - place < 8:
            raise ValueError("ends within the head of an element")
        kind, length = struct.unpack_from(order + "II", data, place)
        start = place + 8
        if kind >> 16:  # the short form: up to 4 bytes of content beside type and length
            kind, length, start = kind & 0xFFFF, kind >> 16, place + 4
            if length > 4:
                raise ValueError("malformed short element")
        if length > len(data) - start:
            raise ValueError("ends within an element")
        yield kind, data[start : start + length]
        end = start + length
        place = end if kind == _COMPRESSED else end + (place - end) % 8


def _matrix(content: bytes, order: str) -> tuple[str, NDArray[np.float64] | None]:
    parts = list(_parts(content, order))
    if len(parts) < 3 or len(parts[0][1]) != 8:
        raise ValueError("malformed array")
    flags = struct.unpack(order + "II", parts[0][1])[0]
    shape = [int(side) for side in _numbers(*parts[1], order)]
    name = parts[2][1].decode("latin1")
    if (flags & 0xFF) not in _NUMERIC_CLASSES or flags & _COMPLEX:
        return name, None
    if len(parts) < 4 or len(shape) < 2 or min(shape) < 0:
        raise ValueError(f"malformed array {name!r}")
    flat = _numbers(*parts[3], order)
    if len(flat) != math.prod(shape):
        raise ValueError(f"array {name!r} has {len(flat)} numbers, expected {shape}")
    return name, flat.reshape(shape, order="F")


def _parts(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Flags, shape, name and numbers; what follows belongs to kinds that are passed over."""
    for index, part in enumerate(_elements(content, order)):
        if index == 4:
            return
        yield part


def _numbers(kind: int, content: bytes, order: str) -> NDArray[np.float64]:
    if kind not in _NUMBERS:
        raise ValueError(f"numbers of unknown type {kind}")
    dtype = np.dtype(_NUMBERS[kind]).newbyteorder("<" if order == "<" else ">")
    if len(content) % dtype.itemsize:
        raise ValueError("numbers are cut short")
    return np.frombuffer(content, dtype).astype(np.float64)
