"""Following points through training clips."""

from __future__ import annotations

from importlib import import_module

import pytest
import torch

from samepoint.datasets.synthetic import ClipSettings
from samepoint.models.network import PointNetwork
from samepoint.models.refiner import channels_last
from samepoint.training import rollout
from samepoint.training.config import DataConfig, LossConfig
from samepoint.training.data import RenderedBatches, TrainingBatch
from samepoint.training.rollout import follow
from tests.models.test_network import TINY

DATA = DataConfig(size=(64, 64), clips=2, frames=4, pairs=1, points=8, followed=10, scales=(0.5,))


@pytest.fixture
def network() -> PointNetwork:
    torch.manual_seed(0)
    return PointNetwork(TINY).train()


@pytest.fixture
def batch() -> TrainingBatch:
    return RenderedBatches(DATA, 0, 1)[0]


def maps_of(network: PointNetwork, batch: TrainingBatch) -> tuple[torch.Tensor, ...]:
    return channels_last(network.features(network.preprocess(batch.frames.flatten(0, 1))))


def test_a_batch_holds_what_it_says(batch: TrainingBatch) -> None:
    assert batch.frames.shape == (2, 4, 64, 64, 3)
    assert batch.clip.tolist() == [0] * 10 + [1] * 10
    assert batch.xy.shape == (20, 4, 2)
    assert batch.visible[:, 0].all()  # a point is seen where it is given
    assert ((batch.xy[:, 0] >= 0) & (batch.xy[:, 0] <= 64)).all()
    assert len(batch.source) == len(batch.target_xy) == 16
    assert ((batch.source // 4) == (batch.target // 4)).all()  # both frames belong to one clip
    assert (batch.source != batch.target).all()


def test_enlarged_clips_keep_points_on_what_they_show() -> None:
    """A marked point of the small clip is found at the enlarged position by its colour."""
    settings = ClipSettings.clean(3, size=(64, 64), layers=(0, 0), speed=(2.0, 4.0))
    values = {key: getattr(settings, key) for key in ("layers", "speed", "motion_blur", "noise", "compression")}
    config = DATA.model_copy(update={"clip": values, "frames": 3, "scales": (0.5,)})
    batch = RenderedBatches(config, 3, 1)[0]
    height, width = 64, 64
    kept = 0
    for n in range(len(batch.xy)):
        frames = batch.frames[batch.clip[n]].float()
        for time in range(1, 3):
            if not batch.visible[n, time]:
                continue
            (x0, y0), (x1, y1) = batch.xy[n, 0].long().tolist(), batch.xy[n, time].long().tolist()
            if min(x0, y0, x1, y1) < 2 or max(x0, x1) > width - 3 or max(y0, y1) > height - 3:
                continue
            first = frames[0, y0 - 1 : y0 + 2, x0 - 1 : x0 + 2].mean((0, 1))
            later = frames[time, y1 - 1 : y1 + 2, x1 - 1 : x1 + 2].mean((0, 1))
            kept += int((first - later).abs().max() < 40)
            kept -= int((first - later).abs().max() >= 40) * 3
    assert kept > 10


def test_every_part_learns_from_it(network: PointNetwork, batch: TrainingBatch) -> None:
    torch.nn.init.normal_(network.refiner.head.weight, std=0.01)
    torch.nn.init.normal_(network.refiner.context.weight, std=0.01)
    loss, report = follow(network, maps_of(network, batch), batch, LossConfig())
    loss.backward()
    assert torch.isfinite(loss)
    assert report["refinement"] == pytest.approx(loss.item())
    for name, value in network.named_parameters():
        if not name.startswith(("visibility", "hindsight")) and "project.bias" not in name:
            assert value.grad is not None, name
            assert torch.isfinite(value.grad).all(), name
    assert network.refiner.memory.weight_hh.grad is not None
    assert network.refiner.memory.weight_hh.grad.abs().sum() > 0


def test_the_state_is_carried_from_frame_to_frame(network: PointNetwork, batch: TrainingBatch) -> None:
    """Had each frame begun anew, what the state does to the head would show from the second step on only."""
    torch.nn.init.normal_(network.refiner.head.weight, std=0.01)
    torch.nn.init.normal_(network.refiner.context.weight, std=0.5)
    maps = maps_of(network, batch)
    torch.manual_seed(1)
    usual = follow(network, maps, batch, LossConfig(drift=0.0))[0]
    torch.nn.init.normal_(network.refiner.memory.weight_ih, std=3.0)
    torch.manual_seed(1)
    changed = follow(network, maps, batch, LossConfig(drift=0.0))[0]
    assert abs(usual.item() - changed.item()) > 1e-4


def test_looking_again_teaches_and_can_be_left_out(network: PointNetwork, batch: TrainingBatch) -> None:
    torch.nn.init.normal_(network.refiner.head.weight, std=0.01)
    config = LossConfig(recovery=0.5, sought=1.0)
    maps = maps_of(network, batch)
    torch.manual_seed(2)
    plain, report = follow(network, maps, batch, LossConfig())
    assert "recovered" not in report
    torch.manual_seed(2)
    loss, report = follow(network, maps, batch, config)
    assert {"recovered", "mistaken"} <= report.keys()
    assert loss.item() > plain.item()  # every point of every frame counts once more
    loss.backward()
    assert all(
        value.grad is not None and torch.isfinite(value.grad).all() for value in network.refiner.head.parameters()
    )


def test_where_no_point_is_drawn_for_recovery_nothing_is_added(network: PointNetwork, batch: TrainingBatch) -> None:
    torch.nn.init.zeros_(network.refiner.head.weight)
    torch.nn.init.constant_(network.refiner.head.bias, 1.0)  # all are believed seen, so none is lost
    maps = maps_of(network, batch)
    losses = []
    for recovery in (0.0, 0.3):
        torch.manual_seed(2)
        loss, report = follow(network, maps, batch, LossConfig(recovery=recovery, sought=0.0, drift=0.0))
        assert report["refinement"] == pytest.approx(loss.item())
        losses.append(loss)
    assert report["recovered"] == report["mistaken"] == 0
    losses[1].backward()
    assert all(torch.isfinite(value.grad).all() for value in network.parameters() if value.grad is not None)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("frozen", [False, True])
def test_it_follows_in_half_precision(
    network: PointNetwork, batch: TrainingBatch, frozen: bool, dtype: torch.dtype
) -> None:
    network.encoder.requires_grad_(not frozen)
    with torch.autocast("cpu", dtype=dtype):
        loss, _ = follow(network, maps_of(network, batch), batch, LossConfig(recovery=0.5, sought=1.0))
    loss.backward()
    assert torch.isfinite(loss)
    assert (network.encoder.conv1.weight.grad is None) == frozen


def test_nothing_is_left_to_the_default_device(
    network: PointNetwork, batch: TrainingBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tensor made without a device would lie on another one than the maps, as on the CPU beside a GPU."""
    search = import_module("samepoint.correspondence.affinity")
    monkeypatch.setattr(search, "is_fast", lambda *_: False)  # the compiled path is the CPU's
    maps, config = maps_of(network, batch), LossConfig(recovery=0.5, sought=1.0)
    torch.manual_seed(1)
    usual, _ = follow(network, maps, batch, config)
    torch.manual_seed(1)
    with torch.device("meta"):
        loss, _ = follow(network, maps, batch, config)
    assert loss.item() == usual.item()


def test_what_is_drawn_goes_to_the_points(network: PointNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a device without numbers, the only other one that every machine has."""
    there = torch.device("meta")
    maps = [torch.zeros(2, 64 // lattice.stride, 64 // lattice.stride, 8, device=there) for lattice in network.lattices]
    looks = [torch.zeros(6, 9, 8, device=there) for _ in maps]
    clip, xy = torch.zeros(6, dtype=torch.long, device=there), torch.zeros(6, 2, device=there)
    monkeypatch.setattr(torch, "nonzero", lambda mask: mask[:, None])
    monkeypatch.setattr(rollout, "candidates", lambda *_: torch.zeros(6, 4, 2, device=there))
    monkeypatch.setattr(network.refiner, "forward", lambda *given: ([], given[3]))
    places = rollout._start(network, looks, maps, clip, xy, xy)
    again = rollout._look_again(network, looks, maps, clip, clip, 1)[1]
    made = [places, again, rollout._drifted(xy, 0.5), rollout._sought(clip > 0, 0.5)]
    assert [each.device for each in made] == [there] * 4


def test_clips_whose_layers_cross_hide_more() -> None:
    hidden = []
    for share in (0.0, 1.0):
        config = DATA.model_copy(update={"crossing": share, "frames": 8, "clips": 4, "followed": 64})
        hidden.append(1 - RenderedBatches(config, 1, 1)[0].visible[:, 1:].float().mean().item())
    assert hidden[1] > hidden[0] + 0.05
