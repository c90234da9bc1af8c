"""Backbones of transformers: tiny random ones in folders, and DINOv2 against our own on real weights."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import samepoint as sp
from samepoint.errors import InputError, MissingExtraError
from samepoint.geometry import Lattice
from samepoint.matching.features import match_features
from samepoint.models.features import FeatureNetwork, load_features
from samepoint.models.transformers_backbone import TransformersBackbone, load_backbone
from samepoint.models.vit import VisionTransformer
from samepoint.models.weights import load_strictly, read_tensors
from samepoint.tracking import MaskSettings
from samepoint.training.config import TeacherConfig
from samepoint.training.teacher import load_teacher
from tests.models.hub_server import Hub
from tests.shared import shared_path

transformers = pytest.importorskip("transformers")
WIDTHS = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
TOKENS = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}


def config(kind: str) -> Any:
    match kind:
        case "dinov2":
            return transformers.Dinov2Config(**TOKENS, image_size=28, patch_size=7, mlp_ratio=2)
        case "registers":
            return transformers.Dinov2WithRegistersConfig(**TOKENS, image_size=28, patch_size=7, mlp_ratio=2)
        case "dinov3":
            return transformers.DINOv3ViTConfig(
                **TOKENS, intermediate_size=64, image_size=32, patch_size=8, num_register_tokens=2
            )
        case "vit":
            return transformers.ViTConfig(**TOKENS, intermediate_size=64, image_size=32, patch_size=8)
        case "dinov3-convnext":
            return transformers.DINOv3ConvNextConfig(**WIDTHS)
        case "convnext":
            return transformers.ConvNextConfig(**WIDTHS)
        case "resnet":
            return transformers.ResNetConfig(embedding_size=8, layer_type="basic", **WIDTHS)
    raise ValueError(kind)


def model(kind: str, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    built: torch.nn.Module = transformers.AutoModel.from_config(config(kind)).eval()
    with torch.no_grad():
        for value in built.parameters():
            value.add_(0.05 * torch.randn(value.shape))
    return built


def saved(kind: str, folder: Path) -> str:
    transformers.utils.logging.disable_progress_bar()
    model(kind).save_pretrained(folder)  # type: ignore[operator]
    return f"hf:{folder}"


PATCHES = {"dinov2": 7, "registers": 7, "dinov3": 8, "vit": 8}
STAGES = {"dinov3-convnext": 8.0, "convnext": 8.0, "resnet": 0.5}


@pytest.mark.parametrize("kind", list(PATCHES))
def test_transformers(kind: str, tmp_path: Path) -> None:
    loaded = load_features(saved(kind, tmp_path), (2, 0))
    network: FeatureNetwork = loaded.network
    patch = PATCHES[kind]
    assert network.lattices == (Lattice(patch, patch / 2),) * 2
    assert (network.channels, network.colour) == ((32, 32), "rgb")
    assert loaded.identity()["outputs"] == [2, 0]
    assert len(loaded.sha256 or "") == 64
    x = torch.randn(2, 3, 6 * patch, 4 * patch)
    with torch.inference_mode():
        last, first = network.features(x)
        again = model(kind)
        free = {"interpolate_pos_encoding": True} if kind == "vit" else {}
        result = again(x, output_hidden_states=True, **free)
    # The last block as the model itself gives it: its tokens from the end, in raster order.
    expected = result.last_hidden_state[:, -24:].reshape(2, 6, 4, 32).permute(0, 3, 1, 2)
    torch.testing.assert_close(last, expected)
    norm = again.norm if kind == "dinov3" else again.layernorm
    expected = norm(result.hidden_states[1][:, -24:]).reshape(2, 6, 4, 32).permute(0, 3, 1, 2)
    torch.testing.assert_close(first, expected)
    assert load_features(f"hf:{tmp_path}").outputs == (1,)


@pytest.mark.parametrize("kind", list(STAGES))
def test_convolutions(kind: str, tmp_path: Path) -> None:
    loaded = load_features(saved(kind, tmp_path), (2, 3))
    network: FeatureNetwork = loaded.network
    offset = STAGES[kind]
    assert network.lattices == (Lattice(16, offset), Lattice(8, offset / 2 if offset > 1 else offset))
    assert network.channels == (24, 16)
    x = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        coarse, fine = network.features(x)
        hidden = model(kind)(x, output_hidden_states=True).hidden_states
    torch.testing.assert_close(coarse, hidden[3])
    torch.testing.assert_close(fine, hidden[2])
    assert load_features(f"hf:{tmp_path}").outputs == (3,)


@pytest.mark.parametrize("kind", ["convnext", "resnet"])
def test_a_cell_lies_in_the_middle_of_what_it_sees(kind: str) -> None:
    network = TransformersBackbone(model(kind), (1,))
    (lattice,) = network.lattices
    x = torch.randn(1, 3, 96, 96, requires_grad=True)
    (level,) = network.features(x)
    row, column = 11, 13
    (gradient,) = torch.autograd.grad(level[0, :, row, column].pow(3).sum(), x)
    seen = torch.nonzero(gradient[0].abs().sum(0)).double()
    middle = (seen.min(0).values + seen.max(0).values + 1) / 2
    expected = lattice.to_pixels(torch.tensor([row, column], dtype=torch.float64))
    assert (middle - expected).abs().max() <= 0.5  # a dead unit at the border of what it sees moves this by a half


@pytest.mark.parametrize("kind", ["dinov2", "convnext"])
def test_other_sizes_are_continued_and_cells_stay_in_place(kind: str) -> None:
    network = TransformersBackbone(model(kind)).eval()
    step = network.lattices[0].stride
    x = torch.randn(1, 3, 3 * step - 2, 2 * step + 1)
    rows, columns = torch.arange(3 * step).clamp(max=x.shape[2] - 1), torch.arange(3 * step).clamp(max=x.shape[3] - 1)
    with torch.inference_mode():
        (got,) = network.features(x)
        (continued,) = network.features(x[:, :, rows][:, :, :, columns])
    assert got.shape[2:] == (3, 3)
    torch.testing.assert_close(got, continued)


def test_inputs_are_as_the_folder_says(tmp_path: Path) -> None:
    name = saved("resnet", tmp_path)
    frames = torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 1, 2, 1).expand(-1, -1, -1, 3)
    plain = load_features(name).network.preprocess(frames)
    assert plain[0, :, 0, 0].tolist() == pytest.approx([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225])
    file = tmp_path / "preprocessor_config.json"
    file.write_text(json.dumps({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}))
    assert load_features(name).network.preprocess(frames)[0, 0, 0].tolist() == [-2, 2]
    file.write_text(json.dumps({"image_mean": [0.5]}))
    with pytest.raises(InputError, match="a mean and a deviation of three numbers"):
        load_features(name)
    for text in ("{", "[1]"):
        file.write_text(text)
        with pytest.raises(InputError, match="not readable as a JSON object"):
            load_features(name)
    for said in (None, 0.5, {}, [0.5, None, 0.5], [0.5, math.nan, 0.5]):
        file.write_text(json.dumps({"image_mean": said}))
        with pytest.raises(InputError, match=r"preprocessor_config\.json: expected a mean and a deviation of three"):
            load_features(name)
    file.write_text(json.dumps({"image_std": [0, 0, 0]}))
    with pytest.raises(InputError, match=r"expected deviations above 0, got \[0, 0, 0\]"):
        load_features(name)
    file.write_text(json.dumps({"image_mean": [0.5, 0.5, 0.5], "do_normalize": False}))
    assert load_features(name).network.preprocess(frames)[0, 0, 0].tolist() == [0, 1]


def test_it_tracks_segments_matches_and_teaches(tmp_path: Path) -> None:
    name = saved("dinov2", tmp_path)
    rng = np.random.default_rng(0)
    frames = np.repeat(rng.integers(0, 256, (1, 70, 84, 3), dtype=np.uint8), 3, axis=0)
    tracks = sp.track(frames, sp.Queries.at([(31.5, 24.5)]), model=name, short_side=None)
    np.testing.assert_allclose(tracks.xy[0, -1], [31.5, 24.5], atol=0.5)  # nothing moves
    mask = np.zeros((70, 84), np.uint8)
    mask[14:42, 21:49] = 1
    masks = sp.segment(frames, mask, model=name, settings=MaskSettings(strides=(7,)))
    assert (masks.labels[-1] == mask).mean() > 0.9
    found, _ = match_features(load_features(name).network, frames[0], frames[1], [[31.5, 24.5]])
    assert found.shape == (1, 2)
    teacher = load_teacher(TeacherConfig(model=name, outputs=(0,)))
    assert teacher is not None
    assert teacher(torch.from_numpy(frames[:1]), Lattice(14, 7.0), (5, 6)).shape == (1, 32, 5, 6)


def test_a_repository_of_the_hub(hub: Hub, tmp_path: Path) -> None:
    saved("vit", tmp_path / "saved")
    files = {path.name: path.read_bytes() for path in (tmp_path / "saved").iterdir()}
    hub.repositories["owner/vit"] = {**files, "flax_model.msgpack": b"not wanted"}
    assert load_features("hf:owner/vit").network.channels == (32,)
    assert not any("msgpack" in each for each in hub.asked)


def test_what_is_refused(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    name = saved("convnext", tmp_path / "good")
    for outputs in ((5,), (0,), ()):
        with pytest.raises(InputError, match=r"good: stages to output: expected some of 1 to 4"):
            load_features(name, outputs)
    with pytest.raises(InputError, match="neither a folder nor a repository"):
        load_features("hf:nowhere")
    with pytest.raises(InputError, match="owner/none: no file, and cannot be had from the Hub"):
        load_features("hf:owner/none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"expected config\.json and safetensors"):
        load_features(f"hf:{tmp_path / 'empty'}")
    refused = {
        "mae": (transformers.ViTMAEConfig(**TOKENS, intermediate_size=64, image_size=32, patch_size=8), "tokens for"),
        "mobile": (transformers.MobileNetV2Config(depth_multiplier=0.25), "where its cells lie cannot be told"),
        "bert": (transformers.BertConfig(**TOKENS, intermediate_size=8, vocab_size=9), "does not read pictures"),
    }
    for kind, (settings, message) in refused.items():
        transformers.AutoModel.from_config(settings).save_pretrained(tmp_path / kind)
        with pytest.raises(InputError, match=message):
            load_features(f"hf:{tmp_path / kind}")
    # Weights of another model: nothing is left as it was drawn.
    (tmp_path / "good" / "model.safetensors").write_bytes((tmp_path / "mae" / "model.safetensors").read_bytes())
    with pytest.raises(InputError, match="its weights do not fill ConvNextModel: "):
        load_features(name)
    (tmp_path / "good" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(InputError, match="cannot be read by transformers"):
        load_features(name)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"samepoint\[hf\]"):
        load_features(name)


def transformers_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """timm's names of DINOv2 as those of the files that are published for transformers."""
    renamed = {
        "cls_token": "embeddings.cls_token",
        "pos_embed": "embeddings.position_embeddings",
        "mask_token": "embeddings.mask_token",
        "patch_embed.proj": "embeddings.patch_embeddings.projection",
        "norm": "layernorm",
        "attn.proj": "attention.output.dense",
        "ls1.gamma": "layer_scale1.lambda1",
        "ls2.gamma": "layer_scale2.lambda1",
    }
    result: dict[str, Tensor] = {}
    for key, value in tensors.items():
        parts = key.split(".")
        start, rest = (".".join(parts[:2]).replace("blocks", "encoder.layer") + ".", parts[2:])
        if parts[0] != "blocks":
            start, rest = "", parts
        name = ".".join(rest)
        if name.startswith("attn.qkv."):
            for piece, word in zip(value.chunk(3), ("query", "key", "value"), strict=True):
                result[f"{start}attention.attention.{word}.{rest[-1]}"] = piece.contiguous()
            continue
        for old, new in renamed.items():
            if name == old or name.startswith(old + "."):
                name = new + name[len(old) :]
                break
        result[start + name] = value
    return result


def test_dinov2_is_our_own_on_real_weights(tmp_path: Path) -> None:
    tensors = read_tensors(shared_path("weights", "dinov2_vits14.safetensors"))
    ours = VisionTransformer.shaped_like(tensors, (9, 11))
    load_strictly(ours, tensors, "dinov2")
    settings = transformers.Dinov2Config(
        hidden_size=384, num_hidden_layers=12, num_attention_heads=6, image_size=518, patch_size=14
    )
    settings.save_pretrained(tmp_path)
    save_file(transformers_names(tensors), tmp_path / "model.safetensors", {"format": "pt"})
    adapter, _ = load_backbone(f"hf:{tmp_path}", (9, 11))
    assert adapter.lattices == ours.lattices
    frames = torch.randint(0, 256, (1, 518, 518, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        x = ours.preprocess(frames)
        torch.testing.assert_close(adapter.preprocess(frames), x)
        for mine, other in zip(ours.eval().features(x), adapter.features(x), strict=True):
            assert mine.shape == (1, 384, 37, 37)
            torch.testing.assert_close(other, mine, atol=1e-3, rtol=1e-4)
