"""Tracks as Parquet: the columns of the CSV, x and y null where a point is not known; fps, size (height x width) and
frames in the metadata of the schema. Needs the extra ``tables``."""

from __future__ import annotations

from pathlib import Path
from typing import IO

import numpy as np

from samepoint.errors import InputError, MissingExtraError
from samepoint.io.tracks.table import COLUMNS, format_size, from_rows
from samepoint.structures import Tracks


def save(tracks: Tracks, file: IO[bytes]) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtraError("Writing Parquet", "tables") from None
    count, frames = len(tracks), tracks.frames
    frame = np.tile(np.arange(frames, dtype=np.int64), count)
    x, y = tracks.xy[..., 0].ravel(), tracks.xy[..., 1].ravel()
    columns = {
        "point": np.repeat(np.arange(count, dtype=np.int64), frames),
        "name": pa.array([name for name in tracks.names for _ in range(frames)], pa.string()),
        "frame": frame,
        "time": frame / tracks.fps,
        "x": pa.array(x, mask=np.isnan(x)),
        "y": pa.array(y, mask=np.isnan(y)),
        "visible": tracks.visible.ravel(),
        "confidence": tracks.confidence.ravel(),
    }
    head = {"fps": repr(tracks.fps), "size": format_size(tracks.size), "frames": str(frames)}
    pq.write_table(pa.table(columns, metadata=head), file)


def load(path: Path) -> Tracks:
    """Raises InputError where columns or metadata are missing or of another kind, MissingExtraError without pyarrow."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtraError("Reading Parquet", "tables") from None
    try:
        table = pq.read_table(path, partitioning=None)
        missing = [column for column in COLUMNS if column not in table.column_names]
        if missing:
            raise InputError(f"the column {missing[0]!r} is missing; expected {', '.join(COLUMNS)}")
        kinds = {"point": pa.int64(), "frame": pa.int64(), "visible": pa.bool_()}
        kinds |= {"x": pa.float32(), "y": pa.float32(), "confidence": pa.float32()}
        cells = {}
        for column, kind in kinds.items():
            if column not in ("x", "y") and table[column].null_count:
                raise InputError(f"empty cells in the column {column!r}")
            cells[column] = table[column].cast(kind).to_numpy()
        names = ["" if name is None else str(name) for name in table["name"].to_pylist()]
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, UnicodeDecodeError) as error:
        raise InputError(f"not Parquet with the expected columns ({error})") from None
    metadata = table.schema.metadata or {}
    head = {key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in metadata.items()}
    xy = np.stack([cells["x"], cells["y"]], axis=1)
    return from_rows(cells["point"], cells["frame"], names, xy, cells["visible"], cells["confidence"], head)
