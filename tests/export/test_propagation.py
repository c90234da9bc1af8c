"""The step that is exported against the operator that it restates, and against the slow reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from samepoint.correspondence import Window, affinity, propagate
from samepoint.errors import InputError
from samepoint.export import PropagationStep
from tests.reference import propagation as reference


def inputs(keys: int, channels: int, labels: int, size: tuple[int, int], seed: int = 0) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(seed)
    maps = torch.randn(keys + 1, channels, *size)
    return maps[0], maps[1:], torch.rand(keys, labels, *size), torch.ones(keys, dtype=torch.bool)


@settings(max_examples=25)
@given(
    keys=st.integers(1, 4),
    labels=st.integers(1, 3),
    height=st.integers(9, 21),
    width=st.integers(9, 21),
    radius=st.floats(1.1, 6.0),
    topk=st.integers(1, 12),
    seed=st.integers(0, 9),
    absent=st.sets(st.integers(1, 3)),
)
def test_it_is_the_operator(
    keys: int, labels: int, height: int, width: int, radius: float, topk: int, seed: int, absent: set[int]
) -> None:
    query, maps, values, present = inputs(keys, 6, labels, (height, width), seed)
    present[[t for t in absent if t < keys]] = False
    got = PropagationStep(keys, radius, topk)(query, maps, values, present)
    found = affinity(query, maps[present], Window.circle(radius), topk, path="torch")
    torch.testing.assert_close(got, propagate(found, values[present]), atol=2e-5, rtol=0)


def test_it_is_the_slow_reference() -> None:
    query, maps, values, present = inputs(2, 5, 2, (9, 10))
    got = PropagationStep(2, 2.5, 4, 0.2)(query, maps, values, present)
    windows = [("circle", 2.5)] * 2
    *_, expected = reference.propagate(query.numpy(), maps.numpy(), values.numpy(), windows, 4, 0.2, True)
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-5)


def test_half_precision_is_near_and_bears_large_features() -> None:
    query, maps, values, present = inputs(2, 16, 2, (12, 12))
    whole = PropagationStep(2, 4.0)(query, maps, values, present)
    half = PropagationStep(2, 4.0, dtype=torch.float16)(query * 1e4, maps * 1e4, values, present)
    assert 0 < (whole - half).abs().max() < 0.1


def test_settings_that_make_no_step() -> None:
    for keys, topk, temperature in ((0, 1, 1.0), (1, 0, 1.0), (1, 1, 0.0)):
        with pytest.raises(InputError, match="at least one key frame and match"):
            PropagationStep(keys, 5.0, topk, temperature)
