"""Objects told by what they look like: the regression against an independent one, and what it does to masks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from samepoint.correspondence import Window
from samepoint.geometry import Lattice
from samepoint.tracking import MaskSettings, MaskTracker, segment
from samepoint.tracking.appearance import Appearance
from samepoint.tracking.frames import FrameEncoder
from samepoint.tracking.looks import Looks


def looks(seed: int = 0, channels: int = 4, size: tuple[int, int] = (6, 8)) -> Tensor:
    values = torch.randn(channels, *size, generator=torch.Generator().manual_seed(seed))
    return torch.cat([values, torch.ones(1, *size)])


def one_hot(hard: Tensor, classes: int) -> Tensor:
    return nn.functional.one_hot(hard, classes).permute(2, 0, 1).float()


def halves(size: tuple[int, int] = (6, 8)) -> Tensor:
    hard = torch.zeros(size, dtype=torch.int64)
    hard[:, size[1] // 2 :] = 1
    return hard


def test_scores_are_those_of_a_weighted_ridge_regression() -> None:
    seen, hard = looks(), halves()
    hard[:2, 4:] = 2
    appearance = Appearance(say=0.7)
    appearance.give(seen, one_hot(hard, 3), (5, 9), (5, 9))

    rows, labels = seen.flatten(1).T.double().numpy(), hard.flatten().numpy()
    weights = 1 / np.bincount(labels)[labels]  # each class weighs the same; all background is near an object here
    gram = (rows * weights[:, None]).T @ rows
    gram += 1e-2 * np.trace(gram) / len(gram) * np.eye(len(gram))
    solved = np.linalg.solve(gram, (rows * weights[:, None]).T @ np.eye(3)[labels])
    other, prior = looks(1), torch.rand(3, 6, 8).softmax(0)
    logits = prior.flatten(1).T.double().log().numpy() + 0.7 * other.flatten(1).T.double().numpy() @ solved
    logits[:, 0] += 0.15
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)

    found = appearance.judge(other, prior, (5, 9)).flatten(1).T
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


def test_background_near_an_object_weighs_seven_tenths() -> None:
    hard = torch.zeros(1, 40, dtype=torch.int64)
    hard[0, 0] = 1
    seen = torch.zeros(3, 1, 40)
    seen[0, 0, 1:16] = 1  # the fifteen cells beside it
    seen[1, 0, 16:] = 1
    seen[2] = 1
    appearance = Appearance(1)
    appearance.give(seen, one_hot(hard, 2), (1,), (1,))
    assert appearance.given[0].diagonal().tolist() == pytest.approx([0.7, 0.3, 1])


def test_a_class_is_sampled_evenly_and_its_moment_stays_a_mean() -> None:
    size = (120, 160)
    seen, hard = looks(3, size=size), halves(size)
    appearance = Appearance(1)
    appearance.give(seen, one_hot(hard, 2), (1,), (1,))
    there = seen[:, hard == 1]
    torch.testing.assert_close(appearance.given[1], there @ there.T / there.shape[1], atol=0.06, rtol=0)
    assert float(appearance.given[1][-1, -1]) == pytest.approx(1)


def test_background_laid_bare_is_told_from_the_object() -> None:
    seen, hard = looks(), halves()
    seen[0] = 2.0 * hard - 1  # the object is bright
    appearance = Appearance(1)
    appearance.give(seen, one_hot(hard, 2), (1,), (1,))
    doubtful = torch.stack([torch.full((6, 8), 0.4), torch.full((6, 8), 0.6)])
    assert torch.equal(appearance.judge(seen, doubtful, (1,)).argmax(0), hard)


def test_it_keeps_up_where_it_is_sure_only() -> None:
    seen, labels = looks(), one_hot(halves(), 2)
    appearance = Appearance(1)
    appearance.give(seen, labels, (1,), (1,))
    before = appearance.state()
    appearance.learn(looks(1), labels * 0.5 + 0.25, (1,))
    assert all(torch.equal(moment, before[name]) for name, moment in appearance.state().items())
    appearance.learn(looks(1), labels, (1,))
    there = looks(1)[:, halves() == 1]
    torch.testing.assert_close(appearance.recent[1], 0.9 * before["recent.1"] + 0.1 * there @ there.T / 24)
    assert torch.equal(appearance.given[1], before["given.1"])


def test_an_object_smaller_than_a_cell_leaves_the_labels_as_they_are() -> None:
    appearance = Appearance(1)
    faint = torch.stack([torch.full((6, 8), 0.9), torch.full((6, 8), 0.1)])
    appearance.give(looks(), faint, (1,), (1,))
    assert torch.equal(appearance.judge(looks(), faint, (1,)), faint)
    appearance.learn(looks(), faint, (1,))


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 4), st.floats(0.1, 5))
def test_labels_stay_shares(seed: int, count: int, say: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    objects = range(1, count + 1)
    labels = (4 * torch.randn(count + 1, 5, 7, generator=generator)).softmax(0)
    labels[:, 0] = one_hot(torch.zeros(1, 7, dtype=torch.int64), count + 1)[:, 0]
    appearance = Appearance(say)
    appearance.give(looks(seed, 3, (5, 7)), labels, objects, objects)
    for frame in range(3):
        labels = appearance.judge(looks(seed + frame, 3, (5, 7)), labels, objects)
        appearance.learn(looks(seed + frame, 3, (5, 7)), labels, objects)
        torch.testing.assert_close(labels.sum(0), torch.ones(5, 7))


class Maps(nn.Module):
    """Maps at strides 8, 4 and 2: the mean colour of each cell's box."""

    lattices = (Lattice(8, 3.5), Lattice(4, 1.5), Lattice(2, 0.5))

    def __init__(self) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(()))

    def preprocess(self, frames: Tensor) -> Tensor:
        return frames.permute(0, 3, 1, 2).float() / 255

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(nn.functional.avg_pool2d(x, stride) for stride in (8, 4, 2))


class Semantics(Maps):
    lattices = (Lattice(8, 3.5),)

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        return (nn.functional.avg_pool2d(1 - x[:, :2], 8),)


class TestLooks:
    def frame(self) -> np.ndarray:
        return np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)

    def test_the_networks_own_coarser_maps_without_a_companion(self) -> None:
        maps = FrameEncoder(Maps(), dtype=torch.float32)(self.frame())
        found = Looks(Maps.lattices, Maps.lattices[1])(self.frame(), maps, maps[1])
        assert found.shape == (7, 8, 12)
        torch.testing.assert_close(found[:3], nn.functional.normalize(maps[1], dim=0))
        assert bool((found[-1] == 1).all())
        # Between two coarse cells a fine one has three quarters of the nearer and a quarter of the other.
        coarse = nn.functional.normalize(maps[0], dim=0)
        mixed = 0.75 * coarse[:, 0] + 0.25 * coarse[:, 1]
        torch.testing.assert_close(found[3:6, 1, 1], 0.75 * mixed[:, 0] + 0.25 * mixed[:, 1])

    def test_a_companions_map_in_their_place(self) -> None:
        maps = FrameEncoder(Maps(), dtype=torch.float32)(self.frame())
        other = FrameEncoder(Semantics(), dtype=torch.float32)
        found = Looks(Maps.lattices, Maps.lattices[2], other)(self.frame(), maps, maps[2])
        assert found.shape == (3 + 2 + 1, 16, 24)
        torch.testing.assert_close(found[3:5, 0, 0], nn.functional.normalize(other(self.frame())[0], dim=0)[:, 0, 0])


def disc(centre: float, size: tuple[int, int] = (48, 96)) -> np.ndarray:
    y, x = np.mgrid[: size[0], : size[1]]
    return ((x - centre) ** 2 + (y - 24) ** 2 < 14**2).astype(np.uint8)


class Blind(Maps):
    """Its fine map says nothing."""

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        coarse, fine, _ = super().features(x)
        return coarse, torch.ones_like(fine), torch.ones_like(x[..., ::2, ::2])


@pytest.mark.parametrize("companion", [None, Semantics()])
def test_where_places_say_nothing_looks_decide(companion: nn.Module | None) -> None:
    clip = np.random.default_rng(0).integers(60, 120, (3, 48, 96, 3), dtype=np.uint8)
    discs = [disc(centre) for centre in (30, 34, 38)]
    for frame, there in zip(clip, discs, strict=True):
        frame[there > 0, 0] = 250
    chosen = MaskSettings(
        size=None, strides=(4,), context=1, topk=200, window=Window.circle(8), appearance=4, own_window=None
    )
    blind = segment(clip, discs[0], model=Blind(), settings=replace(chosen, appearance=0), companion=None)
    found = segment(clip, discs[0], model=Blind(), settings=chosen, companion=companion)
    overlap = [(masks.labels[2] & discs[2]).sum() / (masks.labels[2] | discs[2]).sum() for masks in (blind, found)]
    assert overlap[0] < 0.6
    assert overlap[1] > 0.75


def test_a_companion_is_loaded_with_the_network_that_has_one() -> None:
    tracker = MaskTracker.from_pretrained("samepoint-base", MaskSettings(size=64))
    assert tracker._looks is not None
    assert tracker._looks.companion is not None
    assert MaskTracker.from_pretrained("samepoint-base", MaskSettings(size=64, appearance=0))._looks is None
