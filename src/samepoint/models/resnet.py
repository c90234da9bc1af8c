"""ResNets with torchvision's key names and free strides: the published encoders are configurations of this class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..geometry import Lattice
from .colour import ColourSpace, normalise

Activation = Literal["relu", "gelu"]
ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu}


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class _NarrowProjection(nn.Conv2d):
    """A strided 1x1 convolution that leaves out cells first and convolves then: the same numbers.

    oneDNN's gradient of such a convolution of fewer than 16 channels, channels last, writes beyond its workspace
    (uxlfoundation/oneDNN issue 6035): a crash, or wrong weights.
    """

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = self.stride
        return F.conv2d(x[..., ::rows, ::columns], self.weight, self.bias)


_ONEDNN_BLOCK = 16


def _projection(inputs: int, outputs: int, stride: int) -> nn.Module | None:
    if stride == 1 and inputs == outputs:
        return None
    narrow = stride > 1 and inputs < _ONEDNN_BLOCK
    convolution = (
        _NarrowProjection(inputs, outputs, 1, stride, bias=False) if narrow else _conv(inputs, outputs, 1, stride)
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    idle = False
    """Whether only the shortcut is computed; see :func:`leave_out_idle`."""

    def __init__(self, inputs: int, width: int, stride: int = 1, activation: Activation = "relu") -> None:
        super().__init__()
        self.activate = ACTIVATIONS[activation]
        self.conv1 = _conv(inputs, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _projection(inputs, width, stride)

    def before_relu(self, x: Tensor) -> Tensor:
        """The block's output without its last activation, which hyper-columns are made of."""
        shortcut: Tensor = x if self.downsample is None else self.downsample(x)
        if self.idle:
            return shortcut
        x = self.activate(self.bn1(self.conv1(x)))
        return self.bn2(self.conv2(x)) + shortcut

    def forward(self, x: Tensor) -> Tensor:
        return self.activate(self.before_relu(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 (which carries the stride), 1x1 and a shortcut; four times as wide at its end."""

    expansion = 4

    idle = False
    """Whether only the shortcut is computed; see :func:`leave_out_idle`."""

    def __init__(self, inputs: int, width: int, stride: int = 1, activation: Activation = "relu") -> None:
        super().__init__()
        self.activate = ACTIVATIONS[activation]
        outputs = width * self.expansion
        self.conv1 = _conv(inputs, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _conv(width, outputs, 1)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _projection(inputs, outputs, stride)

    def before_relu(self, x: Tensor) -> Tensor:
        """The block's output without its last activation, which hyper-columns are made of."""
        shortcut: Tensor = x if self.downsample is None else self.downsample(x)
        if self.idle:
            return shortcut
        x = self.activate(self.bn1(self.conv1(x)))
        x = self.activate(self.bn2(self.conv2(x)))
        return self.bn3(self.conv3(x)) + shortcut

    def forward(self, x: Tensor) -> Tensor:
        return self.activate(self.before_relu(x))


_DEPTHS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
}


class ResNet(nn.Module):
    """A ResNet that stops after the last stage it is asked for.

    Args:
        depth: 18, 34, 50 or 101.
        strides: stride of each of the four stages; the stem adds 2, the pooling another 2.
        pool: whether the stem ends in a 3x3 max pooling.
        outputs: the stages (1 to 4) that :meth:`features` returns, coarse to fine whatever the order given.
        colour: the input's colour space and normalisation.
        padding: what convolutions find outside the map; ``reflect`` mirrors it, as the random walk's encoder does.
        activation: the nonlinearity everywhere, the stem's included.

    FGVC is ``ResNet.fgvc()``: ResNet-18, no pooling, strides (1, 1, 1, 4), stage 3 of a Lab picture: 256 channels at
    stride 2.
    """

    def __init__(
        self,
        depth: int = 18,
        strides: Sequence[int] = (1, 2, 2, 2),
        pool: bool = True,
        outputs: Sequence[int] = (4,),
        colour: ColourSpace = "rgb",
        padding: Literal["zeros", "reflect"] = "zeros",
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        block, counts = _DEPTHS[depth]
        self.depth, self.strides, self.padding = depth, tuple(strides), padding
        self.activation, self.activate = activation, ACTIVATIONS[activation]
        self.pool = pool
        self.colour: ColourSpace = colour
        self.outputs = tuple(sorted(set(outputs), reverse=True))
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        inputs, stride = 64, 4 if pool else 2
        lattices: dict[int, Lattice] = {}
        channels: dict[int, int] = {}
        for stage in range(1, self.outputs[0] + 1):
            width = 64 * 2 ** (stage - 1)
            blocks: list[nn.Module] = []
            for position in range(counts[stage - 1]):
                blocks.append(block(inputs, width, strides[stage - 1] if position == 0 else 1, activation))
                inputs = width * block.expansion
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
            stride *= strides[stage - 1]
            lattices[stage], channels[stage] = Lattice(stride), inputs
        self.lattices = tuple(lattices[stage] for stage in self.outputs)
        self.channels = tuple(channels[stage] for stage in self.outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                module.padding_mode = padding

    @property
    def config(self) -> dict[str, Any]:
        """The arguments that make such a network."""
        return {
            "depth": self.depth,
            "strides": list(self.strides),
            "pool": self.pool,
            "outputs": list(self.outputs),
            "colour": self.colour,
            "padding": self.padding,
            "activation": self.activation,
        }

    @classmethod
    def fgvc(cls) -> ResNet:
        """The encoder of FGVC (ICCV 2023): stage 3 of a ResNet-18 at stride 2 on Lab input."""
        return cls(18, (1, 1, 1, 4), pool=False, outputs=(3,), colour="lab")

    def preprocess(self, frames: Tensor) -> Tensor:
        """uint8 RGB frames (B, H, W, 3) to the network's normalised input (B, 3, H, W), float32."""
        return normalise(frames, self.colour)

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps (B, C, h, w) of the chosen stages, the last the finest; ``lattices`` says where their cells lie."""
        x = self.activate(self.bn1(self.conv1(x)))
        if self.pool:
            x = F.max_pool2d(x, 3, 2, 1)
        maps: dict[int, Tensor] = {}
        for stage in range(1, self.outputs[0] + 1):
            x = getattr(self, f"layer{stage}")(x)
            maps[stage] = x
        return tuple(maps[stage] for stage in self.outputs)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.features(x)


def initialise(network: nn.Module) -> None:
    """Kaiming for convolutions, ones for normalisations, zero for the last one of each block: identity at the start."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, Bottleneck):
                module.bn3.weight.zero_()
            elif isinstance(module, BasicBlock):
                module.bn2.weight.zero_()


def leave_out_idle(network: nn.Module) -> None:
    """Let blocks whose branch ends in zeros, as :func:`initialise` leaves it, compute their shortcut only.

    The same numbers at a fraction of the cost, for a network that will not be trained.
    """
    for module in network.modules():
        if isinstance(module, (BasicBlock, Bottleneck)):
            last = module.bn3 if isinstance(module, Bottleneck) else module.bn2
            module.idle = not bool(last.weight.any() or last.bias.any())
