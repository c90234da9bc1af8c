"""The catalogue: schema, journals, merging, and that kills leave no trace."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samepoint.errors import InputError
from samepoint.webvideo.catalog import Catalogue, open_journal, read_table, same
from samepoint.webvideo.rows import COLUMNS, KEY, SCHEMA_VERSION, TABLES, VOLATILE, complete, schema


def shot(video: str, index: int, **more: Any) -> dict[str, Any]:
    return {"shot": f"{video}/{index}", "video": video, "index": index, "kept": True, "status": "ok", **more}


def add(catalogue: Catalogue, stage: Any, item: str, *rows: dict[str, Any]) -> None:
    with catalogue.journal(stage) as journal:
        journal.add(item, rows)


def shots_of(catalogue: Catalogue) -> list[str]:
    found: list[str] = catalogue.read("shots")["shot"].to_pylist()
    return found


@pytest.mark.parametrize("table", TABLES)
def test_schema_documents_every_column(table: Any) -> None:
    found = schema(table)
    assert found.names == [column.name for column in COLUMNS[table]]
    assert all(found.field(name).metadata[b"meaning"] for name in found.names)
    assert not found.field(KEY[table]).nullable
    assert found.metadata[b"samepoint.schema_version"] == str(SCHEMA_VERSION).encode()
    assert set(VOLATILE[table]) < set(found.names)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"index": 1}, "has no shot"),
        (shot("a", 0, colour="red"), "a/0 has the unknown column colour"),
        (shot("a", 0, start="7"), "a/0, start: expected int, got '7'"),
        (shot("a", 0, start=True), "start: expected int, got True"),
        (shot("a", 0, kept=1), "kept: expected bool, got 1"),
        (shot("a", 0, repeats=[1, "2"]), "repeats: expected ints"),
    ],
)
def test_rows_that_do_not_fit_are_refused(row: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        complete("shots", row)


def test_rows_come_back_sorted_and_whole(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    add(catalogue, "shots", "b", shot("b", 0, motion=math.nan))
    add(catalogue, "shots", "a", *(shot("a", index, repeats=[index]) for index in (10, 2, 0)))
    assert shots_of(catalogue) == ["a/0", "a/2", "a/10", "b/0"]
    rows = list(catalogue.rows("shots", ["a/2", "b/0"]))
    assert [row["repeats"] for row in rows] == [[2], None]
    assert rows[1]["motion"] is None  # not a number is null
    assert not catalogue.journal_path("shots").exists()


def test_parquet_is_plain(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    add(catalogue, "shots", "a", shot("a", 0))
    file = pq.ParquetFile(tmp_path / "catalogue" / "shots.parquet")
    assert file.schema_arrow.metadata[b"samepoint.table"] == b"shots"
    assert file.read().to_pylist()[0]["shot"] == "a/0"


def test_an_items_new_rows_replace_all_of_its_old_ones(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    add(catalogue, "shots", "a", shot("a", 0), shot("a", 1))
    add(catalogue, "shots", "b", shot("b", 0))
    add(catalogue, "label", "a/1", {"shot": "a/1", "video": "a"})
    add(catalogue, "label", "b/0", {"shot": "b/0", "video": "b"})
    add(catalogue, "shots", "a", shot("a", 0, motion=2.0))
    assert shots_of(catalogue) == ["a/0", "b/0"]
    # Labels of a shot that is no more go with it.
    assert catalogue.read("labels")["shot"].to_pylist() == ["b/0"]


def test_the_last_entry_of_an_item_counts(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    with catalogue.journal("shots") as journal:
        journal.add("a", [shot("a", 0), shot("a", 1)])
        journal.add("a", [shot("a", 0, motion=1.0)])
    assert shots_of(catalogue) == ["a/0"]


def test_merging_twice_changes_nothing(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    with open_journal(catalogue.journal_path("shots"), "shots") as journal:
        journal.add("a", [shot("a", 0)])
    text = catalogue.journal_path("shots").read_bytes()
    catalogue.merge("shots")
    before = catalogue.read("shots")
    catalogue.journal_path("shots").write_bytes(text)  # as if killed before the journal was removed
    catalogue.merge("shots")
    assert catalogue.read("shots").equals(before, check_metadata=True)


def test_an_unfinished_search_is_dropped_and_a_finished_one_known(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    with catalogue.journal("search") as journal:
        journal.add("a", [{"video": "a", "status": "found"}])
    assert catalogue.read("videos").num_rows == 0
    with catalogue.journal("search") as journal:
        journal.add("a", [{"video": "a", "status": "found"}])
        journal.add_search("search", "digest")
    assert catalogue.searched() == {"search": "digest"}
    add(catalogue, "download", "a", {"video": "a", "status": "ok"})
    assert catalogue.searched() == {"search": "digest"}
    assert catalogue.read("videos")["status"].to_pylist() == ["ok"]


def test_an_interruption_merges_what_was_done(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)

    def interrupted() -> None:
        with catalogue.journal("shots") as journal:
            journal.add("a", [shot("a", 0)])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert shots_of(catalogue) == ["a/0"]


def test_one_run_at_a_time(tmp_path: Path) -> None:
    second = Catalogue(tmp_path).held()
    with Catalogue(tmp_path).held(), pytest.raises(InputError, match="another run is at work"):
        second.__enter__()
    with Catalogue(tmp_path).held():
        pass


def test_what_a_kill_left_is_cleared(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    (tmp_path / "labels").mkdir()
    stand_in = tmp_path / "labels" / ".0123456789ab.part.npz"
    other = tmp_path / "labels" / ".hidden"
    for path in (stand_in, other):
        path.touch()
    with open_journal(catalogue.journal_path("shots"), "shots") as journal:
        journal.add("a", [shot("a", 0)])
    with catalogue.held():
        assert shots_of(catalogue) == ["a/0"]
    assert not stand_in.exists()
    assert other.exists()
    stand_in.touch()  # of a worker that Ctrl-C ended, when the journal has been merged
    (tmp_path / "labels" / ".pred.partab12" / "maps").mkdir(parents=True)
    with catalogue.held():
        assert stand_in.exists(), "somebody else may be writing it"
    for path in (stand_in, tmp_path / "labels" / ".pred.partab12"):
        os.utime(path, (0, 0))
    with catalogue.held():
        assert [path.name for path in (tmp_path / "labels").iterdir()] == [".hidden"]


def test_labels_go_with_the_shots_that_a_new_cut_rejects(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    add(catalogue, "shots", "a", shot("a", 0), shot("a", 1), shot("a", 2))
    for index in range(3):
        add(catalogue, "label", f"a/{index}", {"shot": f"a/{index}", "video": "a", "start": index, "status": "ok"})
    add(catalogue, "shots", "a", shot("a", 0), shot("a", 1, kept=False, reason="short"))
    assert catalogue.read("labels")["shot"].to_pylist() == ["a/0"]


def test_files_of_labels_outlive_their_rows(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    file = tmp_path / "labels" / "a" / "0.npz"
    file.parent.mkdir(parents=True)
    file.touch()
    add(catalogue, "shots", "a", shot("a", 0))
    add(catalogue, "label", "a/0", {"shot": "a/0", "video": "a", "status": "ok", "path": "labels/a/0.npz"})
    add(catalogue, "shots", "a", shot("a", 0, kept=False, reason="short"))
    assert catalogue.read("labels").num_rows == 0
    assert file.exists()


def test_reading_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mistyped: no collection of web videos; expected a folder with catalogue/"):
        Catalogue.existing(tmp_path / "mistyped")
    assert list(Catalogue(tmp_path / "none").rows("videos")) == []
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_not_ours_are_named(tmp_path: Path) -> None:
    path = tmp_path / "videos.parquet"
    path.write_text("not parquet")
    with pytest.raises(InputError, match=r"videos\.parquet: not a Parquet file"):
        read_table(path, "videos")
    pq.write_table(pa.table({"video": ["a"]}), path)
    with pytest.raises(InputError, match="not the table videos"):
        read_table(path, "videos")
    later = schema("videos").with_metadata({"samepoint.table": "videos", "samepoint.schema_version": "99"})
    pq.write_table(later.empty_table(), path)
    with pytest.raises(InputError, match="schema version 99; this samepoint knows"):
        read_table(path, "videos")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="expected a folder"):
        Catalogue(tmp_path / "file")


@settings(max_examples=25)
@given(
    entries=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 3)), min_size=1, max_size=8),
    cut=st.floats(0, 1),
)
def test_a_journal_cut_anywhere_gives_the_same_table(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, int]], cut: float
) -> None:
    def write(catalogue: Catalogue, these: list[tuple[str, int]]) -> None:
        with open_journal(catalogue.journal_path("shots"), "shots") as journal:
            for video, count in these:
                journal.add(video, [shot(video, index) for index in range(count)])

    folder = tmp_path_factory.mktemp("cut")
    undisturbed, killed = Catalogue(folder / "undisturbed"), Catalogue(folder / "killed")
    write(undisturbed, entries)
    undisturbed.merge("shots")

    write(killed, entries)
    path = killed.journal_path("shots")
    text = path.read_bytes()
    path.write_bytes(text[: round(cut * len(text))])
    whole = path.read_bytes().count(b"\n")
    with killed.held():  # merges what is whole
        pass
    write(killed, entries[whole:])
    killed.merge("shots")
    assert same(undisturbed, killed) == []


def test_lines_are_json(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    with open_journal(catalogue.journal_path("shots"), "shots") as journal:
        journal.add("ä\n", [shot("ä\n", 0)])
    (line,) = catalogue.journal_path("shots").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["item"] == "ä\n"


def test_the_guide_has_every_column() -> None:
    guide = Path(__file__).resolve().parents[2] / "docs" / "web.md"
    rows = [line for line in guide.read_text(encoding="utf-8").splitlines() if line.count("|") == 4]
    for columns in COLUMNS.values():
        missing = [c.name for c in columns if f"| `{c.name}` | {c.kind} | {c.meaning} |" not in rows]
        assert missing == []
