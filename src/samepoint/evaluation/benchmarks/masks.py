"""DAVIS-2016, DAVIS-2017 and JHMDB's puppets: masks given in the first frame."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from samepoint.datasets import davis, jhmdb
from samepoint.datasets.davis import DavisSequence
from samepoint.datasets.jhmdb import JhmdbClip
from samepoint.errors import InputError
from samepoint.evaluation.benchmarks.base import Asked, Model, Percentages, Scores, percentages, plain
from samepoint.evaluation.benchmarks.joints import annotated_frames
from samepoint.evaluation.metrics.davis import DavisScore, sequence_scores
from samepoint.evaluation.names import PROPAGATION
from samepoint.evaluation.predictions import Arrays, Prediction
from samepoint.structures import Video

if TYPE_CHECKING:
    from torch import nn

    from samepoint.tracking import MaskSettings

ScoredAs = Literal["davis2016", "davis2017", "masks"]


class _MaskBenchmark:
    """What DAVIS and JHMDB share; see :class:`~samepoint.evaluation.benchmarks.base.Benchmark`."""

    scored_as: ScoredAs

    def __init__(self, asked: Asked) -> None:
        self.asked = asked

    @cached_property
    def settings_name(self) -> str:
        from samepoint.tracking import MASK_PROTOCOLS

        name = self.asked.settings or ("samepoint" if self.asked.model.identity.ours else "fgvc")
        if name == PROPAGATION:
            raise InputError(
                f"--protocol {name}: of points; masks are always propagated, name samepoint (jhmdb: --task)"
            )
        if name not in MASK_PROTOCOLS:
            raise InputError(
                f"--protocol {name}: no settings for propagating masks; there are {', '.join(MASK_PROTOCOLS)}"
            )
        return name

    @cached_property
    def propagation(self) -> MaskSettings:
        from samepoint.tracking.quality import named_mask_settings, named_search

        return named_mask_settings(self.settings_name, named_search(self.asked.search or "full"))

    @cached_property
    def companion(self) -> Model | None:
        """That of the network, as `samepoint segment` has it; of networks that are not ours none."""
        from samepoint.models.features import companion_of

        known = companion_of(self.asked.model.source) if self.propagation.appearance else None
        return None if known is None else Model(known, self.asked.model.device)

    @cached_property
    def _companion_network(self) -> nn.Module | None:
        from samepoint.models.features import load_encoder

        return None if self.companion is None else load_encoder(self.companion.source)

    def asks(self) -> dict[str, Any]:
        return {}

    def settings(self) -> dict[str, Any]:
        told = asdict(self.propagation)
        search = {} if self.propagation.coarse is None else {"search": self.asked.search}
        how = {name: told[name] for name in self.propagation.in_force()}
        companion = {}
        if self.propagation.appearance:
            found = self.companion and self.companion.identity
            companion = {"companion": found and {"name": found.name, "sha256": found.sha256}}
        precision = self.asked.model.precision
        return plain({"name": self.settings_name, **search, **how, **companion, "precision": precision})

    def ready(self) -> None:
        from samepoint.tracking.propagated_masks import Grid

        lattices: Any = self.asked.model.video_network.lattices
        Grid(lattices, self.propagation.strides)
        if self.propagation.coarse is not None:
            Grid(lattices, (self.propagation.coarse,))

    def _segment(self, video: Video | np.ndarray, first: np.ndarray) -> Arrays:
        if not first.any():  # nothing to follow: everything is background
            return {"labels": np.zeros((len(video), *first.shape), np.uint8)}
        from samepoint.tracking import segment

        model = self.asked.model
        settings = self.propagation
        masks = segment(
            video,
            first,
            model=model.network,
            settings=settings,
            companion=self._companion_network,
            device=model.device,
            dtype=model.dtype,
        )
        return {"labels": masks.labels}

    def scorer(self) -> MaskScorer:
        return MaskScorer(self.scored_as)


class DavisBenchmark(_MaskBenchmark):
    """DAVIS-2016 or DAVIS-2017, validation split."""

    def __init__(self, name: str, asked: Asked) -> None:
        self.name = cast("davis.Benchmark", name)
        self.scored_as = "davis2016" if name == "davis-2016" else "davis2017"
        super().__init__(asked)

    @cached_property
    def resolution(self) -> davis.Resolution:
        return davis.resolution_of(self.asked.root, self.name, self.asked.resolution)

    def names(self) -> tuple[str, ...]:
        return davis.names(self.asked.root, self.name, resolution=self.resolution)

    def missing(self) -> tuple[str, ...]:
        return davis.check(self.asked.root, self.name, self.resolution).missing

    def asks(self) -> dict[str, Any]:
        return {"resolution": self.resolution}

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), **self.asks()}

    def items(self, only: Collection[str]) -> Iterator[DavisSequence]:
        return iter(davis.sequences(self.asked.root, self.name, resolution=self.resolution, only=only))

    def scorer(self) -> MaskScorer:
        return MaskScorer(self.scored_as, self.asks())

    def predict(self, item: DavisSequence) -> Arrays:
        first = item.mask(0)
        return self._segment(item.video, np.where(first == davis.VOID, 0, first).astype(np.uint8))


class JhmdbMasks(_MaskBenchmark):
    """JHMDB's puppet masks, one person in each clip; ours, for the set has no official protocol of this kind."""

    scored_as = "masks"

    def names(self) -> tuple[str, ...]:
        return tuple(clip.name for clip in jhmdb.sequences(self.asked.root) if clip.mask_path is not None)

    def missing(self) -> tuple[str, ...]:
        return jhmdb.check(self.asked.root).missing

    def items(self, only: Collection[str]) -> Iterator[JhmdbClip]:
        return jhmdb.sequences(self.asked.root, only=only)

    def predict(self, item: JhmdbClip) -> Arrays:
        return self._segment(item.frames(), _masks(item)[0].astype(np.uint8))


class MaskScorer:
    """J, F and J&F of each sequence and of the set; ``more`` is what else the protocol has to say."""

    def __init__(self, scored_as: ScoredAs, more: Mapping[str, Any] | None = None) -> None:
        self.scored_as, self.more, self.total = scored_as, more or {}, DavisScore()
        self.items: dict[str, Percentages] = {}

    def update(self, item: DavisSequence | JhmdbClip, prediction: Prediction) -> None:
        if isinstance(item, DavisSequence):
            truth = item.masks()
        else:
            truth = _masks(item)
            truth = truth[: annotated_frames(item, len(prediction.get("labels", (None, *truth.shape[1:]), "i")))]
        labels = prediction.get("labels", truth.shape, "i")
        with prediction.named():
            scores = sequence_scores(labels, truth, self.scored_as)
        self.total.update(scores)
        self.items[item.name] = percentages(scores.metrics())

    def scores(self) -> list[Scores]:
        facts = {
            "name": self.scored_as,
            "size": None,
            "query_mode": "first",
            "aggregation": "object" if self.scored_as == "davis2017" else "video",
            "frame_0": False,
            "last_frame": self.scored_as == "masks",
            **self.more,
        }
        excluded = {
            "objects without a scored frame": self.total.left_out(),
            "sequences without an object": self.total.without_objects(),
        }
        return [Scores(facts, percentages(self.total.compute()), self.items, excluded)]


def _masks(item: JhmdbClip) -> np.ndarray:
    assert item.masks is not None  # only clips with masks are items
    return item.masks
