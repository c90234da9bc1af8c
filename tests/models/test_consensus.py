import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from samepoint.models.consensus import Consensus, ConsensusConfig, agree, mutual


def slow_agree(correlation: torch.Tensor, source: tuple[int, int], target: tuple[int, int], sigma: float):
    """Cell by cell, displacement by displacement."""
    reach = max(1, -int(-3 * sigma // 1))
    weights = {d: float(torch.exp(torch.tensor(-(d * d) / (2 * sigma * sigma)))) for d in range(-reach, reach + 1)}
    total = sum(weights.values())
    found = torch.zeros_like(correlation)
    for r in range(source[0]):
        for c in range(source[1]):
            for i in range(target[0]):
                for j in range(target[1]):
                    for y, wy in weights.items():
                        for x, wx in weights.items():
                            inside = 0 <= r + y < source[0] and 0 <= i + y < target[0]
                            if inside and 0 <= c + x < source[1] and 0 <= j + x < target[1]:
                                one = (r + y) * source[1] + c + x, (i + y) * target[1] + j + x
                                value = correlation[:, one[0], one[1]] * wx * wy / total**2
                                found[:, r * source[1] + c, i * target[1] + j] += value
    return found


@settings(max_examples=8)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.sampled_from([0.4, 0.7]))
def test_the_filter_equals_its_definition(a: int, b: int, c: int, d: int, sigma: float) -> None:
    correlation = torch.rand(2, a * b, c * d, generator=torch.Generator().manual_seed(a + 5 * b + 7 * c + 11 * d))
    expected = slow_agree(correlation, (a, b), (c, d), sigma)
    torch.testing.assert_close(agree(correlation, (a, b), (c, d), sigma), expected)


def test_the_filters_gradient() -> None:
    correlation = torch.rand(1, 6, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: agree(x, (2, 3), (4, 2), 0.6), correlation)


def test_neighbours_outvote_a_stray_peak() -> None:
    """All cells move by one column, but one looks more like a far cell: its neighbours put it right."""
    side = 6
    correlation = torch.full((1, side * side, side * side), 0.05)
    for r in range(side):
        for c in range(side - 1):
            correlation[0, r * side + c, r * side + c + 1] = 0.8
    stray = 2 * side + 3  # a target cell; its partner is the cell before it
    correlation[0, 0, stray] = 1.0
    assert correlation[0, :, stray].argmax() == 0
    agreed = Consensus(ConsensusConfig(sigma=4.0, power=1.0))(correlation, (side, side), (side, side))
    assert agreed[0, :, stray].argmax() == stray - 1


def test_strength_tells_a_cell_whose_neighbours_agree_from_one_that_is_alone() -> None:
    """All cells of the left half stay where they are, those of the right half are like nothing."""
    side = 8
    here = torch.arange(side * side)
    correlation = torch.full((1, side * side, side * side), 0.05)
    correlation[0, here, here] = torch.where(here % side < side // 2, 0.9, 0.05)
    consensus = Consensus(ConsensusConfig(rounds=1, sigma=2.0, power=2.0, scale=0.3))
    refined, strength = consensus.with_strength(correlation, (side, side), (side, side))
    torch.testing.assert_close(refined, consensus(correlation, (side, side), (side, side)))
    agreed = agree((correlation / 0.9) ** 2, (side, side), (side, side), 2.0 * side / 32)
    torch.testing.assert_close(strength, agreed.amax(dim=1))
    grid = strength.reshape(side, side)
    assert grid[:, 0].min() > 3 * grid[:, -1].max()


def test_the_best_match_of_each_target_cell_counts_as_much_as_the_scale_says() -> None:
    correlation = torch.rand(2, 12, 20)
    agreed = Consensus(ConsensusConfig(scale=0.3))(correlation, (3, 4), (4, 5))
    torch.testing.assert_close(agreed.amax(dim=1), torch.full((2, 20), 0.3))
    assert agreed.min() >= 0


def test_nothing_alike_gives_no_preference_and_no_gradient() -> None:
    correlation = -torch.rand(1, 4, 4) - 0.1
    correlation.requires_grad_()
    agreed = Consensus(ConsensusConfig(scale=1.0))(correlation, (2, 2), (2, 2))
    assert agreed.isfinite().all()
    agreed.sum().backward()
    assert correlation.grad is not None
    assert correlation.grad.abs().max() == 0


@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_has_finite_gradients_and_the_same_result(autocast: bool) -> None:
    """Most pairs of cells are nothing like each other, and some cells are like none: exact zeros."""
    whole = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(0)).half()
    whole[whole < 0.7] = 0
    whole[:, 3] = 0
    whole[:, :, 5] = 0
    consensus = Consensus(ConsensusConfig(power=1.0))
    for function in (lambda x: consensus(x, (4, 4), (4, 4)), mutual):
        given, wide = whole.clone().requires_grad_(), whole.float().requires_grad_()
        with torch.autocast("cpu", torch.float16, enabled=autocast):
            found = function(given)
        expected = function(wide)
        assert found.dtype == (torch.float32 if autocast else torch.float16)  # half only where all of the network is
        torch.testing.assert_close(found.float(), expected, atol=1e-3, rtol=1e-3)
        found.sum().backward()
        expected.sum().backward()
        assert given.grad is not None
        assert given.grad.isfinite().all()
        torch.testing.assert_close(given.grad.float(), wide.grad, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("key", ["rounds", "sigma", "power", "sharpen", "scale"])
def test_values_out_of_range_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match=key):
        ConsensusConfig(**{key: 0})
