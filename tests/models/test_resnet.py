"""The published encoder, to the last constant."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from samepoint.errors import InputError
from samepoint.models.colour import rgb_to_lab
from samepoint.models.convert.table import convert
from samepoint.models.fitting import filled
from samepoint.models.resnet import BasicBlock, Bottleneck, ResNet, initialise, leave_out_idle
from samepoint.models.weights import load_model, load_strictly, save_weights
from tests.models.golden import golden_tensors
from tests.shared import shared_path


@pytest.fixture(scope="module")
def fgvc() -> ResNet:
    network = convert(golden_tensors(shared_path("golden", "fgvc_resnet18.keys.json")), "fgvc", "golden").network
    assert isinstance(network, ResNet)
    return network


def test_fgvc_has_the_published_shapes_and_parameter_counts() -> None:
    network = ResNet.fgvc()
    with torch.inference_mode():
        (features,) = network.eval().features(torch.zeros(1, 3, 64, 64))
    assert features.shape == (1, 256, 32, 32)
    assert network.lattices[0].stride == 2

    def count(*names: str) -> int:
        return sum(p.numel() for name in names for p in getattr(network, name).parameters())

    assert count("conv1", "bn1") == 9_536
    assert count("layer1") == 147_968
    assert count("layer2") == 525_568
    assert count("layer3") == 2_099_712
    assert sum(p.numel() for p in network.parameters()) == 2_782_784


def test_fgvc_features_equal_the_golden_ones(fgvc: ResNet) -> None:
    golden = np.load(shared_path("golden", "fgvc_resnet18.npz"))
    lab = torch.from_numpy(golden["input_lab"])
    lab = lab.permute(0, 3, 1, 2) if lab.shape[-1] == 3 else lab
    with torch.inference_mode():
        features = fgvc.features(lab[:2])[0].numpy()
    assert np.abs(features - golden["features"]).max() <= 1e-4 * np.abs(golden["features"]).max()


def test_preprocess_equals_the_golden_lab_up_to_the_tables_of_the_published_conversion(fgvc: ResNet) -> None:
    golden = np.load(shared_path("golden", "fgvc_resnet18.npz"))
    lab = torch.from_numpy(golden["input_lab"])
    lab = lab.permute(0, 3, 1, 2) if lab.shape[-1] == 3 else lab
    mine = fgvc.preprocess(torch.from_numpy(golden["frames_rgb"]))
    assert (mine - lab).abs().max() < 0.2 / 50


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((255, 0, 0), (53.2406, 80.0942, 67.2015)),
        ((0, 255, 0), (87.7351, -86.1813, 83.1775)),
        ((0, 0, 255), (32.2957, 79.1870, -107.8617)),
        ((128, 128, 128), (53.5850, 0, 0)),
        ((200, 120, 40), (57.9123, 25.2969, 54.0811)),
    ],
)
def test_lab_of_known_colours(rgb: tuple[int, ...], lab: tuple[float, ...]) -> None:
    got = rgb_to_lab(torch.tensor(rgb, dtype=torch.float64) / 255)
    torch.testing.assert_close(got, torch.tensor(lab, dtype=torch.float64), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("depth", "channels"), [(18, (512, 256)), (50, (2048, 1024))])
def test_standard_resnets_return_the_stages_asked_for_coarse_to_fine(depth: int, channels: tuple[int, int]) -> None:
    network = ResNet(depth, outputs=(3, 4)).eval()
    with torch.inference_mode():
        maps = network.features(torch.zeros(1, 3, 64, 64))
    assert [tuple(m.shape[1:]) for m in maps] == [(channels[0], 2, 2), (channels[1], 4, 4)]
    assert [lattice.stride for lattice in network.lattices] == [32, 16]
    assert "layer2.0.downsample.1.running_mean" in network.state_dict()


@pytest.mark.parametrize("block", [BasicBlock(8, 4, 2, "gelu"), Bottleneck(8, 4, 2, "gelu")], ids=["two", "three"])
def test_a_block_with_gelu_by_hand(block: BasicBlock | Bottleneck) -> None:
    torch.manual_seed(0)
    block = block.eval()
    x = torch.randn(2, 8, 6, 6)
    with torch.no_grad():
        y = F.gelu(block.bn1(block.conv1(x)))
        y = block.bn2(block.conv2(y))
        if isinstance(block, Bottleneck):
            y = block.bn3(block.conv3(F.gelu(y)))
        expected = F.gelu(y + block.downsample(x))
        torch.testing.assert_close(block(x), expected)


def test_weights_say_their_activation_and_old_ones_have_relu(tmp_path: Path) -> None:
    torch.manual_seed(0)
    gelu = ResNet(18, outputs=(1,), activation="gelu").eval()
    save_weights(gelu, tmp_path / "gelu.safetensors", {"precision": "float32"})
    loaded = load_model(tmp_path / "gelu.safetensors")
    assert isinstance(loaded, ResNet)
    x = torch.randn(1, 3, 32, 32)
    old = {key: value for key, value in gelu.config.items() if key != "activation"}
    relu = filled("ResNet", old, gelu.state_dict(), "old file")
    assert isinstance(relu, ResNet)
    assert (loaded.activation, relu.activation) == ("gelu", "relu")
    with torch.no_grad():
        torch.testing.assert_close(loaded(x)[0], gelu(x)[0])
        assert bool((relu(x)[0] >= 0).all())
        assert bool((gelu(x)[0] < 0).any())
    with pytest.raises(InputError, match="does not describe a network"):
        filled("ResNet", {**old, "activation": "sine"}, gelu.state_dict(), "odd file")


def test_a_missing_or_misshapen_tensor_is_named() -> None:
    tensors = dict(ResNet.fgvc().state_dict())
    del tensors["bn1.bias"]
    tensors["conv1.weight"] = torch.zeros(64, 3, 3, 3)
    tensors["fc.weight"] = torch.zeros(1)
    with pytest.raises(InputError, match=r"x\.pt: .*missing bn1\.bias.*unexpected fc\.weight.*conv1\.weight has shape"):
        load_strictly(ResNet.fgvc(), tensors, "x.pt")


@pytest.mark.parametrize("inputs", [8, 24])
def test_strided_projections_have_the_right_gradient_whatever_their_width(inputs: int) -> None:
    """Narrow ones met a library's fault: an odd number of images, channels last, on several threads."""
    torch.manual_seed(0)
    block = BasicBlock(inputs, 12, 2).to(memory_format=torch.channels_last)
    x = torch.randn(3, inputs, 16, 16).contiguous(memory_format=torch.channels_last)
    exact = copy.deepcopy(block).double()
    torch.testing.assert_close(block(x), exact(x.double()).float(), atol=1e-4, rtol=1e-4)
    for _ in range(20):
        block.zero_grad()
        block(x).square().sum().backward()
    exact(x.double()).square().sum().backward()
    for value, expected in zip(block.parameters(), exact.parameters(), strict=True):
        assert value.grad is not None
        assert expected.grad is not None
        torch.testing.assert_close(value.grad, expected.grad.float(), atol=1e-2, rtol=1e-3)


@pytest.mark.parametrize("depth", [18, 50])
def test_blocks_that_add_nothing_are_left_out_and_others_are_not(depth: int) -> None:
    torch.manual_seed(0)
    network = ResNet(depth, outputs=(1, 4)).eval()
    initialise(network)
    used = network.layer2[0]  # type: ignore[index]
    last = used.bn2 if isinstance(used, BasicBlock) else used.bn3  # type: ignore[union-attr]
    torch.nn.init.ones_(last.weight)  # type: ignore[union-attr, arg-type]
    x = torch.randn(1, 3, 48, 64)
    with torch.inference_mode():
        whole = network.features(x)
        leave_out_idle(network)
        assert [block.idle for block in network.modules() if isinstance(block, (BasicBlock, Bottleneck))].count(
            False
        ) == 1
        for before, after in zip(whole, network.features(x), strict=True):
            assert torch.equal(before, after)
