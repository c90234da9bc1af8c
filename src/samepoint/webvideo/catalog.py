"""The catalogue of a collection: three Parquet tables, and journals of what is not in them yet.

While a stage runs, each finished row is one line more of its journal; at the end of the stage, and before the next run
whatever ended the last, the journal is merged into its table. A kill at any moment so loses at most what was in work,
and the tables do not show whether there was one.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

from ..errors import InputError
from ..io.atomic import atomic_path
from .rows import COLUMNS, KEY, SCHEMA_VERSION, TABLES, VOLATILE, Row, Table, complete, schema

if TYPE_CHECKING:
    import pyarrow as pa

Stage: TypeAlias = Literal["search", "download", "shots", "label"]
STAGES: tuple[Stage, ...] = get_args(Stage)


class Target(NamedTuple):
    """Where a stage's results go: they replace the rows of ``table`` that have the finished item in column ``by``."""

    table: Table
    by: str


TARGETS: dict[Stage, Target] = {
    "search": Target("videos", "video"),
    "download": Target("videos", "video"),
    "shots": Target("shots", "video"),
    "label": Target("labels", "shot"),
}
_ORDER: dict[Table, tuple[str, ...]] = {"videos": ("video",), "shots": ("video", "index"), "labels": ("video", "start")}
_AT_ONCE = 20_000  # rows held as dictionaries
_SYNC_EVERY = 1.0  # seconds: what a power cut, not a kill, may lose of a journal
_STALE = 3600.0  # seconds after which what nobody has touched is left over, where no journal tells of a kill
_STAND_IN = re.compile(r"\.[0-9a-f]{12}\.part(\..*)?")  # of io/atomic.py
_PARTS = re.compile(r"\.pred\.part.*")  # folders, of webvideo/legacy_labels.py


class Catalogue:
    """The tables under ``folder``/catalogue.

    Args:
        folder: the collection's output folder; made by what writes, not by what reads.

    Raises:
        InputError: the folder is a file, or a table in it is not one of ours or of a later version.
    """

    def __init__(self, folder: str | Path) -> None:
        self.output = Path(folder)
        self.folder = self.output / "catalogue"
        if self.output.is_file():
            raise InputError(f"{folder}: expected a folder for the collection, found a file")

    @classmethod
    def existing(cls, folder: str | Path) -> Catalogue:
        """That of a collection that is there. Raises InputError where there is none."""
        if not (Path(folder) / "catalogue").is_dir():
            raise InputError(f"{folder}: no collection of web videos; expected a folder with catalogue/ in it")
        return cls(folder)

    def path(self, table: Table) -> Path:
        return self.folder / f"{table}.parquet"

    def journal_path(self, stage: Stage) -> Path:
        return self.folder / "journal" / f"{stage}.jsonl"

    @contextmanager
    def held(self) -> Iterator[None]:
        """For one process alone; what a killed one left behind is merged or removed first.

        Raises:
            InputError: another run is at work on this collection, or its folder cannot be one.
        """
        from filelock import FileLock, Timeout

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise InputError(f"{self.output}: expected a folder for the collection, found a file") from error
        lock = FileLock(self.folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise InputError(f"{self.output}: another run is at work on this collection") from error
        try:
            killed = any(self.journal_path(stage).exists() for stage in STAGES)
            self._remove_stand_ins(0 if killed else _STALE)
            for stage in STAGES:
                self.merge(stage)
            yield
        finally:
            lock.release()

    def read(self, table: Table, columns: list[str] | None = None) -> pa.Table:
        """The table, or some of its columns; without rows where there is none yet."""
        return read_table(self.path(table), table, columns)

    def rows(self, table: Table, keep: Iterable[str] | None = None) -> Iterator[Row]:
        """The rows, in the order of the table; only those whose key is in ``keep``, if given."""
        import pyarrow as pa
        import pyarrow.compute as pc

        found = self.read(table)
        if keep is not None:
            found = found.filter(pc.is_in(found[KEY[table]], pa.array(list(keep), pa.string())))
        for batch in found.to_batches(max_chunksize=1000):
            yield from batch.to_pylist()

    def searched(self) -> dict[str, str]:
        """Searches that are complete: name and hash of the settings."""
        path = self.path("videos")
        if not path.exists():
            return {}
        metadata = self.read("videos", ["video"]).schema.metadata
        found: dict[str, str] = json.loads(metadata.get(b"samepoint.searched", b"{}"))
        return found

    @contextmanager
    def journal(self, stage: Stage) -> Iterator[Journal]:
        """Open for appending; merged into its table when the block ends, by an interruption too."""
        try:
            with open_journal(self.journal_path(stage), TARGETS[stage].table) as journal:
                yield journal
        except KeyboardInterrupt:
            self.merge(stage)
            raise
        self.merge(stage)

    def merge(self, stage: Stage) -> None:
        """Bring the journal's rows into the table and remove it; nothing without a journal."""
        path = self.journal_path(stage)
        if not path.exists():
            return
        table, by = TARGETS[stage]
        items = [entry["item"] for entry in _entries(path) if "rows" in entry]
        searched = {entry["item"]: entry["search"] for entry in _entries(path) if "search" in entry}
        # What is found twice is known only of a whole search: one that was cut off is done anew.
        if searched if stage == "search" else items:
            self._write(table, _replaced(self.read(table), by, set(items), _last(path, table)), searched)
        if stage == "shots":
            self._drop_orphans()
        path.unlink()

    def _write(self, table: Table, content: pa.Table, searched: Mapping[str, str] | None = None) -> None:
        import pyarrow.parquet as pq

        content = content.sort_by([(column, "ascending") for column in _ORDER[table]])
        if table == "videos":
            searches = json.dumps(self.searched() | dict(searched or {}), sort_keys=True)
            content = content.replace_schema_metadata(content.schema.metadata | {b"samepoint.searched": searches})
        with atomic_path(self.path(table)) as stand_in:
            pq.write_table(content, stand_in, compression="zstd")

    def _drop_orphans(self) -> None:
        """Rows of labels of shots that a new cut does not have any more, or does not keep; their files stay."""
        import pyarrow.compute as pc

        if not self.path("labels").exists():
            return
        labels, shots = self.read("labels"), self.read("shots", ["shot", "kept", "status"])
        shots = shots.filter(pc.and_(shots["kept"], pc.equal(shots["status"], "ok")))
        kept = labels.filter(pc.is_in(labels["shot"], shots["shot"].combine_chunks()))
        if kept.num_rows < labels.num_rows:
            self._write("labels", kept)

    def _remove_stand_ins(self, age: float) -> None:
        """Files and folders that a run was writing when it was killed, not touched for so many seconds."""
        latest = time.time() - age
        for folder, folders, names in os.walk(self.output):
            for name in [name for name in folders if _PARTS.fullmatch(name)]:
                folders.remove(name)
                with suppress(OSError):
                    if (Path(folder) / name).stat().st_mtime <= latest:
                        shutil.rmtree(Path(folder) / name, ignore_errors=True)
            for name in names:
                if _STAND_IN.fullmatch(name):
                    with suppress(OSError):
                        if (Path(folder) / name).stat().st_mtime <= latest:
                            (Path(folder) / name).unlink()


class Journal:
    """Lines of finished items; each is whole or, the last of a killed run, not there."""

    def __init__(self, file: IO[bytes], table: Table) -> None:
        self._file, self._table = file, table
        self._synced = time.monotonic()

    def add(self, item: str, rows: Iterable[Row]) -> None:
        """``item`` is finished, and these are all the rows that came of it."""
        self._append({"item": item, "rows": [_plain(complete(self._table, row)) for row in rows]})

    def add_search(self, name: str, settings: str) -> None:
        """The search is complete, and all that it found was added before; without this, merging drops it."""
        self._append({"item": name, "search": settings})

    def _append(self, entry: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(entry, ensure_ascii=False, allow_nan=False).encode() + b"\n")
        self._file.flush()
        if time.monotonic() - self._synced > _SYNC_EVERY:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()


@contextmanager
def open_journal(path: Path, table: Table) -> Iterator[Journal]:
    """A journal at ``path``, whose folder is made; a line that a kill cut off is removed first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        file.seek(0)
        whole = sum(len(line) for line in file if line.endswith(b"\n"))
        file.truncate(whole)
        try:
            yield Journal(file, table)
        finally:
            os.fsync(file.fileno())


def read_table(path: str | Path, table: Table, columns: list[str] | None = None) -> pa.Table:
    """A table of a catalogue, checked; without rows where there is no file.

    Raises:
        InputError: not a Parquet file, not this table, or of a later version than this samepoint knows.
        MissingExtraError: pyarrow is not installed.
    """
    path = Path(path)
    wanted = schema(table)
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.exists():
        empty = wanted.empty_table()
        return empty if columns is None else empty.select(columns)
    try:
        found = pq.read_table(path, columns=columns)
    except pa.ArrowInvalid as error:
        raise InputError(f"{path}: not a Parquet file") from error
    metadata = found.schema.metadata or {}
    name = metadata.get(b"samepoint.table", b"").decode()
    version = metadata.get(b"samepoint.schema_version", b"").decode()
    if name != table or not version.isdecimal():
        raise InputError(f"{path}: not the table {table} of a samepoint catalogue")
    if int(version) > SCHEMA_VERSION:
        raise InputError(f"{path}: schema version {version}; this samepoint knows versions up to {SCHEMA_VERSION}")
    return found


def _replaced(old: pa.Table, by: str, items: Collection[str], new: Iterator[Row]) -> pa.Table:
    """``old`` with all rows of ``items`` replaced by ``new``."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kept = old.filter(pc.invert(pc.is_in(old[by], pa.array(sorted(items), pa.string()))))
    parts = [kept]
    rows: list[Row] = []
    for row in new:
        rows.append(row)
        if len(rows) == _AT_ONCE:
            parts.append(pa.Table.from_pylist(rows, schema=old.schema))
            rows = []
    parts.append(pa.Table.from_pylist(rows, schema=old.schema))
    return pa.concat_tables(parts)


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)


def _last(path: Path, table: Table) -> Iterator[Row]:
    """Rows of the last entry of each item."""
    last = {entry["item"]: number for number, entry in enumerate(_entries(path))}
    for number, entry in enumerate(_entries(path)):
        if last[entry["item"]] == number and "rows" in entry:
            yield from entry["rows"]


def _plain(row: Row) -> Row:
    """Without numbers that JSON does not have."""
    return {key: _finite(value) for key, value in row.items()}


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return [_finite(v) for v in value] if isinstance(value, list) else value


def same(first: Catalogue, second: Catalogue) -> list[str]:
    """Tables that differ between two catalogues in more than the volatile columns."""
    differing: list[str] = []
    for table in TABLES:
        columns = [column.name for column in COLUMNS[table] if column.name not in VOLATILE[table]]
        if not first.read(table, columns).equals(second.read(table, columns)):
            differing.append(table)
    return differing
