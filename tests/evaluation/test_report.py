"""Which rows share a table, which published numbers stand beside them, and what is marked as the best."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samepoint.evaluation.comparison import groups
from samepoint.evaluation.published import PUBLISHED
from samepoint.evaluation.report import Section, Table, build
from samepoint.evaluation.report_text import write_text
from samepoint.evaluation.result_file import Result, read_result
from tests.evaluation.results import content, whole_badja, write

GOLDEN = """\
## badja

### Table 1: badja-pips

Protocol badja-pips, size 320 x 512, queries first, aggregation video, frame 0 not counted. \
2 of 7 items (camel, cows); 5 missing.

| model | settings | input | PCK@0.2 | seconds | peak memory | weights | version |
| --- | --- | --- | --: | --: | --: | --- | --- |
| base | samepoint | 320 x 512 | **65.1** | 12.3 | 118 MiB | 01234567 | 0.1.0 |
| floor \\| 2 | fgvc | 320 x 512 | 20.0 | 7,200.0 | 2.0 GiB | - | 0.2.0 |

Note on floor \\| 2, fgvc: random weights

### Table 2: badja-pips

Protocol badja-pips, size 320 x 512, queries first, aggregation video, frame 0 not counted. \
2 of 7 items (camel, dog); 5 missing.

| model | settings | input | PCK@0.2 | seconds | peak memory | weights | version |
| --- | --- | --- | --: | --: | --: | --- | --- |
| base | samepoint | 320 x 512 | 90.0 | 12.3 | 118 MiB | 01234567 | 0.1.0 |

### Published, not comparable: badja
"""


def results(folder: Path, *changes: dict[str, Any]) -> list[Result]:
    return [read_result(write(folder / f"{index}.json", **one)) for index, one in enumerate(changes)]


def tables(folder: Path, *changes: dict[str, Any], **options: bool) -> list[Table]:
    return [table for section in build(results(folder, *changes), **options) for table in section.tables]


def cells(table: Table, column: str) -> list[str]:
    index = [one.name for one in table.columns].index(column)
    return [f"*{row[index].text}*" if row[index].best else row[index].text for row in table.rows]


def test_a_small_report_as_markdown(tmp_path: Path) -> None:
    found = results(
        tmp_path,
        {},
        {
            "metrics": {"PCK@0.2": 20},
            "model": {"name": "floor | 2", "sha256": None},
            "protocol": {"settings": "fgvc", "notes": ["random weights"]},
            **{"seconds": 7200, "peak_memory": 2**31, "version": "0.2.0"},
        },
        {"metrics": {"PCK@0.2": 90}, "per_item": {"camel": {"PCK@0.2": 90}, "dog": {"PCK@0.2": 90}}},
    )
    text = write_text(build(found), "markdown")
    assert text[text.index("## badja") :].startswith(GOLDEN)
    assert text.endswith("ours covers 2 of 7 items |\n\nMissing: bear: no frames\n")


@pytest.mark.parametrize(
    "change",
    [
        {"protocol": {"name": "badja-visible"}},
        {"protocol": {"size": None}},
        {"protocol": {"size": [480, 854]}},
        {"protocol": {"query_mode": "strided"}},
        {"protocol": {"aggregation": "point"}},
        {"protocol": {"frame_0": True}},
        {"protocol": {"comparison": "le"}},  # a key that this version does not know
        {"protocol": {"resolution": "full"}},
        {"protocol": {"annotations": "csv"}},
        {"found": 3},
        {"per_item": {"camel": {"PCK@0.2": 83.6}}},
        {"per_item": {}},
    ],
)
def test_whatever_changes_the_meaning_makes_a_table_of_its_own(tmp_path: Path, change: dict[str, Any]) -> None:
    first, second, *_ = tables(tmp_path, {}, change)
    assert (len(first.rows), len(second.rows)) == (1, 1)
    assert first.facts != second.facts


def test_models_and_settings_share_a_table_and_tell_themselves_apart(tmp_path: Path) -> None:
    more = {"model": {"name": "other"}}
    table = tables(tmp_path, {}, more, {"protocol": {"settings": "fgvc"}}, {})[0]
    assert cells(table, "model") == [f"base ({tmp_path / '0.json'})", "other", "base", f"base ({tmp_path / '3.json'})"]
    assert cells(table, "settings") == ["samepoint", "samepoint", "fgvc", "samepoint"]


def test_settings_of_one_name_that_differ_are_told(tmp_path: Path) -> None:
    table = tables(
        tmp_path,
        {"settings": {"points": {"name": "samepoint", "size": [320, 512], "memory": 5}, "root": "/a"}},
        {
            "settings": {"points": {"name": "samepoint", "size": [320, 512], "memory": 20}, "root": "/b"},
            "model": {"name": "b"},
        },
    )[0]
    assert table.notes[-1] == "Settings samepoint differ in points.memory: base, samepoint: 5; b, samepoint: 20"


def test_what_the_scores_leave_out_is_told_where_it_is_something(tmp_path: Path) -> None:
    lines = {"videos": 0, "points": 1200}
    same = tables(tmp_path, {"excluded": lines}, {"excluded": lines, "model": {"name": "b"}})[0]
    assert same.notes == ("Left out of the scores: points (1,200)",)
    table = tables(tmp_path, {"excluded": {"videos": 0}}, {"excluded": {"videos": 2}, "model": {"name": "b"}})[0]
    assert table.notes == ("Left out of the scores of b, samepoint: videos (2)",)


def test_all_clips_are_not_the_test_clips(tmp_path: Path) -> None:
    """JHMDB without its lists: 928 clips, which must not stand beside figures of the 268."""
    change = {"benchmark": "jhmdb", "found": 928, "missing": ["val_list.txt"], "metrics": {"PCK@0.1": 60.0}}
    protocol = {"name": "jhmdb-vfs", "size": None, "aggregation": "joint"}
    settings_ = {"joints": {"name": "fgvc", "size": [320, 320]}}
    ours, apart = tables(tmp_path, {**change, "protocol": protocol, "settings": settings_})
    assert len(ours.rows) == 1
    assert "928 items, where the set has 268 (camel, cows); 1 missing." in ours.facts[0]
    reasons = cells(apart, "comparable?")
    assert all("ours covers 928 items, where the set has 268, 1 missing" in reason for reason in reasons)


def test_the_best_is_marked_within_one_input_size(tmp_path: Path) -> None:
    def one(size: list[int] | None, score: float | None) -> dict[str, Any]:
        task = {"points": {"name": f"s{size}", "size": size}}
        return {"settings": task, "protocol": {"settings": f"s{size}"}, "metrics": {"PCK@0.2": score}}

    table = tables(tmp_path, one([320, 512], 10), one([320, 512], 30), one(None, 90), one([320, 512], None))[0]
    assert cells(table, "PCK@0.2") == ["10.0", "*30.0*", "90.0", "-"]
    assert cells(table, "input") == ["320 x 512", "320 x 512", "native", "320 x 512"]
    assert "Input sizes differ, see the column; the best value is marked among rows of one input size." in table.notes
    equal = tables(tmp_path, one(None, 89.96), one(None, 90.04))[0]
    assert cells(equal, "PCK@0.2") == ["90.0", "90.0"]


def test_sizes_and_resolutions_are_told_apart(tmp_path: Path) -> None:
    def one(size: int) -> dict[str, Any]:
        return {"benchmark": "davis-2016", "settings": {"masks": {"name": "x", "size": size}}}

    assert cells(tables(tmp_path, one(480), one(320))[0], "input") == ["short side 480", "short side 320"]
    small, full = ({"protocol": {"resolution": name}} for name in ("480p", "full"))
    ours, other, apart = tables(tmp_path, whole_badja(60.0, **small), whole_badja(60.0, **full))
    assert (len(ours.rows), len(other.rows)) == (1, 3)  # PIPs' two beside the one in full resolution
    assert "resolution is not stated, the annotation's is full, ours 480p" not in "".join(cells(apart, "comparable?"))
    _, apart = tables(tmp_path, whole_badja(60.0, **small))
    assert "unclear (Table 1): its frames' resolution is not stated, the annotation's is full, ours 480p" in cells(
        apart, "comparable?"
    )


def test_less_is_better_where_it_is(tmp_path: Path) -> None:
    pair = ({"benchmark": "tapvid-davis", "metrics": {"AJ": score, "MTE": score, "J_4": score}} for score in (3, 5))
    table = tables(tmp_path, *pair)[0]
    assert cells(table, "AJ") == ["3.0", "*5.0*"]
    assert cells(table, "MTE (px), lower is better") == ["*3.0*", "5.0"]
    assert "J_4" not in [column.name for column in table.columns]
    assert "Scores of single thresholds and categories are left out here; --all-metrics shows them." in table.notes
    assert "J_4" in [column.name for column in tables(tmp_path, {"metrics": {"J_4": 1.0}}, all_metrics=True)[0].columns]


def test_published_numbers_stand_beside_ours_only_under_the_same_conditions(tmp_path: Path) -> None:
    ours, apart = tables(tmp_path, whole_badja(60.0))
    assert cells(ours, "model")[1:] == [
        "PIPs (2022, published, confidence H)",
        "PIPs, repository with newer weights (2022, published, confidence H)",
    ]
    assert cells(ours, "PCK@0.2") == ["60.0", "62.3", "*64.4*"]
    rows = dict(zip(cells(apart, "method"), cells(apart, "comparable?"), strict=True))
    assert rows["FGVC R18"] == "no (Table 1): its protocol is badja-fgvc, ours badja-pips"
    assert rows["TAPIR"] == "unclear (Table 1): its protocol is not stated; its input size is not stated"
    assert not any(cell.best for row in apart.rows for cell in row)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"found": 3}, "ours covers 3 of 7 items"),
        ({"missing": ["bear/00003.jpg"]}, "ours covers 7 of 7 items, 1 missing"),
        ({"settings": {"points": {"name": "x", "size": None}}}, "its input is 320 x 512, ours native"),
        ({"protocol": {"name": "badja-visible"}}, "its protocol is badja-pips, ours badja-visible"),
        ({"metrics": {"delta_3px": 3.0}}, "it has no metric in common with ours"),
    ],
)
def test_why_a_published_number_stands_apart(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    ours, apart = tables(tmp_path, {**whole_badja(60.0), **change})
    assert len(ours.rows) == 1
    rows = dict(zip(cells(apart, "method"), cells(apart, "comparable?"), strict=True))
    assert rows["PIPs"] == f"no (Table 1): {reason}"


def test_query_modes_are_kept_apart_and_confidence_is_told(tmp_path: Path) -> None:
    run = {"benchmark": "tapvid-davis", "found": 30, "missing": [], "metrics": {"AJ": 40, "delta_avg": 60, "OA": 80}}
    protocol = {"name": "tapvid", "size": [256, 256]}
    settings_ = {"points": {"name": "samepoint", "size": [256, 256]}}
    ours, first, strided = tables(tmp_path, {**run, "protocol": protocol, "settings": settings_})
    assert strided.title == "Published, not comparable: tapvid-davis, queries strided"
    assert "TAPIR (2023, published, confidence AJ: H; delta_avg, OA: M)" in cells(ours, "model")
    assert not any(method.startswith(("AllTracker", "CoTracker3")) for method in cells(ours, "model"))
    rows = dict(zip(cells(first, "method"), cells(first, "comparable?"), strict=True))
    assert rows["Track-On2"] == "no (Table 1): its input is 384 x 512, ours 256 x 256"
    joint = "its authors track all queries jointly; its input is 384 x 512, ours 256 x 256"
    assert rows["CoTracker3 online"] == f"no (Table 1): {joint}"
    reasons = cells(strided, "comparable?")
    assert all("its queries are strided, ours first" in reason for reason in reasons)


def test_each_item(tmp_path: Path) -> None:
    table = tables(
        tmp_path, {}, {"model": {"name": "b"}, "per_item": {"camel": {"PCK@0.2": 95}, "cows": {}}}, per_item=True
    )[1]
    assert table.title == "Table 1: badja-pips, each item"
    names = [column.name for column in table.columns]
    assert names == [
        *("item", "base, samepoint", "b, samepoint"),
        "PIPs, repository with newer weights (2022, published, confidence H)",
    ]
    assert cells(table, "item") == ["camel", "cows", "all, as in the table above"]
    assert cells(table, names[1]) == ["83.6", "-", "65.1"]
    assert cells(table, names[2]) == ["*95.0*", "-", "65.1"]
    assert cells(table, names[3]) == ["91.6", "87.7", "-"]  # items can be compared, the sets cannot


def test_each_pair_of_pictures(tmp_path: Path) -> None:
    pairs = {
        "metrics": {"PCK@0.1 pair": 60.0, "PCK@0.1 point": 55.0},
        "per_item": {"a": {"PCK@0.1": 80.0}, "b": {"PCK@0.1": 40.0}},
    }
    table = tables(tmp_path, {"benchmark": "pf-willow", **pairs}, per_item=True)[1]
    assert cells(table, table.columns[1].name) == ["80.0", "40.0", "60.0"]


def test_a_benchmark_without_published_numbers_says_so(tmp_path: Path) -> None:
    (section,) = build(results(tmp_path, {"benchmark": "davis-2016"}))
    assert section.notes == ("Missing: bear: no frames", "No published numbers are on record for davis-2016.")


def test_what_lacks_is_told_of_each_result_where_it_differs(tmp_path: Path) -> None:
    (section,) = build(results(tmp_path, {"missing": ["a", "b", "c", "d", "e", "f", "g"]}, {"missing": []}))
    assert section.notes == (f"Missing in {tmp_path / '0.json'}: a; b; c; d; e; and 2 more",)


def test_scores_of_categories_are_small_print(tmp_path: Path) -> None:
    metrics = {"PCK@0.1 pair": 50.0, "car(M) PCK@0.1 pair": 40.0}
    table = tables(tmp_path, {"benchmark": "pf-willow", "metrics": metrics})[0]
    assert [column.name for column in table.columns if "PCK" in column.name] == ["PCK@0.1 pair"]


def test_every_published_number_appears_once_for_its_benchmark(tmp_path: Path) -> None:
    for section in build(results(tmp_path, whole_badja(60.0), {"benchmark": "spair-71k"}, {"benchmark": "jhmdb"})):
        apart = sum(len(table.rows) for table in section.tables if table.title.startswith("Published"))
        beside = sum(len(table.rows) for table in section.tables if table.title.startswith("Table")) - 1
        assert apart + beside == sum(one.benchmark == section.title for one in PUBLISHED)


PROTOCOL = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["badja-pips", "badja-fgvc"]),
        "size": st.sampled_from([None, [320, 512], [512, 320]]),
        "query_mode": st.sampled_from(["first", "strided", None]),
        "aggregation": st.sampled_from(["video", "point", None]),
    },
    optional={"frame_0": st.booleans(), "last_frame": st.booleans()},
)
ITEMS = st.lists(st.sampled_from(["a", "b", "c", "a, b", "d", "e", "f"]), unique=True, max_size=6)


@given(st.lists(st.tuples(PROTOCOL, ITEMS, st.integers(0, 8)), min_size=1, max_size=6))
@settings(max_examples=60)
def test_rows_of_different_signatures_never_share_an_unlabelled_column(tmp_path_factory, runs) -> None:
    folder = tmp_path_factory.mktemp("runs")
    found = []
    for index, (protocol, items, count) in enumerate(runs):
        fields = content(found=count, model={"name": f"m{index}"}, per_item={item: {"PCK@0.2": 1.0} for item in items})
        fields["protocol"] = {**protocol, "settings": "samepoint"}
        path = folder / f"{index}.json"
        path.write_text(json.dumps(fields))
        found.append(read_result(path))
    sections: tuple[Section, ...] = build(found, per_item=True)
    whole = {}
    for table in (table for section in sections for table in section.tables if table.title.startswith("Table")):
        if table.title.endswith("each item"):
            named = [column.name.split(",")[0] for column in table.columns[1:] if "published" not in column.name]
        else:
            named = [row[0].text for row in table.rows if "published" not in row[0].text]
        told = {meaning(runs[int(name[1:])]) for name in named}
        if len(table.columns) == 1:  # no scores of items
            continue
        assert len(told) == 1  # one meaning in a table
        assert whole.setdefault(table.facts[0], told) == told  # and one meaning under a label
    for form in ("markdown", "latex"):
        assert len(write_text(sections, form)) > 100
    shown = [row.result.model for members in groups(found).values() for group in members for row in group.rows]
    assert sorted(shown) == sorted(result.model for result in found)


def meaning(run: tuple[dict[str, Any], list[str], int]) -> str:
    protocol, items, count = run
    return repr((sorted(protocol.items(), key=lambda pair: pair[0]), sorted(items), count))
