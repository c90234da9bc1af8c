"""What a run may be gone on with, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from samepoint.errors import InputError
from samepoint.io.config_file import write_config
from samepoint.training.config import FeaturesConfig, load_config
from samepoint.training.features import train
from samepoint.training.matching_config import load_matching_config
from samepoint.training.resuming import FREE, changes, check_unchanged
from tests.training.test_recipes import CONFIGS, QUICK, TINY


def config(folder: Path, *changed: str) -> FeaturesConfig:
    return load_config(TINY, [f"output={folder}", *QUICK, "calibration.clips=0", *changed])


def written(folder: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((folder / "config.yaml").read_text()))


def test_a_run_that_would_learn_something_else_is_not_gone_on_with(tmp_path: Path) -> None:
    train(config(tmp_path))
    before = (tmp_path / "config.yaml").read_text()
    told = (
        r"this run cannot go on: data\.size was \[64, 64\], is \[32, 32\]; loss\.cycle\.weight was 0\.1, is 0\.2; set"
    )
    with pytest.raises(InputError, match=rf"config\.yaml: {told}"):
        train(config(tmp_path, "loss.cycle.weight=0.2", "data.size=[32, 32]"), resume=True)
    assert (tmp_path / "config.yaml").read_text() == before


def test_fewer_steps_than_are_done_are_refused(tmp_path: Path) -> None:
    train(config(tmp_path))
    before = (tmp_path / "config.yaml").read_text()
    with pytest.raises(InputError, match=r"steps: 1 given, but .* holds a run that has taken 2 already"):
        train(config(tmp_path, "steps=1"), resume=True)
    assert (tmp_path / "config.yaml").read_text() == before


def test_weights_of_a_run_without_checkpoints_are_not_overwritten(tmp_path: Path) -> None:
    path = train(config(tmp_path, "steps=0"))
    path.write_bytes(b"mine")
    for steps, resume in ((0, False), (1, False), (1, True)):
        with pytest.raises(InputError, match=r"model\.safetensors: is there already, without a checkpoint"):
            train(config(tmp_path, f"steps={steps}", "seed=1"), resume=resume)
    assert path.read_bytes() == b"mine"
    train(config(tmp_path, "steps=0"), resume=True)
    assert path.read_bytes() != b"mine"


def test_more_steps_watched_otherwise_and_at_another_rate(tmp_path: Path) -> None:
    train(config(tmp_path))
    free = ["steps=3", "log_every=2", "checkpoint_every=7", "keep=1", "device=cpu", "optimiser.rate=0.0001"]
    free += ["data.real.cache=elsewhere", "validation.clips=1", "precision=auto", "optimiser.clip=null"]
    train(config(tmp_path, *free), resume=True)
    assert written(tmp_path)["steps"] == 3


def test_a_run_of_an_earlier_version_goes_on_with_what_it_had(tmp_path: Path) -> None:
    write_config(config(tmp_path), tmp_path / "config.yaml")
    kept = written(tmp_path)
    del kept["loss"]["cycle"]["radius"], kept["data"]["real"]["augment"], kept["optimiser"]["kind"], kept["sync_norm"]
    kept["of_long_ago"] = 3
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(kept))
    check_unchanged(config(tmp_path), tmp_path / "config.yaml")
    other = config(tmp_path, "loss.cycle.radius=3", "data.real.augment.flip=0.1")
    with pytest.raises(
        InputError, match=r"go on: data\.real\.augment\.flip was 0\.5, is 0\.1; .*radius was null, is 3;"
    ):
        check_unchanged(other, tmp_path / "config.yaml")


def test_before_the_first_checkpoint_all_may_change(tmp_path: Path) -> None:
    write_config(config(tmp_path), tmp_path / "config.yaml")
    train(config(tmp_path, "loss.cycle.weight=0.2", "steps=1"), resume=True)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_what_is_written_is_what_was_read(path: Path, tmp_path: Path) -> None:
    if path.stem.startswith("web-"):
        return
    read = load_matching_config if "match" in path.stem or path.stem.startswith("ssscweb") else load_config
    write_config(read(path), tmp_path / "config.yaml")
    check_unchanged(read(path), tmp_path / "config.yaml")
    with pytest.raises(InputError, match=r"seed was 0, is 1; set back"):
        check_unchanged(read(path, ["seed=1"]), tmp_path / "config.yaml")


def changed(first: list[str], second: list[str]) -> list[tuple[str, Any, Any]]:
    before = load_config(TINY, first).model_dump(mode="json")
    return list(changes(yaml.safe_load(yaml.safe_dump(before)), load_config(TINY, second)))


def test_changes_have_their_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert changed([], ["data.clip.plain=0.5"]) == [("data.clip", {}, {"plain": 0.5})]
    weights = ["data.real.gap.weights={1: 0.5, 4: 0.5}"]
    assert changed(weights, weights) == []
    ((key, before, now),) = changed([], ["resnet.depth=34"])
    assert (key, before, now["depth"]) == ("resnet", None, 34)
    monkeypatch.chdir(tmp_path)
    assert changed(["data.videos=mine"], [f"data.videos={tmp_path / 'mine'}"]) == []  # two names of one folder
    assert changed(["data.videos=mine"], ["data.videos=yours"]) == [("data.videos", "mine", "yours")]


def test_free_keys_exist() -> None:
    found: set[str] = set()

    def collect(one: BaseModel, group: str = "") -> None:
        for name in type(one).model_fields:
            found.add(group + name)
            value = getattr(one, name)
            if isinstance(value, BaseModel):
                collect(value, f"{group}{name}.")

    collect(load_config(TINY))
    collect(load_matching_config(CONFIGS / "tiny-matching.yaml"))
    assert found >= FREE


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    for text, told in (("a: [", "not a YAML file"), ("- 1", "expected a mapping")):
        path.write_text(text)
        with pytest.raises(InputError, match=rf"config\.yaml: {told}"):
            check_unchanged(config(tmp_path), path)
