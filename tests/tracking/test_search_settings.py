"""The search of label propagation as a setting: what it changes, what it leaves, and where it is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

from samepoint import MaskTracker
from samepoint.correspondence import Affinity, Window, propagate
from samepoint.errors import InputError
from samepoint.models.matcher import Matcher, MatcherConfig
from samepoint.models.network import PointNetwork
from samepoint.models.resnet import ResNet
from samepoint.tracking import MASK_PROTOCOLS, MaskSettings, PropagationSettings
from samepoint.tracking.mask_tracker import MaskState
from samepoint.tracking.quality import (
    QUALITIES,
    Search,
    by_propagation,
    named_mask_settings,
    named_search,
    searched_masks,
    searched_points,
)
from tests.models.test_network import TINY
from tests.tracking.test_tracker import Pixels

SIZE = (24, 40)
ALONE = MaskSettings(fast_window=None, trusted=None, own_window=None)
PLAIN = replace(ALONE, size=None, strides=(1,), context=2, window=Window.circle(9), topk=1, fill=False)
COARSE = replace(PLAIN, coarse=4, fine_window=Window.square(2))


class Waves(Pixels):
    """Each colour has a direction of its own among many, so that the mean of a few cells still tells whose it is."""

    def features(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        turn = torch.randn(64, 3, generator=torch.Generator().manual_seed(0)) / 20
        return (torch.cos(torch.einsum("kc,bchw->bkhw", turn, x) + torch.arange(64.0)[:, None, None]),)


def moving(count: int = 5, step: int = 4) -> np.ndarray:
    """Noise that moves to the right, by a coarse cell a frame."""
    wide = np.random.default_rng(0).integers(0, 256, (SIZE[0], SIZE[1] + step * count, 3), dtype=np.uint8)
    start = step * (count - 1)
    return np.stack([wide[:, start - step * t : start - step * t + SIZE[1]] for t in range(count)])


def mask() -> np.ndarray:
    found = np.zeros(SIZE, np.uint8)
    found[6:15, 5:13] = 1
    return found


def tracker(settings: MaskSettings) -> MaskTracker:
    return MaskTracker(Waves(), settings, dtype=torch.float32)


def test_only_the_search_is_changed() -> None:
    points, masks = PropagationSettings(context=3), MaskSettings(topk=7)
    assert (searched_points(points, "full"), searched_masks(masks, "full")) == (points, masks)
    changed = {"fine_window": Window.square(4), "matches": 2}
    assert searched_points(points, "coarse-to-fine") == replace(points, coarse="auto", **changed)
    assert searched_masks(masks, "coarse-to-fine") == replace(masks, coarse=16, **changed)
    assert searched_points(searched_points(points, "coarse-to-fine"), "full").coarse is None
    assert [named_search(name) for name in get_args(Search)] == ["full", "coarse-to-fine"]
    with pytest.raises(InputError, match="unknown search 'fine'; expected one of full, coarse-to-fine"):
        named_search("fine")


@pytest.mark.parametrize("name", MASK_PROTOCOLS)
def test_published_masks_leave_no_choice(name: str) -> None:
    assert named_mask_settings(name) == named_mask_settings(name, "full") == MASK_PROTOCOLS[name]
    if name == "samepoint":
        assert named_mask_settings(name, "coarse-to-fine").coarse == 16
        return
    with pytest.raises(InputError, match=f"search coarse-to-fine: {name} looks through its whole window, as published"):
        named_mask_settings(name, "coarse-to-fine")


def test_points_of_networks_without_a_refiner() -> None:
    made = by_propagation("fast", "coarse-to-fine")(ResNet.fgvc())
    assert made.settings == searched_points(QUALITIES["fast"].propagation, "coarse-to-fine")
    assert made.coarse is not None
    assert made.coarse.stride == 8
    with pytest.raises(InputError, match="search full: of label propagation, but this model follows points by its ref"):
        by_propagation("balanced", "full")(PointNetwork(TINY))
    with pytest.raises(InputError, match="a model for videos must give features, Matcher gives none"):
        by_propagation("balanced", "full")(Matcher(MatcherConfig.tiny()))


def test_masks_go_where_coarse_cells_say() -> None:
    """The motion is within the whole window and beyond the fine one: only coarse cells can have found it."""
    near, coarse = tracker(replace(PLAIN, window=COARSE.fine_window)), tracker(COARSE)
    assert coarse.guide is not None
    assert coarse.guide.lattice.stride == 4
    for one in (near, coarse):
        one.add(mask())
    for t, frame in enumerate(moving()):
        lost, labels = (one.step(frame)[:, 4 * t :] for one in (near, coarse))  # what comes in was never seen
        assert (labels == np.roll(mask(), 4 * t, axis=1)[:, 4 * t :]).all(), t
        assert t == 0 or (lost != labels).sum() > 20


def test_cells_outside_the_fine_windows_take_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []

    def noted(found: Affinity, values: list[torch.Tensor]) -> torch.Tensor:
        seen.append((~found.scores.isneginf()).sum(dim=1).reshape(SIZE)[12, 20])
        return propagate(found, values)

    monkeypatch.setattr("samepoint.tracking.propagated_masks.propagate", noted)
    for settings, count in ((COARSE, 25), (replace(COARSE, fine_window=Window.square(1), matches=1), 9)):
        one = tracker(replace(settings, topk=200))
        one.add(mask())
        one.step(moving()[0])
        one.step(moving()[0])
        assert seen[-1] == 2 * count  # the frame of the mask, which is also the previous one


def test_what_was_interrupted_goes_on_with_coarse_cells(tmp_path) -> None:
    clip, whole = moving(), tracker(COARSE)
    whole.add(mask())
    for t, frame in enumerate(clip):
        labels = whole.step(frame)
        if t == 2:
            whole.state().save(tmp_path / "state.safetensors")
    again = tracker(COARSE)
    again.restore(MaskState.load(tmp_path / "state.safetensors"), lambda index: clip[index])
    for frame in clip[3:]:
        found = again.step(frame)
    assert (found == labels).all()
    assert (again.soft == whole.soft).all()


def test_coarse_cells_that_are_not_coarse_are_refused() -> None:
    with pytest.raises(InputError, match="coarse: stride 4 given, one above 4, the finest, expected"):
        MaskSettings(coarse=4)
    with pytest.raises(InputError, match="strides: 9 wanted, but the network has maps of stride 2"):
        MaskTracker(ResNet.fgvc(), MaskSettings(coarse=9))


def test_plain_values_tell_the_search_where_it_is_made() -> None:
    assert not {"coarse", "fine_window", "matches"} & set(MaskSettings().as_dict())
    told = searched_masks(MaskSettings(), "coarse-to-fine").as_dict()
    assert (told["coarse"], told["fine_window"], told["matches"]) == (16, "square 4", 2)
