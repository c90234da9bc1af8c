"""Hyper-columns: maps of several depths of one backbone, read on one grid (web-video-matching.md, section 7).

A small adapter for each backbone says which levels it has, how wide they are and where their cells are centred.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from ..errors import InputError
from ..geometry import Lattice
from .colour import ColourSpace
from .encoder import PyramidEncoder
from .network import NetworkConfig, PointNetwork
from .resnet import Activation, BasicBlock, Bottleneck, ResNet
from .semantic_encoder import SemanticConfig, SemanticEncoder
from .vit import VisionTransformer

Geometry = Literal["exact", "legacy"]
Size = tuple[int, int]
"""(H, W), or rows and columns."""


_HYPERPIXELS = {
    18: (0, 5, 6),
    34: (0, 9, 10, 11, 12, 13),
    50: (0, 9, 10, 11, 12, 13),
    101: (0, 8, 20, 21, 26, 28, 29, 30),
}
"""Levels by depth: of 50 and 101 those that Hyperpixel Flow (ICCV 2019) found best on SPair-71k, which the published
matcher took over; of the others the same places."""


class ResNetBackbone(BaseModel):
    """A ResNet with torchvision's names; the published matcher's is ResNet-101.

    ``levels``: 0 is the map after max pooling, n the n-th residual block of the whole network, before its last
    activation; by default those of the depth, in stages 1 to 3. ``activation``: everywhere in it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["resnet"] = "resnet"
    depth: Literal[18, 34, 50, 101] = 101
    levels: tuple[int, ...] = _HYPERPIXELS[101]
    activation: Activation = "relu"

    @model_validator(mode="after")
    def _levels_of_the_depth(self) -> ResNetBackbone:
        if "levels" not in self.model_fields_set:
            object.__setattr__(self, "levels", _HYPERPIXELS[self.depth])
        return self


class VitBackbone(BaseModel):
    """A vision transformer with timm's names, DINOv2 ViT-S/14 by default; ``levels`` are blocks from 0."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["vit"] = "vit"
    width: int = Field(384, ge=1)
    depth: int = Field(12, ge=1)
    heads: int = Field(6, ge=1)
    hidden: int = Field(1536, ge=1)
    patch: int = Field(14, ge=1)
    positions: int = Field(37, ge=1)
    scaled: bool = True
    levels: tuple[int, ...] = (5, 8, 10, 11)


class PyramidBackbone(BaseModel):
    """Our own encoder; ``levels`` 0 to 3 are its descriptors at strides 16, 8, 4 and 2."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["pyramid"] = "pyramid"
    network: NetworkConfig = NetworkConfig()
    levels: tuple[int, ...] = (0, 1, 2)


class SemanticBackbone(BaseModel):
    """Our small encoder of what things are; it has one level."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["semantic"] = "semantic"
    network: SemanticConfig = SemanticConfig()
    levels: tuple[int, ...] = (0,)


AnyBackbone = ResNetBackbone | VitBackbone | PyramidBackbone | SemanticBackbone
BackboneConfig = Annotated[AnyBackbone, Field(discriminator="kind")]
Backbone = ResNet | VisionTransformer | PyramidEncoder | SemanticEncoder
_Maps = Callable[[Any, Tensor], list[Tensor]]


class Hypercolumn(nn.Module):
    """A backbone and the levels that are taken from it.

    Args:
        config: which backbone, which levels.
        frozen: the backbone does not learn and stays in eval mode.
        external: its weights are those of another file: it is no part of this module (neither its parameters nor its
            state dict), is frozen, and must be given by :meth:`use` before anything is computed.

    Attributes:
        lattices: where the cells of each level are centred, in pixels of the input.
        channels: of each level.

    Raises:
        InputError: a level that the backbone does not have.
    """

    backbone: nn.Module

    def __init__(self, config: AnyBackbone, *, frozen: bool = False, external: bool = False) -> None:
        super().__init__()
        self.config, self.frozen, self.external = config, frozen or external, external
        self._outside: list[nn.Module] = []
        self._check_levels()
        with torch.device("meta") if external else nullcontext():
            built = build_backbone(config)
        self.lattices, self.channels = _lattices(config, built)
        self.colour: ColourSpace = built.colour
        if not external:
            self.backbone = built.requires_grad_(not self.frozen)

    def _check_levels(self) -> None:
        count = _level_count(self.config)
        levels = self.config.levels
        if not levels or not all(0 <= level < count for level in levels) or len(set(levels)) != len(levels):
            raise InputError(
                f"backbone levels: expected different ones of 0 to {count - 1} for this {self.config.kind}, "
                f"got {list(levels)}"
            )

    @property
    def network(self) -> nn.Module:
        """The backbone, wherever it is kept.

        Raises:
            InputError: it is external and was not given yet.
        """
        if not self.external:
            return self.backbone
        if not self._outside:
            raise InputError("this matcher's backbone is not in its file: load it and give it with use_backbone")
        return self._outside[0]

    def use(self, given: nn.Module) -> None:
        """Copy the weights of a network of the same kind and sizes; what is past the last level may differ.

        A semantic encoder also takes the convolutions of our point encoder.

        Raises:
            InputError: another kind of network, one that ends too early, one that was trained with other settings, or
                one whose tensors do not fit; names the first that does not.
        """
        given = given.encoder if isinstance(given, PointNetwork) else given
        built = build_backbone(self.config)
        if isinstance(given, PyramidEncoder) and not self.external and isinstance(self.backbone, SemanticEncoder):
            self.backbone.begin_with(given)
            return
        if not isinstance(given, type(built)):
            raise InputError(f"backbone: expected a {type(built).__name__}, got {type(given).__name__}")
        if isinstance(given, ResNet) and isinstance(built, ResNet) and given.outputs[0] < built.outputs[0]:
            raise InputError(
                f"backbone: level {max(self.config.levels)} lies in stage {built.outputs[0]}, this ResNet ends with "
                f"stage {given.outputs[0]}; load it with outputs=({built.outputs[0]},)"
            )
        tensors, expected = given.state_dict(), built.state_dict()
        for key, value in expected.items():
            if key not in tensors or tensors[key].shape != value.shape:
                got = f"shape {tuple(tensors[key].shape)}" if key in tensors else "none"
                raise InputError(f"backbone: {key} must have shape {tuple(value.shape)}, got {got}")
        _check_settings(given, built)
        wanted = {key: tensors[key] for key in expected}
        if not self.external:
            self.backbone.load_state_dict(wanted)
            return
        built.load_state_dict(wanted)
        self._outside = [built.requires_grad_(False).eval()]

    def train(self, mode: bool = True) -> Hypercolumn:
        super().train(mode)
        if self.frozen and not self.external:
            self.backbone.eval()
        return self

    def _apply(self, fn: Any, recurse: bool = True) -> Hypercolumn:
        # An external backbone moves between devices with the rest; a copy of it, as copies of this module share it.
        self._outside = [copy.deepcopy(network)._apply(fn, recurse) for network in self._outside]
        return super()._apply(fn, recurse)

    def __deepcopy__(self, memo: dict[int, Any]) -> Hypercolumn:
        outside, self._outside = self._outside, []
        try:
            copied = self.__class__.__new__(self.__class__)
            memo[id(self)] = copied
            copied.__dict__ = copy.deepcopy(self.__dict__, memo)
        finally:
            self._outside = outside
        copied._outside = list(outside)  # frozen: a teacher and its student may share it
        return copied

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps (B, C, h, w) of the chosen levels, in their order, of an input (B, 3, H, W)."""
        network = self.network
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return tuple(_run(self.config, network, x))


def read_on_grid(level: Tensor, lattice: Lattice, size: Size, grid: Size, geometry: Geometry = "exact") -> Tensor:
    """A level (B, C, h, w) at the centres of a grid of cells laid over its input: (B, C, rows, columns).

    Args:
        level: the map.
        lattice: where its cells are centred.
        size: (H, W) of the input, pixels.
        grid: rows and columns.
        geometry: ``"exact"``: bilinear at the centres ((c + 0.5) W / columns, (r + 0.5) H / rows), continued by the
            outer cells; ``"legacy"``: resized with aligned corners, whatever the lattice, as published.
    """
    if geometry == "legacy":
        return F.interpolate(level, grid, mode="bilinear", align_corners=True)
    across = _interpolation(level.shape[3], lattice, size[1], grid[1]).to(level)
    down = _interpolation(level.shape[2], lattice, size[0], grid[0]).to(level)
    return down @ (level @ across.T)


def _interpolation(cells: int, lattice: Lattice, side: int, wanted: int) -> Tensor:
    """Weights (wanted, cells) of linear interpolation along one axis."""
    centres = (torch.arange(wanted, dtype=torch.float64) + 0.5) * (side / wanted)
    places = lattice.to_cells(centres).clamp(0, cells - 1)
    return (1 - (places[:, None] - torch.arange(cells)).abs()).clamp_min(0).float()


def needed_outputs(config: AnyBackbone) -> tuple[int, ...] | None:
    """The ``outputs`` to load a backbone's weights with, so that its last level is among them; None: by default it is.

    >>> needed_outputs(ResNetBackbone(depth=50, levels=(8, 16)))
    (4,)
    """
    return (_last_stage(config),) if isinstance(config, ResNetBackbone) else None


def build_backbone(config: AnyBackbone) -> Backbone:
    """The network itself, randomly filled, up to the last level that is used."""
    match config:
        case ResNetBackbone():
            return ResNet(config.depth, outputs=(_last_stage(config),), activation=config.activation)
        case VitBackbone():
            c = config
            return VisionTransformer(c.width, c.depth, c.heads, c.hidden, c.patch, c.positions, c.scaled, c.levels)
        case PyramidBackbone():
            n = config.network
            return PyramidEncoder(n.stem, n.widths, n.blocks, n.pyramid, n.descriptors)
        case SemanticBackbone():
            return SemanticEncoder(config.network)


_SETTINGS: dict[type[nn.Module], tuple[str, ...]] = {
    ResNet: ("depth", "strides", "pool", "colour", "padding", "activation"),
    VisionTransformer: ("heads", "scaled"),
}
"""What weights are trained with that the shapes of those that are taken do not tell."""


def _check_settings(given: nn.Module, built: Backbone) -> None:
    if not isinstance(given, ResNet | VisionTransformer) or not isinstance(built, ResNet | VisionTransformer):
        return
    got, wanted = given.config, built.config
    if isinstance(built, ResNet):
        for config in (got, wanted):
            config["strides"] = config["strides"][: built.outputs[0]]
    for key in _SETTINGS[type(built)]:
        if got[key] != wanted[key]:
            raise InputError(f"backbone: {key} must be {wanted[key]}, got {got[key]}")


_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def _stage_ends(depth: int) -> list[int]:
    """The last level of each stage."""
    ends = [0]
    for count in _BLOCKS[depth]:
        ends.append(ends[-1] + count)
    return ends[1:]


def _last_stage(config: ResNetBackbone) -> int:
    ends = _stage_ends(config.depth)
    return next(stage for stage, end in enumerate(ends, start=1) if max(config.levels) <= end)


def _level_count(config: AnyBackbone) -> int:
    match config:
        case ResNetBackbone():
            return _stage_ends(config.depth)[-1] + 1
        case VitBackbone():
            return config.depth
        case PyramidBackbone():
            return len(PyramidEncoder.lattices)
        case SemanticBackbone():
            return len(SemanticEncoder.lattices)


def _lattices(config: AnyBackbone, network: Backbone) -> tuple[tuple[Lattice, ...], tuple[int, ...]]:
    if isinstance(config, ResNetBackbone):
        ends = _stage_ends(config.depth)
        stages = [0 if level == 0 else 1 + sum(level > end for end in ends) for level in config.levels]
        widths = [64 * 2 ** max(stage - 1, 0) for stage in stages]
        expansion = 1 if config.depth < 50 else 4
        channels = tuple(width * (expansion if stage else 1) for width, stage in zip(widths, stages, strict=True))
        return tuple(Lattice(4 * 2 ** max(stage - 1, 0)) for stage in stages), channels
    if isinstance(network, VisionTransformer):
        return network.lattices, network.channels
    levels = config.levels
    return tuple(network.lattices[level] for level in levels), tuple(network.channels[level] for level in levels)


def _run(config: AnyBackbone, network: nn.Module, x: Tensor) -> Sequence[Tensor]:
    if isinstance(network, ResNet):
        return _resnet_levels(network, x, config.levels)
    if isinstance(network, VisionTransformer):
        return network.features(x)
    assert isinstance(network, PyramidEncoder | SemanticEncoder)
    maps = network.features(x)
    return [maps[level] for level in config.levels]


def _resnet_levels(network: ResNet, x: Tensor, levels: Sequence[int]) -> list[Tensor]:
    x = F.max_pool2d(network.activate(network.bn1(network.conv1(x))), 3, 2, 1)
    kept = {0: x}
    blocks = [block for stage in range(1, network.outputs[0] + 1) for block in getattr(network, f"layer{stage}")]
    for index, block in enumerate(blocks[: max(levels)], start=1):
        assert isinstance(block, BasicBlock | Bottleneck)
        before = block.before_relu(x)
        if index in levels:
            kept[index] = before
        x = network.activate(before)
    return [kept[level] for level in levels]
