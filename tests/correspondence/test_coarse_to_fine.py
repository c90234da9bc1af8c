"""Coarse-to-fine affinity: against its slow reference, and equal to the plain one where the coarse match is right."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from samepoint.correspondence import Affinity, Window, affinity, displaced, displaced_cpu, fast_cpu, propagate
from samepoint.correspondence.affinity import Path
from samepoint.correspondence.coarse_to_fine import affinity_coarse_to_fine, coarser, parents
from samepoint.errors import InputError
from samepoint.geometry import Lattice
from tests.reference import coarse_to_fine as reference

PATHS: list[Path] = ["torch", "cpu"]


def features(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=12)
@given(data=st.data())
def test_equals_reference(path: Path, data: st.DataObject) -> None:
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


def translated(ratio: int, frames: int = 3, size: int = 32) -> tuple[list[Tensor], list[Tensor]]:
    """Fine and coarse maps of a smooth scene that moves by a coarse cell down and to the left a frame."""
    noise = features(5, 1, 12, size, size)
    smooth = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(noise, [2] * 4, mode="circular"), 5, 1)[0]
    fine = [torch.roll(smooth + 0.1 * noise[0], (t * ratio, -t * ratio), (1, 2)) for t in range(frames)]
    return fine, [torch.nn.functional.avg_pool2d(each[None], ratio)[0] for each in fine]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("ratio", "matches"), [(2, 1), (4, 1), (4, 3), (8, 1)])
def test_equals_plain_propagation_where_the_coarse_match_is_right(path: Path, ratio: int, matches: int) -> None:
    """The acceptance check of the coarse-to-fine search: a translation, which coarse cells match without a mistake."""
    (*keys, query), (*above_keys, above) = translated(ratio)
    lattices, far = (Lattice(2 * ratio, float(ratio)), Lattice(2, 1.0)), Window.everywhere()
    values = features(6, 2, 3, 32, 32)

    def both(topk: int) -> list[Affinity]:
        guided = affinity_coarse_to_fine(
            query, keys, above, above_keys, lattices, far, Window.square(4), matches, topk, path=path
        )
        return [affinity(query, keys, far, topk), guided]

    # The best two are where the cell was in the two key frames, whatever the window.
    plain, found = both(2)
    y, x = torch.arange(32 * 32)[:, None] // 32, torch.arange(32 * 32)[:, None] % 32
    age = ratio * torch.tensor([2, 1])
    true_y, true_x = (y - age) % 32, (x + age) % 32
    assert torch.equal(found.indices.sort(dim=1).values, torch.arange(2) * 1024 + true_y * 32 + true_x)
    torch.testing.assert_close(propagate(found, values), propagate(plain, values), rtol=0, atol=1e-4)
    # The next lie around these; where they lie in the fine window they are the same.
    plain, found = both(6)
    frame, row, column = plain.indices // 1024, plain.indices // 32 % 32, plain.indices % 32
    away = torch.maximum((row - true_y.gather(1, frame)).abs(), (column - true_x.gather(1, frame)).abs())
    inside = (away <= 4).all(dim=1)
    assert inside.float().mean() > 0.5
    torch.testing.assert_close(found.scores[inside], plain.scores[inside], rtol=0, atol=1e-5)
    carried = (propagate(each, values).flatten(1)[:, inside] for each in (found, plain))
    torch.testing.assert_close(*carried, rtol=0, atol=1e-4)


@pytest.mark.parametrize("path", PATHS)
def test_by_hand(path: Path) -> None:
    """A row of 8 fine cells under 4 coarse ones; the second and the last coarse cell changed places."""
    above, above_key = torch.eye(4).reshape(4, 1, 4), torch.eye(4)[:, [0, 3, 2, 1]].reshape(4, 1, 4)
    query = torch.ones(1, 1, 8)
    key = torch.tensor([1.0, 5.0, 7.0, 2.0, 6.0, 3.0, 8.0, 4.0]).reshape(1, 1, 8)
    lattices = Lattice(4, 2.0), Lattice(2, 1.0)
    found = affinity_coarse_to_fine(
        query, [key], above, [above_key], lattices, Window.square(2), Window.square(1), 1, 2, normalize=False, path=path
    )
    # Cells 2 and 3 look around 6 and 7, where their parent went, cells 6 and 7 around 2 and 3; the others stay.
    assert found.indices.tolist() == [[1, 0], [2, 1], [6, 7], [6, 7], [4, 5], [6, 4], [2, 1], [2, 4]]
    assert found.scores[3].tolist() == [8.0, 4.0]


@pytest.mark.parametrize("path", PATHS)
def test_two_matches_count_a_cell_once(path: Path) -> None:
    above = torch.ones(1, 1, 2)  # both coarse cells look alike: each is matched with both
    query, key = torch.ones(1, 1, 4), torch.arange(1.0, 5.0).reshape(1, 1, 4)
    lattices = Lattice(4, 2.0), Lattice(2, 1.0)
    found = affinity_coarse_to_fine(
        query, [key], above, [above], lattices, Window.everywhere(), Window.square(3), 2, 6, normalize=False, path=path
    )
    assert found.indices[:, :4].tolist() == [[3, 2, 1, 0]] * 4
    assert bool(found.scores[:, 4:].isneginf().all())
    assert not found.weights[:, 4:].any()


@pytest.mark.parametrize("path", PATHS)
def test_chosen_cells_are_rows_of_all(path: Path) -> None:
    query, keys = features(1, 8, 21, 26), features(2, 2, 8, 21, 26)
    above, above_keys = features(3, 4, 6, 7), features(4, 2, 4, 6, 7)
    lattices, window, fine = (Lattice(8), Lattice(2)), Window.circle(2.5), Window.circle(3)
    cells = torch.tensor([545, 0, 17, 17, 230, 25])  # unsorted, the last cell, one twice
    everything = affinity_coarse_to_fine(query, keys, above, above_keys, lattices, window, fine, 2, path=path)
    found = affinity_coarse_to_fine(
        query, keys, above, above_keys, lattices, window, fine, 2, query_cells=cells, path=path
    )
    torch.testing.assert_close(found.scores, everything.scores[cells], rtol=0, atol=1e-6)
    values = features(6, 2, 3, 21, 26)
    torch.testing.assert_close(propagate(found, values), propagate(everything, values).flatten(1)[:, cells])
    nothing = affinity_coarse_to_fine(
        query, keys, above, above_keys, lattices, window, query_cells=cells[:0], path=path
    )
    assert propagate(nothing, values).shape == (3, 0)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_both_paths_agree_on_larger_maps(dtype: torch.dtype, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    query, keys = features(7, 9, 45, 37), features(8, 2, 9, 45, 37)
    above, above_keys = features(9, 6, 12, 10), features(10, 2, 6, 12, 10)
    arguments = (query, keys, above, above_keys, (Lattice(8), Lattice(2)), Window.circle(3), Window.circle(7), 2)
    portable = affinity_coarse_to_fine(*arguments, dtype=dtype, path="torch")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        for lesser in (False, True):  # fewer registers and no bf16 instructions give the same numbers
            if lesser:
                monkeypatch.setattr(fast_cpu, "MAX_BLOCK", 6)
                monkeypatch.setattr(fast_cpu, "HAS_BF16", False)
            fast = affinity_coarse_to_fine(*arguments, dtype=dtype, path="cpu")
            close = (fast.scores - portable.scores).abs().amax(dim=1) < (1e-5 if dtype == torch.float32 else 1e-2)
            # Rounded features may make two coarse matches change places.
            assert close.float().mean() > (0.999 if dtype == torch.float32 else 0.9)
    finally:
        torch.set_num_threads(before)


def test_chunks_change_nothing() -> None:
    query, keys = features(11, 5, 14, 11), features(12, 2, 5, 14, 11)
    rows, columns = parents(14, Lattice(2), 4, Lattice(8)), parents(11, Lattice(2), 3, Lattice(8))
    blocks = displaced.Blocks.of(rows, columns, (4, 3), None)
    shift = torch.randint(-4, 5, (2, 12, 2, 2), generator=torch.Generator().manual_seed(0))
    known = torch.rand(2, 12, 2, generator=torch.Generator().manual_seed(1)) < 0.8
    settings = (query, list(keys), Window.circle(3).reach(18, 15), shift, known, blocks, 10, True, False)
    scores, indices = displaced.search(*settings)
    for chunk in (1, 5000):
        again, same = displaced.search(*settings, chunk_elements=chunk)
        torch.testing.assert_close(again, scores, rtol=0, atol=1e-6)
        assert (same == indices).float().mean() > 0.99
    fast, _ = displaced_cpu.search(*settings)  # windows that are missing, and twice the same
    torch.testing.assert_close(fast, scores, rtol=0, atol=1e-5)


def test_gradients() -> None:
    query, keys = features(13, 3, 6, 5).double().requires_grad_(), features(14, 2, 3, 6, 5).double().requires_grad_()
    above, above_keys = features(15, 3, 3, 3).double().requires_grad_(), features(16, 2, 3, 3, 3).double()
    values = features(17, 2, 2, 6, 5).double()

    def operator(query: Tensor, keys: Tensor) -> Tensor:
        found = affinity_coarse_to_fine(
            query, keys, above, above_keys, (Lattice(4), Lattice(2)), Window.square(1), Window.square(1), topk=4,
            temperature=0.5,
        )  # fmt: skip
        return propagate(found, values)

    assert torch.autograd.gradcheck(operator, (query, keys), fast_mode=True)


def test_windows_in_coarse_cells() -> None:
    coarse, fine = Lattice(8), Lattice(2)
    assert coarser(Window.square(15), coarse, fine) == Window.square(3)
    assert coarser(Window.everywhere(), coarse, fine) == Window.everywhere()
    dense = Window.circle(15).mask()  # every fourth offset of the dense window, no more and no less
    assert int(coarser(Window.circle(15), coarse, fine).mask().sum()) == int(dense[2::4, 2::4].sum())


def test_misuse_is_explained() -> None:
    query, above = features(18, 4, 8, 8), features(19, 3, 4, 4)
    good = {
        "query": query,
        "keys": [query],
        "coarse_query": above,
        "coarse_keys": [above],
        "lattices": (Lattice(4), Lattice(2)),
        "window": Window.square(1),
    }
    for arguments, message in (
        ({"coarse_keys": [above, above]}, "each of 2 key frames, got 1"),
        ({"coarse_keys": [query]}, "key frame 0: expected float32"),
        ({"matches": 0}, "matches: expected 1 or more, got 0"),
        ({"fine": Window.everywhere()}, "fine window: expected a circle or a square"),
        ({"lattices": (Lattice(2), Lattice(4))}, "the coarse one first, got strides 2 and 4"),
        ({"topk": 0}, "topk: expected 1 or more"),
    ):
        with pytest.raises(InputError, match=message):
            affinity_coarse_to_fine(**{**good, **arguments})  # type: ignore[arg-type]
