"""Pickles from elsewhere, opened without running anything that is in them."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from samepoint.errors import InputError


def _encode(text: str, encoding: str) -> bytes:
    """Stand-in for ``_codecs.encode``, by which old protocols write bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("only latin1 text is decoded")
    return text.encode("latin1")


def _scalar(dtype: Any, data: Any = None) -> Any:
    """Stand-in for ``multiarray.scalar``: plain numbers and booleans only."""
    if not isinstance(dtype, np.dtype) or dtype.kind not in "biuf" or not isinstance(data, bytes):
        raise pickle.UnpicklingError("only numbers are allowed as scalars")
    return np.frombuffer(data, dtype, count=1)[0]


def _reconstruct(kind: Any, shape: Any, code: Any) -> np.ndarray:
    """Stand-in for ``multiarray._reconstruct``: an empty array whose content the pickle then sets."""
    if kind is not np.ndarray:
        raise pickle.UnpicklingError("only plain arrays are allowed")
    return np.ndarray((0,), np.int8)


def _frombuffer(data: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    """Stand-in for ``numeric._frombuffer``, by which protocol 5 writes arrays."""
    if not isinstance(dtype, np.dtype) or dtype.hasobject or order not in ("C", "F"):
        raise pickle.UnpicklingError("only arrays of numbers are allowed")
    return np.frombuffer(data, dtype=dtype).reshape(shape, order="C" if order == "C" else "F")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _encode,
}
for _core in ("numpy.core", "numpy._core"):  # numpy 1 and 2
    _ALLOWED[_core + ".multiarray", "_reconstruct"] = _reconstruct
    _ALLOWED[_core + ".multiarray", "scalar"] = _scalar
    _ALLOWED[_core + ".numeric", "_frombuffer"] = _frombuffer


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
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _Restricted(file).load()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:  # a damaged pickle raises whatever its opcodes run into
        raise InputError(f"{path}: not a pickle of plain arrays ({error})") from None
