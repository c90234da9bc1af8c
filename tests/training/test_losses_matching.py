"""What a matcher learns from: flow, a domain adversary, an averaged teacher's mistakes."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from samepoint.errors import InputError
from samepoint.models.discriminator import LevelDiscriminator
from samepoint.models.matcher import Matcher, MatcherConfig
from samepoint.training.losses import ContrastiveHead, contrastive_loss, domain_loss, end_point_error
from samepoint.training.losses.contrastive import follow
from samepoint.training.losses.end_point import published_mask


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_end_point_error_by_hand() -> None:
    """Acceptance checks 9 and 10: a true zero counts, what is masked neither counts nor learns."""
    flow = torch.zeros(1, 2, 1, 4)
    flow[0, :, 0] = torch.tensor([[3.0, 0, 1, math.nan], [4.0, 0, 0, 0]])
    flow.requires_grad_()
    target = torch.zeros(1, 2, 1, 4)
    target[0, 0, 0, 2] = math.nan
    mask = torch.tensor([[[True, True, False, False]]])
    loss = end_point_error(flow, target, mask)
    assert loss.item() == pytest.approx(2.5)
    loss.backward()
    assert flow.grad is not None
    torch.testing.assert_close(flow.grad[0, :, 0], torch.tensor([[0.3, 0, 0, 0], [0.4, 0, 0, 0]]))
    assert published_mask(torch.zeros(1, 2, 1, 4)).sum() == 0


def test_no_cell_gives_zero_and_a_gradient_of_zero() -> None:
    flow = torch.randn(2, 2, 3, 3, requires_grad=True)
    loss = end_point_error(flow, torch.randn(2, 2, 3, 3), torch.zeros(2, 3, 3, dtype=torch.bool))
    assert loss.item() == 0
    loss.backward()
    assert flow.grad is not None
    assert not flow.grad.any()


def test_end_point_error_equals_a_loop_and_its_gradient_is_right() -> None:
    flow, target, mask = drawn(2, 2, 3, 4), drawn(2, 2, 3, 4, seed=1), drawn(2, 3, 4, seed=2) > 0
    lengths = [math.dist(flow[b, :, y, x].tolist(), target[b, :, y, x].tolist()) for b, y, x in mask.nonzero().tolist()]
    assert end_point_error(flow, target, mask).item() == pytest.approx(sum(lengths) / len(lengths))
    assert torch.autograd.gradcheck(lambda x: end_point_error(x, target, mask), flow.requires_grad_())
    with pytest.raises(InputError, match="end-point error"):
        end_point_error(flow, target, mask[0])


def test_the_matcher_climbs_what_the_discriminator_descends() -> None:
    """Acceptance check 15; the domains differ in batch and size, and each has its own mean."""
    torch.manual_seed(0)
    network = LevelDiscriminator(2, 4).double()
    source, target = drawn(3, 2, 5, 5).requires_grad_(), drawn(2, 2, 4, 6, seed=1).requires_grad_()
    weights = list(network.parameters())
    loss = domain_loss(network, source, target, coefficient=0.3)
    logits = [network(each) for each in (source, target)]
    plain = [
        F.binary_cross_entropy_with_logits(each, torch.full_like(each, label)) for label, each in enumerate(logits)
    ]
    expected = (plain[0] + plain[1]) / 2
    assert loss.item() == pytest.approx(expected.item())
    got = torch.autograd.grad(loss, [source, target, *weights])
    wanted = torch.autograd.grad(expected, [source, target, *weights])
    for index, (a, b) in enumerate(zip(got, wanted, strict=True)):
        torch.testing.assert_close(a, -0.3 * b if index < 2 else b)
        assert bool((a != 0).any())
    with pytest.raises(InputError, match=r"domain, target: expected correlations \(B, 2, N, N\)"):
        domain_loss(network, source, target[:, :1])


def test_half_precision_is_widened() -> None:
    network = LevelDiscriminator(2, 4).eval()
    values = torch.randn(1, 2, 4, 4)
    half = domain_loss(network, values.bfloat16(), values.bfloat16())
    assert half.dtype == torch.float32


def slow_contrastive(
    student: list[Tensor], teacher: list[Tensor], refined: Tensor, places: list[Tensor], negatives: int, t: float
) -> float:
    """One pair, whole cells: feature maps (C, h, w), places as cell numbers."""
    losses = []
    for here, there, rows in ((0, 1, refined), (1, 0, refined.T)):
        mine, theirs = student[here].flatten(1).T, teacher[there].flatten(1).T
        for a, b in zip(places[here].tolist(), places[there].tolist(), strict=True):
            order = [j for j in rows[a].argsort(descending=True).tolist() if j != b][:negatives]

            def alike(j: int, a: int = a, mine: Tensor = mine, theirs: Tensor = theirs) -> float:
                return math.exp(F.cosine_similarity(mine[a], theirs[j], dim=0).item() / t)

            losses.append(-math.log(alike(b) / (alike(b) + sum(alike(j) for j in order))))
    return sum(losses) / len(losses)


def test_contrastive_loss_equals_the_slow_one() -> None:
    student, teacher = [drawn(1, 5, 4, 4, seed=i) for i in range(2)], [drawn(1, 5, 3, 6, seed=i) for i in (2, 3)]
    student[1] = drawn(1, 5, 3, 6, seed=9)
    teacher[0] = drawn(1, 5, 4, 4, seed=8)
    refined = drawn(1, 16, 18, seed=4)
    cells = [torch.tensor([0, 5, 11, 15]), torch.tensor([2, 17, 7, 7])]
    sizes = [(4, 4), (3, 6)]
    points = [
        torch.stack([(cell % size[1] + 0.5) / size[1], (cell // size[1] + 0.5) / size[0]], dim=1)[None].double()
        for cell, size in zip(cells, sizes, strict=True)
    ]
    valid = torch.tensor([[True, True, True, False]])
    got = contrastive_loss(tuple(student), tuple(teacher), refined, *points, valid, negatives=6)  # type: ignore[arg-type]
    used = [cell[:3] for cell in cells]
    expected = slow_contrastive([s[0] for s in student], [t[0] for t in teacher], refined[0], used, 6, 0.5)
    assert got.item() == pytest.approx(expected, rel=1e-6)


def test_contrastive_loss_teaches_the_student_alone() -> None:
    student = tuple(drawn(2, 4, 3, 3, seed=i).requires_grad_() for i in range(2))
    teacher = tuple(drawn(2, 4, 3, 3, seed=i).requires_grad_() for i in (2, 3))
    refined, places = drawn(2, 9, 9, seed=4), torch.rand(2, 12, 2, dtype=torch.float64)
    valid = torch.ones(2, 12, dtype=torch.bool)

    def loss(*each: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        return contrastive_loss((each[0], each[1]), teacher, refined, places, places, valid, generator=generator)  # type: ignore[arg-type]

    assert torch.autograd.gradcheck(loss, student)
    loss(*student).backward()
    assert all(each.grad is None for each in teacher)
    nobody = contrastive_loss(student, teacher, refined, places, places, ~valid)  # type: ignore[arg-type]
    assert nobody.item() == 0
    nobody.backward()
    with pytest.raises(InputError, match="contrastive"):
        contrastive_loss(student, teacher, refined[:, :4], places, places, valid)  # type: ignore[arg-type]


def test_contrastive_head_has_the_published_size_and_the_teacher_follows() -> None:
    head = ContrastiveHead((64, *[1024] * 7))
    assert sum(p.numel() for p in head.parameters()) == 926_720 + 131_200
    small = ContrastiveHead((3, 5), 8)
    assert small([torch.randn(2, 3, 4, 6), torch.randn(2, 5, 4, 6)]).shape == (2, 8, 4, 6)
    student, teacher = (Matcher(MatcherConfig.tiny()) for _ in range(2))
    before = next(teacher.parameters()).detach().clone()
    student.confidence.bias.fill_(9)
    follow(teacher, student, 0.75)
    expected = 0.75 * before + 0.25 * next(student.parameters())
    torch.testing.assert_close(next(teacher.parameters()), expected)
    assert teacher.confidence.bias == 9
