"""Pickles from elsewhere, opened without running anything that is in them.

numpy's own way to unpickle arrays trusts what the file says about their types, and a wrong word there corrupts memory.
So arrays are first read into the plain objects below, then built from checked parts.
"""

from __future__ import annotations

import io
import math
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

from samepoint.errors import InputError

_NDARRAY = object()  # what the name numpy.ndarray stands for: a word, nothing to call


class _DType:
    """``numpy.dtype``: booleans, numbers, bytes, strings and object arrays (of what else is allowed)."""

    def __init__(self, code: Any, align: Any = False, copy: Any = True) -> None:
        if not isinstance(code, str) or not re.fullmatch(r"[<>|=]?(\?|b1|[iuf][1248]|O8?|[SU][0-9]{1,6})", code):
            raise pickle.UnpicklingError(f"arrays of {code!r} are not allowed")
        self.dtype = np.dtype("O" if "O" in code else code)

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 3 or state[1] not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError("malformed type of an array")
        if state[1] in "<>":
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """``numpy.ndarray`` before it is built; ``state`` is numpy's: version, shape, type, Fortran order, content."""

    def __init__(self, kind: Any, shape: Any, code: Any) -> None:
        if kind is not _NDARRAY:
            raise pickle.UnpicklingError("only plain arrays are allowed")
        self.state: Any = None
        self.array: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def build(self) -> np.ndarray:
        if self.array is None:
            _, shape, kind, fortran, content = self.state
            if not isinstance(kind, _DType) or not all(isinstance(side, int) and side >= 0 for side in shape):
                raise pickle.UnpicklingError("malformed array")
            flat = _content(kind.dtype, content, math.prod(shape))
            self.array = flat.reshape(shape, order="F" if fortran else "C")
            self.state = None  # the file's copy of the content is not needed any more
        return self.array


def _content(dtype: np.dtype, content: Any, count: int) -> np.ndarray:
    if dtype.hasobject:
        if not isinstance(content, list) or len(content) != count:
            raise pickle.UnpicklingError("malformed array of objects")
        flat = np.empty(count, object)
        for index, value in enumerate(content):
            flat[index] = _plain(value)
        return flat
    if isinstance(content, str):  # bytes as Python 2 wrote them
        content = content.encode("latin1")
    if len(memoryview(content).cast("B")) != count * dtype.itemsize:
        raise pickle.UnpicklingError("an array's content does not fit its shape")
    if not count or not dtype.itemsize:
        return np.zeros(count, dtype)
    flat = np.frombuffer(content, dtype, count).copy()
    if dtype.kind == "b" and (flat.view(np.uint8) > 1).any():
        raise pickle.UnpicklingError("an array of booleans holds other values")
    return flat


def _scalar(dtype: Any, data: Any = b"") -> Any:
    """``multiarray.scalar``."""
    if not isinstance(dtype, _DType) or dtype.dtype.hasobject:
        raise pickle.UnpicklingError("only numbers are allowed as scalars")
    return _content(dtype.dtype, data, 1)[0]


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    """``numeric._frombuffer``, by which protocol 5 writes arrays."""
    array = _Array(_NDARRAY, None, None)
    array.state = (1, shape, dtype, order == "F", data)
    return array


def _encode(text: Any, encoding: Any) -> bytes:
    """``_codecs.encode``, by which old protocols write bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("only latin1 text is encoded")
    return text.encode("latin1")


def _plain(value: Any, known: dict[int, Any] | None = None) -> Any:
    """The value with its arrays built; what it holds many times over is still held once."""
    known = {} if known is None else known
    if isinstance(value, _Array):
        return value.build()
    if isinstance(value, _DType) or value is _NDARRAY or callable(value):
        raise pickle.UnpicklingError("only content is allowed, no types or functions")
    if isinstance(value, (set, frozenset)):
        raise pickle.UnpicklingError("sets are not allowed")
    if not isinstance(value, (dict, list, tuple)):
        return value
    if id(value) not in known:
        if isinstance(value, dict):
            known[id(value)] = {_plain(key, known): _plain(item, known) for key, item in value.items()}
        else:
            known[id(value)] = type(value)(_plain(item, known) for item in value)
    return known[id(value)]


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _encode,
}
for _core in ("numpy.core", "numpy._core"):  # numpy 1 and 2
    _ALLOWED[_core + ".multiarray", "_reconstruct"] = _Array
    _ALLOWED[_core + ".multiarray", "scalar"] = _scalar
    _ALLOWED[_core + ".numeric", "_frombuffer"] = _frombuffer


NUMPY_NUMBERS: list[tuple[Any, str]] = [
    (_DType, "numpy.dtype"),
    (_scalar, "numpy.core.multiarray.scalar"),
    (_scalar, "numpy._core.multiarray.scalar"),
]
"""What stands in for numpy's own ways to build a number, by the names that pickles use."""


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is not allowed") from None


def load_pickle(path: str | Path) -> Any:
    """The content of a pickle made of numpy arrays, bytes, strings, numbers, dicts, lists and tuples.

    Nothing in the file is run. Raises InputError where it holds anything else, is damaged or is not there.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return _plain(_Restricted(file).load())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:  # a damaged pickle raises whatever its opcodes run into
        raise InputError(f"{path}: not a pickle of plain arrays ({error})") from None


def parse_pickle(data: bytes) -> Any:
    """As ``load_pickle``, of bytes that lie inside another file. Raises InputError, which names no file."""
    try:
        return _plain(_Restricted(io.BytesIO(data)).load())
    except Exception as error:  # a damaged pickle raises whatever its opcodes run into
        raise InputError(f"not a pickle of plain content ({error})") from None
