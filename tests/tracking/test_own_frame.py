"""What is new is doubted, and labels settle within their own frame."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from samepoint.correspondence import Window
from samepoint.errors import InputError
from samepoint.tracking import MaskSettings
from samepoint.tracking.propagated_masks import Cells, PropagatedMasks

ALONE = MaskSettings(
    context=1, window=Window.circle(2), topk=1, fill=False, appearance=0, fast_window=None, own_window=None
)


def at(angle: float) -> torch.Tensor:
    return torch.tensor([np.cos(angle), np.sin(angle)], dtype=torch.float32)


@pytest.mark.parametrize(
    ("likeness", "expected"),
    [
        (0.9, 0.9),  # believed as it is
        (0.7, 0.9),
        (0.55, 0.75),  # half: 0.9**0.5 : 0.1**0.5 is 3 : 1
        (0.5, 0.6753),  # a third: 9**(1 / 3) is 2.0801
        (0.475, 0.6340),  # a quarter, the least: 9**0.25 is 1.7321
        (0.4, 0.6340),
        (-0.5, 0.6340),
    ],
)
def test_labels_of_unlike_matches_are_doubted(likeness: float, expected: float) -> None:
    method = PropagatedMasks(ALONE)
    before = at(0.0)[:, None, None].expand(2, 1, 1)
    method.give(0, Cells(before), {1: torch.tensor([[0.9]])})
    soft = method.step(1, Cells(at(float(np.arccos(likeness)))[:, None, None]))
    torch.testing.assert_close(soft[:, 0, 0], torch.tensor([1 - expected, expected]), atol=5e-5, rtol=0)


def test_late_objects_are_not_told_to_have_been_where_all_was_different() -> None:
    method = PropagatedMasks(ALONE)
    first, later = torch.zeros(1, 8), torch.zeros(1, 8)
    first[0, 0] = later[0, 7] = 1
    method.give(0, Cells(at(0.0)[:, None, None].expand(2, 1, 8)), {1: first})
    method.step(1, Cells(at(3.0)[:, None, None].expand(2, 1, 8)))
    method.give(1, method.recent[-1].cells, {2: later})
    assert method.anchors[0].frame == 0
    assert not method.anchors[0].labels[2, 0, :5].any()


def test_without_trust_all_are_believed() -> None:
    method = PropagatedMasks(MaskSettings(**{**vars(ALONE), "trusted": None}))
    method.give(0, Cells(at(0.0)[:, None, None]), {1: torch.tensor([[0.9]])})
    soft = method.step(1, Cells(at(3.0)[:, None, None]))
    torch.testing.assert_close(soft[:, 0, 0], torch.tensor([0.1, 0.9]))


@given(st.integers(0, 2**16), st.integers(1, 3))
def test_soft_labels_still_sum_to_one(seed: int, objects: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    method = PropagatedMasks(MaskSettings(context=2, window=Window.circle(3), topk=3, own_window=Window.circle(3)))
    rows = torch.randint(0, objects + 1, (6, 7), generator=draw)
    given = {number: (rows == number).float() for number in range(1, objects + 1)}
    method.give(0, Cells(torch.randn(4, 6, 7, generator=draw)), given)
    for frame in (1, 2, 3):
        soft = method.step(frame, Cells(torch.randn(4, 6, 7, generator=draw)))
        torch.testing.assert_close(soft.sum(0), torch.ones(6, 7))
        torch.testing.assert_close(method.recent[-1].labels.sum(0), torch.ones(6, 7))


def slow_settled(features: torch.Tensor, labels: torch.Tensor, radius: float, topk: int, temperature: float):
    """One round, cell by cell."""
    _, height, width = features.shape
    unit = features / features.norm(dim=0)
    out = torch.zeros_like(labels)
    for y in range(height):
        for x in range(width):
            around = [
                (float(unit[:, y, x] @ unit[:, v, u]), v, u)
                for v in range(height)
                for u in range(width)
                if (v - y) ** 2 + (u - x) ** 2 < radius**2
            ]
            best = sorted(around, reverse=True)[:topk]
            weights = torch.tensor([score for score, _, _ in best]).div(temperature).softmax(0)
            out[:, y, x] = sum(weight * labels[:, v, u] for weight, (_, v, u) in zip(weights, best, strict=True))
    return out


def test_cells_take_labels_from_their_like_in_the_frame() -> None:
    draw = torch.Generator().manual_seed(3)
    features, labels = torch.randn(8, 7, 9, generator=draw), torch.rand(2, 7, 9, generator=draw).softmax(0)
    settings = MaskSettings(topk=4, temperature=0.2)
    found = PropagatedMasks(settings)._settled(Cells(features), labels, Window.circle(3))
    expected = slow_settled(features, slow_settled(features, labels, 3, 4, 0.2), 3, 4, 0.2)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def stepped(side: int, window: Window | None) -> PropagatedMasks:
    """An object of one look with a hole in its mask, in a still picture."""
    size = 4 * side
    features = torch.zeros(2, size, size)
    features[0] = 1
    features[:, :side, :side] = at(1.5)[:, None, None]
    mask = torch.zeros(size, size)
    mask[:side, :side] = 1
    mask[side // 2, side // 2] = 0
    method = PropagatedMasks(
        MaskSettings(
            context=1,
            window=Window.circle(1),
            topk=30,
            fast_window=None,
            appearance=0,
            trusted=None,
            own_window=window,
        )
    )
    method.give(0, Cells(features), {1: mask})
    method.step(1, Cells(features))
    return method


@pytest.mark.parametrize("side", [4, 24])
def test_gaps_close_and_outlines_stay(side: int) -> None:
    apart, settled = stepped(side, None).soft, stepped(side, Window.circle(3)).soft
    assert apart is not None
    assert settled is not None
    assert apart[1, side // 2, side // 2] == 0
    assert settled[1, side // 2, side // 2] > (0.8 if side == 24 else 0.4)  # 15 cells beside the window's 25
    assert (settled[1, side:] < 0.01).all()
    assert (settled[1, :, side:] < 0.01).all()


def test_memory_of_small_objects_stays_as_it_was() -> None:
    """A window of 25 cells, ten of which are as large as the large object: 576 cells beside 16."""
    kept = {side: float(stepped(side, Window.circle(3)).recent[-1].labels[1, side // 2, side // 2]) for side in (4, 24)}
    assert kept[24] > 0.4  # half of what settled
    assert kept[4] < 0.04


@pytest.mark.parametrize("value", [(0.7, 0.4), (0.5, 0.5), (0.5,), (float("nan"), 1.0)])
def test_trust_is_from_a_similarity_to_a_higher_one(value: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="trusted"):
        MaskSettings(trusted=value)  # type: ignore[arg-type]
