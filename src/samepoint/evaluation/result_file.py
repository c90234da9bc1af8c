"""RESULT.json of ``samepoint evaluate``, read back and checked."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from samepoint.errors import InputError
from samepoint.evaluation.metrics.pck import AVERAGES, FIRST_FRAME_COUNTS
from samepoint.evaluation.names import PAIRS

Percentages = dict[str, "float | None"]
"""Metric -> percentage (``MTE``: pixels); None where there was nothing to score."""

EXPECTED: dict[str, int | None] = {
    "tapvid-davis": 30,
    "tapvid-kinetics": 1000,
    "tapvid-rgb-stacking": 50,
    "robotap": 265,
    "jhmdb": 268,
    "badja": 7,
    "davis-2016": 20,
    "davis-2017": 30,
    "spair-71k": 12234,
    "spair-u": None,
    "pf-pascal": 299,
    "pf-willow": 900,
}
"""Benchmark -> items on which published figures are measured; None where the number is not published."""

_IN_PARTS = ("robotap",)
"""Sets whose long videos are several items, so that there may be more items than videos."""


@dataclass(frozen=True, eq=False)
class Scored:
    """What one scoring protocol made of the predictions."""

    protocol: Mapping[str, Any]
    metrics: Percentages
    per_item: Mapping[str, Percentages]
    excluded: Mapping[str, int] = field(default_factory=dict)
    """What the metrics leave out, by name; nothing where the file does not say."""


@dataclass(frozen=True, eq=False)
class Result:
    """One run of ``samepoint evaluate``."""

    path: Path
    benchmark: str
    scored: tuple[Scored, ...]
    """The run's own protocol first, then the others."""
    found: int
    missing: tuple[str, ...]
    model: str
    sha256: str | None
    settings: Mapping[str, Any]
    version: str
    seconds: float | None
    peak_memory: int | None
    """Bytes."""
    predictions: Path | None

    @property
    def settings_name(self) -> str:
        """How it was predicted, ``samepoint`` or a published method's name, and the search where that was chosen."""
        names = [self.scored[0].protocol.get("settings"), *(task.get("name") for task in self.tasks.values())]
        name = next((name for name in names if isinstance(name, str)), "not named")
        search = self.scored[0].protocol.get("search")
        return name if search is None else f"{name}, {search}"

    @property
    def tasks(self) -> dict[str, Mapping[str, Any]]:
        """The settings of each task; of the only one under the name "" where the file holds them without tasks."""
        if "name" in self.settings:
            return {"": self.settings}
        tasks: dict[str, Mapping[str, Any]] = {
            key: value for key, value in self.settings.items() if isinstance(value, dict) and "name" in value
        }
        return tasks or {"": self.settings}

    @property
    def input(self) -> str:
        """What frames were resized to before anything else, as :func:`size_text` has it.

        ``area 256 x 256`` of a matcher, which keeps the proportions.
        """
        side = next((task["side"] for task in self.tasks.values() if _is_length(task.get("side"))), None)
        if side is not None:
            return f"area {size_text((side, side))}"
        sizes = [task["size"] for task in self.tasks.values() if "size" in task]
        size: Any = sizes[0] if sizes else self.scored[0].protocol.get("size")
        if _is_size(size) or _is_length(size):
            return size_text(size)
        return "not stated" if self.benchmark in PAIRS else size_text(None)

    @property
    def whole(self) -> bool:
        """Whether it covers the whole set and nothing else, as far as can be told."""
        expected = EXPECTED[self.benchmark]
        if expected is None:
            complete = self.settings.get("limit") is None
        else:
            complete = self.found >= expected if self.benchmark in _IN_PARTS else self.found == expected
        return complete and not self.missing

    @property
    def lacking(self) -> int:
        """How many items of the set were not scored, at least one for each line that says what lacks."""
        expected = EXPECTED[self.benchmark] or 0
        return max(expected - self.found, len(self.missing))

    @property
    def coverage(self) -> str:
        """As in ``3 of 7 items``."""
        expected = EXPECTED[self.benchmark]
        if expected is None:
            return f"{self.found:,} items"
        if self.benchmark in _IN_PARTS:
            return f"{self.found:,} items (long videos in parts) of a set of {expected:,} videos"
        if self.found > expected:
            return f"{self.found:,} items, where the set has {expected:,}"
        return f"{self.found:,} of {expected:,} items"

    @property
    def shortfall(self) -> str:
        """The coverage, with what it does not tell where there are enough items."""
        enough = self.found >= (EXPECTED[self.benchmark] or 0)
        return f"{self.coverage}, {self.lacking:,} missing" if enough and self.missing else self.coverage


def read_result(path: str | Path) -> Result:
    """Read RESULT.json.

    Raises:
        InputError: the file cannot be read, is not JSON, or not what ``samepoint evaluate`` writes; says which key.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=no_constant)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected a RESULT.json of samepoint evaluate") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected a RESULT.json") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error}); expected a RESULT.json of samepoint evaluate") from None
    return _Reader(path, content).result()


class _Reader:
    """The keys of one file, each checked."""

    def __init__(self, path: Path, content: Any) -> None:
        self.path = path
        self.content = content
        if not isinstance(content, dict):
            raise self.wrong("the file", content, "an object with the keys of a RESULT.json")

    def wrong(self, key: str, value: Any, expected: str) -> InputError:
        text = json.dumps(value)
        shown = text if len(text) <= 60 else f"{text[:60]}..."
        return InputError(f"{self.path}: {key} is {shown}; expected {expected}")

    def get(self, key: str, *kinds: type) -> Any:
        if key not in self.content:
            raise InputError(f"{self.path}: no key {key!r}; expected a RESULT.json of samepoint evaluate")
        value = self.content[key]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise self.wrong(key, value, " or ".join(_NAMES[kind] for kind in kinds))
        return value

    def result(self) -> Result:
        benchmark = self.get("benchmark", str)
        if benchmark not in EXPECTED:
            raise self.wrong("benchmark", benchmark, f"one of {', '.join(EXPECTED)}")
        protocol = self.protocol("protocol", self.get("protocol", dict))
        found, missing = self.get("found", int), self.get("missing", list)
        if found < 0:
            raise self.wrong("found", found, "0 or more")
        for line in missing:
            if not isinstance(line, str):
                raise self.wrong("an entry of missing", line, "a string")
        main = Scored(
            protocol,
            self.metrics("metrics", self.get("metrics", dict)),
            self.items("per_item", self.content),
            self.excluded("excluded", self.content),
        )
        model = self.get("model", dict)
        name, sha256 = model.get("name"), model.get("sha256")
        if not isinstance(name, str) or not isinstance(sha256, str | None):
            raise self.wrong("model", model, 'an object with "name" and "sha256"')
        settings, version = self.get("settings", dict), self.get("version", str)
        seconds, memory = (self.number(key) for key in ("seconds", "peak_memory"))
        predictions = self.content.get("predictions")
        if not isinstance(predictions, str | None):
            raise self.wrong("predictions", predictions, "the path of a folder")
        return Result(
            path=self.path,
            benchmark=benchmark,
            scored=(main, *self.others(protocol)),
            found=found,
            missing=tuple(missing),
            model=name,
            sha256=sha256,
            settings=settings,
            version=version,
            seconds=seconds,
            peak_memory=None if memory is None else int(memory),
            predictions=None if predictions is None else Path(predictions),
        )

    def others(self, main: Mapping[str, Any]) -> list[Scored]:
        """The other protocols. One that says nothing of itself is as the main one, but for what its name tells."""
        others = self.content.get("other_protocols", {})
        if not isinstance(others, dict):
            raise self.wrong("other_protocols", others, "an object")
        found = []
        for name, entry in others.items():
            place = f"other_protocols {name!r}"
            if not isinstance(entry, dict) or not isinstance(entry.get("metrics"), dict):
                raise self.wrong(place, entry, 'an object with "metrics" and "per_item"')
            own = entry.get("protocol", {})
            if not isinstance(own, dict):
                raise self.wrong(f"protocol of {place}", own, "an object")
            shared = {key: value for key, value in main.items() if key not in ("aggregation", "frame_0", "notes")}
            protocol = self.protocol(place, {**(own or {**shared, **_facts(name)}), "name": name})
            metrics, items = self.metrics(place, entry["metrics"]), self.items(place, entry)
            found.append(Scored(protocol, metrics, items, self.excluded(f"excluded of {place}", entry)))
        return found

    def protocol(self, place: str, value: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(value.get("name"), str):
            raise self.wrong(place, value, 'an object with at least "name"')
        for key in ("settings", "search", "query_mode", "aggregation"):
            if not isinstance(value.get(key), str | None):
                raise self.wrong(f"{key} of {place}", value[key], "a string")
        size, notes = value.get("size"), value.get("notes", [])
        if size is not None and not _is_size(size):
            raise self.wrong(f"size of {place}", size, "[height, width], or null for each item's own")
        if not isinstance(value.get("frame_0"), bool | None):
            raise self.wrong(f"frame_0 of {place}", value["frame_0"], "true or false")
        if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
            raise self.wrong(f"notes of {place}", notes, "a list of strings")
        return value

    def metrics(self, place: str, value: Any) -> Percentages:
        if not isinstance(value, dict):
            raise self.wrong(place, value, "an object of metrics")
        return {name: self.finite(f"{name} of {place}", number) for name, number in value.items()}

    def items(self, place: str, holder: dict[str, Any]) -> dict[str, Percentages]:
        items = holder.get("per_item")
        if not isinstance(items, dict):
            raise InputError(f"{self.path}: {place}: expected the metrics of each item")
        return {name: self.metrics(f"item {name!r}", metrics) for name, metrics in items.items()}

    def excluded(self, place: str, holder: dict[str, Any]) -> dict[str, int]:
        """Results of earlier versions do not have it."""
        value = holder.get("excluded", {})
        if not isinstance(value, dict) or not all(type(count) is int and count >= 0 for count in value.values()):
            raise self.wrong(place, value, "an object of whole numbers, 0 or more")
        return value

    def number(self, key: str) -> float | None:
        self.get(key, int, float, type(None))
        return self.finite(key, self.content[key])

    def finite(self, place: str, value: Any) -> float | None:
        if value is None:
            return None
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                number = float(value)
            except OverflowError:
                number = math.inf
            if math.isfinite(number):
                return number
        raise self.wrong(place, value, "a number or null")


_NAMES = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    dict: "an object",
    list: "a list",
    type(None): "null",
}


def size_text(size: Sequence[int] | int | None) -> str:
    """(H, W), a short side or, None, each item's own size, as a report writes it.

    >>> size_text((320, 512)), size_text(480), size_text(None)
    ('320 x 512', 'short side 480', 'native')
    """
    if size is None:
        return "native"
    return f"short side {size}" if isinstance(size, int) else f"{size[0]} x {size[1]}"


def _is_size(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_length, value))


def _is_length(value: Any) -> bool:
    return type(value) is int and value > 0


def _facts(name: str) -> dict[str, Any]:
    """What a joint protocol's name says, see :mod:`samepoint.evaluation.metrics.pck`."""
    if name not in AVERAGES:
        return {}
    return {"aggregation": AVERAGES[name], "frame_0": name in FIRST_FRAME_COUNTS}


def no_constant(text: str) -> float:
    """What :func:`json.loads` calls for ``NaN`` and ``Infinity``, which are no JSON. Raises ValueError."""
    raise ValueError(f"{text} is not a number that JSON knows")
