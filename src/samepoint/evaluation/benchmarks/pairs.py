"""SPair-71k, SPair-U, PF-PASCAL and PF-WILLOW: points of one picture in another, by plain feature matching."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from samepoint.datasets import pf_pascal, pf_willow, spair
from samepoint.datasets.check import Check, some
from samepoint.datasets.pairs import ImagePair, PairName, Pairs
from samepoint.errors import InputError
from samepoint.evaluation.benchmarks.base import Asked, Percentages, Scores, percentages, plain, predicted_xy
from samepoint.evaluation.metrics.semantic import PROTOCOLS, Protocol, SemanticScore, pair_counts
from samepoint.evaluation.metrics.sums import check_name
from samepoint.evaluation.names import CONSENSUS, SCORING
from samepoint.evaluation.predictions import Arrays, Prediction

if TYPE_CHECKING:
    from samepoint.matching.features import FeatureMatchSettings, PictureEncoder, PictureMap
    from samepoint.matching.pair_model import LearntMatcher
    from samepoint.models.matcher import Columns

    Encoded = tuple[Columns, tuple[int, int]]

_KEPT = 32
"""Pictures whose hyper-columns are kept: many pairs share few pictures."""


_UNTOLD_LEAKS = (
    "trn_pairs.csv is not there, so that pairs which leak from training are scored with the others and cannot be told "
    "from them; as published they are 95 of 277 distinct test pairs"
)


@dataclass(frozen=True)
class _Set:
    """What a reader offers, each called with the folder and the split."""

    pairs: Callable[[Path, str], Pairs]
    lacking: Callable[[Path, str, Sequence[PairName]], list[str]]
    """The names of the entries of which a file is not there."""
    check: Callable[[Path, str], Check]
    listed: Mapping[str, int] = field(default_factory=dict)
    """Pairs of each split as published, where they are."""


def _pairs_u(root: Path, split: str) -> Pairs:
    if split != "test":
        raise InputError(f"split {split!r} is not known; SPair-U has only 'test'")
    return spair.pairs_u(root)


_SETS = {
    "spair-71k": _Set(
        spair.pairs,
        lambda root, split, entries: spair.lacking(root, entries, split),
        lambda root, split: spair.check(root, [split]),
        spair.SPLITS,
    ),
    "spair-u": _Set(
        _pairs_u, lambda root, _, entries: spair.lacking_u(root, entries), lambda root, _: spair.check_u(root)
    ),
    "pf-pascal": _Set(
        pf_pascal.pairs,
        lambda root, _, entries: pf_pascal.lacking(root, entries),
        lambda root, split: pf_pascal.check(root, [split]),
        pf_pascal.SPLITS,
    ),
    "pf-willow": _Set(
        pf_willow.pairs,
        lambda root, _, entries: pf_willow.lacking(root, entries),
        lambda root, _: pf_willow.check(root),
        {"test": pf_willow.PAIRS},
    ),
}


class PairBenchmark:
    """See :class:`~samepoint.evaluation.benchmarks.base.Benchmark`. The items are the ordered pairs."""

    def __init__(self, name: str, asked: Asked) -> None:
        known = SCORING[name]
        check_name("scoring protocol", asked.scoring or known[0], known)
        if asked.settings not in (None, "samepoint", CONSENSUS):
            raise InputError(
                f"--protocol {asked.settings}: settings for videos; {name} compares pictures (samepoint or {CONSENSUS})"
            )
        self.name, self.asked = name, asked
        self._kept: dict[tuple[Path, bool], Encoded] = {}
        self.protocol = PROTOCOLS[asked.scoring or known[0]]

    @property
    def learnt(self) -> bool:
        """Whether a matcher compares the pictures, which needs no settings, rather than features alone."""
        return self.asked.settings == CONSENSUS or self.asked.model.identity.architecture == "Matcher"

    @cached_property
    def matching(self) -> FeatureMatchSettings:
        from samepoint.matching.features import FeatureMatchSettings

        # Of our own maps those at stride 8 carry meaning; the fine ones tell neighbours apart, not parts of things.
        return FeatureMatchSettings(level=1 if self.asked.model.identity.ours else -1)

    @property
    def split(self) -> str:
        return self.asked.split or "test"

    @cached_property
    def listed(self) -> Pairs:
        """All pairs of the list, whether their files are there or not."""
        return _SETS[self.name].pairs(self.asked.root, self.split)

    @cached_property
    def lacking(self) -> list[str]:
        """The names of those that are left out because a file of theirs is not there."""
        return _SETS[self.name].lacking(self.asked.root, self.split, self.listed.entries)

    @cached_property
    def pairs(self) -> Pairs:
        usable = self.listed.without(self.lacking)
        if not len(usable):
            raise InputError(f"{self.asked.root}: nothing of {self.name} to evaluate; {'; '.join(self.missing())}")
        return usable

    def names(self) -> tuple[str, ...]:
        return tuple(entry.name for entry in self.pairs.entries)

    def missing(self) -> tuple[str, ...]:
        chosen, count = _SETS[self.name], len(self.listed)
        if not self.lacking and count >= chosen.listed.get(self.split, 0):
            return ()
        left_out = [f"of the {count:,} listed pairs {some(self.lacking)}, left out"] if self.lacking else []
        return (*left_out, *chosen.check(self.asked.root, self.split).missing)

    def asks(self) -> dict[str, Any]:
        asks: dict[str, Any] = {"direction": self.protocol.direction, "whole_queries": self.protocol.whole_queries}
        return {**asks, "space": self.protocol.space} if self.protocol.whole_queries else asks

    def settings(self) -> dict[str, Any]:
        if self.learnt:  # computes in float32 whatever the device prefers
            side = self.asked.model.identity.side
            how: dict[str, Any] = {} if side is None else {"side": side}
        else:
            how = {**asdict(self.matching), "precision": self.asked.model.precision}
        return plain({"name": self.asked.settings or "samepoint", **how, **self.asks()})

    def ready(self) -> None:
        from samepoint.models.matcher import Matcher

        model = self.asked.model
        if isinstance(model.network, Matcher) and model.network.config.external and model.backbone is None:
            raise InputError(f"--model {model.source}: its file leaves the backbone out; give it with --backbone")
        _ = self.matcher if self.learnt else self.encoder

    def items(self, only: Collection[str]) -> Iterator[ImagePair]:
        wanted = frozenset(only)
        for index, entry in enumerate(self.pairs.entries):
            if entry.name in wanted:
                yield self.pairs[index]

    @cached_property
    def encoder(self) -> PictureEncoder:
        from samepoint.matching.features import PictureEncoder

        model = self.asked.model
        network: Any = model.network
        return PictureEncoder(network, self.matching, device=model.device, dtype=model.dtype)

    @cached_property
    def matcher(self) -> LearntMatcher:
        from samepoint.matching.around import matcher_around
        from samepoint.matching.pair_model import LearntMatcher
        from samepoint.models.matcher import Matcher

        network = self.asked.model.network
        matcher = network if isinstance(network, Matcher) else matcher_around(network)
        return LearntMatcher(matcher, device=self.asked.model.device)

    def predict(self, item: ImagePair) -> Arrays:
        if self.learnt:
            return self._match(item)
        from samepoint.matching.features import match_maps

        source, target = self._map(item, "source"), self._map(item, "target")
        if self.protocol.direction == "t2s":
            source, target = target, source
        asked = self.protocol.queries(_sides(item, self.protocol)[0], source.size)
        xy, confidence = match_maps(source, target, asked, self.matching)
        return {"xy": xy, "confidence": confidence, "size": np.array(target.size)}

    def _match(self, item: ImagePair) -> Arrays:
        pictures = [
            ((item.source_path, item.mirrored), item.source, item.source_size),
            ((item.target_path, item.mirrored), item.target, item.target_size),
        ]
        if self.protocol.direction == "t2s":
            pictures.reverse()
        source, target = (self._columns(*picture) for picture in pictures)
        asked = self.protocol.queries(_sides(item, self.protocol)[0], source[1])
        found = self.matcher.carry(source, target, np.asarray(asked, np.float32))
        return {"xy": found.xy, "confidence": found.confidence, "size": np.array(target[1])}

    def _columns(self, key: tuple[Path, bool], read: Callable[[], np.ndarray], size: tuple[int, int]) -> Encoded:
        from samepoint.matching.pictures import Picture

        found = self._kept.pop(key, None) or self.matcher.encode(Picture(read(), size))
        self._kept[key] = found
        while len(self._kept) > _KEPT:
            self._kept.pop(next(iter(self._kept)))
        return found

    def _map(self, item: ImagePair, which: str) -> PictureMap:
        path, read = (item.source_path, item.source) if which == "source" else (item.target_path, item.target)
        return self.encoder.keyed((path, item.mirrored), read)

    def scorer(self) -> PairScorer:
        alike = [
            PROTOCOLS[name]
            for name in SCORING[self.name]
            if (PROTOCOLS[name].direction, PROTOCOLS[name].whole_queries)
            == (self.protocol.direction, self.protocol.whole_queries)
        ]
        leaky = self.name == "pf-pascal" and self.split == "test"
        return PairScorer([self.protocol, *(one for one in alike if one.name != self.protocol.name)], leaky)


class PairScorer:
    """Every protocol that asks for the same points, the one asked for first; ``leaky``: of pairs of which some leak."""

    def __init__(self, protocols: list[Protocol], leaky: bool = False) -> None:
        self.protocols, self.leaky = protocols, leaky
        self.totals = [SemanticScore(protocol.alphas) for protocol in protocols]
        self.clean = SemanticScore(protocols[0].alphas)
        self.leaks = self.untold = 0
        self.items: list[dict[str, Percentages]] = [{} for _ in protocols]

    def update(self, item: ImagePair, prediction: Prediction) -> None:
        for protocol, total, items in zip(self.protocols, self.totals, self.items, strict=True):
            truth = _sides(item, protocol)[1]
            there = protocol.direction == "s2t"
            size, box = (item.target_size, item.target_box) if there else (item.source_size, item.source_box)
            guess = predicted_xy(prediction, (len(truth),), size)
            counts = pair_counts(guess, truth, size, protocol, box=box)
            total.update(counts, item.category, item.flags)
            if protocol is self.protocols[0] and not item.leaked:
                self.clean.update(counts, item.category)
            items[item.name] = percentages(counts.fractions(), "PCK@{:g}")
        self.leaks += bool(item.leaked)
        self.untold += item.leaked is None

    def scores(self) -> list[Scores]:
        found = []
        for protocol, total, items in zip(self.protocols, self.totals, self.items, strict=True):
            edge = None if protocol.space == "native" else [int(protocol.space.removeprefix("square"))] * 2
            facts: dict[str, Any] = {
                "name": protocol.name,
                "size": edge,
                "query_mode": protocol.direction,
                "aggregation": protocol.averaging[0],
                "tau": protocol.tau,
                "comparison": protocol.comparison,
            }
            if self.leaky and self.untold:
                facts["notes"] = [_UNTOLD_LEAKS]
            metrics: Percentages = {}
            for averaging in protocol.averaging:
                metrics |= percentages(total.compute(averaging), f"PCK@{{:g}} {averaging}")
            kind: Literal["pair", "point"] = "point" if "point" in protocol.averaging else "pair"
            for name, values in (*total.per_class(kind).items(), *total.per_difficulty(kind).items()):
                metrics |= percentages(values, f"{name} PCK@{{:g}} {kind}")
            excluded = {
                "pairs without a scored point": total.left_out(),
                "points in pairs without a length to compare with": total.unscaled(),
            }
            found.append(Scores(facts, metrics, items, excluded))
        if self.leaks:
            for averaging in self.protocols[0].averaging:
                without = percentages(self.clean.compute(averaging), f"without leaked pairs PCK@{{:g}} {averaging}")
                found[0].metrics |= without
        return found


def _sides(item: ImagePair, protocol: Protocol) -> tuple[np.ndarray, np.ndarray]:
    """The points to ask for, and where they are in the other picture."""
    there = protocol.direction == "s2t"
    return (item.source_xy, item.target_xy) if there else (item.target_xy, item.source_xy)
