"""``train features``: the tiny configuration trains, resumes, saves and loads in seconds."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from samepoint.errors import InputError
from samepoint.models.network import PointNetwork
from samepoint.models.weights import load_model, read_metadata
from samepoint.training.config import FeaturesConfig, load_config
from samepoint.training.data import RenderedBatches
from samepoint.training.features import train
from samepoint.training.matching_config import load_matching_config
from samepoint.training.objectives import supervised
from samepoint.webvideo.config import load_config as load_web_config
from tests.training.two import run_in_two_processes

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
TINY = CONFIGS / "tiny.yaml"


def tiny(folder: Path, *overrides: str) -> FeaturesConfig:
    return load_config(TINY, [f"output={folder}", *overrides])


def test_tiny_trains_and_its_weights_load(tmp_path: Path) -> None:
    seen: list[float] = []
    path = train(tiny(tmp_path), progress=lambda record: seen.append(record["step"]))
    assert seen == [1, 2, 3, 4, 5, 6]
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records[:-1]] == seen
    assert all(record["loss"] > 0 for record in records[:-1])
    network = load_model(path)
    frames = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    assert network.features(network.preprocess(frames))[-1].shape == (1, 8, 16, 16)
    assert read_metadata(path)["training"]["steps"] == 6
    assert read_metadata(path)["calibration"] == records[-1]["calibration"]


def test_without_steps_confidence_alone_is_fitted(tmp_path: Path) -> None:
    before = train(tiny(tmp_path / "whole"))
    changes = [f"init={before}", "steps=0", "calibration.crossing=1", "seed=3"]
    after = train(tiny(tmp_path / "hindsight", *changes, "calibration.rounds=0"))
    assert _changed(before, after) == {"hindsight"}
    assert _changed(before, train(tiny(tmp_path / "both", *changes))) == {"hindsight", "visibility"}


def _changed(first: Path, second: Path) -> set[str]:
    one, other = (load_model(path).state_dict() for path in (first, second))
    return {key.split(".")[0] for key in one if not torch.equal(one[key], other[key])}


def test_a_batch_can_be_learnt(tmp_path: Path) -> None:
    config = tiny(tmp_path)
    batch = RenderedBatches(config.data, 0, 1)[0]
    torch.manual_seed(0)
    network = PointNetwork(config.model).train()
    optimiser = torch.optim.Adam(network.parameters(), 5e-3)
    losses = []
    for _ in range(60):
        loss, _ = supervised(network, batch, config.loss)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole = train(tiny(tmp_path / "whole"))

    def interrupt(record: dict[str, float]) -> None:
        if record["step"] == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        train(tiny(tmp_path / "part"), progress=interrupt)
    assert not (tmp_path / "part" / "model.safetensors").exists()
    with pytest.raises(InputError, match="holds a run already"):
        train(tiny(tmp_path / "part"))
    part = train(tiny(tmp_path / "part"), resume=True)
    first, second = load_model(whole).state_dict(), load_model(part).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    steps = [json.loads(line)["step"] for line in (tmp_path / "part" / "log.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 5, 6, 6]  # the last is the calibration


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As the two processes have: Adam's first steps make a difference in the last bit one in the third digit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_two_processes_equal_one_with_twice_the_accumulation(tmp_path: Path) -> None:
    """All objectives of the tiny configuration; running statistics excepted, which each process has of its own."""
    same = ["steps=3", "calibration.clips=0", "trackers=[]", "precision=fp32"]
    train(tiny(tmp_path / "one", *same, "accumulation=2"))
    changes = [argument for text in [*same, f"output={tmp_path / 'two'}"] for argument in ("--set", text)]
    run_in_two_processes(["-m", "samepoint.cli.main", "train", "features", str(TINY), *changes])
    one, two = (torch.load(tmp_path / name / "checkpoints" / "last.pt", weights_only=False) for name in ("one", "two"))
    assert one["position"] == two["position"] == 6
    for part in ("networks", "average"):
        for name, value in one[part].items():
            if "running" not in name and "num_batches" not in name:
                torch.testing.assert_close(two[part][name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_resuming_needs_a_whole_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkpoint"):
        train(tiny(tmp_path), resume=True)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.pt").write_bytes(b"half")
    with pytest.raises(InputError, match="not a readable checkpoint"):
        train(tiny(tmp_path), resume=True)


def test_training_can_start_from_weights(tmp_path: Path) -> None:
    first = train(tiny(tmp_path / "first", "steps=1"))
    train(tiny(tmp_path / "second", "steps=1", f"init={first}"))
    with pytest.raises(InputError, match="another architecture"):
        train(tiny(tmp_path / "third", f"init={first}", "model.hidden=24"))


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_configuration_in_the_project_is_valid(path: Path) -> None:
    """Each is read by the command that its name says."""
    if path.stem.startswith("web-"):
        assert load_web_config(path).output
    elif "match" in path.stem or path.stem.startswith("ssscweb"):
        assert load_matching_config(path).data.warp.build()
    else:
        load_config(path).data.clip_settings()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stepz=3", "unknown key stepz; did you mean steps"),
        ("data.point=3", r"unknown key data\.point; did you mean data\.points"),
        ("steps=-1", "steps: .*greater than or equal to 0"),
        ("steps", "expected key=value"),
        ("steps.deep=1", "steps is not a group of keys"),
        ("precision=fp8", "precision"),
    ],
)
def test_mistakes_in_a_configuration_are_named(override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_config(TINY, [override])


def test_mistakes_in_the_clip_settings_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown key data\.clip\.sped; did you mean speed"):
        train(tiny(tmp_path, "data.clip={sped: [1, 2]}"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.clip.speed=30", r"data\.clip\.speed: 30 given; input should be a valid tuple"),
        ("data.clip.layers=[1.5, 3.5]", r"data\.clip\.layers: \[1\.5, 3\.5\] given; input should be a valid integer"),
        ("data.clip.speed=[5]", r"data\.clip\.speed: \[5\] given; field required"),
        ("data.clip.noise=high", r"data\.clip\.noise: 'high' given; input should be a valid number"),
        ("data.clip.speed=[5, 1]", r"data\.clip: speed: \(5\.0, 1\.0\) given, a range"),
        ("seed=-1", "seed: .*greater than or equal to 0"),
        ("data.real.augment.sigma=[2, 0.1]", r"data\.real\.augment: sigma"),
        ("data.real.gap.between=[5, 1]", r"data\.real\.gap: gap: \(5\.0, 1\.0\) given"),
    ],
)
def test_values_of_another_kind_are_named(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny(tmp_path, override).data.clip_settings()


def test_unreadable_configurations(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        load_config(tmp_path / "none.yaml")
    bad = tmp_path / "bad.yaml"
    bad.write_text("a: [")
    with pytest.raises(InputError, match="not a YAML file"):
        load_config(bad)
    bad.write_text("- 1")
    with pytest.raises(InputError, match="expected a mapping"):
        load_config(bad)
