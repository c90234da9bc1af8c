"""What every benchmark offers: its items, how one is predicted, and how predictions are scored."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from samepoint.errors import InputError
from samepoint.evaluation.names import PAIRS
from samepoint.evaluation.predictions import Arrays, Prediction

if TYPE_CHECKING:  # only those who predict pay for PyTorch
    import torch
    from torch import nn

Percentages = dict[str, "float | None"]
"""Metric -> percentage (pixels for median errors); None where there was nothing to score."""


class Identity(NamedTuple):
    """Which network it was."""

    name: str
    sha256: str | None
    """Of its weight file, or all files of a backbone of transformers; None where the weights are made from a seed."""
    ours: bool
    """Whether the default tracker can use it."""
    architecture: str | None = None
    """As our own files say it; None for others."""
    side: int | None = None
    """Of a matcher: it works on pictures at an area of ``side ** 2``."""


@dataclass(frozen=True)
class Model:
    """The network that predicts; it is loaded when first needed, so that scoring again needs none."""

    source: str
    device: str | None = None
    backbone: str | None = None
    """Of a matcher whose file leaves it out."""

    @cached_property
    def identity(self) -> Identity:
        """Told without loading the network.

        Raises:
            InputError: neither a known name nor a file.
        """
        from samepoint.models.features import UNTRAINED, has_our_metadata
        from samepoint.models.weights import TABLE, read_metadata, resolve

        if self.source == UNTRAINED:
            return Identity(self.source, None, False)
        path = resolve(self.source)
        known = self.source in TABLE
        about = read_metadata(path) if known or has_our_metadata(path) else {}
        architecture = about.get("architecture")
        side = about.get("config", {}).get("side") if architecture == "Matcher" else None
        ours = architecture == "PointNetwork"
        name = path.name if not known and Path(self.source).is_file() else self.source
        digest = _digest(self.source, path)
        if self.backbone is not None:
            other = Model(self.backbone).identity
            name, digest = f"{name} around {other.name}", f"{digest}, {other.sha256}"
        return Identity(name, digest, ours, architecture, side)

    @cached_property
    def network(self) -> nn.Module:
        from samepoint.models.features import load_network

        return load_network(self.source, backbone=self.backbone).network

    @property
    def video_network(self) -> nn.Module:
        """The network, for what follows points or masks by its maps of each frame. Raises InputError: it has none."""
        network = self.network
        if not hasattr(network, "features") or not hasattr(network, "lattices"):
            raise InputError(
                f"--model {self.source}: a {type(network).__name__.lower()} follows nothing through a video; "
                f"it is for {', '.join(PAIRS)}"
            )
        return network

    @cached_property
    def precision(self) -> str:
        """What encoders compute in, ``bfloat16`` where the device gains from it, else ``float32``."""
        from samepoint.models.precision import prefers_bf16

        return "bfloat16" if prefers_bf16(self.device or "cpu") else "float32"

    @property
    def dtype(self) -> torch.dtype:
        """:attr:`precision` as PyTorch has it."""
        import torch

        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32

    def check_device(self) -> None:
        """Raise InputError where the device cannot be used."""
        from samepoint.models.precision import check_device

        check_device(self.device, "--device")


def _digest(source: str, path: Path) -> str:
    """The sha256 of a source's weight file; of a backbone of transformers one of all its files that count."""
    from samepoint.models.transformers_backbone import PREFIX, weight_files
    from samepoint.models.weights import sha256

    if not source.startswith(PREFIX):
        return sha256(path)
    settings = [path.with_name(name) for name in ("config.json", "preprocessor_config.json")]
    files = [*weight_files(source), *(file for file in settings if file.is_file())]
    return hashlib.sha256("".join(f"{file.name} {sha256(file)}\n" for file in files).encode()).hexdigest()


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
    split: str | None = None
    """Of pairs of pictures: another than the one that is reported, to validate on."""
    resolution: str | None = None
    """For DAVIS ``480p`` or ``full``; the first of them that is there when None."""
    search: str | None = None
    """Of label propagation, one of ``SEARCHES``; that of the settings when None."""


@dataclass
class Scores:
    """What one scoring protocol makes of the predictions."""

    protocol: dict[str, Any]
    """``name``, ``size`` (scored (H, W), None for each item's own), ``query_mode``, ``aggregation`` and more."""
    metrics: Percentages = field(default_factory=dict)
    per_item: dict[str, Percentages] = field(default_factory=dict)
    excluded: dict[str, int] = field(default_factory=dict)
    """What the metrics leave out because there is nothing to divide by, by name; 0 where it is nothing."""

    def join(self, task: str, other: Scores) -> None:
        """Take in another task's scores of the same set; its protocol goes under the task's name."""
        self.protocol[task] = other.protocol
        self.metrics.update(other.metrics)
        self.excluded.update(other.excluded)
        for item, values in other.per_item.items():
            self.per_item.setdefault(item, {}).update(values)


class Scorer(Protocol):
    """Takes in the items one by one."""

    def update(self, item: Any, prediction: Prediction) -> None:
        """Raises InputError where the prediction is not one of that item."""

    def scores(self) -> list[Scores]:
        """Of every scoring protocol, that to report first at the head."""


class Benchmark(Protocol):
    """A data set with a task. Items are the reader's; each has a ``name``."""

    def names(self) -> tuple[str, ...]:
        """Of the items that are there, in order."""

    def missing(self) -> tuple[str, ...]:
        """What the official set holds and the folder does not, one line each."""

    def asks(self) -> dict[str, Any]:
        """Those of the settings that decide what is asked for, however it is answered; told without a network."""

    def settings(self) -> dict[str, Any]:
        """All that decides what the predictions are, beside the model and the data."""

    def ready(self) -> None:
        """Load the network, before anything is written. Raises InputError where it cannot do this task."""

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


def plain(settings: Any) -> Any:
    """Settings as JSON can say them: what is infinite as None.

    >>> plain({"size": (480, 854), "reach": float("inf")})
    {'size': [480, 854], 'reach': None}
    """
    if isinstance(settings, Mapping):
        return {key: plain(value) for key, value in settings.items()}
    if isinstance(settings, tuple | list):
        return [plain(value) for value in settings]
    return None if isinstance(settings, float) and not math.isfinite(settings) else settings


def rescaled(xy: NDArray[Any], size: tuple[int, int], wanted: tuple[int, int]) -> NDArray[np.float32]:
    """Raster positions (..., 2) of pictures of ``size`` (H, W) in pictures of another.

    >>> rescaled(np.array([[10.0, 10.0]]), (100, 200), (50, 50)).tolist()
    [[2.5, 5.0]]
    """
    factor = np.array([wanted[1] / size[1], wanted[0] / size[0]])
    return (np.asarray(xy, np.float64) * factor).astype(np.float32)


def predicted_xy(prediction: Prediction, shape: tuple[int, ...], size: tuple[int, int]) -> NDArray[Any]:
    """``xy`` (*shape, 2), raster pixels of pictures whose ``size`` the prediction states.

    Raises:
        InputError: another shape, or pixels of pictures of another size.
    """
    prediction.equal("size", np.array(size), "the item is")
    return prediction.get("xy", (*shape, 2))
