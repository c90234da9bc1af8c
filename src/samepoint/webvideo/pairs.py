"""Pairs of frames of labelled shots and the points that correspond in them, drawn evenly over classes and shots."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..errors import InputError
from .label_file import Labels
from .legacy_labels import open_labels
from .rows import Row

_HELD = 16  # shots whose labels are kept in memory


class PairSettings(BaseModel):
    """Which pairs are drawn."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    points: int = Field(40, ge=1)  # of a pair at most
    least: int = Field(4, ge=1)  # of a pair at least; a pair with fewer is drawn again
    gap: tuple[int, int | None] = (1, None)  # fewest and most frames between the two
    power: float = 0.0  # gaps g (balance pair: a shot's pairs) are as likely as g**power: 0 evenly, -1 near ones mostly
    source: Literal["any", "first"] = "any"  # any two frames, or the shot's first and a later one, as published
    swap: float = Field(0.5, ge=0, le=1)  # chance that the later frame comes first
    balance: Literal["class", "shot", "pair"] = "class"  # classes count alike, then shots; shots; or every pair
    foreground: float = Field(0.0, ge=0, le=1)  # how much foreground weights decide which points are taken
    tries: int = Field(50, ge=1)  # pairs drawn in vain before it is an error

    @field_validator("gap")
    @classmethod
    def _in_order(cls, value: tuple[int, int | None]) -> tuple[int, int | None]:
        if value[0] < 1 or (value[1] is not None and value[1] < value[0]):
            raise ValueError("expected 1 or more frames, the fewest first")
        return value


class Pair(NamedTuple):
    """Two frames of a shot and what corresponds in them."""

    shot: Row
    frame_i: int  # numbers in the video
    frame_j: int
    points_i: np.ndarray  # float32 (n, 2) pixels of the video
    points_j: np.ndarray
    confidence: np.ndarray  # float32 (n,), the smaller of both frames'


def correspondences(labels: Labels, first: int, second: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What corresponds in two frames of a shot, frame 0 its first.

    Returns:
        Points (n, 2) in both frames, their confidence (n,), and which labels they are (n,).

    Raises:
        InputError: a frame that has no labels.
    """
    for frame in (first, second):
        if not 0 <= frame < labels.frames:
            raise InputError(f"frame {frame}: the shot has labels in frames 0 to {labels.frames - 1}")
    rows = labels.between(first, second)
    confidence = np.minimum(labels.confidence[rows, first], labels.confidence[rows, second])
    return labels.xy[rows, first], labels.xy[rows, second], confidence, rows


class PairSampler:
    """Pairs of a collection's shots, by position: what is drawn depends on the seed and the position only.

    It pickles, without the labels that it has read.

    Args:
        labels: rows of the table of labels; those that are not ``ok`` are passed over.
        shots: rows of the table of shots, which pairs name.
        folder: the output folder.
        settings: which pairs.
        seed: of all draws.

    Raises:
        InputError: no labelled shot long enough, or a label row without its shot.
    """

    def __init__(
        self,
        labels: Sequence[Row],
        shots: Sequence[Row],
        folder: str | Path,
        settings: PairSettings | None = None,
        seed: int = 0,
    ) -> None:
        self.folder, self.settings, self.seed = Path(folder), settings or PairSettings(), seed
        known = {row["shot"]: row for row in shots}
        shortest = self.settings.gap[0]
        usable = [row for row in labels if row["status"] == "ok" and (row["frames"] or 0) > shortest]
        if not usable:
            raise InputError(f"{folder}: no labelled shot of more than {shortest} frames among {len(labels)}")
        for row in usable:
            if row["shot"] not in known:
                raise InputError(f"{folder}: {row['shot']} has labels, but is not among the shots")
        usable = [row for row in usable if known[row["shot"]].get("kept", True)]
        if not usable:
            raise InputError(f"{folder}: none of its labelled shots is kept")
        usable.sort(key=lambda row: str(row["shot"]))  # engines finish in any order
        self.labels, self.shots = usable, [known[row["shot"]] for row in usable]
        self._groups = self._grouped()
        self._weights = self._pair_weights() if self.settings.balance == "pair" else None
        self._open = lru_cache(maxsize=_HELD)(self._read)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_open"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open = lru_cache(maxsize=_HELD)(self._read)

    def __getitem__(self, position: int) -> Pair:
        """The pair at a position, 0 or more; there is no last one.

        Raises:
            InputError: no pair with enough points in as many tries as the settings allow, or a label file that cannot
                be read.
        """
        rng = np.random.default_rng([self.seed, position])
        for _ in range(self.settings.tries):
            pair = self._draw(rng)
            if pair is not None:
                return pair
        least, tries = self.settings.least, self.settings.tries
        raise InputError(f"{self.folder}: no pair of frames with {least} labels in common in {tries} tries")

    def _draw(self, rng: np.random.Generator) -> Pair | None:
        """A pair, None where it has too few points."""
        settings = self.settings
        if self._weights is not None:
            shot = int(rng.choice(len(self.labels), p=self._weights))
        else:
            group = self._groups[rng.integers(len(self._groups))]
            shot = group[rng.integers(len(group))]
        labels = self._open(shot)
        gaps = np.arange(settings.gap[0], min(labels.frames - 1, settings.gap[1] or labels.frames) + 1)
        if not len(gaps):
            return None
        chances = gaps.astype(np.float64) ** settings.power
        if settings.balance == "pair":
            chances *= self._pairs(labels.frames, gaps)
        gap = int(rng.choice(gaps, p=chances / chances.sum()))
        first = 0 if settings.source == "first" else int(rng.integers(labels.frames - gap))
        second = first + gap
        if rng.random() < settings.swap:
            first, second = second, first
        points_i, points_j, confidence, rows = correspondences(labels, first, second)
        if len(rows) < settings.least:
            return None
        chosen = self._chosen(rng, labels, rows)
        return Pair(
            self.shots[shot],
            labels.start + first,
            labels.start + second,
            points_i[chosen],
            points_j[chosen],
            confidence[chosen],
        )

    def _chosen(self, rng: np.random.Generator, labels: Labels, rows: np.ndarray) -> np.ndarray:
        """Which of the corresponding points are taken, sorted."""
        chances = np.ones(len(rows))
        if labels.foreground is not None:
            chances += self.settings.foreground * (labels.foreground[rows] - 1)
        possible = int((chances > 0).sum())
        if possible == 0:
            chances[:] = 1
            possible = len(rows)
        number = min(self.settings.points, possible)
        return np.sort(rng.choice(len(rows), number, replace=False, p=chances / chances.sum()))

    def _grouped(self) -> list[list[int]]:
        """Shots that share a chance, a class each where classes count alike."""
        if self.settings.balance != "class":
            return [list(range(len(self.labels)))]
        groups: dict[str, list[int]] = {}
        for index, row in enumerate(self.labels):
            groups.setdefault(str(row["class"]), []).append(index)
        return [groups[name] for name in sorted(groups)]

    def _pair_weights(self) -> np.ndarray:
        """Chance of each shot where every pair has the same."""
        shortest, longest = self.settings.gap
        counts = []
        for row in self.labels:
            gaps = np.arange(shortest, min(row["frames"] - 1, longest or row["frames"]) + 1)
            counts.append(float(self._pairs(row["frames"], gaps).sum()))
        weights: np.ndarray = np.array(counts) / sum(counts)
        return weights

    def _pairs(self, frames: int, gaps: np.ndarray) -> np.ndarray:
        """How many pairs a shot of so many frames has of each gap, as many as ``gaps``."""
        return np.ones_like(gaps) if self.settings.source == "first" else frames - gaps

    def _read(self, shot: int) -> Labels:
        return open_labels(self.folder / str(self.labels[shot]["path"]), self.shots[shot])
