"""CATs' and SSSCWEB's matcher: every published name, and golden correlations through a converted file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from samepoint.errors import InputError
from samepoint.models.convert.file import convert_file
from samepoint.models.convert.kind import Choices
from samepoint.models.convert.table import convert
from samepoint.models.features import load_features, load_network
from samepoint.models.hypercolumn import ResNetBackbone
from samepoint.models.matcher import Matcher, MatcherConfig
from samepoint.models.resnet import ResNet
from samepoint.models.verify import verify
from samepoint.models.weights import load_model
from tests.models.convert.published import expected, golden, training_file
from tests.shared import shared_path


def shapes(grid: int) -> dict[str, Tensor]:
    """Every published name with its shape, without memory."""
    published = json.loads(shared_path("golden", f"cats_resnet101_f{grid}.keys.json").read_text())["matcher"]
    one, whole = torch.zeros(1), torch.zeros((), dtype=torch.long)
    return {
        key: whole if key.endswith("num_batches_tracked") else one.expand(shape) for key, shape in published.items()
    }


@pytest.mark.parametrize("name", ["cats_resnet101_f16", "cats_resnet101_f24"])
def test_golden_correlations_and_flow_come_from_a_converted_file(name: str, tmp_path: Path) -> None:
    tensors = {f"module.{key}": value for key, value in golden(name).items()}
    source = training_file(tmp_path / "cats.pth", tensors)
    done = convert_file(source, tmp_path / "cats.safetensors", "ssscweb")
    source.unlink()
    assert done.ignored == {
        "coordinates of the soft-argmax, which are computed": 2,
        "past the last level, in stage 3": 60,
        "the classifier": 2,
        "never used": 20,
    }
    assert done.fitted.remark is None
    assert len(done.fitted.mapped) + 84 == len(tensors)
    values = expected(name)
    network = load_model(done.output)
    assert isinstance(network, Matcher)
    pictures = (torch.from_numpy(values[role])[None] for role in ("source_rgb", "target_rgb"))
    with torch.inference_mode():
        output = network(*(network.preprocess(picture) for picture in pictures))
    refined = values["refined_mean"]
    assert np.abs(output.refined.numpy() - refined).max() <= 1e-3 * refined.std()
    assert (np.abs(output.flow.numpy() - values["flow"]) <= 1e-2).mean() >= 0.99
    assert isinstance(load_network(done.output).network, Matcher)
    with pytest.raises(InputError, match=r"cats\.safetensors: is a matcher, which gives no maps"):
        load_features(done.output)
    if name.endswith("f16"):
        found = verify(done.output)
        assert found.deviation is not None
        assert found.deviation < 1e-4


@pytest.mark.parametrize(
    ("grid", "kind", "choices", "heads"), [(24, "ssscweb", None, 8), (16, "cats", Choices(heads=4), 4)]
)
def test_grid_and_heads(grid: int, kind: str, choices: Choices | None, heads: int) -> None:
    done = convert(shapes(grid), kind, "x.pth", choices)
    assert isinstance(done.network, Matcher)
    config = done.network.config
    assert (config.grid, config.aggregation.heads, config.aggregation.depth) == (grid, heads, 1)
    assert set(done.kept) == {"confidence.weight", "confidence.bias"}


def test_gelu_is_declared() -> None:
    """Nothing in a file tells: the same tensors are another network. What was converted before has ReLU."""
    done = convert(shapes(16), "cats", "x.pth", Choices(gelu=True))
    assert isinstance(done.network, Matcher)
    config = done.network.config
    assert config == MatcherConfig.published(16).model_copy(
        update={"backbone": ResNetBackbone(activation="gelu"), "aggregation": config.aggregation}
    )
    backbone = done.network.hypercolumn.network
    assert isinstance(backbone, ResNet)
    assert backbone.activation == "gelu"
    usual = convert(shapes(16), "cats", "x.pth").network
    assert isinstance(usual, Matcher)
    old = usual.config.model_dump(mode="json")
    assert old["backbone"].pop("activation") == "relu"
    assert MatcherConfig.model_validate(old) == usual.config
    with pytest.raises(InputError, match="gelu cannot be chosen for fgvc"):
        convert(golden("fgvc_resnet18"), "fgvc", "x.pth", Choices(gelu=True))


def test_heads_that_do_not_fit_and_other_levels_are_refused() -> None:
    tensors = shapes(24)
    with pytest.raises(InputError, match=r"as cats: aggregation: .*must be even and a multiple of heads 6"):
        convert(tensors, "cats", "x.pth")  # 704 channels
    fewer = {key: value for key, value in tensors.items() if not key.startswith("proj.7.")}
    with pytest.raises(InputError, match=r"expected positions of five dimensions and 8 levels, got .* and 7"):
        convert(fewer, "ssscweb", "x.pth")
    with pytest.raises(InputError, match="outputs cannot be chosen for ssscweb"):
        convert(tensors, "ssscweb", "x.pth", Choices((3,)))
    for heads in (0, -8):
        with pytest.raises(InputError, match=f"as ssscweb: heads must be 1 or more, got {heads}"):
            convert(tensors, "ssscweb", "x.pth", Choices(heads=heads))


def test_missing_and_strange_names_are_listed() -> None:
    tensors = shapes(16)
    del tensors["decoder.blocks.0.mlp2.fc1.bias"]
    tensors["decoder.gate"] = torch.zeros(1)
    with pytest.raises(InputError, match=r"missing aggregation\.blocks\.0\.mlp2\.fc1\.bias; unexpected decoder\.gate$"):
        convert(tensors, "ssscweb", "x.pth")


def test_a_published_matcher_has_to_be_converted_first(tmp_path: Path) -> None:
    torch.save(shapes(16), tmp_path / "m.pth")
    with pytest.raises(InputError, match=r"m\.pth: .*claims \d+ bytes"):  # shapes alone are no weights
        load_network(tmp_path / "m.pth")
    names = ("feature_extraction.backbone.conv1.weight", "decoder.pos_embed_x", "proj.0.weight")
    torch.save({name: torch.zeros(1) for name in names}, tmp_path / "m.pth")
    with pytest.raises(InputError, match=r"m\.pth: is a matcher, .* convert it first"):
        load_network(tmp_path / "m.pth")


def test_coordinates_that_were_trained_are_remarked_on() -> None:
    tensors = shapes(16) | {"y_normal": torch.linspace(-1, 1, 16), "x_normal": torch.linspace(-1, 1, 16) * 0.96}
    done = convert(tensors, "ssscweb", "x.pth")
    assert done.remark == "its soft-argmax coordinates were trained away from -1 to 1, by up to 0.040; ours are exact"
