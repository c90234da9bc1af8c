"""Levels of each backbone: where they are, how wide, and read on one grid without drift."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from samepoint.errors import InputError
from samepoint.geometry import Lattice
from samepoint.models.encoder import PyramidEncoder
from samepoint.models.features import load_features
from samepoint.models.hypercolumn import (
    Hypercolumn,
    PyramidBackbone,
    ResNetBackbone,
    VitBackbone,
    needed_outputs,
    read_on_grid,
)
from samepoint.models.matcher import Matcher, MatcherConfig
from samepoint.models.network import NetworkConfig, PointNetwork
from samepoint.models.resnet import ResNet
from samepoint.models.vit import VisionTransformer

SMALL = NetworkConfig(stem=8, widths=(8, 8, 8), blocks=1, pyramid=8, descriptors=(8, 12, 16, 20))
CONFIGS = [
    ResNetBackbone(depth=18, levels=(0, 2, 5)),
    ResNetBackbone(depth=50, levels=(8, 0, 13)),
    VitBackbone(width=64, depth=3, heads=1, hidden=16, positions=3, levels=(2, 0)),
    PyramidBackbone(network=SMALL, levels=(0, 3, 1)),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.kind}{config.levels}")
def test_levels_are_as_they_say(config: ResNetBackbone | VitBackbone | PyramidBackbone) -> None:
    columns = Hypercolumn(config).eval()
    with torch.no_grad():
        maps = columns(torch.randn(1, 3, 64, 64))
    assert len(maps) == len(config.levels)
    for level, lattice, channels in zip(maps, columns.lattices, columns.channels, strict=True):
        assert level.shape[1] == channels
        assert level.shape[2] == -(-64 // lattice.stride)


def test_resnet_levels_are_the_blocks_before_their_last_relu() -> None:
    torch.manual_seed(0)
    network = ResNet(18, outputs=(2, 1)).eval()
    columns = Hypercolumn(ResNetBackbone(depth=18, levels=(4, 2, 0))).eval()
    columns.use(network)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        second, first, stem = columns(x)
        expected = network.features(x)  # coarse to fine
    torch.testing.assert_close(F.relu(second), expected[0])
    torch.testing.assert_close(F.relu(first), expected[1])
    assert bool((first < 0).any())
    assert bool((stem >= 0).all())
    assert (columns.lattices, columns.channels) == ((Lattice(8), Lattice(4), Lattice(4)), (128, 64, 64))


def test_published_levels() -> None:
    with torch.device("meta"):
        columns = Hypercolumn(ResNetBackbone())
    assert columns.channels == (64, *(1024,) * 7)
    assert columns.lattices == (Lattice(4), *(Lattice(16),) * 7)


@pytest.mark.parametrize(
    ("depth", "channels"), [(18, (64, 256, 256)), (34, (64, *(256,) * 5)), (50, (64, *(1024,) * 5))]
)
def test_every_depth_has_levels_of_its_own(depth: int, channels: tuple[int, ...]) -> None:
    """As those of 101: the map after max pooling and blocks of stage 3, its last among them."""
    backbone = ResNetBackbone(depth=depth)
    with torch.device("meta"):
        columns = Matcher(MatcherConfig(backbone=backbone)).hypercolumn
    assert columns.channels == channels
    assert columns.lattices == (Lattice(4), *(Lattice(16),) * (len(channels) - 1))
    assert max(backbone.levels) == {18: 6, 34: 13, 50: 13}[depth]
    assert ResNetBackbone(depth=depth, levels=(1,)).levels == (1,)
    assert ResNetBackbone.model_validate(backbone.model_dump()) == backbone


def test_the_last_stage_is_loaded_where_a_level_needs_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = ResNet(18).eval()
    torch.save(whole.state_dict(), tmp_path / "resnet18.pth")
    config = ResNetBackbone(depth=18, levels=(0, 6, 8))
    columns = Hypercolumn(config).eval()
    with pytest.raises(
        InputError, match=r"level 8 lies in stage 4, this ResNet ends with stage 3; load it with outputs=\(4,\)"
    ):
        columns.use(load_features(tmp_path / "resnet18.pth").network)
    columns.use(load_features(tmp_path / "resnet18.pth", needed_outputs(config)).network)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(F.relu(columns(x)[2]), whole.features(x)[0])
    assert needed_outputs(ResNetBackbone()) == (3,)
    assert needed_outputs(VitBackbone()) is None


def test_levels_with_gelu_are_the_blocks_before_it() -> None:
    torch.manual_seed(0)
    network = ResNet(18, outputs=(2, 1), activation="gelu").eval()
    columns = Hypercolumn(ResNetBackbone(depth=18, levels=(4, 2, 0), activation="gelu")).eval()
    columns.use(network)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        second, first, stem = columns(x)
        expected = network.features(x)
        stem_by_hand = F.max_pool2d(F.gelu(network.bn1(network.conv1(x))), 3, 2, 1)
    torch.testing.assert_close(F.gelu(second), expected[0])
    torch.testing.assert_close(F.gelu(first), expected[1])
    torch.testing.assert_close(stem, stem_by_hand)


def test_our_encoder_is_taken_out_of_the_network() -> None:
    torch.manual_seed(0)
    network = PointNetwork(SMALL).eval()
    columns = Hypercolumn(PyramidBackbone(network=SMALL, levels=(2,))).eval()
    columns.use(network)
    assert isinstance(columns.network, PyramidEncoder)
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(columns(x)[0], network.features(x)[2])


@pytest.mark.parametrize("offset", [0.5, 7.0])
@pytest.mark.parametrize("grid", [(4, 6), (9, 5)])
def test_reading_a_ramp_gives_where_cells_lie(offset: float, grid: tuple[int, int]) -> None:
    """A map that holds its cells' own places holds the grid's centres afterwards, between its outer cells."""
    lattice, size = Lattice(14, offset), (70, 98)
    y, x = torch.meshgrid(*(lattice.to_pixels(torch.arange(n).float()) for n in (5, 7)), indexing="ij")
    read = read_on_grid(torch.stack([x, y])[None], lattice, size, grid)[0]
    for axis, (side, count, cells) in enumerate([(98, grid[1], 7), (70, grid[0], 5)]):
        centres = (torch.arange(count) + 0.5) * side / count
        expected = centres.clamp(offset, lattice.to_pixels(torch.tensor(cells - 1.0)).item())
        got = read[axis, 0] if axis == 0 else read[axis, :, 0]
        torch.testing.assert_close(got, expected, atol=1e-3, rtol=0)


def test_legacy_reading_aligns_corners() -> None:
    level = torch.arange(4.0).reshape(1, 1, 1, 4).expand(1, 1, 4, 4)
    read = read_on_grid(level, Lattice(16), (64, 64), (2, 7), "legacy")
    torch.testing.assert_close(read[0, 0, 0], torch.arange(0, 3.5, 0.5))


def test_frozen_ones_do_not_learn() -> None:
    columns = Hypercolumn(ResNetBackbone(depth=18, levels=(1,)), frozen=True).train()
    assert not columns.network.training
    assert not columns(torch.randn(1, 3, 32, 32))[0].requires_grad
    free = Hypercolumn(ResNetBackbone(depth=18, levels=(1,))).train()
    assert free.network.training
    assert free(torch.randn(2, 3, 32, 32))[0].requires_grad


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ResNetBackbone(depth=18, levels=(9,)), "0 to 8 for this resnet"),
        (VitBackbone(levels=(12,)), "0 to 11 for this vit"),
        (PyramidBackbone(levels=()), "0 to 3 for this pyramid"),
        (PyramidBackbone(levels=(1, 1)), r"different ones.*got \[1, 1\]"),
    ],
)
def test_levels_that_are_not_there(config: ResNetBackbone | VitBackbone | PyramidBackbone, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Hypercolumn(config)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (ResNet(34, outputs=(2,)), "depth must be 18, got 34"),
        (ResNet(18, (1, 1, 2, 2), outputs=(2,)), r"strides must be \[1, 2\], got \[1, 1\]"),
        (ResNet(18, pool=False, outputs=(2,)), "pool must be True, got False"),
        (ResNet(18, outputs=(2,), colour="lab"), "colour must be rgb, got lab"),
        (ResNet(18, outputs=(2,), padding="reflect"), "padding must be zeros, got reflect"),
        (ResNet(18, outputs=(2,), activation="gelu"), "activation must be relu, got gelu"),
        (VisionTransformer(64, 2, 2, 16, grid=3), "heads must be 1, got 2"),
        (VisionTransformer(64, 2, 1, 16, grid=3, scaled=True), "scaled must be False, got True"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_networks_trained_otherwise_are_refused(given: ResNet | VisionTransformer, message: str) -> None:
    if isinstance(given, ResNet):
        columns = Hypercolumn(ResNetBackbone(depth=18, levels=(2, 3)))
    else:
        columns = Hypercolumn(
            VitBackbone(width=64, depth=2, heads=1, hidden=16, positions=3, scaled=False, levels=(0, 1))
        )
    with pytest.raises(InputError, match=f"backbone: {message}"):
        columns.use(given)


def test_settings_past_the_last_level_do_not_matter() -> None:
    Hypercolumn(ResNetBackbone(depth=18, levels=(2, 3))).use(ResNet(18, (1, 2, 1, 4), outputs=(3,)))


def test_what_becomes_of_a_copy_leaves_the_outside_backbone_alone() -> None:
    columns = Hypercolumn(CONFIGS[2], external=True)
    columns.use(VisionTransformer(64, 3, 1, 16, grid=3))
    other = copy.deepcopy(columns)
    assert other.network is columns.network
    other.half()
    assert {value.dtype for value in other.network.parameters()} == {torch.float16}
    assert {value.dtype for value in columns.network.parameters()} == {torch.float32}
