"""Coarse-to-fine affinity: against its slow reference, and equal to the plain one where the coarse match is right."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from samepoint.correspondence import Affinity, Window, affinity, propagate
from samepoint.correspondence.coarse_to_fine import affinity_coarse_to_fine, coarser, parents
from samepoint.errors import InputError
from samepoint.geometry import Lattice
from tests.reference import coarse_to_fine as reference

PATHS = ["torch", "cpu"]


def features(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("path", PATHS)
@settings(deadline=None, max_examples=12)
@given(data=st.data())
def test_equals_reference(path: str, data: st.DataObject) -> None:
    ratio = data.draw(st.sampled_from([(2, 2), (4, 2), (8, 2), (16, 2), (3, 2)]))
    height, width = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 9))
    offset = data.draw(st.sampled_from([0.5, None]))  # a padded stem, or a tiling
    lattices = tuple(Lattice(stride, stride / 2 if offset is None else offset) for stride in ratio)
    # A coarse map may end before the fine one does.
    coarse = [max(1, count * ratio[1] // ratio[0] + data.draw(st.integers(0, 1))) for count in (height, width)]
    frames, channels, coarse_channels = (data.draw(st.integers(low, high)) for low, high in ((1, 3), (2, 5), (2, 5)))
    window = st.sampled_from([Window.circle(1.5), Window.square(1), Window.everywhere()])
    windows = data.draw(st.lists(window, min_size=frames, max_size=frames))
    fine = data.draw(st.one_of(st.integers(0, 4).map(Window.square), st.floats(0.5, 4.5).map(Window.circle)))
    matches, topk, normalize = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 8)), data.draw(st.booleans())
    seed = data.draw(st.integers(0, 2**31))
    query, keys = features(seed, channels, height, width), features(seed + 1, frames, channels, height, width)
    above = features(seed + 2, coarse_channels, *coarse)
    above_keys = features(seed + 3, frames, coarse_channels, *coarse)
    scores, cells, weights = reference.affinity(
        query.numpy(), keys.numpy(), above.numpy(), above_keys.numpy(),
        tuple((lattice.stride, lattice.offset) for lattice in lattices), [(each.shape, each.size) for each in windows],
        (fine.shape, fine.size), matches, topk, 0.5, normalize,
    )  # fmt: skip
    found = affinity_coarse_to_fine(
        query, keys, above, above_keys, lattices, windows, fine, matches, topk, 0.5, normalize, path=path
    )
    np.testing.assert_allclose(found.scores.numpy(), scores, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.weights.numpy(), weights, rtol=1e-4, atol=2e-5)
    assert (found.indices.numpy() == cells).mean() > 0.99
    assert (found.frames, found.size, found.cells) == (frames, (height, width), None)


def translated(step: int, frames: int, ratio: int, size: int = 32) -> tuple[list[Tensor], list[Tensor]]:
    """Fine and coarse maps of a scene that moves by ``step`` coarse cells a frame; near cells look alike."""
    noise = features(5, 1, 12, size, size)
    smooth = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(noise, [2] * 4, mode="circular"), 5, 1)[0]
    fine = [torch.roll(smooth + 0.1 * noise[0], (step * t * ratio, -step * t * ratio), (1, 2)) for t in range(frames)]
    return fine, [torch.nn.functional.avg_pool2d(each[None], ratio)[0] for each in fine]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("ratio", "matches"), [(2, 1), (4, 1), (4, 3), (8, 1)])
def test_equals_plain_propagation_when_the_coarse_match_is_right(path: str, ratio: int, matches: int) -> None:
    """The acceptance check of the coarse-to-fine search: a translation, its best keys near where each cell went."""
    (*keys, query), (*above_keys, above) = translated(1, 3, ratio)
    lattices = Lattice(2 * ratio, ratio + 0.0), Lattice(2, 1.0)
    far, values = Window.everywhere(), features(6, 2, 3, 32, 32)
    plain = affinity(query, keys, far, topk=4)
    found = affinity_coarse_to_fine(
        query, keys, above, above_keys, lattices, far, Window.square(4), matches, topk=4, path=path
    )
    # Its two best cells, where it was in each of the frames; the others are near it as far as it moved inside.
    torch.testing.assert_close(found.scores[:, :2], torch.ones(32 * 32, 2), rtol=0, atol=1e-5)
    y, x = torch.arange(32 * 32) // 32, torch.arange(32 * 32) % 32
    expected = [(t * 32 + (y - (2 - t) * ratio) % 32) * 32 + (x + (2 - t) * ratio) % 32 for t in range(2)]
    assert torch.equal(found.indices[:, :2].sort(dim=1).values, torch.stack(expected, dim=1))
    inner = ((plain.indices // 32 % 32 - (y[:, None] - ratio)).abs() <= 3 * ratio).all(1)
    same = (found.scores - plain.scores).abs().amax(1) < 1e-5
    difference = (propagate(found, values) - propagate(plain, values)).flatten(1)
    assert same.float().mean() > 0.8
    assert same[inner].float().mean() > 0.8
    torch.testing.assert_close(difference[:, same], torch.zeros(3, int(same.sum())), rtol=0, atol=1e-4)
