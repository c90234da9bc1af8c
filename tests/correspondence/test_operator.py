"""Affinity and propagation: both paths against the slow reference, against each other, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from samepoint.correspondence import Affinity, Window, affinity, fast_cpu, portable, propagate
from samepoint.errors import InputError
from tests.reference import propagation as reference

PATHS = ["torch", "cpu"]
WINDOWS = st.one_of(
    st.floats(0.5, 9).map(Window.circle),
    st.integers(0, 8).map(Window.square),
    st.just(Window.everywhere()),
)


def features(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=25)
@given(data=st.data())
def test_equals_reference(path: str, data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 11)), data.draw(st.integers(1, 13))
    frames, channels = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 9))
    windows = data.draw(st.lists(WINDOWS, min_size=frames, max_size=frames))
    topk, normalize = data.draw(st.integers(1, 12)), data.draw(st.booleans())
    seed = data.draw(st.integers(0, 2**31))
    query, keys = features(seed, channels, height, width), features(seed + 1, frames, channels, height, width)
    values = features(seed + 2, frames, data.draw(st.integers(1, 4)), height, width)
    valid = None
    if data.draw(st.booleans()):
        valid = features(seed + 3, frames, height, width) > -0.5
    scores, cells, carried = reference.propagate(
        query.numpy(), keys.numpy(), values.numpy(), [(each.shape, each.size) for each in windows],
        topk, 0.5, normalize, None if valid is None else valid.numpy(),
    )  # fmt: skip
    found = affinity(query, keys, windows, topk, 0.5, normalize, key_valid=valid, path=path)
    np.testing.assert_allclose(found.scores.numpy(), scores, rtol=1e-5, atol=1e-5)
    if channels > 1:  # unit vectors of one channel are all ties
        assert (found.indices.numpy() == cells).mean() > 0.99
        np.testing.assert_allclose(propagate(found, values).numpy(), carried, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("path", PATHS)
def test_by_hand(path: str) -> None:
    # One row of three cells; the middle query cell sees all three keys, the outer ones two.
    query = torch.tensor([1.0, 2.0, 1.0]).reshape(1, 1, 3)
    keys = torch.tensor([3.0, 1.0, 2.0]).reshape(1, 1, 1, 3)
    found = affinity(query, keys, Window.square(1), topk=2, temperature=2.0, normalize=False, path=path)
    assert found.indices.tolist() == [[0, 1], [0, 2], [2, 1]]
    assert found.scores.tolist() == [[3.0, 1.0], [6.0, 4.0], [2.0, 1.0]]
    high, low = 1 / (1 + math.exp(-1)), 1 / (1 + math.exp(1))
    near, far = 1 / (1 + math.exp(-0.5)), 1 / (1 + math.exp(0.5))
    torch.testing.assert_close(found.weights, torch.tensor([[high, low], [high, low], [near, far]]))
    values = torch.tensor([10.0, 20.0, 40.0]).reshape(1, 1, 1, 3)
    expected = torch.tensor([10 * high + 20 * low, 10 * high + 40 * low, 40 * near + 20 * far])
    torch.testing.assert_close(propagate(found, values), expected.reshape(1, 1, 3))


@pytest.mark.parametrize(("radius", "count"), [(15, 697), (12, 437)])
def test_published_circles(radius: int, count: int) -> None:
    assert Window.circle(radius).mask().sum() == count
    ones = torch.ones(1, 31, 31)
    for path in PATHS:
        found = affinity(ones, ones[None], Window.circle(radius), topk=800, query_cells=torch.tensor([480]), path=path)
        assert int((found.weights > 0).sum()) == count


@pytest.mark.parametrize("radius", [0.3, 1.0, 1.5, math.sqrt(2), 5.0, 13.0, 25.0])
def test_circle_is_strict(radius: float) -> None:
    mask = Window.circle(radius).mask()
    r = len(mask) // 2
    expected = [[reference.inside("circle", radius, dy, dx) for dx in range(-r, r + 1)] for dy in range(-r, r + 1)]
    assert mask.tolist() == expected
    assert not reference.inside("circle", radius, r + 1, 0)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sparse_equals_dense(path: str, dtype: torch.dtype) -> None:
    """Odd size, several tiles and groups a side: against the full masked matrix."""
    query, keys = features(0, 33, 37, 53), features(1, 3, 33, 37, 53)
    unit = torch.nn.functional.normalize
    q, k = unit(query, dim=0).to(dtype).float(), unit(keys, dim=1).to(dtype).float()
    y, x = torch.meshgrid(torch.arange(37), torch.arange(53), indexing="ij")
    y, x = y.flatten(), x.flatten()
    far = (y[:, None] - y) ** 2 + (x[:, None] - x) ** 2 >= 49
    dense = torch.einsum("cq,tck->qtk", q.flatten(1), k.flatten(2)).masked_fill(far[:, None], -torch.inf).flatten(1)
    scores, cells = dense.topk(10)
    found = affinity(query, keys, Window.circle(7), dtype=dtype, path=path)
    # A norm that differs in its last bit may round a component to the next bf16.
    tolerance = 1e-6 if dtype == torch.float32 else 1e-3
    torch.testing.assert_close(found.scores, scores, rtol=0, atol=tolerance)
    assert (found.indices == cells).float().mean() > 0.99


@pytest.mark.parametrize(("topk", "frames", "channels"), [(1, 1, 1), (64, 2, 3), (5, 21, 257)])
def test_paths_agree(topk: int, frames: int, channels: int) -> None:
    query, keys = features(2, channels, 18, 21), features(3, frames, channels, 18, 21)
    for window in (Window.circle(40), Window.square(3), Window.everywhere()):
        fast, portable_ = (affinity(query, keys, window, topk, path=path) for path in ("cpu", "torch"))
        torch.testing.assert_close(fast.scores, portable_.scores, rtol=0, atol=1e-6)
        torch.testing.assert_close(fast.weights, portable_.weights, rtol=0, atol=2e-5)
        assert fast.indices.dtype == portable_.indices.dtype == torch.int64


@pytest.mark.parametrize("path", PATHS)
def test_chosen_cells_are_rows_of_all(path: str) -> None:
    query, keys = features(4, 8, 19, 23), features(5, 2, 8, 19, 23)
    cells = torch.tensor([436, 0, 17, 17, 230, 22])  # unsorted, the last cell, one twice
    values = features(6, 2, 3, 19, 23)
    everything = affinity(query, keys, Window.circle(6), path=path)
    found = affinity(query, keys, Window.circle(6), query_cells=cells, path=path)
    assert (found.indices == everything.indices[cells]).float().mean() > 0.9
    torch.testing.assert_close(found.scores, everything.scores[cells], rtol=0, atol=1e-6)
    torch.testing.assert_close(propagate(found, values), propagate(everything, values).flatten(1)[:, cells])


def test_tile_and_chunk_change_nothing() -> None:
    query, keys = features(7, 6, 17, 22), features(8, 2, 6, 17, 22)
    reach = [Window.circle(5).reach(17, 22)] * 2
    whole = affinity(query, keys, Window.circle(5), path="torch")
    for tile, chunk in ((1, 1), (3, 2**14), (8, 1), (17, 2**20)):
        scores, indices = portable.search(
            query, list(keys), reach, 10, True, False, None, None, tile=tile, chunk_elements=chunk
        )
        torch.testing.assert_close(scores, whole.scores, rtol=0, atol=1e-6)
        assert (indices == whole.indices).float().mean() > 0.999  # nearly equal scores may change places


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_change_nothing(threads: int) -> None:
    query, keys = features(9, 16, 40, 40), features(10, 2, 16, 40, 40)
    before = torch.get_num_threads()
    expected = affinity(query, keys, Window.circle(6), path="cpu")
    try:
        torch.set_num_threads(threads)
        found = affinity(query, keys, Window.circle(6), path="cpu")
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found.scores, expected.scores)
    assert torch.equal(found.indices, expected.indices)


@pytest.mark.parametrize("path", PATHS)
def test_order_of_key_frames_does_not_matter(path: str) -> None:
    query, keys, values = features(11, 8, 14, 15), features(12, 4, 8, 14, 15), features(13, 4, 2, 14, 15)
    windows = [Window.circle(3), Window.square(2), Window.everywhere(), Window.circle(8)]
    order = [2, 0, 3, 1]
    one = propagate(affinity(query, keys, windows, path=path), values)
    other = propagate(affinity(query, keys[order], [windows[t] for t in order], path=path), values[order])
    torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_bf16_is_close() -> None:
    query, keys, values = features(14, 64, 40, 44), features(15, 2, 64, 40, 44), features(16, 2, 5, 40, 44)
    exact, rounded = (
        affinity(query, keys, Window.circle(9), dtype=dtype, path="cpu") for dtype in (torch.float32, torch.bfloat16)
    )
    assert (exact.scores - rounded.scores).abs().max() < 5e-3
    assert (exact.indices[:, 0] == rounded.indices[:, 0]).float().mean() > 0.95
    assert (propagate(exact, values) - propagate(rounded, values)).abs().mean() < 2e-2


def test_half_precision_features_may_be_nothing_or_large() -> None:
    query = features(32, 16, 6, 6)
    query[:, 2, 3] = 0
    for scale in (1, 6000):  # of which half precision has no number for the squares
        scaled = query * scale
        exact, found = (affinity(each, each[None], Window.circle(3), path="torch") for each in (scaled, scaled.half()))
        torch.testing.assert_close(found.scores.float(), exact.scores, rtol=0, atol=3e-3)
        assert bool(found.weights.isfinite().all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lesser_processors(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer registers and no bf16 instructions give the same numbers."""
    query, keys = features(29, 9, 20, 25), features(30, 2, 9, 20, 25)
    here = affinity(query, keys, Window.circle(8), dtype=dtype, path="cpu")
    monkeypatch.setattr(fast_cpu, "MAX_BLOCK", 6)
    monkeypatch.setattr(fast_cpu, "HAS_BF16", False)
    there = affinity(query, keys, Window.circle(8), dtype=dtype, path="cpu")
    torch.testing.assert_close(here.scores, there.scores, rtol=0, atol=1e-6 if dtype == torch.float32 else 3e-3)


def test_layouts_and_sequences() -> None:
    """A channels-last map, a list of frames and half precision values give what plain tensors give."""
    query, keys, values = features(17, 8, 12, 10), features(18, 2, 8, 12, 10), features(19, 2, 3, 12, 10)
    plain = affinity(query, keys, Window.square(2))
    last = keys.contiguous(memory_format=torch.channels_last)
    other = affinity(query[None].contiguous(memory_format=torch.channels_last)[0], list(last), Window.square(2))
    assert torch.equal(plain.scores, other.scores)
    assert torch.equal(propagate(plain, values), propagate(plain, list(values)))
    torch.testing.assert_close(propagate(plain, values.double()).float(), propagate(plain, values))


def test_gradients() -> None:
    query, keys = features(20, 3, 5, 6).double().requires_grad_(), features(21, 2, 3, 5, 6).double().requires_grad_()
    values = features(22, 2, 2, 5, 6).double().requires_grad_()

    def operator(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        return propagate(affinity(query, keys, Window.circle(2), topk=4, temperature=0.5), values)

    assert torch.autograd.gradcheck(operator, (query, keys, values), fast_mode=True)


def test_no_candidate_at_all() -> None:
    query, keys = features(23, 4, 6, 6), features(24, 1, 4, 6, 6)
    valid = torch.zeros(1, 6, 6, dtype=torch.bool)
    for path in PATHS:
        found = affinity(query, keys, Window.square(1), topk=3, key_valid=valid, path=path)
        assert bool(found.scores.isneginf().all())
        assert not found.indices.any()
        assert not propagate(found, torch.ones(1, 2, 6, 6)).any()
    keys.requires_grad_()
    affinity(query, keys, Window.square(1), key_valid=valid).weights.sum().backward()
    assert bool(keys.grad is not None and keys.grad.isfinite().all())


def test_empty_results_are_typed() -> None:
    query, keys = features(25, 4, 6, 5), features(26, 2, 4, 6, 5)
    found = affinity(query, keys, Window.square(1), topk=3, query_cells=torch.zeros(0, dtype=torch.int64))
    assert found.indices.shape == found.weights.shape == found.scores.shape == (0, 3)
    assert found.indices.dtype == torch.int64
    assert propagate(found, torch.zeros(2, 7, 6, 5)).shape == (7, 0)
    everything = affinity(query, keys, Window.square(1))
    assert propagate(everything, torch.zeros(2, 0, 6, 5)).shape == (0, 6, 5)
    assert isinstance(everything, Affinity)


def test_misuse_is_explained() -> None:
    query, keys = features(27, 4, 6, 5), features(28, 2, 4, 6, 5)
    square = Window.square(1)
    for arguments, message in (
        ({"query": query[0]}, r"query features: expected float \(C, H, W\)"),
        ({"keys": []}, "at least one key frame"),
        ({"keys": keys[:, :2]}, "key frame 0: expected"),
        ({"window": [square] * 3}, "each of 2 key frames, got 3"),
        ({"topk": 0}, "topk: expected 1 or more, got 0"),
        ({"temperature": 0.0}, "temperature"),
        ({"dtype": torch.float16}, "float32 or bfloat16"),
        ({"query_cells": torch.tensor([30])}, "expected 0 to 29"),
        ({"key_valid": torch.ones(2, 6, 5)}, "key_valid: expected bool"),
        ({"query": query.double(), "keys": keys.double(), "path": "cpu"}, "float64"),
    ):
        with pytest.raises(InputError, match=message):
            affinity(**{"query": query, "keys": keys, "window": square, **arguments})
    found = affinity(query, keys, square)
    for values in (torch.zeros(3, 1, 6, 5), torch.zeros(2, 1, 5, 6), torch.zeros(2, 1, 6, 5, dtype=torch.int64)):
        with pytest.raises(InputError, match="values"):
            propagate(found, values)
    with pytest.raises(InputError):
        Window.circle(0)
    with pytest.raises(InputError):
        Window.square(-1)
