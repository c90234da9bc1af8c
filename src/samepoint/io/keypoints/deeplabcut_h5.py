"""DeepLabCut's HDF5: a pandas DataFrame as PyTables stores it, read and written without either.

pandas has two layouts, and DeepLabCut writes both: "fixed" (labels) spells the column names out in arrays, "table"
(predictions) pickles them into an attribute, which is read without running anything in it. Written is "fixed".
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from samepoint.errors import InputError, MissingExtraError
from samepoint.io.keypoints.deeplabcut import LEVELS, Column, Table, from_table, to_table
from samepoint.io.pickles import parse_pickle
from samepoint.structures import Keypoints

if TYPE_CHECKING:
    import h5py

KEY = "df_with_missing"


def _library() -> Any:
    try:
        import h5py
    except ImportError:
        raise MissingExtraError("DeepLabCut's HDF5", "tables") from None
    return h5py


def load(path: Path) -> Keypoints:
    library = _library()
    try:
        with library.File(path, "r") as file:
            table = _read(_group(file, library))
    except InputError:
        raise
    except Exception as error:  # h5py raises whatever HDF5 runs into in a damaged file
        raise InputError(f"not an HDF5 file of DeepLabCut ({str(error)[:120]})") from None
    return from_table(table, [f"row {row + 1}" for row in range(len(table.index))])


def _group(file: h5py.File, library: Any) -> h5py.Group:
    groups = [name for name in file if isinstance(file.get(name), library.Group) and "pandas_type" in file[name].attrs]
    if KEY in groups or len(groups) == 1:
        return file[KEY if KEY in groups else groups[0]]
    raise InputError(f"tables of pandas in this file: {', '.join(groups) or 'none'}; expected one, {KEY!r}")


def _read(group: h5py.Group) -> Table:
    kind = _word(group.attrs["pandas_type"])
    if kind == "frame":
        names, index, values = _fixed(group)
    elif kind == "frame_table":
        names, index, values = _table(group)
    else:
        raise InputError(f"{group.name} is a {kind!r} of pandas; expected a DataFrame")
    levels = len(names[0]) if names else 0
    if levels not in (3, 4) or any(len(name) != levels for name in names):
        raise InputError(f"{group.name}: columns of {levels} names; expected {', '.join(LEVELS)}")
    columns: list[Column] = [(name[0], name[1] if levels == 4 else "", name[-2], name[-1]) for name in names]
    if values.shape != (len(index), len(columns)) or values.dtype.kind != "f":
        raise InputError(
            f"{group.name}: {values.dtype} {values.shape}; expected numbers ({len(index)}, {len(columns)})"
        )
    return Table(tuple(columns), tuple(index), values.astype(np.float64).tolist(), levels == 4)


def _word(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _fixed(group: h5py.Group) -> tuple[list[tuple[str, ...]], list[tuple[str | int, ...]], np.ndarray]:
    names = [tuple(map(str, key)) for key in _axis(group, "axis0")]
    index = _axis(group, "axis1")
    values = np.full((len(index), len(names)), np.nan)
    filled = np.zeros(len(names), bool)
    for block in range(int(group.attrs["nblocks"])):
        items = [tuple(map(str, key)) for key in _axis(group, f"block{block}_items")]
        content = group[f"block{block}_values"]
        content = content[()] if content.attrs.get("transposed", 0) else content[()].T
        if content.shape != (len(index), len(items)) or content.dtype.kind not in "fiu":
            raise InputError(f"{group.name}/block{block}_values: {content.dtype} {content.shape}; expected numbers")
        where = [names.index(item) if item in names else -1 for item in items]
        if -1 in where or filled[where].any():
            raise InputError(f"{group.name}/block{block}_items does not fit the columns")
        values[:, where], filled[where] = content, True
    if not filled.all():
        raise InputError(f"{group.name}: no values for the column {' '.join(names[int(np.argmin(filled))])}")
    return names, index, values


def _axis(group: h5py.Group, name: str) -> list[tuple[str | int, ...]]:
    """The names along an axis: a plain index, or one of several levels, each a list of words and the number of each."""
    if _word(group.attrs[f"{name}_variety"]) != "multi":
        return [(word,) for word in _words(group[name][()], f"{group.name}/{name}")]
    levels = []
    for level in range(int(group.attrs[f"{name}_nlevels"])):
        words = _words(group[f"{name}_level{level}"][()], f"{group.name}/{name}_level{level}")
        labels = group[f"{name}_label{level}"][()]
        if labels.dtype.kind not in "iu" or labels.ndim != 1 or (labels < 0).any() or (labels >= len(words)).any():
            raise InputError(f"{group.name}/{name}_label{level}: numbers that name none of {len(words)} words")
        levels.append([words[label] for label in labels])
    if not levels or len({len(level) for level in levels}) != 1:
        raise InputError(f"{group.name}/{name}: levels of different lengths")
    return list(zip(*levels, strict=True))


def _words(values: np.ndarray, where: str) -> list[str | int]:
    if values.ndim != 1 or values.dtype.kind not in "Siu":
        raise InputError(f"{where}: {values.dtype} {values.shape}; expected a list of words or whole numbers")
    return [value.decode("utf-8") if isinstance(value, bytes) else int(value) for value in values.tolist()]


def _table(group: h5py.Group) -> tuple[list[tuple[str, ...]], list[tuple[str | int, ...]], np.ndarray]:
    data = group["table"]
    rows = data[()]
    axes = _unpickled(group.attrs["non_index_axes"], f"{group.name}: non_index_axes")
    names = [_name(name) for name in axes[0][1]]
    index: list[tuple[str | int, ...]] = [(word,) for word in _words(rows["index"], f"{data.name}: index")]
    values = np.full((len(rows), len(names)), np.nan)
    filled = np.zeros(len(names), bool)
    for block in [field for field in rows.dtype.names if field.startswith("values_block_")]:
        held = [_name(name) for name in _unpickled(data.attrs[f"{block}_kind"], f"{data.name}: {block}_kind")]
        where = [names.index(name) if name in names else -1 for name in held]
        content = rows[block].reshape(len(rows), -1)
        if -1 in where or filled[where].any() or content.shape[1] != len(where) or content.dtype.kind not in "fiu":
            raise InputError(f"{data.name}: {block} does not fit the columns")
        values[:, where], filled[where] = content, True
    if not filled.all():
        raise InputError(f"{group.name}: no values for the column {' '.join(names[int(np.argmin(filled))])}")
    return names, index, values


def _unpickled(value: Any, where: str) -> Any:
    if not isinstance(value, bytes):
        raise InputError(f"{where}: expected a pickle of the column names")
    try:
        return parse_pickle(bytes(value))
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _name(value: Any) -> tuple[str, ...]:
    if not isinstance(value, tuple) or not all(isinstance(word, (str, bytes)) for word in value):
        raise InputError(f"column {str(value)[:40]!r}: expected the names {', '.join(LEVELS)}")
    return tuple(map(_word, value))


def save(keypoints: Keypoints, file: IO[bytes]) -> list[str]:
    library = _library()
    table, lost = to_table(keypoints)
    cells = [[np.nan if cell == "" else float(cell) for cell in row] for row in table.cells]
    values = np.array(cells, np.float64).reshape(len(table.index), len(table.columns))
    levels = LEVELS if table.several else (LEVELS[0], *LEVELS[2:])
    columns = [column if table.several else (column[0], *column[2:]) for column in table.columns]
    memory = io.BytesIO()
    with library.File(memory, "w") as store:
        _describe(store, CLASS="GROUP", PYTABLES_FORMAT_VERSION="2.1", VERSION="1.0")
        group = store.create_group(KEY)
        _describe(group, CLASS="GROUP", VERSION="1.0", pandas_type="frame", encoding="UTF-8", errors="strict")
        group.attrs["ndim"], group.attrs["nblocks"] = np.int64(2), np.int64(1)
        _write_levels(group, "axis0", columns, levels)
        _write_levels(group, "block0_items", columns, levels)
        if table.index and len(table.index[0]) > 1:
            _write_levels(group, "axis1", table.index, (None,) * len(table.index[0]))
        else:
            _describe(group, axis1_variety="regular")
            _write_words(group, "axis1", [key[0] for key in table.index], None)
        _array(group, "block0_values", values)
    file.write(memory.getvalue())
    return lost


def _describe(node: Any, **words: str) -> None:
    """Attributes as PyTables writes them: UTF-8 of fixed length, which it reads back as text."""
    for key, word in words.items():
        encoded = word.encode()
        node.attrs.create(key, encoded, dtype=_library().string_dtype("utf-8", max(1, len(encoded))))


def _array(group: h5py.Group, name: str, values: np.ndarray) -> h5py.Dataset:
    data = group.create_dataset(name, data=values)
    _describe(data, CLASS="ARRAY", VERSION="2.4", FLAVOR="numpy")
    data.attrs["transposed"] = np.uint8(1)
    return data


def _write_words(group: h5py.Group, name: str, words: list[Any], title: str | None) -> None:
    numbers = all(isinstance(word, (int, np.integer)) for word in words)
    encoded = [str(word).encode() for word in words]
    longest = max([1, *map(len, encoded)])
    data = _array(group, name, np.array(words, np.int64) if numbers else np.array(encoded, f"S{longest}"))
    _describe(data, kind="integer" if numbers else "string", **({} if title is None else {"name": title}))


def _write_levels(group: h5py.Group, name: str, keys: Any, titles: Any) -> None:
    _describe(group, **{f"{name}_variety": "multi"})
    group.attrs[f"{name}_nlevels"] = np.int64(len(titles))
    for level, title in enumerate(titles):
        words = sorted({key[level] for key in keys})
        _write_words(group, f"{name}_level{level}", words, title)
        _array(group, f"{name}_label{level}", np.array([words.index(key[level]) for key in keys], np.int64))
