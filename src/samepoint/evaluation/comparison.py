"""Which numbers may stand in one column.

Rows belong together only where everything that decides what a number means is the same: benchmark, scoring protocol
with its size, query mode and aggregation, and the items that were scored. A published number may stand beside them only
where its protocol and input size are stated and the same, and ours covers the whole set.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from samepoint.evaluation.published import PUBLISHED, Published
from samepoint.evaluation.result_file import Result, Scored, size_text

APART = ("settings", "search", "notes")
"""Of a protocol: how it was predicted, and remarks. Rows of one table may differ in them, and say so."""


@dataclass(frozen=True, eq=False)
class Row:
    """One protocol's scores of one result."""

    result: Result
    scored: Scored

    @property
    def signature(self) -> str:
        """Equal where two rows' numbers mean the same."""
        protocol = {key: value for key, value in self.scored.protocol.items() if key not in APART}
        items = sorted(self.scored.per_item) or sorted(self.result.missing)
        lacking = not self.scored.per_item
        return json.dumps([self.result.benchmark, protocol, self.result.found, lacking, items], sort_keys=True)


@dataclass(eq=False)
class Group:
    """Rows of one signature, with the published numbers that may stand beside them."""

    rows: list[Row]
    number: int = 0
    published: list[Published] = field(default_factory=list)

    @property
    def protocol(self) -> Any:
        return self.rows[0].scored.protocol

    @property
    def title(self) -> str:
        return f"Table {self.number}: {self.protocol['name']}"

    @property
    def inputs(self) -> list[str]:
        """Input sizes of the rows, each once."""
        return list(dict.fromkeys(row.result.input for row in self.rows))

    def labels(self) -> list[str]:
        """A name for each row, unlike the others."""
        return [f"{model}, {row.result.settings_name}" for model, row in zip(self.models(), self.rows, strict=True)]

    def models(self) -> list[str]:
        """The rows' models, with the file where model, settings and input do not tell two rows apart."""
        facts = [(row.result.model, row.result.settings_name) for row in self.rows]
        return [
            row.result.model if facts.count(own) == 1 else f"{row.result.model} ({row.result.path})"
            for own, row in zip(facts, self.rows, strict=True)
        ]


def groups(results: Sequence[Result]) -> dict[str, list[Group]]:
    """Benchmark -> rows by signature, numbered throughout; own protocols come before the others of each result."""
    found: dict[str, dict[str, Group]] = {result.benchmark: {} for result in results}
    rows = [Row(result, scored) for result in results for scored in result.scored[:1]]
    rows += [Row(result, scored) for result in results for scored in result.scored[1:]]
    for row in rows:
        found[row.result.benchmark].setdefault(row.signature, Group([])).rows.append(row)
    number = 0
    for benchmark, by_signature in found.items():
        for group in by_signature.values():
            number += 1
            group.number = number
            group.published = [one for one in PUBLISHED if one.benchmark == benchmark and not differences(one, group)]
    return {benchmark: list(by_signature.values()) for benchmark, by_signature in found.items()}


@dataclass(frozen=True)
class Difference:
    """Why a published number is not comparable, or cannot be said to be."""

    text: str
    certain: bool = True
    """False: it is not stated what would have to be known."""


def differences(published: Published, group: Group, *, whole_set: bool = True) -> list[Difference]:
    """What stands between a published number and the rows of a group; nothing where they are comparable.

    Args:
        published: of the same benchmark.
        group: ours.
        whole_set: the number is of the whole set, not of single items.
    """
    found = []
    ours = group.protocol
    if published.differs:
        found.append(Difference(published.differs))
    if published.protocol is None:
        found.append(Difference("its protocol is not stated", certain=False))
    elif published.protocol != ours["name"]:
        found.append(Difference(f"its protocol is {published.protocol}, ours {ours['name']}"))
    if published.query_mode is not None and published.query_mode != ours.get("query_mode"):
        found.append(Difference(f"its queries are {published.query_mode}, ours {ours.get('query_mode')}"))
    inputs = " and ".join(group.inputs)
    if published.size is None:
        found.append(Difference("its input size is not stated", certain=False))
    elif published.input_size is None:
        found.append(Difference(f"its input size is not stated ({published.size})", certain=False))
    elif size_text(published.input_size) not in group.inputs:
        found.append(Difference(f"its input is {size_text(published.input_size)}, ours {inputs}"))
    if published.benchmark == "badja" and ours.get("resolution") not in (None, "full"):
        text = f"its frames' resolution is not stated, the annotation's is full, ours {ours['resolution']}"
        found.append(Difference(text, certain=False))
    if whole_set and not group.rows[0].result.whole:
        found.append(Difference(f"ours covers {group.rows[0].result.shortfall}"))
    if not any(name in row.scored.metrics for row in group.rows for name in published.metrics):
        found.append(Difference("it has no metric in common with ours"))
    return found
