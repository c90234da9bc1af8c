"""The three tables of a collection of web videos: every column, its type and what it means.

A row is a plain dictionary of JSON values. The stages take rows and give rows; what they leave out is null, what the
table does not have is an error. ``settings`` is filled in by the pipeline and not by the stages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

from ..errors import InputError, MissingExtraError

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = 1

Row: TypeAlias = dict[str, Any]
Table: TypeAlias = Literal["videos", "shots", "labels"]
TABLES: tuple[Table, ...] = get_args(Table)
Kind: TypeAlias = Literal["text", "int", "float", "bool", "texts", "ints", "floats"]


class Column(NamedTuple):
    name: str
    kind: Kind
    meaning: str


COLUMNS: dict[Table, tuple[Column, ...]] = {
    "videos": (
        Column("video", "text", "id, unique: extractor and id (youtube-XXXX), or a hash of the path or URL"),
        Column("class", "text", "class that it was found for first"),
        Column("source", "text", "search, playlist, list or folder"),
        Column("query", "text", "what was asked for; a playlist's URL, a list's or folder's name"),
        Column("url", "text", "page or file on the web"),
        Column("title", "text", "as the page states it"),
        Column("uploader", "text", "as the page states it"),
        Column("licence", "text", "as the page states it; null: not stated"),
        Column("uploaded", "text", "date, YYYY-MM-DD"),
        Column("duration", "float", "seconds"),
        Column("thumbnail", "text", "picture's file relative to the output folder, or its URL"),
        Column("retrieved", "text", "when it was found or fetched last, ISO 8601 in UTC"),
        Column("also_in", "texts", "other classes that found it too, sorted"),
        Column("phash", "text", "perceptual hash, hexadecimal"),
        Column("relevance", "float", "similarity of the thumbnail to the example pictures"),
        Column("status", "text", "found, ok (the file is there), failed or skipped"),
        Column("reason", "text", "why it failed or was skipped"),
        Column("path", "text", "file, relative to the output folder; absolute where the user's own folder holds it"),
        Column("sha256", "text", "of the file"),
        Column("bytes", "int", "size of the file"),
        Column("fps", "float", "frames a second"),
        Column("width", "int", "pixels, as displayed"),
        Column("height", "int", "pixels, as displayed"),
        Column("frames", "int", "number of frames"),
        Column("tool_versions", "text", "JSON object: package and version"),
        Column("settings", "text", "hash of the stage's settings"),
    ),
    "shots": (
        Column("shot", "text", "id, unique: <video>/<index>; the video's id alone where it has no shots"),
        Column("video", "text", "the video's id"),
        Column("class", "text", "the video's class"),
        Column("index", "int", "number of the shot in its video, from 0; null where the video has no shots"),
        Column("start", "int", "first frame"),
        Column("end", "int", "frame after the last"),
        Column("fps", "float", "frames a second"),
        Column("width", "int", "pixels, as displayed"),
        Column("height", "int", "pixels, as displayed"),
        Column("motion", "float", "how much moves"),
        Column("kept", "bool", "whether it is labelled"),
        Column("reason", "text", "why not: static, black, faded, tiny, short; or why the video has no shots"),
        Column("repeats", "ints", "frames that repeat the frame before them"),
        Column("path", "text", "the video's file, as in videos"),
        Column("settings", "text", "hash of the stage's settings"),
        Column("status", "text", "ok; failed or skipped where the video has no shots"),
    ),
    "labels": (
        Column("shot", "text", "the shot's id, unique"),
        Column("video", "text", "the video's id"),
        Column("class", "text", "the video's class"),
        Column("start", "int", "first frame"),
        Column("end", "int", "frame after the last"),
        Column("path", "text", "label file, relative to the output folder"),
        Column("seeds", "int", "points followed"),
        Column("frames", "int", "frames that have labels"),
        Column("alive", "floats", "share of the seeds alive after 0, 1, 2, ... frames"),
        Column("cycle_error", "float", "mean distance after a step forward and back, pixels"),
        Column("similarity", "float", "mean similarity of the matches"),
        Column("motion", "float", "how far labels move"),
        Column("coverage", "float", "share of the picture that has labels"),
        Column("bytes", "int", "size of the label file"),
        Column("method", "text", "how labels were chained"),
        Column("model", "text", "name of the model"),
        Column("model_sha256", "text", "of its weights"),
        Column("settings", "text", "hash of the stage's settings"),
        Column("status", "text", "ok, failed or skipped"),
        Column("reason", "text", "why it failed or was skipped"),
        Column("seconds", "float", "time taken"),
    ),
}
KEY: dict[Table, str] = {"videos": "video", "shots": "shot", "labels": "shot"}
# Differ between two runs that did the same; everything else must not.
VOLATILE: dict[Table, tuple[str, ...]] = {"videos": ("retrieved",), "shots": (), "labels": ("seconds",)}

_PYTHON: dict[str, type | tuple[type, ...]] = {"text": str, "int": int, "float": (int, float), "bool": bool}


def complete(table: Table, row: Mapping[str, Any]) -> Row:
    """The row with every column of the table, in the table's order; what it does not have is null.

    Raises:
        InputError: no key, a column that the table does not have, or a value of another type.
    """
    columns = COLUMNS[table]
    key = KEY[table]
    if not row.get(key):
        raise InputError(f"a row of {table} has no {key}: {json.dumps(row, default=str)[:200]}")
    unknown = row.keys() - {column.name for column in columns}
    if unknown:
        raise InputError(f"{table}: {row[key]} has the unknown column {min(unknown)}")
    result = {column.name: row.get(column.name) for column in columns}
    for column in columns:
        if not _fits(result[column.name], column.kind):
            raise InputError(f"{table}: {row[key]}, {column.name}: expected {column.kind}, got {result[column.name]!r}")
    return result


def _fits(value: Any, kind: Kind) -> bool:
    if value is None:
        return True
    if kind.endswith("s"):
        one = kind[:-1]
        return isinstance(value, list) and all(isinstance(v, _PYTHON[one]) for v in value)
    # bool is an int in Python, but not in a table.
    return isinstance(value, _PYTHON[kind]) and (kind == "bool" or not isinstance(value, bool))


def schema(table: Table) -> pa.Schema:
    """The table for pyarrow; the version of the schema and each column's meaning are in its metadata.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
    except ModuleNotFoundError as error:
        raise MissingExtraError("the catalogue of web videos", "web") from error
    one = {"text": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
    kinds = {**one, "texts": pa.list_(one["text"]), "ints": pa.list_(one["int"]), "floats": pa.list_(one["float"])}
    fields = [
        pa.field(column.name, kinds[column.kind], column.name != KEY[table], {"meaning": column.meaning})
        for column in COLUMNS[table]
    ]
    return pa.schema(fields, {"samepoint.table": table, "samepoint.schema_version": str(SCHEMA_VERSION)})
