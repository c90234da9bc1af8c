"""Results side by side, and the published numbers beside them.

Each group of :mod:`samepoint.evaluation.comparison` is a table. Where the input size differs within one, a column says
so and the best value is marked among rows of one size alone. Published numbers that may not stand in any of them have
tables of their own, each with the reason.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samepoint.evaluation.comparison import APART, Group, differences, groups
from samepoint.evaluation.published import PUBLISHED, Published
from samepoint.evaluation.result_file import Result, Scored, size_text

NOTHING = "-"
LOWER_IS_BETTER = ("MTE", "J_decay", "F_decay")
IN_PIXELS = ("MTE",)
_SMALL_PRINT = re.compile(r"(delta|J)_\d+|.+ PCK@.*")  # of TAP-Vid's thresholds; of categories of pairs
_MAIN = ("AJ", "PCK@0.1 pair", "PCK@0.1 point", "PCK@0.1", "PCK@0.2", "delta_3px", "J&F", "J_mean")
_HEAD = ("name", "size", "query_mode", "aggregation", "frame_0")
_NAMED_ITEMS, _NAMED_MISSING = 4, 5
_UNTOLD = ("name", "root", "size", "side")
"""Of the settings: shown in columns of their own, or not about the prediction."""


@dataclass(frozen=True)
class Column:
    """Of a table."""

    name: str
    numeric: bool = False
    wide: bool = False
    """Holds sentences."""


@dataclass(frozen=True)
class Cell:
    text: str
    best: bool = False


@dataclass(frozen=True)
class Table:
    """Rows that belong in the same columns."""

    title: str
    facts: tuple[str, ...]
    """What holds for every row, above the table."""
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    """Below the table."""


@dataclass(frozen=True)
class Picture:
    path: Path
    caption: str


@dataclass(frozen=True)
class Section:
    """One benchmark."""

    title: str
    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()


def build(
    results: Sequence[Result],
    *,
    per_item: bool = False,
    all_metrics: bool = False,
    pictures: Sequence[tuple[Result, Picture]] = (),
) -> tuple[Section, ...]:
    """The tables of a report, one section a benchmark.

    Args:
        results: in the order in which they are to stand.
        per_item: also the main metric of each item.
        all_metrics: also the scores of single thresholds (TAP-Vid) and categories (pairs).
        pictures: of best and worst items, and whose they are.
    """
    sections = []
    for benchmark, members in groups(results).items():
        tables = []
        for group in members:
            tables.append(_comparison(group, all_metrics))
            if per_item:
                tables.append(_item_table(group))
        known = [published for published in PUBLISHED if published.benchmark == benchmark]
        apart = [one for one in known if not any(one in group.published for group in members)]
        modes = dict.fromkeys(one.query_mode for one in apart)
        tables += [_apart([one for one in apart if one.query_mode == mode], members, mode) for mode in modes]
        notes = _missing([result for result in results if result.benchmark == benchmark])
        if not known:
            notes.append(f"No published numbers are on record for {benchmark}.")
        shown = tuple(picture for result, picture in pictures if result.benchmark == benchmark)
        sections.append(Section(benchmark, tuple(tables), tuple(notes), shown))
    return tuple(sections)


def main_metric(names: Sequence[str]) -> str | None:
    """The metric that items are ranked by.

    >>> main_metric(["delta_avg", "AJ"])
    'AJ'
    """
    return next((name for name in _MAIN if name in names), names[0] if names else None)


def one_decimal(value: float | None) -> str:
    """As every score is written.

    >>> [one_decimal(value) for value in (65.149, -0.01, None)]
    ['65.1', '0.0', '-']
    """
    if value is None:
        return NOTHING
    text = f"{value:.1f}" if abs(value) < 1e9 else f"{value:.3g}"
    return "0.0" if text == "-0.0" else text


def _comparison(group: Group, all_metrics: bool) -> Table:
    names = list(dict.fromkeys(name for row in group.rows for name in row.scored.metrics))
    shown = [name for name in names if all_metrics or not _SMALL_PRINT.fullmatch(name)] or names
    columns = [Column("model"), Column("settings"), Column("input"), *(_metric(name) for name in shown)]
    columns += [Column("seconds", True), Column("peak memory", True), Column("weights"), Column("version")]
    inputs = [row.result.input for row in group.rows] + [size_text(one.input_size) for one in group.published]
    scores = {
        name: _best(
            name,
            [row.scored.metrics.get(name) for row in group.rows]
            + [one.metrics[name].value if name in one.metrics else None for one in group.published],
            inputs,
        )
        for name in shown
    }
    rows = []
    for index, (row, label) in enumerate(zip(group.rows, group.models(), strict=True)):
        result = row.result
        rows.append(
            (
                *(Cell(label), Cell(result.settings_name), Cell(inputs[index])),
                *(scores[name][index] for name in shown),
                Cell(NOTHING if result.seconds is None else f"{result.seconds:,.1f}"),
                Cell(_memory(result.peak_memory)),
                Cell((result.sha256 or NOTHING)[:8]),
                Cell(result.version),
            )
        )
    for index, one in enumerate(group.published, len(group.rows)):
        cells = [
            Cell(one.metrics[name].text, scores[name][index].best) if name in one.metrics else Cell(NOTHING)
            for name in shown
        ]
        method = f"{one.method} ({_year(one)}published, confidence {_confidence(one)})"
        rows.append((Cell(method), Cell(NOTHING), Cell(inputs[index]), *cells, *[Cell(NOTHING)] * 4))
    notes = [*_remarks(group), *_left_out(group), *_settings(group)]
    if len(set(inputs)) > 1:
        notes.append("Input sizes differ, see the column; the best value is marked among rows of one input size.")
    if len(shown) < len(names):
        notes.append("Scores of single thresholds and categories are left out here; --all-metrics shows them.")
    return Table(group.title, (_facts(group),), tuple(columns), tuple(rows), tuple(notes))


def _item_table(group: Group) -> Table:
    names = list(dict.fromkeys(name for row in group.rows for item in row.scored.per_item.values() for name in item))
    metric = main_metric(names)
    title = f"{group.title}, each item"
    if metric is None:
        return Table(title, (_facts(group),), (Column("item"),), (), ("The results hold no scores of items.",))
    beside = [
        one
        for one in PUBLISHED
        if one.benchmark == group.rows[0].result.benchmark
        and metric in one.metrics
        and one.per_item
        and not differences(one, group, whole_set=False)
    ]
    columns = [Column("item"), *(Column(label, True) for label in group.labels())]
    columns += [Column(f"{one.method} ({_year(one)}published, confidence {_confidence(one)})", True) for one in beside]
    inputs = [row.result.input for row in group.rows] + [size_text(one.input_size) for one in beside]
    rows = []
    for item in sorted(group.rows[0].scored.per_item):
        values = [row.scored.per_item[item].get(metric) for row in group.rows]
        rows.append((Cell(item), *_best(metric, [*values, *(one.per_item.get(item) for one in beside)], inputs)))
    values = [_of_all(row.scored.metrics, metric) for row in group.rows]
    known = [one.metrics[metric].value if group.rows[0].result.whole else None for one in beside]
    rows.append((Cell("all, as in the table above"), *_best(metric, [*values, *known], inputs)))
    return Table(title, (_facts(group), f"{_metric(metric).name} of each item."), tuple(columns), tuple(rows))


def _of_all(metrics: Mapping[str, float | None], metric: str) -> float | None:
    """What the set has of a metric of items: pairs of pictures are averaged in two ways, of which this is by pairs."""
    return metrics.get(metric, metrics.get(f"{metric} pair"))


def _apart(published: Sequence[Published], members: Sequence[Group], mode: str | None) -> Table:
    """Published numbers that may stand in no table of ours."""
    names = list(dict.fromkeys(name for one in published for name in one.metrics))
    columns = [Column("method"), Column("year"), *(_metric(name) for name in names), Column("protocol")]
    columns += [Column("input"), Column("confidence"), Column("note", wide=True), Column("comparable?", wide=True)]
    rows = []
    for one in published:
        scores = [Cell(one.metrics[name].text if name in one.metrics else NOTHING) for name in names]
        size = size_text(one.input_size) if one.input_size else one.size or "not stated"
        about = (one.protocol or "not stated", size, _confidence(one), one.note or NOTHING, _nearest(one, members))
        rows.append((Cell(one.method), Cell(one.year or NOTHING), *scores, *map(Cell, about)))
    facts = (
        "Not to be ranked against the tables above, nor against each other: each row has its own protocol and input "
        "size, see its columns. The reason is given for the table of ours that comes closest.",
        "Confidence H: the authors' own page; M: a third party's copy of the paper's table.",
    )
    title = f"Published, not comparable: {published[0].benchmark}" + (f", queries {mode}" if mode else "")
    return Table(title, facts, tuple(columns), tuple(rows))


def _nearest(published: Published, members: Sequence[Group]) -> str:
    def distance(group: Group) -> tuple[int, int]:
        found = differences(published, group)
        return sum(one.certain for one in found), len(found)

    group = min(members, key=distance)
    found = differences(published, group)
    word = "no" if any(one.certain for one in found) else "unclear"
    return f"{word} (Table {group.number}): {'; '.join(one.text for one in found)}"


def _best(name: str, values: Sequence[float | None], inputs: Sequence[str]) -> list[Cell]:
    """Cells of one metric; marked is the best of two or more rows of one input size that differ as written."""
    sign = -1 if name in LOWER_IS_BETTER else 1
    texts = [one_decimal(value) for value in values]
    best = {}
    for size in set(inputs):
        known = {text for text, own in zip(texts, inputs, strict=True) if own == size and text != NOTHING}
        if len(known) > 1:
            best[size] = max(known, key=lambda text: sign * float(text))
    return [Cell(text, best.get(size) == text) for text, size in zip(texts, inputs, strict=True)]


def _facts(group: Group) -> str:
    """Everything that the rows have in common, so that no two tables of a benchmark say the same."""
    protocol, result, scored = group.protocol, group.rows[0].result, group.rows[0].scored
    parts = [f"Protocol {protocol['name']}", f"size {size_text(protocol.get('size'))}"]
    parts.append(f"queries {protocol.get('query_mode') or 'not stated'}")
    parts.append(f"aggregation {protocol.get('aggregation') or 'not stated'}")
    if protocol.get("frame_0") is not None:
        parts.append(f"frame 0 {'counted' if protocol['frame_0'] else 'not counted'}")
    more = sorted(set(protocol) - {*_HEAD, *APART})
    parts += [f"{key} {json.dumps(protocol[key], sort_keys=True)}" for key in more]
    return f"{', '.join(parts)}. {result.coverage}{_items(scored, result)}; {result.lacking:,} missing."


def _items(scored: Scored, result: Result) -> str:
    names = sorted(scored.per_item)
    if not names:
        return f" (set {_digest(sorted(result.missing))})" if result.missing else ""
    if len(names) <= _NAMED_ITEMS and not any("," in name for name in names):
        return f" ({', '.join(names)})"
    return f" ({len(names):,} from {names[0]} to {names[-1]}, set {_digest(names)})"


def _digest(names: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:8]


def _missing(results: Sequence[Result]) -> list[str]:
    """What lacks of the set, with the file that says so where not all of them say the same."""
    said = [(result.path, result.missing) for result in results if result.missing]
    same = len({lines for _, lines in said}) == 1 and len(said) == len(results)
    told = []
    for path, lines in said[:1] if same else said:
        more = f"; and {len(lines) - _NAMED_MISSING:,} more" if len(lines) > _NAMED_MISSING else ""
        whose = "" if same else f" in {path}"
        told.append(f"Missing{whose}: {'; '.join(lines[:_NAMED_MISSING])}{more}")
    return told


def _remarks(group: Group) -> list[str]:
    """The protocols' notes."""
    return _shared("Note", "on", group, [row.scored.protocol.get("notes") or () for row in group.rows])


def _left_out(group: Group) -> list[str]:
    """What the scores leave out, where it is something."""
    told = [", ".join(f"{what} ({n:,})" for what, n in row.scored.excluded.items() if n) for row in group.rows]
    return _shared("Left out of the scores", "of", group, [[text] if text else [] for text in told])


def _shared(head: str, link: str, group: Group, lines: Sequence[Sequence[str]]) -> list[str]:
    """Each row's lines, each once, with the rows that it belongs to where not to all."""
    whose: dict[str, list[str]] = {}
    labels = group.labels()
    for own, label in zip(lines, labels, strict=True):
        for line in own:
            whose.setdefault(line, []).append(label)
    return [
        f"{head}: {line}" if len(rows) == len(labels) else f"{head} {link} {'; '.join(rows)}: {line}"
        for line, rows in whose.items()
    ]


def _settings(group: Group) -> list[str]:
    """What differs between rows whose settings have the same name."""
    lines = []
    for name in dict.fromkeys(row.result.settings_name for row in group.rows):
        own = [
            (label, _flat(row.result.tasks))
            for label, row in zip(group.labels(), group.rows, strict=True)
            if row.result.settings_name == name
        ]
        for key in sorted({key for _, settings in own for key in settings}):
            values = [(label, settings.get(key, "not stated")) for label, settings in own]
            if len({value for _, value in values}) > 1:
                told = "; ".join(f"{label}: {value}" for label, value in values)
                lines.append(f"Settings {name} differ in {key}: {told}")
    return lines


def _flat(tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    return {
        f"{task}.{key}" if task else key: json.dumps(value, sort_keys=True)
        for task, settings in tasks.items()
        for key, value in settings.items()
        if key not in _UNTOLD
    }


def _metric(name: str) -> Column:
    unit = " (px)" if name in IN_PIXELS else ""
    return Column(name + unit + (", lower is better" if name in LOWER_IS_BETTER else ""), True)


def _year(published: Published) -> str:
    return f"{published.year}, " if published.year else ""


def _confidence(published: Published) -> str:
    """``H``, ``M``, or which metrics have which."""
    kinds = dict.fromkeys(number.confidence for number in published.metrics.values())
    if len(kinds) == 1:
        return next(iter(kinds))
    names = {kind: [name for name, number in published.metrics.items() if number.confidence == kind] for kind in kinds}
    return "; ".join(f"{', '.join(names[kind])}: {kind}" for kind in sorted(kinds))


def _memory(size: int | None) -> str:
    """In units of 1024.

    >>> [_memory(size) for size in (None, 123456789, 2**31)]
    ['-', '118 MiB', '2.0 GiB']
    """
    if size is None:
        return NOTHING
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
