"""Each objective of a configuration by itself: it learns, and nothing is done for the others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from samepoint.errors import InputError
from samepoint.models.colour import normalise
from samepoint.models.network import PointNetwork
from samepoint.models.resnet import ResNet, initialise
from samepoint.models.weights import save_weights
from samepoint.training import objectives
from samepoint.training.config import FeaturesConfig, load_config
from samepoint.training.draws import seed_draws
from samepoint.training.objectives import Batch, without_channel
from samepoint.training.recipes import FeaturesTask
from tests.models.test_network import TINY as SMALL

TINY = Path(__file__).resolve().parents[2] / "configs" / "tiny.yaml"
OFF = [f"loss.{name}.weight=0" for name in ("reconstruction", "soft_targets", "adversary", "random_walk", "cycle")]
OFF += ["loss.matching=[0, 0, 0]", "loss.refinement=0", "data.size=[32, 48]", "data.scales=[1.0]"]
RESNET = ["resnet={strides: [1, 2, 1, 1], pool: true, colour: rgb, padding: reflect}"]

ALONE = {
    "matching": ["loss.matching=[0, 0.5, 1]"],
    "refinement": ["loss.refinement=1"],
    "reconstruction": ["loss.reconstruction.weight=1"],
    "soft_targets": ["loss.soft_targets.weight=1"],
    "adversary": ["loss.adversary.weight=1", "loss.adversary.coefficient=0.01", "loss.adversary.schedule=constant"],
    "random_walk": ["loss.random_walk.weight=1", "loss.random_walk.stride=4"],
    "cycle": ["loss.cycle.weight=1", "loss.cycle.stride=4"],
    "relation": ["loss.relation.weight=1", "loss.relation.stride=4", "teacher.model=TEACHER"],
    "patches": [*RESNET, "loss.random_walk={weight: 1, nodes: patches, patch: 16, step: 16, dropout: 0}"],
}
FUNCTIONS = {
    "matching": "matching_loss",
    "refinement": "follow",
    "patches": "random_walk_loss",
} | {name: f"{name.removesuffix('s')}_loss" for name in ("soft_targets", "reconstruction", "adversary")}
FUNCTIONS |= {name: f"{name}_loss" for name in ("random_walk", "cycle", "relation")}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(1)
    network = PointNetwork(SMALL)
    initialise(network.encoder)
    return str(save_weights(network, tmp_path_factory.mktemp("teacher") / "teacher.safetensors", {}))


def config_of(name: str, teacher: str, tmp_path: Path) -> FeaturesConfig:
    own = [text.replace("TEACHER", teacher) for text in ALONE[name]]
    model = ["model={}"] if name == "patches" else []
    return load_config(TINY, [f"output={tmp_path}", *OFF, *model, *own])


@pytest.mark.parametrize("name", ALONE)
def test_alone_it_learns_and_nothing_else_is_done(
    name: str, teacher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for function in set(FUNCTIONS.values()) - {FUNCTIONS[name]}:
        monkeypatch.setattr(objectives, function, None)  # cannot be called
    torch.manual_seed(0)
    task = FeaturesTask(config_of(name, teacher, tmp_path))
    batch = next(task.batches(range(1)))
    on_rendered, on_pairs = name in ("matching", "refinement"), name in ("soft_targets", "adversary")
    on_clips = not on_rendered and name != "soft_targets"
    assert [part is not None for part in batch] == [on_rendered, on_pairs, on_clips, False]
    task.networks.train()
    optimiser = torch.optim.Adam(task.optimiser().param_groups[0]["params"], 3e-3)
    losses = []
    for _ in range(12):
        torch.manual_seed(3)  # the same draws each time
        loss, report = task.loss(batch, 0.5)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert min(losses[-3:]) < losses[0]
    assert all(isinstance(value, float) for value in report.values())


def test_a_batch_without_what_is_asked_for_is_an_error(teacher: str, tmp_path: Path) -> None:
    task = FeaturesTask(config_of("cycle", teacher, tmp_path))
    with pytest.raises(ValueError, match="lacks"):
        task.loss(Batch(None, None, None), 0.0)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "every objective has weight 0"),
        (["loss.relation.weight=1"], r"loss\.relation: needs a teacher"),
        (["loss.cycle.weight=1", "loss.cycle.stride=3"], r"loss\.cycle\.stride: .*no map at stride 3.*16, 8, 4, 2"),
        (["loss.cycle.weight=1", "data.real.rendered=false"], r"loss\.cycle: learns from real clips; set data\.videos"),
        (["loss.refinement=1", "model={}", "resnet={}"], r"a ResNet has no refiner"),
        (["loss.matching=[0, 0, 1]", "resnet={}"], "model and resnet"),
    ],
)
def test_what_cannot_be_learnt_is_refused(overrides: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        FeaturesTask(load_config(TINY, [f"output={tmp_path}", *OFF, *overrides]))


def test_a_dropped_colour_is_gone_for_students_of_either_kind() -> None:
    frames = torch.randint(0, 256, (2, 4, 6, 3), dtype=torch.uint8)
    lab = without_channel(frames, 1, ResNet.fgvc())
    whole = normalise(frames, "lab")
    torch.testing.assert_close(lab, whole * torch.tensor([1.5, 0, 1.5]).reshape(3, 1, 1))
    rgb = without_channel(torch.full((1, 2, 2, 3), 99, dtype=torch.uint8), 2, ResNet())
    torch.testing.assert_close(
        rgb, normalise(torch.full((1, 2, 2, 3), 99, dtype=torch.uint8), "rgb"), atol=1e-3, rtol=0
    )


def test_likeness_is_exact_under_autocast() -> None:
    """As bfloat16 it would go up in steps of 0.004, and a temperature of 0.05 makes 0.08 of that."""
    torch.manual_seed(0)
    level = torch.nn.functional.normalize(torch.randn(2, 5, 6, 16), dim=-1)
    frame = torch.tensor([1, 0, 1])
    looks = level[frame, 2, 3]
    exact = torch.stack([level[index] @ look for index, look in zip(frame, looks, strict=True)])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = objectives._correlate(looks, level, frame)
    torch.testing.assert_close(found, exact, atol=1e-6, rtol=0)


@pytest.mark.parametrize("own", ["loss.matching=[0, 0, 1]", "loss.cycle={weight: 1, stride: 8}"])
def test_a_resnet_learns_by_the_stage_that_is_saved(
    own: str, teacher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The random walk of patches goes through stage 4, here of the stride of stage 3."""
    monkeypatch.setattr(objectives, "random_walk_loss", lambda nodes, *_, **__: nodes.sum() * 0)
    torch.manual_seed(0)
    config = load_config(TINY, [f"output={tmp_path}", *OFF, "model={}", *ALONE["patches"], own])
    task = FeaturesTask(config)
    student = task.student
    assert isinstance(student, ResNet)
    assert [lattice.stride for lattice in student.lattices] == [8, 8]
    task.loss(next(task.batches(range(1))), 0.5)[0].backward()

    def learnt(stage: str) -> float:
        return sum(float(value.grad.norm()) for value in getattr(student, stage).parameters() if value.grad is not None)

    assert learnt("layer3") > 0
    assert learnt("layer4") == 0


@pytest.mark.parametrize("seed", [0, 2])
def test_the_first_steps_gradient_is_bounded(seed: int, tmp_path: Path) -> None:
    """So narrow a network has cells that nothing excites; their direction must not be learnt from."""
    torch.manual_seed(seed)
    task = FeaturesTask(load_config(TINY, [f"output={tmp_path}", f"seed={seed}"]))
    task.networks.train()
    seed_draws(seed, 0)
    task.loss(next(task.batches(range(1))), 0.0)[0].backward()
    grown = [value.grad.norm() for value in task.networks.parameters() if value.grad is not None]
    assert torch.stack(grown).norm() < 1e4
