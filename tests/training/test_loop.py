"""The loop: what it computes, where it stops, how it goes on."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from samepoint.errors import InputError, MissingExtraError
from samepoint.training.averaging import AveragedWeights
from samepoint.training.checkpoints import load_checkpoint, save_checkpoint
from samepoint.training.draws import seed_draws
from samepoint.training.loop import run
from samepoint.training.loop_config import LoopConfig

from .tiny_task import TinyTask
from .two import run_in_two_processes


def config(**changes: Any) -> LoopConfig:
    values: dict[str, Any] = {"steps": 6, "seed": 3, "device": "cpu", "precision": "fp32", "ema": 0.9, "clip": 0.5}
    return LoopConfig(**{**values, "log_every": 1, "checkpoint_every": 2, "trackers": (), **changes})


def trained(folder: Path, settings: LoopConfig | None = None, **options: Any) -> TinyTask:
    settings = settings or config()
    task = TinyTask(settings, **options)
    assert run(task, settings, folder)
    return task


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def timeless(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in ("seconds", "images_per_second")}


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries and sequences as one dictionary."""
    if isinstance(value, (dict, list, tuple)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {name: leaf for key, one in items for name, leaf in flat(one, f"{prefix}/{key}").items()}
    return {prefix: value}


def assert_same(first: Any, second: Any) -> None:
    one, other = flat(first), flat(second)
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert torch.equal(value, other[key]) if isinstance(value, Tensor) else value == other[key], key


def last(folder: Path) -> dict[str, Any]:
    return load_checkpoint(folder / "checkpoints" / "last.pt")


def test_equals_the_plainest_loop_with_two_micro_batches(tmp_path: Path) -> None:
    settings = config(accumulation=2)
    task = trained(tmp_path, settings)
    assert task.taken == list(range(12))

    plain = TinyTask(settings)
    student, critic, spare = (plain.networks[name] for name in ("student", "critic", "spare"))
    average = {name: value.detach().clone() for name, value in student.named_parameters()}
    optimisers = [
        (torch.optim.AdamW([*student.parameters(), *spare.parameters()], weight_decay=0.01), 1.0),
        (torch.optim.AdamW(critic.parameters(), weight_decay=0.01), 0.1),
    ]
    batches = list(plain.batches(range(12)))
    for step in range(6):
        losses = []
        for position in (2 * step, 2 * step + 1):
            seed_draws(3, position)
            losses.append(plain.loss(batches[position], step / 6)[0])
        (sum(losses) / 2).backward()
        torch.nn.utils.clip_grad_norm_([*student.parameters(), *critic.parameters()], 0.5)
        for optimiser, scale in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = scale * plain.rate(step)
            optimiser.step()
            optimiser.zero_grad()
        for name, value in student.named_parameters():
            decay = min(0.9, (1 + step) / (10 + step))
            average[name] = decay * average[name] + (1 - decay) * value.detach()
        assert lines(tmp_path)[step]["loss"] == pytest.approx(sum(one.item() for one in losses) / 2, abs=2e-5)
    networks = last(tmp_path)["networks"]
    for name, value in plain.networks.state_dict().items():
        torch.testing.assert_close(networks[name], value, rtol=1e-5, atol=1e-6)
    assert task.finished is not None
    for name, value in average.items():
        torch.testing.assert_close(task.finished[name], value, rtol=1e-5, atol=1e-6)


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    settings = config(accumulation=2)
    whole = trained(tmp_path / "whole", settings)

    def interrupt(record: dict[str, float]) -> None:
        if record["step"] == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    first = TinyTask(settings)
    with pytest.raises(KeyboardInterrupt):
        run(first, settings, tmp_path / "part", progress=interrupt)
    assert first.finished is None
    assert last(tmp_path / "part")["step"] == 3
    with pytest.raises(InputError, match="holds a run already"):
        run(TinyTask(settings), settings, tmp_path / "part")
    with (tmp_path / "part" / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "loss": 1.0}\n{"step": 4, "lo')  # a kill after the checkpoint
    part = TinyTask(settings)
    torch.rand(7)  # what happens between must not matter
    run(part, settings, tmp_path / "part", resume=True)
    assert first.taken + part.taken == whole.taken
    assert_same(last(tmp_path / "whole"), last(tmp_path / "part"))
    assert_same(whole.finished, part.finished)
    assert [timeless(one) for one in lines(tmp_path / "part")] == [timeless(one) for one in lines(tmp_path / "whole")]


def test_a_signal_while_the_task_finishes_is_obeyed_at_once_and_resuming_only_finishes(tmp_path: Path) -> None:
    settings = config(steps=2)

    class Slow(TinyTask):
        def finish(self) -> dict[str, Any]:
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError("not reached")

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        run(Slow(settings), settings, tmp_path)
    assert signal.getsignal(signal.SIGTERM) is before
    again = TinyTask(settings)
    run(again, settings, tmp_path, resume=True)
    assert again.taken == []
    assert again.finished is not None


def test_two_processes_equal_one_with_twice_the_accumulation(tmp_path: Path) -> None:
    one = config(accumulation=4)
    trained(tmp_path / "one", one)
    two = config(accumulation=2).model_dump_json()
    run_in_two_processes(["-m", "tests.training.tiny_task", str(tmp_path / "two"), two])
    taken = [(tmp_path / "two" / f"taken-{who}.txt").read_text().split() for who in ("main", "other")]
    assert [list(map(int, one)) for one in taken] == [list(range(0, 24, 2)), list(range(1, 24, 2))]
    first, second = last(tmp_path / "one"), last(tmp_path / "two")
    assert first["position"] == second["position"] == 24
    for part in ("networks", "average", "optimiser"):
        for name, value in flat(first[part]).items():
            if isinstance(value, Tensor) and "running" not in name and "num_batches" not in name:
                torch.testing.assert_close(flat(second[part])[name], value, rtol=2e-5, atol=2e-6, msg=name)
    for a, b in zip(lines(tmp_path / "one"), lines(tmp_path / "two"), strict=True):
        assert timeless(a) == pytest.approx(timeless(b), abs=2e-5)


def test_a_loss_that_is_not_finite_is_named_and_the_state_before_it_kept(tmp_path: Path) -> None:
    settings = config(accumulation=2, checkpoint_every=100)
    whole = trained(tmp_path / "whole", settings)
    spoilt = TinyTask(settings, spoilt=7)
    where = r"micro-batch 1 of process 0, data index 7: rows of 7"
    message = rf"loss is not finite at step 3 \({where}\); the state before it is .*last\.pt"
    with pytest.raises(FloatingPointError, match=message):
        run(spoilt, settings, tmp_path / "part")
    assert last(tmp_path / "part")["step"] == 3
    healed = TinyTask(settings)
    run(healed, settings, tmp_path / "part", resume=True)
    assert_same(last(tmp_path / "whole"), last(tmp_path / "part"))
    assert_same(whole.finished, healed.finished)


def test_a_gradient_that_is_not_finite_is_named(tmp_path: Path) -> None:
    class Steep(TinyTask):
        def loss(self, batch: dict[str, Tensor], progress: float) -> tuple[Tensor, dict[str, float]]:
            loss, figures = super().loss(batch, progress)
            flat = (self.exported[0].weight * 0).sum().sqrt() if progress > 0.4 else 0.0  # its slope at 0 is infinite
            return loss + flat, figures

    settings = config(accumulation=2, clip=None)
    told = r"gradient is not finite at step 3 .data indices 6 to 7: rows of 6; rows of 7.*last\.pt"
    with pytest.raises(FloatingPointError, match=told):
        run(Steep(settings), settings, tmp_path)
    assert last(tmp_path)["step"] == 3


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e30])
@pytest.mark.parametrize("clip", [None, 0.5])
def test_gradients_are_clipped_even_where_their_squares_overflow(
    tmp_path: Path, size: float, clip: float | None
) -> None:
    class Straight(TinyTask):
        def loss(self, batch: dict[str, Tensor], progress: float) -> tuple[Tensor, dict[str, float]]:
            return (size * self.exported[0].weight[0]).sum(), {}

        def optimiser(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.exported.parameters())

        def rate(self, step: int) -> float:
            return 1e-30

    settings = config(steps=1, clip=clip)
    task = Straight(settings)
    run(task, settings, tmp_path)
    assert lines(tmp_path)[0]["gradient"] == pytest.approx(2 * size, rel=1e-6, abs=1e-5)  # four equal components
    scale = 1.0 if clip is None else min(1.0, clip / (2 * size))
    grad = task.exported[0].weight.grad
    assert grad is not None
    torch.testing.assert_close(grad[0], torch.full((4,), size * scale), rtol=1e-4, atol=0.0)


@pytest.mark.parametrize("error", [InputError("clip.mp4: too small"), FileNotFoundError(2, "No such file", "a.jpg")])
def test_data_that_cannot_be_made_costs_no_step(tmp_path: Path, error: Exception) -> None:
    class Gone(TinyTask):
        broken = True

        def batches(self, positions: range) -> Iterator[dict[str, Tensor]]:
            for position, batch in zip(positions, super().batches(positions), strict=True):
                if position == 7 and self.broken:  # the second micro-batch of step 3
                    raise error
                yield batch

    settings = config(steps=6, accumulation=2, checkpoint_every=100)
    whole = trained(tmp_path / "whole", settings)
    with pytest.raises(type(error), match=r"too small \(step 3 is kept in .*last\.pt\)|No such file"):
        run(Gone(settings), settings, tmp_path / "part")
    mended = Gone(settings)
    mended.broken = False
    run(mended, settings, tmp_path / "part", resume=True)
    assert mended.taken[0] == 6
    assert_same(whole.finished, mended.finished)


def test_weights_that_are_ruined_already_do_not_replace_a_checkpoint(tmp_path: Path) -> None:
    class Ruined(TinyTask):
        def loss(self, batch: dict[str, Tensor], progress: float) -> tuple[Tensor, dict[str, float]]:
            if progress > 0.4:
                with torch.no_grad():
                    self.exported[0].weight.fill_(torch.nan)
            return super().loss(batch, progress)

    settings = config()
    with pytest.raises(FloatingPointError, match="last good state"):
        run(Ruined(settings), settings, tmp_path)
    assert last(tmp_path)["step"] == 2


@pytest.mark.parametrize("spoilt", [2, 3])
def test_weights_that_an_update_ruins_are_neither_kept_nor_exported(tmp_path: Path, spoilt: int) -> None:
    class Wild(TinyTask):
        def updated(self) -> None:
            self.updates = getattr(self, "updates", 0) + 1
            if self.updates == spoilt:
                with torch.no_grad():
                    self.exported[0].weight.fill_(torch.inf)

    task = Wild(config(steps=3, checkpoint_every=1))
    with pytest.raises(FloatingPointError, match=rf"not finite after step {spoilt}; the last good state is .*last\.pt"):
        run(task, task.settings, tmp_path)
    assert task.finished is None
    assert last(tmp_path)["step"] == spoilt - 1


def test_a_checkpoint_that_is_ruined_is_not_gone_on_from(tmp_path: Path) -> None:
    trained(tmp_path)
    state = last(tmp_path)
    state["average"]["0.weight"].fill_(torch.nan)
    save_checkpoint(tmp_path / "checkpoints" / "last.pt", state)
    with pytest.raises(InputError, match=r"last\.pt: weights that are not finite; put an earlier one in its place"):
        run(TinyTask(config()), config(), tmp_path, resume=True)


def test_validation_sees_the_average_and_training_does_not(tmp_path: Path) -> None:
    settings = config(validate_every=4, trackers=("tensorboard",))
    task = trained(tmp_path / "often", settings)
    plain = trained(tmp_path / "never")
    often, never = ({**last(tmp_path / name), "validated": None} for name in ("often", "never"))
    assert_same(often, never)
    assert len(task.validated) == 2
    assert_same(task.validated[-1], plain.finished)
    notes = [one for one in lines(tmp_path / "often") if "validation" in one]
    assert notes == [{"step": step, "validation": {"quality": 0.5}} for step in (4, 6)]
    assert lines(tmp_path / "often")[-1] == {"step": 6, "done": True}


def test_parameters_in_no_group_are_frozen_meanwhile(tmp_path: Path) -> None:
    settings = config(steps=1)

    class Watched(TinyTask):
        def loss(self, batch: dict[str, Tensor], progress: float) -> tuple[Tensor, dict[str, float]]:
            assert not any(one.requires_grad for one in self.networks["still"].parameters())
            return super().loss(batch, progress)

        def finish(self) -> dict[str, Any]:
            assert all(one.requires_grad for one in self.networks.parameters())
            return {}

    run(Watched(settings), settings, tmp_path)


def test_the_caller_s_random_numbers_go_on_as_if_nothing_had_been_trained(tmp_path: Path) -> None:
    def draw() -> tuple[float, float, float]:
        return float(torch.rand(())), float(np.random.random()), random.random()  # noqa: NPY002

    settings = config(steps=1)
    task = TinyTask(settings)
    seed_draws(0, 0)
    expected = draw()
    seed_draws(0, 0)
    run(task, settings, tmp_path)
    assert draw() == expected


def test_bf16_after_fp32_in_the_same_process(tmp_path: Path) -> None:
    class Asking(TinyTask):
        kind: torch.dtype

        def loss(self, batch: dict[str, Tensor], progress: float) -> tuple[Tensor, dict[str, float]]:
            self.kind = self.exported(batch["x"]).dtype
            return super().loss(batch, progress)

    for precision, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp32", torch.float32)):
        settings = config(steps=1, precision=precision)
        task = Asking(settings)
        run(task, settings, tmp_path / f"{precision}{len(list(tmp_path.iterdir()))}")
        assert task.kind == kind
        assert all(one.dtype == torch.float32 for one in task.networks.parameters())


def test_fp16_is_for_gpus(tmp_path: Path) -> None:
    settings = config(precision="fp16")
    with pytest.raises(InputError, match="precision: fp16 is for GPUs"):
        run(TinyTask(settings), settings, tmp_path)


def test_without_accelerate_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(MissingExtraError, match=r"samepoint\[train\]"):
        run(TinyTask(config()), config(), tmp_path)


def test_resuming_with_other_networks_is_refused(tmp_path: Path) -> None:
    trained(tmp_path)
    other = TinyTask(config())
    del other.networks["still"]
    with pytest.raises(InputError, match="other networks"):
        run(other, config(), tmp_path, resume=True)


def test_progress_has_what_is_shown(tmp_path: Path) -> None:
    seen: list[dict[str, float]] = []
    keep: Callable[[dict[str, float]], None] = seen.append
    settings = config(steps=5, log_every=2)
    run(TinyTask(settings), settings, tmp_path, progress=keep)
    assert [one["step"] for one in seen] == [2, 4, 5]
    for one in seen:
        assert one["steps"] == 5
        assert one["left"] == pytest.approx(one["seconds"] * (5 - one["step"]), abs=1e-3)
        assert one["images"] == 6
        assert one["images_per_second"] == pytest.approx(6 / one["seconds"], rel=0.3, abs=1)
        assert math.isfinite(one["gradient"])


def test_averaged_weights_follow_parameters_and_copy_counters() -> None:
    network = torch.nn.BatchNorm1d(1)
    average = AveragedWeights(network, 0.5)
    with torch.no_grad():
        network.weight.fill_(3.0)
        network.num_batches_tracked.fill_(7)
    average.update(network, step=1000)
    assert average.state["weight"].item() == pytest.approx(2.0)
    assert average.state["num_batches_tracked"].item() == 7
    with average.applied(network):
        assert network.weight.item() == pytest.approx(2.0)
    assert network.weight.item() == 3.0


def test_without_decay_the_average_is_the_last_weights() -> None:
    network = torch.nn.Linear(1, 1)
    average = AveragedWeights(network, 0.0)
    with torch.no_grad():
        network.weight.fill_(3.0)
    average.update(network, step=0)
    assert average.state["weight"].item() == 3.0
