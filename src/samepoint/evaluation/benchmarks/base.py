"""What every benchmark offers: its items, how one is predicted, and how predictions are scored."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from torch import nn

from samepoint.evaluation.predictions import Arrays
from samepoint.models.features import UNTRAINED, has_our_metadata, load_features
from samepoint.models.weights import TABLE, resolve, sha256

Percentages = dict[str, "float | None"]
"""Metric -> percentage (pixels for median errors); None where there was nothing to score."""


class Identity(NamedTuple):
    """Which network it was."""

    name: str
    sha256: str | None
    """Of its weight file; None where the weights are made from a fixed seed."""
    ours: bool
    """Whether the default tracker can use it."""


@dataclass(frozen=True)
class Model:
    """The network that predicts; it is loaded when first needed, so that scoring again needs none."""

    source: str
    device: str | None = None

    @cached_property
    def identity(self) -> Identity:
        """Told without loading the network.

        Raises:
            InputError: neither a known name nor a file.
        """
        if self.source == UNTRAINED:
            return Identity(self.source, None, False)
        path = resolve(self.source)
        known = self.source in TABLE
        return Identity(self.source if known else path.name, sha256(path), known or has_our_metadata(path))

    @cached_property
    def network(self) -> nn.Module:
        return load_features(self.source).network


@dataclass(frozen=True)
class Asked:
    """What the user asked for, beside the benchmark's name."""

    root: Path
    model: Model
    settings: str | None = None
    """Named prediction settings; what suits the model when None."""
    scoring: str | None = None
    """The scoring protocol to report first; the benchmark's own when None."""
    query_mode: str = "first"
    task: str | None = None
    """For JHMDB ``joints`` or ``masks``; both when None."""


@dataclass
class Scores:
    """What one scoring protocol makes of the predictions."""

    protocol: dict[str, Any]
    """``name``, ``size`` (scored (H, W), None for each item's own), ``query_mode``, ``aggregation`` and more."""
    metrics: Percentages = field(default_factory=dict)
    per_item: dict[str, Percentages] = field(default_factory=dict)

    def join(self, other: Scores) -> None:
        """Take in another task's scores of the same items."""
        self.protocol.update({key: value for key, value in other.protocol.items() if key not in self.protocol})
        self.metrics.update(other.metrics)
        for item, values in other.per_item.items():
            self.per_item.setdefault(item, {}).update(values)


class Scorer(Protocol):
    """Takes in the items one by one."""

    def update(self, item: Any, arrays: Arrays) -> None: ...

    def scores(self) -> list[Scores]:
        """Of every scoring protocol, that to report first at the head."""


class Benchmark(Protocol):
    """A data set with a task. Items are the reader's; each has a ``name``."""

    def names(self) -> tuple[str, ...]:
        """Of the items that are there, in order."""

    def missing(self) -> tuple[str, ...]:
        """What the official set holds and the folder does not, one line each."""

    def settings(self) -> dict[str, Any]:
        """All that decides what the predictions are, beside the model and the data."""

    def items(self, only: Collection[str]) -> Iterator[Any]:
        """The named items; their pictures are read when asked for."""

    def predict(self, item: Any) -> Arrays: ...

    def scorer(self) -> Scorer: ...


def percentages(scores: Mapping[Any, float], name: str = "{}", factor: float = 100.0) -> Percentages:
    """Fractions as percentages under names made of their keys.

    >>> percentages({0.1: 0.5, 0.2: float("nan")}, "PCK@{:g}")
    {'PCK@0.1': 50.0, 'PCK@0.2': None}
    """
    return {name.format(key): factor * value if math.isfinite(value) else None for key, value in scores.items()}
