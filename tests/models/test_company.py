"""What other points say of a point."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from samepoint.models import company as module
from samepoint.models.company import COMPANY, NEIGHBOURS, company, company_of_support

SIZE = (256, 320)


def by_hand(start: Tensor, xy: Tensor, confidence: Tensor, frame: Tensor, size: tuple[int, int], i: int) -> list[float]:
    """One point, one neighbour at a time."""
    scale = 256 / min(size)
    others = [j for j in range(len(xy)) if j != i and frame[j] == frame[i]]
    if not others:
        return [0.0] * len(COMPANY)

    def apart(a: Tensor, b: Tensor) -> float:
        return scale * math.dist(a.tolist(), b.tolist())

    moved = xy - start
    near = sorted(others, key=lambda j: apart(start[i], start[j]))[:NEIGHBOURS]
    weight = {j: math.exp(-apart(start[i], start[j]) / 24) for j in near}
    trusted = {j: weight[j] * confidence[j].item() for j in near}
    total = max(sum(weight.values()), 1e-6)
    together = sum(trusted[j] * math.exp(-apart(moved[i], moved[j]) / 6) for j in near) / total
    votes = {
        j: sum(trusted[k] * math.exp(-apart(moved[j], moved[k]) / 6) for k in near) + 1e-6 * weight[j] for j in near
    }
    best = max(near, key=lambda j: votes[j])
    there = start[i] + moved[best]
    outside = not (0 <= there[0] <= size[1] and 0 <= there[1] <= size[0])
    values = [sum(trusted.values()) / total, together, votes[best], math.log1p(apart(there, xy[i])), float(outside)]
    for place, motion in ((there, moved[best]), (xy[i], moved[i])):
        kin = strangers = 0.0
        for j in others:
            here = confidence[j].item() * math.exp(-((apart(place, xy[j]) / 14) ** 2))
            like = math.exp(-((apart(motion, moved[j]) / 6) ** 2))
            kin, strangers = kin + here * like, strangers + here * (1 - like)
        values += [math.log1p(kin), math.log1p(strangers)]
    return values


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 14), st.sampled_from([1, 3]), st.sampled_from([SIZE, (96, 64)]))
def test_it_equals_one_point_at_a_time(seed: int, count: int, frames: int, size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(seed)
    start = torch.rand(count, 2, generator=generator) * torch.tensor([size[1], size[0]])
    xy = start + 15 * torch.randn(count, 2, generator=generator)
    confidence, frame = torch.rand(count, generator=generator), torch.randint(0, frames, (count,), generator=generator)
    found = company(start, xy, confidence, frame, size)
    expected = torch.tensor([by_hand(start, xy, confidence, frame, size, i) for i in range(count)])
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-3)


def test_many_points_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.rand(50, 2, generator=generator) * 200
    xy = start + 5 * torch.randn(50, 2, generator=generator)
    given = torch.zeros(50, dtype=torch.long)
    whole = company(start, xy, torch.rand(50, generator=generator), given, SIZE)
    generator = torch.Generator().manual_seed(0)
    torch.rand(50, 2, generator=generator), torch.randn(50, 2, generator=generator)
    monkeypatch.setattr(module, "_ROWS", 7)
    torch.testing.assert_close(company(start, xy, torch.rand(50, generator=generator), given, SIZE), whole)


def test_what_a_crossing_looks_like() -> None:
    """A wall of points moves over one that stood among others that stand still."""
    still = torch.tensor([[100.0, 100], [110, 100], [100, 110], [90, 100]])
    wall = torch.tensor([[200.0, 95], [205, 105], [200, 105], [205, 95]])
    start = torch.cat([still, wall])
    xy = torch.cat([still, wall - torch.tensor([102.0, 0])])
    confidence = torch.tensor([0.2, 0.9, 0.9, 0.9, 1, 1, 1, 1])
    table = dict(zip(COMPANY, company(start, xy, confidence, torch.zeros(8, dtype=torch.long), SIZE)[0], strict=True))
    assert table["apart"] == 0
    assert table["seen"] > 0.85
    assert table["strangers_there"] > table["kin_there"] > 0.5


def test_support_keeps_one_point_company_as_its_equals_would() -> None:
    generator = torch.Generator().manual_seed(3)
    start, moved = torch.rand(30, 2, generator=generator) * 200, torch.randn(30, 2, generator=generator) * 5
    confidence, given = torch.rand(30, generator=generator), torch.zeros(30, dtype=torch.long)
    together = company(start, start + moved, confidence, given, SIZE)
    for point in (0, 17):
        others = torch.arange(30) != point
        support = start[others], (start + moved)[others], confidence[others]
        found = company_of_support(start[point : point + 1], (start + moved)[point : point + 1], support, SIZE)
        torch.testing.assert_close(found, together[point : point + 1], atol=1e-4, rtol=1e-4)
    # Two that are asked at once are not each other's company.
    support = start[2:], (start + moved)[2:], confidence[2:]
    both = company_of_support(start[:2], (start + moved)[:2], support, SIZE)
    torch.testing.assert_close(both[:1], company_of_support(start[:1], (start + moved)[:1], support, SIZE))
    none = tuple(each[:0] for each in support)
    assert not company_of_support(start, start + moved, none, SIZE).any()  # type: ignore[arg-type]
