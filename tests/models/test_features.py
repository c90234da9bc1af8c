"""Whatever weights a user names: recognised by their keys, or refused with them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from samepoint.errors import InputError
from samepoint.models.convert.fgvc import plain_name
from samepoint.models.features import UNTRAINED, FeatureNetwork, has_our_metadata, load_features
from samepoint.models.network import PointNetwork
from samepoint.models.resnet import ResNet, initialise
from samepoint.models.vit import VisionTransformer
from samepoint.models.weights import sha256
from tests.models.golden import golden_tensors
from tests.shared import shared_path


@pytest.fixture(scope="module")
def resnet() -> dict[str, Tensor]:
    """A whole torchvision-like checkpoint of depth 18, classifier and all, random."""
    torch.manual_seed(0)
    network = ResNet(18)
    initialise(network)
    return {**network.state_dict(), "fc.weight": torch.zeros(10, 512), "fc.bias": torch.zeros(10)}


def as_fgvc(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Plain keys as FGVC writes them."""
    result = {}
    for key, value in tensors.items():
        parts = key.split(".")
        if parts[0] == "fc":
            continue
        if "downsample" in parts:
            parts[-2] = "conv" if parts[-2] == "0" else "bn"
        elif parts[-2].startswith("bn"):
            parts[-2:-1] = [parts[-2].replace("bn", "conv"), "bn"]
        else:
            parts.insert(-1, "conv")
        result[f"backbone.{'.'.join(parts)}"] = value
    return result


def check_is_usable(network: FeatureNetwork, size: tuple[int, int] = (32, 48)) -> None:
    """Maps have the sizes that lattices and channels promise."""
    frames = torch.randint(0, 256, (1, *size, 3), dtype=torch.uint8)
    with torch.inference_mode():
        maps = network.features(network.preprocess(frames))
    for level, lattice, channels in zip(maps, network.lattices, network.channels, strict=True):
        assert level.shape == (1, channels, *(-(-side // lattice.stride) for side in size))


def test_our_own_networks_load_by_name_and_by_file(tmp_path: Path) -> None:
    named = load_features("samepoint-base")
    assert isinstance(named.network, PointNetwork)
    assert len(named.sha256 or "") == 64
    assert named.identity() == {"name": "samepoint-base", "sha256": named.sha256}
    check_is_usable(named.network)
    record = {"architecture": "PointNetwork", "config": named.network.config.model_dump(mode="json")}
    path = tmp_path / "copy.weights"  # told by its content
    save_file(named.network.state_dict(), path, {"samepoint": json.dumps(record)})
    assert has_our_metadata(path)
    again = load_features(path)
    assert isinstance(again.network, PointNetwork)
    assert again.name == "copy.weights"
    with pytest.raises(InputError, match="outputs of a samepoint model cannot be chosen"):
        load_features(path, (1,))


def test_the_floor_has_fgvcs_configuration_and_the_same_weights_every_time() -> None:
    before = torch.get_rng_state()
    first, second = load_features(UNTRAINED), load_features(UNTRAINED)
    assert torch.equal(before, torch.get_rng_state())
    assert first.identity() == {"name": "fgvc-untrained", "seed": 0, "outputs": [3]}
    assert isinstance(first.network, ResNet)
    assert (first.network.colour, first.network.lattices[0].stride, first.network.channels) == ("lab", 2, (256,))
    assert first.network.state_dict().keys() == ResNet.fgvc().state_dict().keys()
    for key, value in first.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[key])
    # Kaiming, fan out: as training from scratch starts.
    assert float(first.network.conv1.weight.detach().double().std()) == pytest.approx((2 / (64 * 49)) ** 0.5, rel=0.05)
    check_is_usable(first.network)


@pytest.mark.parametrize("kind", ["safetensors", "pt", "wrapped", "parallel", "old"])
def test_torchvision_keys_are_recognised(resnet: dict[str, Tensor], kind: str, tmp_path: Path) -> None:
    path = tmp_path / ("r18.safetensors" if kind == "safetensors" else "r18.pth")
    if kind == "safetensors":
        save_file(resnet, path, {"format": "pt"})
    elif kind == "wrapped":
        torch.save({"epoch": 3, "state_dict": {f"backbone.{key}": value for key, value in resnet.items()}}, path)
    elif kind == "parallel":
        torch.save({"model": {f"module.{key}": torch.nn.Parameter(v, False) for key, v in resnet.items()}}, path)
    elif kind == "old":
        torch.save({key: value for key, value in resnet.items() if "num_batches" not in key}, path)
    else:
        torch.save(resnet, path)
    loaded = load_features(path, (2, 4))
    network = loaded.network
    assert isinstance(network, ResNet)
    assert not network.training
    assert (network.outputs, network.colour, network.pool) == ((4, 2), "rgb", True)
    assert loaded.identity() == {"name": path.name, "sha256": sha256(path), "outputs": [4, 2]}
    for key, value in network.state_dict().items():
        assert torch.equal(value, resnet[key])
    assert load_features(path).outputs == (3,)
    check_is_usable(network, (64, 96))


def test_depths_are_told_apart(tmp_path: Path) -> None:
    for depth in (34, 50):
        path = tmp_path / f"{depth}.pt"
        torch.save(ResNet(depth).state_dict(), path)
        assert load_features(path, (1,)).network.channels == ((64,) if depth == 34 else (256,))
    tensors = ResNet(18, outputs=(3,)).state_dict()
    torch.save({key: value for key, value in tensors.items() if not key.startswith("layer2.1.")}, path)
    with pytest.raises(InputError, match=r"50\.pt: .*\(2, 1, 2\) blocks; expected a ResNet"):
        load_features(path)


@pytest.mark.parametrize("prefix", ["backbone.", "module.backbone.", "encoder.", ""])
def test_fgvcs_keys_are_recognised(resnet: dict[str, Tensor], prefix: str, tmp_path: Path) -> None:
    path = tmp_path / "fgvc.pth"
    tensors = {prefix + key.removeprefix("backbone."): value for key, value in as_fgvc(resnet).items()}
    others = {"teacher.conv1.conv.weight": torch.zeros(1), "corr_discriminator.cls_layer.1.bias": torch.zeros(2)}
    torch.save({"meta": {"iter": 7}, "state_dict": {**tensors, **others}, "optimizer": {"state": {}}}, path)
    network = load_features(path).network
    assert isinstance(network, ResNet)
    assert (network.colour, network.pool, network.lattices[0].stride) == ("lab", False, 2)
    for key, value in network.state_dict().items():
        assert torch.equal(value, resnet[key])


def test_spa_then_temps_resnet50_has_stride_8(tmp_path: Path) -> None:
    path = tmp_path / "stt.pth"
    tensors = as_fgvc(dict(ResNet(50).state_dict()))
    torch.save({"state_dict": tensors}, path)
    network = load_features(path).network
    assert (network.colour, network.lattices[0].stride, network.channels) == ("lab", 8, (1024,))


def test_fgvcs_golden_checkpoint_loads(tmp_path: Path) -> None:
    tensors = golden_tensors(shared_path("golden", "fgvc_resnet18.keys.json"))
    path = tmp_path / "fgvc.pth"
    torch.save({"state_dict": tensors}, path)
    expected = {plain_name(key.removeprefix("backbone.")): value for key, value in tensors.items()}
    for key, value in load_features(path).network.state_dict().items():
        assert torch.equal(value, expected[key])


def test_transformers_are_recognised(tmp_path: Path) -> None:
    torch.manual_seed(0)
    saved = VisionTransformer(64, 3, 1, 32, patch=8, grid=4).state_dict()
    path = tmp_path / "vit.pt"
    torch.save({**saved, "mask_token": torch.zeros(1, 64)}, path)
    loaded = load_features(path)
    assert isinstance(loaded.network, VisionTransformer)
    assert loaded.outputs == (1,)
    for key, value in loaded.network.state_dict().items():
        assert torch.equal(value, saved[key])
    check_is_usable(loaded.network, (24, 40))
    with pytest.raises(InputError, match=r"vit\.pt: as timm: blocks to output: expected some of 0 to 2, got \[3\]"):
        load_features(path, (3,))
    # A classifier's pictures may have been normalised otherwise, so its head is not dropped in silence.
    torch.save({**saved, "head.weight": torch.zeros(10, 64)}, path)
    with pytest.raises(InputError, match=r"unexpected head\.weight"):
        load_features(path)


def test_the_shared_transformer_loads_by_its_path() -> None:
    path = shared_path("weights", "dinov2_vits14.safetensors")
    loaded = load_features(path)
    assert isinstance(loaded.network, VisionTransformer)
    assert loaded.identity() == {"name": path.name, "sha256": sha256(path), "outputs": [10]}


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("evil"),)


def test_unusable_files_are_refused_with_the_reason(tmp_path: Path, resnet: dict[str, Tensor]) -> None:
    with pytest.raises(InputError, match=r"unknown model 'fgvc-untraind'.*did you mean fgvc-untrained\?"):
        load_features("fgvc-untraind")
    with pytest.raises(InputError, match=r"known: samepoint-base, samepoint-match, samepoint-tiny, fgvc-untrained"):
        load_features("zzz")
    path = tmp_path / "x.pth"
    torch.save({f"gru.{n}.weight": torch.zeros(1) for n in range(7)}, path)
    with pytest.raises(InputError, match=r"x\.pth: .*keys seen: gru\.0\.weight, .* and 2 more"):
        load_features(path)
    torch.save([torch.zeros(2)], path)
    with pytest.raises(InputError, match=r"x\.pth: expected a dictionary of tensors, got list"):
        load_features(path)
    torch.save({}, path)
    with pytest.raises(InputError, match=r"x\.pth: .*keys seen: none"):
        load_features(path)
    path.write_bytes(pickle.dumps(_Evil()))
    with pytest.raises(InputError, match=r"x\.pth: its pickle uses \w+, which"):
        load_features(path)
    assert not Path("evil").exists()
    torch.save({**resnet, "conv1.weight": torch.zeros(64, 3, 3, 3)}, path)
    with pytest.raises(InputError, match=r"x\.pth: .*conv1\.weight has shape \(64, 3, 3, 3\)"):
        load_features(path)
    with pytest.raises(
        InputError, match=r"x\.pth: as torchvision: stages to output: expected some of 1 to 4, got \[5\]"
    ):
        load_features(path, (5,))
    torch.save({**as_fgvc(resnet), "backbone.conv1.odd": torch.zeros(1)}, path)
    with pytest.raises(InputError, match=r"unexpected backbone\.conv1\.odd"):
        load_features(path)
    bad = tmp_path / "x.safetensors"
    bad.write_bytes(b"")
    with pytest.raises(InputError, match=r"x\.safetensors: not a readable safetensors file"):
        load_features(bad)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=64), st.integers(0, 1000), st.sampled_from([".pt", ".safetensors"]))
def test_damaged_files_are_refused(tmp_path: Path, noise: bytes, place: int, suffix: str) -> None:
    whole = tmp_path / f"whole{suffix}"
    tensors = {"patch_embed.proj.weight": torch.zeros(64, 3, 2, 2), "blocks.0.attn.qkv.weight": torch.zeros(1)}
    if not whole.exists():
        torch.save(tensors, whole) if suffix == ".pt" else save_file(tensors, whole)
    data = whole.read_bytes()
    path = tmp_path / f"damaged{suffix}"
    cut = place % len(data)
    path.write_bytes(data[:cut] + noise + data[cut + len(noise) :][: np.random.default_rng(place).integers(len(data))])
    with pytest.raises(InputError, match=r"damaged"):  # even whole it lacks too much
        load_features(path)
