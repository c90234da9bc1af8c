"""Objectives on whole clips: random walk, cycles, relations."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from samepoint.errors import InputError
from samepoint.training.losses import cycle_loss, random_walk_loss, relation_loss, walk_patches
from samepoint.training.losses import relation as relation_module
from tests.reference import losses as reference


def maps(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- random walk


def test_walk_over_orthogonal_nodes_returns() -> None:
    """Check 18 of the web specification, the nodes shuffled from frame to frame."""
    nodes = torch.stack([torch.eye(49)[torch.randperm(49, generator=generator(t))] for t in range(4)])[None]
    assert random_walk_loss(nodes, None, dropout=0).item() < 1e-6


def test_walk_over_equal_nodes_is_lost() -> None:
    assert random_walk_loss(torch.ones(2, 4, 7, 3), None, dropout=0).item() == pytest.approx(math.log(7), rel=1e-5)


@pytest.mark.parametrize("nearest", [1, 2])
def test_walk_equals_the_sum_over_paths(nearest: int) -> None:
    nodes = maps(2, 4, 3, 5)
    got = random_walk_loss(nodes, None, dropout=0, temperature=0.5, nearest=nearest)
    expected = [reference.random_walk(clip.numpy(), 0.5, nearest) for clip in nodes]
    assert got.item() == pytest.approx(sum(expected) / 2, rel=1e-9)


def test_dropped_edges() -> None:
    """The same draw, the same loss; each step loses a share of its edges; even without edges it stays finite."""
    nodes = maps(1, 3, 6, 4).requires_grad_()
    first, again, other = (random_walk_loss(nodes, generator(s), dropout=0.3) for s in (1, 1, 2))
    assert first.item() == again.item() != other.item()
    bare = random_walk_loss(nodes, generator(), dropout=0.99)
    bare.backward()
    assert math.isfinite(bare.item())
    assert nodes.grad is not None
    assert bool(nodes.grad.isfinite().all())


def test_dropped_share() -> None:
    """Over equal nodes, half of 200 edges lost there and half lost back, each on its own.

    A way i -> j -> i survives both with 1/4 and then has chance 1/100^2: 200 / 4 / 100^2 = 1/200, as without dropout;
    were the same edges lost there and back, it would be 1/100.
    """
    for seed in range(3):
        loss = random_walk_loss(torch.ones(1, 2, 200, 2), generator(seed), dropout=0.5, nearest=1)
        assert loss.item() == pytest.approx(math.log(200), abs=0.05)
        assert loss.item() != pytest.approx(math.log(200), abs=1e-4)


def test_walk_gradients() -> None:
    nodes = maps(1, 3, 3, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda n: random_walk_loss(n, generator(4), temperature=0.5), nodes)


def test_walk_misuse_is_explained() -> None:
    with pytest.raises(InputError, match="clip of 2 frames has no frame 2"):
        random_walk_loss(maps(1, 2, 3, 4), None)
    with pytest.raises(InputError, match="not empty"):
        random_walk_loss(maps(0, 4, 3, 4), None)
    with pytest.raises(InputError, match="dropout"):
        random_walk_loss(maps(1, 4, 3, 4), None, dropout=1.0)


def test_patches_without_jitter_are_the_picture() -> None:
    clips = maps(2, 3, 3, 16, 20)
    patches = walk_patches(clips, None, size=8, step=4, area=(1, 1), aspect=(1, 1))
    assert patches.shape == (2, 3, 12, 3, 8, 8)
    torch.testing.assert_close(patches[1, 2, 4 + 2], clips[1, 2, :, 4:12, 8:16])
    assert walk_patches(torch.zeros(1, 1, 3, 256, 256), None).shape[2] == 49


def test_jittered_patches_stay_within_their_bounds() -> None:
    """A ramp of columns shows where each crop lies."""
    ramp = torch.arange(64.0).expand(1, 1, 3, 64, 64)
    ramp = torch.cat([ramp, ramp.transpose(3, 4)], dim=1)  # second frame: rows
    patches = walk_patches(ramp.repeat(20, 1, 1, 1, 1), generator(), size=32, step=32)
    first = patches[:, 0, 0, 0]
    assert first.min() >= 0
    assert first.max() <= 31
    across = first[:, 16, 24] - first[:, 16, 8]  # 16 px of the patch, less in the picture
    down = patches[:, 1, 0, 0, 24, 16] - patches[:, 1, 0, 0, 8, 16]
    for extent in (across / 16, down / 16):
        assert bool((extent >= math.sqrt(0.7 * 3 / 4) - 1e-4).all())
        assert bool((extent <= 1 + 1e-4).all())
        assert extent.std() > 0.01
    left = first[:, 16, 0]
    assert left.std() > 0.3
    with pytest.raises(InputError, match="at least 64"):
        walk_patches(torch.zeros(1, 1, 3, 32, 80), None)


# --- cycles


def test_cycle_of_a_still_clip_of_distinct_cells_is_closed() -> None:
    still = torch.eye(20).reshape(1, 1, 20, 4, 5).expand(2, 4, -1, -1, -1)
    assert cycle_loss(still, None, temperature=0.02).item() < 1e-6
    rolled = torch.stack([torch.roll(still[0, 0], t, 2) for t in range(4)])[None]
    assert cycle_loss(rolled, None, temperature=0.02).item() < 1e-6
    # Out of reach of a window of one cell where the roll wraps around: 4 cells.
    assert cycle_loss(rolled, None, temperature=0.02, radius=1).item() > 0.1


def test_cycle_in_equal_cells_goes_to_the_middle_of_the_map() -> None:
    """1 x 4 cells: each ends at 1.5, that is 1.5, 0.5, 0.5, 1.5 from where it began."""
    same = torch.ones(1, 2, 3, 1, 4)
    expected = (2 * (1.5 - 0.5) + 2 * 0.5**2 / 2) / 4
    assert cycle_loss(same, None, samples=None).item() == pytest.approx(expected)
    assert cycle_loss(same, None, beta=4.0).item() == pytest.approx((2 * 1.5**2 + 2 * 0.5**2) / 8 / 4)


@pytest.mark.parametrize("radius", [1, 9])
def test_cycle_equals_the_reference(radius: int) -> None:
    clips = maps(2, 3, 6, 3, 4)
    got = cycle_loss(clips, None, radius=radius, temperature=0.2, beta=0.8)
    expected = [reference.cycle(clip.numpy(), radius, 0.2, 0.8) for clip in clips]
    assert got.item() == pytest.approx(sum(expected) / 2, rel=1e-9)
    if radius == 9:
        assert cycle_loss(clips, None, temperature=0.2, beta=0.8).item() == pytest.approx(got.item())


def test_cycle_from_sampled_cells() -> None:
    clips = maps(1, 2, 6, 5, 6)
    whole = cycle_loss(clips, None, samples=None).item()
    few = [cycle_loss(clips, generator(s), samples=7).item() for s in (0, 0, *range(1, 30))]
    assert few[0] == few[1] != few[2]
    assert sum(few[1:]) / 30 == pytest.approx(whole, rel=0.15)
    assert cycle_loss(clips, None, samples=1000).item() == whole


@pytest.mark.parametrize("radius", [None, 2])
def test_cycle_gradients(radius: int | None) -> None:
    clips = maps(1, 3, 4, 3, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda c: cycle_loss(c, None, radius=radius, temperature=0.3), clips)


def test_a_closed_cycle_has_a_finite_gradient() -> None:
    """The distance itself has none at 0; one cell can go nowhere."""
    clips = torch.ones(1, 2, 3, 1, 1, requires_grad=True)
    loss = cycle_loss(clips, None)
    loss.backward()
    assert loss.item() == 0
    assert clips.grad is not None
    assert bool((clips.grad == 0).all())


def test_cycle_misuse_is_explained() -> None:
    with pytest.raises(InputError, match="two frames or more"):
        cycle_loss(maps(1, 1, 3, 4, 4), None)
    with pytest.raises(InputError, match="beta"):
        cycle_loss(maps(1, 2, 3, 4, 4), None, beta=0)
    with pytest.raises(InputError, match="samples"):
        cycle_loss(maps(1, 2, 3, 4, 4), None, samples=0)


# --- relations


def test_relations_by_hand() -> None:
    """Three cells; the teacher finds the first two equal and the third opposite, the student all alike."""
    teacher = torch.tensor([1.0, 1.0, -1.0]).reshape(1, 1, 1, 3)
    student = torch.ones(1, 2, 1, 3)
    p = 1 / (1 + math.exp(-2))  # of two others, one alike and one opposite, at temperature 1
    known = p * math.log(2 * p) + (1 - p) * math.log(2 * (1 - p))
    got = relation_loss(student, teacher, None, teacher_temperature=1.0)
    assert got.item() == pytest.approx(2 * known / 3, rel=1e-5)  # the third is as far from both


def test_relations_equal_the_reference_across_frames() -> None:
    student, teacher = maps(2, 4, 2, 3), maps(2, 6, 2, 3, seed=1)
    got = relation_loss(student, teacher, None, temperature=0.2, teacher_temperature=0.3)
    cells = [each.permute(0, 2, 3, 1).reshape(12, -1).numpy() for each in (student, teacher)]
    assert got.item() == pytest.approx(reference.relation(cells[0], cells[1], 0.2, 0.3), rel=1e-9)


def test_a_student_as_the_teacher_has_nothing_to_learn() -> None:
    teacher = maps(1, 5, 3, 4)
    turn = torch.linalg.qr(maps(5, 5, seed=1)).Q  # similarities stay when all is turned and scaled
    student = (3 * torch.einsum("ij,bjhw->bihw", turn, teacher)).requires_grad_()
    loss = relation_loss(student, teacher, None)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-9)
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-9


def test_sampled_relations() -> None:
    student, teacher = maps(2, 4, 4, 4), maps(2, 3, 4, 4, seed=1).requires_grad_()
    draws = [relation_loss(student, teacher, generator(s), samples=9).item() for s in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert not relation_loss(student, teacher, generator(), samples=9).requires_grad


def test_relation_gradients_and_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    student, teacher = maps(1, 3, 2, 4).requires_grad_(), maps(1, 3, 2, 4, seed=1)
    whole = relation_loss(student, teacher, None)
    gradient = torch.autograd.grad(whole, student)
    monkeypatch.setattr(relation_module, "CHUNK_ELEMENTS", 3 * 8)
    parts = relation_loss(student, teacher, None)
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(torch.autograd.grad(parts, student), gradient)
    assert torch.autograd.gradcheck(lambda s: relation_loss(s, teacher, None, temperature=0.5), student)


def test_a_single_cell_has_no_relations() -> None:
    student = maps(1, 3, 1, 1).requires_grad_()
    loss = relation_loss(student, student, None)
    loss.backward()
    assert loss.item() == 0
    assert student.grad is not None
    assert bool((student.grad == 0).all())


def test_relation_misuse_is_explained() -> None:
    with pytest.raises(InputError, match="same cells"):
        relation_loss(maps(1, 3, 2, 4), maps(1, 3, 4, 4), None)
    with pytest.raises(InputError, match="not empty"):
        relation_loss(maps(0, 3, 2, 4), maps(0, 3, 2, 4), None)
    with pytest.raises(InputError, match="temperatures"):
        relation_loss(maps(1, 3, 2, 4), maps(1, 3, 2, 4), None, temperature=0)
