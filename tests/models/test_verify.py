"""``weights verify``: what is whole passes, whatever was changed is found."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from samepoint.errors import InputError
from samepoint.models import verify as module
from samepoint.models.convert.file import convert_file
from samepoint.models.matcher import Matcher, MatcherConfig
from samepoint.models.verify import TOLERANCE, numbers_of, verify
from samepoint.models.weights import TABLE, load_model, read_metadata, save_weights, sha256
from tests.models.convert.published import random_resnet, training_file
from tests.models.test_fitting import small


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("converted")
    source = training_file(folder / "r18.pth", random_resnet())
    return convert_file(source, folder / "r18.safetensors", "torchvision").output


def changed(path: Path, target: Path, record: dict[str, object], **tensors: torch.Tensor) -> Path:
    with safe_open(str(path), framework="pt") as file:
        whole = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
    save_file({**whole, **tensors}, target, {"samepoint": json.dumps(read_metadata(path) | record)})
    return target


@pytest.mark.parametrize("name", list(TABLE))
def test_what_is_shipped_gives_its_numbers(name: str) -> None:
    found = verify(name)
    assert (found.checksum, found.sha256) == ("table", TABLE[name].sha256)
    assert found.deviation is not None
    assert found.deviation < TOLERANCE / 10
    assert found.numbers.keys() == TABLE[name].numbers.keys()


def test_every_part_of_a_shipped_network_takes_part() -> None:
    """A change anywhere in it shows in the numbers."""
    network = load_model("samepoint-base")
    before = numbers_of(network)
    hidden = ("num_batches_tracked", "hindsight.first", "hindsight.second")  # no numbers; unfitted, weighed by zero
    for key, value in network.state_dict().items():
        if any(part in key for part in hidden) or (key.startswith("encoder.") and "describe16" not in key):
            continue
        kept = value.clone()
        value.mul_(1.5).add_(0.1)
        if numbers_of(network) == before:
            raise AssertionError(f"{key} does not show")
        value.copy_(kept)


def test_a_converted_file_is_verified(converted: Path) -> None:
    found = verify(converted)
    assert (found.name, found.sha256) == (str(converted), sha256(converted))
    assert (found.checksum, found.deviation) == ("metadata", 0)
    assert found.tensors == len(load_model(converted).state_dict())


def test_changed_tensors_are_found(converted: Path, tmp_path: Path) -> None:
    bias = load_model(converted).state_dict()["bn1.bias"] + 1e-7
    path = changed(converted, tmp_path / "x.safetensors", {}, **{"bn1.bias": bias})
    with pytest.raises(InputError, match=r"x\.safetensors: its tensors are not those that were written into it"):
        verify(path)


def test_a_bit_of_a_file_is_found(converted: Path, tmp_path: Path) -> None:
    path, data = tmp_path / "x.safetensors", bytearray(converted.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"x\.safetensors: (its tensors are not those|.* NaN or infinite)"):
        verify(path)
    path.write_bytes(data[:-4])
    with pytest.raises(InputError, match=r"x\.safetensors: not a readable safetensors file"):
        verify(path)


def test_other_strides_show_in_the_numbers(converted: Path, tmp_path: Path) -> None:
    config = read_metadata(converted)["config"] | {"padding": "reflect"}
    path = changed(converted, tmp_path / "x.safetensors", {"config": config})
    with pytest.raises(InputError, match=r"map 0 of the fixed input differs from its stored numbers by"):
        verify(path)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"map 0": ["x"]}, "damaged"),
        ([1], "damaged"),
        ({"map 0": [1.0]}, "not those of its network"),
        ({"map 1": [1.0] * 8}, "not those of its network"),
        ({"map 0": [float("nan")] * 8}, "differs"),
    ],
)
def test_damaged_numbers_are_refused(converted: Path, numbers: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x\.safetensors: .*" + message):
        verify(changed(converted, tmp_path / "x.safetensors", {"numbers": numbers}))


def test_a_replaced_file_of_the_table_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = dataclasses.replace(TABLE["samepoint-base"], sha256="0" * 64)
    monkeypatch.setitem(TABLE, "samepoint-base", entry)
    with pytest.raises(InputError, match=r"its sha256 is \w{64}, but the table says 0{64}: damaged or replaced"):
        verify("samepoint-base")


def test_files_without_numbers_are_loaded_and_run(tmp_path: Path) -> None:
    path = save_weights(small("VisionTransformer"), tmp_path / "x.safetensors", {})
    found = verify(path)
    assert (found.checksum, found.deviation) == ("metadata", None)
    torch.save({}, tmp_path / "x.pth")
    with pytest.raises(InputError, match=r"x\.pth: has no samepoint metadata to verify it by"):
        verify(tmp_path / "x.pth")
    with pytest.raises(InputError, match="unknown model 'samepoint-bas'"):
        verify("samepoint-bas")


def test_results_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    network = small("ResNet")
    with torch.no_grad():
        network.conv1.weight.fill_(3e38)
    path = save_weights(network, tmp_path / "x.safetensors", {"precision": "float32"})
    with pytest.raises(InputError, match=r"x\.safetensors: map 0 of the fixed input is not finite"):
        verify(path)


def test_numbers_follow_their_tensors(converted: Path, tmp_path: Path) -> None:
    """Saved again, as into a repository, they stay; with other weights they are left out."""
    said, network = read_metadata(converted), load_model(converted)
    assert verify(save_weights(network, tmp_path / "x.safetensors", said)).deviation == 0
    with torch.no_grad():
        network.state_dict()["bn1.bias"].add_(0.5)
    assert verify(save_weights(network, tmp_path / "x.safetensors", said)).deviation is None


def test_matchers_have_numbers_with_and_without_their_backbone() -> None:
    torch.manual_seed(0)
    matcher = Matcher(MatcherConfig.tiny()).eval()
    assert set(numbers_of(matcher)) == {"level", "refined"}
    alone = Matcher(MatcherConfig.tiny().model_copy(update={"external": True})).eval()
    with torch.no_grad():
        alone.aggregation.proj.weight.normal_()
    before = numbers_of(alone)
    assert set(before) == {"refined"}
    with torch.no_grad():
        alone.aggregation.projections[0].weight.add_(0.1)
    assert numbers_of(alone) != before


def test_the_fixed_input_is_that_of_the_table() -> None:
    """A new one would need new numbers for every file there is."""
    pictures = module.frames()
    assert tuple(pictures.shape) == (2, 56, 84, 3)
    assert int(pictures.long().sum()) == 3582926
