"""Optical flow in: PFM (FlyingThings3D), .flo (Middlebury) and .flo5 (HDF5).

Flow is float32 (H, W, 2), the motion (x right, y down) of each pixel in pixels, row 0 at the top; NaN where it is not
known.
"""

from __future__ import annotations

import math
import re
import struct
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samepoint.errors import InputError, MissingExtraError

SUFFIXES = (".pfm", ".flo", ".flo5")
_FLO_TAG = struct.pack("<f", 202021.25)
_FLO_UNKNOWN = 1e9  # Middlebury: greater means not known
_PFM_HEAD = re.compile(rb"P[Ff]\s+(\d{1,9})\s+(\d{1,9})\s+([-+]?[0-9.]{1,20}(?:[eE][-+]?\d{1,3})?)\s")


def read_flow(path: str | Path) -> NDArray[np.float32]:
    """The flow in a file, whose suffix tells the format.

    Raises:
        InputError: there is no such file, it is damaged, or of another format.
        MissingExtraError: a ``.flo5`` without h5py.
    """
    path = Path(path)
    read = {".pfm": _read_pfm, ".flo": _read_flo, ".flo5": _read_flo5}.get(path.suffix.lower())
    if read is None:
        raise InputError(f"{path}: unknown format of flow {path.suffix!r}; expected one of {', '.join(SUFFIXES)}")
    return read(path)


def _read_pfm(path: Path) -> NDArray[np.float32]:
    """Rows lie bottom to top; a negative scale means little endian, its amount nothing (as in the set's own reader)."""
    data = _bytes(path)
    head = _PFM_HEAD.match(data)
    if head is None:
        raise InputError(f"{path}: not a PFM file; expected 'PF', width, height and scale in its head")
    if not data.startswith(b"PF"):
        raise InputError(f"{path}: PFM file with one number a pixel; flow has two, stored as three ('PF')")
    width, height, scale = int(head[1]), int(head[2]), _scale(head[3], path)
    pixels = _pixels(data, head.end(), (height, width, 3), "<f4" if scale < 0 else ">f4", path)
    return np.ascontiguousarray(pixels[::-1, :, :2], np.float32)


def _scale(text: bytes, path: Path) -> float:
    try:
        scale = float(text)
    except ValueError:
        scale = 0.0
    if scale == 0 or not np.isfinite(scale):
        raise InputError(f"{path}: scale is {text.decode('ascii')!r}; expected a number below 0 or above it")
    return scale


def _read_flo(path: Path) -> NDArray[np.float32]:
    data = _bytes(path)
    if len(data) < 12 or not data.startswith(_FLO_TAG):
        raise InputError(f"{path}: not a .flo file; expected the number 202021.25, width and height at its head")
    width, height = struct.unpack_from("<ii", data, 4)
    flow = _pixels(data, 12, (height, width, 2), "<f4", path).astype(np.float32)
    known = (np.abs(flow) <= _FLO_UNKNOWN).all(axis=2)
    flow[~known] = np.nan
    return flow


def _read_flo5(path: Path) -> NDArray[np.float32]:
    try:
        h5py: Any = import_module("h5py")
    except ImportError:
        raise MissingExtraError("Reading .flo5 (HDF5)", "tables") from None
    _bytes(path, limit=0)
    try:
        with h5py.File(path, "r") as file:
            stored = file["flow"]
            shape = stored.shape
            if len(shape) != 3 or shape[2] != 2 or stored.dtype.kind != "f" or 0 in shape:
                raise InputError(f"{path}: 'flow' is {stored.dtype} {shape}; expected floats (height, width, 2)")
            if not _is_written(stored):
                raise InputError(f"{path}: a part of 'flow' was never written, which HDF5 would fill with zeros")
            exact = np.asarray(stored)
            with np.errstate(over="ignore"):
                flow = exact.astype(np.float32)
    except InputError:
        raise
    except Exception as error:  # a damaged HDF5 file raises whatever its library runs into
        raise InputError(f"{path}: not an HDF5 file with a data set 'flow' ({error})") from None
    if (np.isfinite(exact) & ~np.isfinite(flow)).any():
        raise InputError(
            f"{path}: 'flow' holds numbers that are no motion in pixels, up to {np.nanmax(np.abs(exact)):g}"
        )
    return flow


def _is_written(stored: Any) -> bool:
    """Whether all of a data set lies in its file."""
    if stored.chunks is None:
        return bool(stored.id.get_storage_size() >= stored.nbytes)
    sides = zip(stored.shape, stored.chunks, strict=True)
    return bool(stored.id.get_num_chunks() == math.prod(-(-side // chunk) for side, chunk in sides))


def _bytes(path: Path, limit: int = -1) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(limit)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected optical flow") from None


def _pixels(data: bytes, start: int, shape: tuple[int, int, int], dtype: str, path: Path) -> NDArray[np.float32]:
    height, width, channels = shape
    if height < 1 or width < 1:
        raise InputError(f"{path}: width {width} and height {height}; expected at least 1")
    needed = height * width * channels * 4
    if len(data) - start != needed:
        raise InputError(f"{path}: {len(data) - start} bytes of flow; {width} x {height} pixels need {needed}")
    return np.frombuffer(data, dtype, offset=start).reshape(shape)
