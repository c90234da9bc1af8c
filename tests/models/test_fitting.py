"""Weight files of ours that are not what they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from samepoint.errors import InputError
from samepoint.models.fitting import config_of, input_of, make, tensors_sha256
from samepoint.models.matcher import Matcher, MatcherConfig
from samepoint.models.network import NetworkConfig, PointNetwork
from samepoint.models.resnet import ResNet
from samepoint.models.vit import VisionTransformer
from samepoint.models.weights import load_model, read_metadata, save_weights

SMALL = NetworkConfig(stem=8, widths=(8, 8, 8), blocks=1, pyramid=8, descriptors=(8, 8, 8, 8), hidden=8, state=4)


def small(kind: str) -> Any:
    torch.manual_seed(0)
    return {
        "PointNetwork": lambda: PointNetwork(SMALL),
        "ResNet": lambda: ResNet(18, (1, 2, 1, 1), True, (1,), "lab", "reflect"),
        "VisionTransformer": lambda: VisionTransformer(64, 2, 1, 16, patch=4, grid=3, outputs=(1, 0), norm=False),
        "Matcher": lambda: Matcher(MatcherConfig.tiny()),
    }[kind]()


@pytest.mark.parametrize("kind", ["PointNetwork", "ResNet", "VisionTransformer", "Matcher"])
def test_every_network_comes_back_from_its_file(kind: str, tmp_path: Path) -> None:
    network = small(kind)
    path = save_weights(network, tmp_path / "x.safetensors", {"precision": "float32", "licence": "MIT"})
    again = load_model(path)
    assert type(again) is type(network)
    assert config_of(again) == config_of(network)
    assert not again.training
    for key, value in network.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)
    assert read_metadata(path)["tensors_sha256"] == tensors_sha256(network.state_dict())


def written(tmp_path: Path, network: Any, record: dict[str, Any] | None = None, **tensors: torch.Tensor) -> Path:
    """A file of ours with other metadata or tensors than it should have."""
    path = tmp_path / "x.safetensors"
    said = {"architecture": type(network).__name__, "config": config_of(network)} | (record or {})
    save_file({**network.state_dict(), **tensors}, path, {"samepoint": json.dumps(said)})
    return path


def test_values_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    network = small("ResNet")
    values = network.conv1.weight.detach().clone()
    values[0, 0, 0, :2] = torch.tensor([float("nan"), float("-inf")])
    path = written(tmp_path, network, **{"conv1.weight": values})
    with pytest.raises(InputError, match=r"x\.safetensors: 2 of the 9408 values of conv1\.weight are NaN or infinite"):
        load_model(path)
    path = written(tmp_path, network, **{"conv1.weight": torch.full_like(values, 1e300, dtype=torch.float64)})
    with pytest.raises(InputError, match=r"9408 of the 9408 values of conv1\.weight are NaN or infinite"):
        load_model(path)


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.uint8, torch.int64, torch.float8_e4m3fn])
def test_weights_of_another_type_are_refused(dtype: torch.dtype, tmp_path: Path) -> None:
    network = small("ResNet")
    path = written(tmp_path, network, **{"conv1.weight": torch.zeros(64, 3, 7, 7).to(dtype)})
    with pytest.raises(InputError, match=r"conv1\.weight holds \w+, expected floating-point numbers"):
        load_model(path)
    path = written(tmp_path, network, **{"bn1.num_batches_tracked": torch.tensor(1.5)})
    with pytest.raises(InputError, match=r"bn1\.num_batches_tracked holds float32, expected int64"):
        load_model(path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_read(dtype: torch.dtype, tmp_path: Path) -> None:
    network = small("ResNet")
    path = written(tmp_path, network, **{"conv1.weight": network.conv1.weight.detach().to(dtype)})
    again = load_model(path).state_dict()["conv1.weight"]
    assert again.dtype == torch.float32
    torch.testing.assert_close(again, network.conv1.weight.detach(), atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("ResNet", {"depth": 19}, "does not describe a network"),
        ("ResNet", {"depth": "18"}, "does not describe a network"),
        ("ResNet", {"strides": [1, 2]}, "strides or a padding"),
        ("ResNet", {"outputs": [10**9]}, "does not describe a network"),
        ("ResNet", {"shape": 3}, "does not describe a network"),
        ("ResNet", {"strides": [0, 1, 1, 1]}, "strides or a padding"),
        ("ResNet", {"padding": "wrap"}, "strides or a padding"),
        ("ResNet", {"colour": "hsv"}, "the colour space 'hsv'; known: rgb, lab"),
        ("VisionTransformer", {"heads": 5}, "heads, patches or positions"),
        ("VisionTransformer", {"heads": 0}, "does not describe a network"),
        ("VisionTransformer", {"depth": 10**9}, "depth = 1000000000; at most 512"),
        ("VisionTransformer", {"width": 2**22}, r"does not fit the network: .*expected \(4194304, 3, 4, 4\)"),
        ("VisionTransformer", {"hidden": 2**62}, "does not describe a network"),
        ("PointNetwork", {"blocks": 10**9}, "blocks = 1000000000; at most 512"),
        ("PointNetwork", {"hidden": 2**24}, r"does not fit the network: .*expected \(16777216"),
        ("PointNetwork", {"window": 10**9}, "does not (describe a|fit the) network"),
        ("Matcher", {"side": -3}, "does not describe a network"),
    ],
)
def test_configurations_are_not_believed(kind: str, change: dict[str, Any], message: str, tmp_path: Path) -> None:
    network = small(kind)
    path = written(tmp_path, network, {"config": config_of(network) | change})
    with pytest.raises(InputError, match=r"x\.safetensors: .*" + message):
        load_model(path)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"architecture": "Perceptron"}, "unknown architecture 'Perceptron'"),
        ({"architecture": ["ResNet"]}, "unknown architecture"),
        ({"config": [1]}, "does not describe a network"),
        ({"input": {"colour": "rgb"}}, "says that its input is .*rgb.* but its network takes .*lab"),
    ],
)
def test_metadata_are_not_believed(record: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = written(tmp_path, small("ResNet"), record)
    with pytest.raises(InputError, match=r"x\.safetensors: .*" + message):
        load_model(path)


@pytest.mark.parametrize("text", ["", "[1]", "3", "{", "[" * 100_000])
def test_damaged_metadata_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(1)}, path, {"samepoint": text})
    with pytest.raises(InputError, match=r"x\.safetensors: its samepoint metadata is damaged"):
        load_model(path)


def test_other_outputs_may_be_asked_for_as_far_as_the_file_goes(tmp_path: Path) -> None:
    network = ResNet(18, outputs=(2,))
    path = save_weights(network, tmp_path / "x.safetensors", {})
    assert load_model(path, (1,)).channels == (64,)
    with pytest.raises(InputError, match=r"x\.safetensors: does not fit the network: missing layer3\."):
        load_model(path, (3,))
    path = save_weights(small("PointNetwork"), path, {})
    with pytest.raises(InputError, match="outputs of a samepoint model cannot be chosen"):
        load_model(path, (1,))


def test_what_a_network_is_fed_is_written_as_it_is_done() -> None:
    frames = torch.full((1, 2, 2, 3), 128, dtype=torch.uint8)
    network = ResNet(18)
    said = input_of(network)
    by_hand = (128 / 255 - torch.tensor(said["mean"])) / torch.tensor(said["std"])
    torch.testing.assert_close(network.preprocess(frames)[0, :, 0, 0], by_hand)
    assert input_of(make("ResNet", {"colour": "lab"}))["colour"] == "lab"
