"""Vision transformers of the DINO family, under timm's names and DINOv2's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from samepoint.errors import InputError
from samepoint.models.convert.file import convert_file
from samepoint.models.convert.kind import Choices
from samepoint.models.convert.table import convert
from samepoint.models.features import load_features
from samepoint.models.verify import verify
from samepoint.models.vit import VisionTransformer
from samepoint.models.weights import load_model, read_tensors
from tests.shared import shared_path


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    torch.manual_seed(0)
    network = VisionTransformer(64, 3, 1, 32, patch=8, grid=4)
    return {**network.state_dict(), "mask_token": torch.zeros(1, 64)}


def test_timms_names_are_ours(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    source = tmp_path / "vit.pth"
    torch.save({"teacher": {f"backbone.{key}": value for key, value in tensors.items()}, "epoch": 3}, source)
    done = convert_file(source, tmp_path / "vit.safetensors", "timm", choices=Choices((0, 2)), licence="Apache-2.0")
    assert done.fitted.ignored == {"backbone.mask_token": "stands in for masked patches, in training only"}
    network = load_model(done.output)
    assert isinstance(network, VisionTransformer)
    assert network.outputs == (0, 2)
    for key, value in network.state_dict().items():
        assert torch.equal(value, tensors[key])
    # All blocks are in the file, so that others can still be asked for.
    assert load_features(done.output, (1,)).outputs == (1,)
    with pytest.raises(InputError, match=r"vit\.safetensors: blocks to output: expected some of 0 to 2, got \[3\]"):
        load_features(done.output, (3,))


@pytest.mark.parametrize("kind", ["timm", "dinov2"])
def test_the_shared_transformer_is_converted_and_verified(kind: str, tmp_path: Path) -> None:
    source = shared_path("weights", "dinov2_vits14.safetensors")
    output = convert_file(source, tmp_path / "out.safetensors", kind).output
    given, kept = read_tensors(source), read_tensors(output)
    assert given.keys() == kept.keys()
    assert all(torch.equal(given[key].float(), kept[key]) for key in given)
    found = verify(output)
    assert (found.checksum, found.tensors) == ("metadata", len(given))
    assert found.deviation is not None
    assert found.deviation < 1e-4


def test_chunks_of_blocks_are_joined_and_heads_of_the_training_told(tensors: dict[str, Tensor]) -> None:
    chunked = {}
    for key, value in tensors.items():
        parts = key.split(".")
        name = ".".join(["blocks", "01"[int(parts[1]) > 1], *parts[1:]]) if parts[0] == "blocks" else key
        chunked[f"backbone.{name}"] = value
    head = {"dino_head.mlp.0.weight": torch.zeros(2, 2)}
    done = convert({**chunked, **head}, "dinov2", "x.pth")
    assert done.ignored["dino_head.mlp.0.weight"] == "a head of the training"
    for key, value in done.network.state_dict().items():
        assert torch.equal(value, tensors[key])


def test_what_is_not_told_is_not_guessed(tensors: dict[str, Tensor]) -> None:
    with pytest.raises(InputError, match=r"as timm: .*unexpected head\.weight"):
        convert({**tensors, "head.weight": torch.zeros(10, 64)}, "timm", "x.pth")
    with pytest.raises(InputError, match=r"unexpected register_tokens"):
        convert({**tensors, "register_tokens": torch.zeros(1, 4, 64)}, "dinov2", "x.pth")
    bare = {key: value for key, value in tensors.items() if ".ls" not in key}
    convert(bare, "timm", "x.pth")  # DINO, MAE
    with pytest.raises(InputError, match=r"DINOv2's blocks have LayerScale"):
        convert(bare, "dinov2", "x.pth")


def test_sizes_that_are_claimed_by_names_alone_take_no_memory(tensors: dict[str, Tensor]) -> None:
    huge = {**tensors, "patch_embed.proj.weight": torch.zeros(2**26, 0, 8, 8)}
    with pytest.raises(InputError, match=r"does not fit the network"):
        convert(huge, "timm", "x.pth")
    deep = {**tensors, **{f"blocks.{n}.norm1.bias": torch.zeros(64) for n in range(1000)}}
    with pytest.raises(InputError, match=r"1000 blocks"):
        convert(deep, "timm", "x.pth")
