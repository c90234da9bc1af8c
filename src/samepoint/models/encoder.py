"""Our encoder: a small convolutional pyramid; coarse cells decide where to look, fine cells decide the point."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ..geometry import Lattice, upsample_lattice
from .colour import ColourSpace, normalise
from .resnet import BasicBlock, initialise

SHORTEST = 1e-2
"""Vectors shorter than this are not drawn out to length 1: their direction says nothing, and of a cell that nothing
excites, which is 0, the gradient would have no bound."""


class _Descriptor(nn.Module):
    """From pyramid features to unit vectors; where there is next to nothing, they are shorter."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.smooth = nn.Sequential(
            nn.Conv2d(inputs, inputs, 3, padding=1, bias=False), nn.BatchNorm2d(inputs), nn.ReLU()
        )
        self.project = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.project(self.smooth(x)).float(), dim=1, eps=SHORTEST)


class PyramidEncoder(nn.Module):
    """ResNet stages at strides 4, 8 and 16, added back top-down; unit descriptors at strides 16, 8, 4 and 2.

    Args:
        stem: channels at stride 2, straight after the 7x7 stem.
        widths: channels of the three residual stages (strides 4, 8, 16).
        blocks: residual blocks in each stage.
        pyramid: channels of the top-down path.
        descriptors: channels of the descriptors at strides 16, 8, 4 and 2.
    """

    layer1: nn.Module
    layer2: nn.Module
    layer3: nn.Module
    lateral1: nn.Module
    lateral2: nn.Module
    lateral3: nn.Module
    colour: ColourSpace = "rgb"
    lattices = (Lattice(16), Lattice(8), Lattice(4), Lattice(2))

    def __init__(
        self,
        stem: int = 32,
        widths: tuple[int, int, int] = (64, 128, 192),
        blocks: int = 2,
        pyramid: int = 96,
        descriptors: tuple[int, int, int, int] = (128, 128, 96, 32),
    ) -> None:
        super().__init__()
        self.channels = tuple(descriptors)
        self.conv1 = nn.Conv2d(3, stem, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        inputs = stem
        for stage, width in enumerate(widths, start=1):
            layers: list[nn.Module] = [BasicBlock(inputs, width, 2)]
            layers += [BasicBlock(width, width) for _ in range(blocks - 1)]
            setattr(self, f"layer{stage}", nn.Sequential(*layers))
            setattr(self, f"lateral{stage}", nn.Conv2d(width, pyramid, 1))
            inputs = width
        self.stem_lateral = nn.Conv2d(pyramid, stem, 1)
        self.describe16 = _Descriptor(pyramid, descriptors[0])
        self.describe8 = _Descriptor(pyramid, descriptors[1])
        self.describe4 = _Descriptor(pyramid, descriptors[2])
        self.describe2 = _Descriptor(stem, descriptors[3])
        initialise(self)

    def preprocess(self, frames: Tensor) -> Tensor:
        """uint8 RGB frames (B, H, W, 3) to the network's normalised input (B, 3, H, W), float32."""
        return normalise(frames, self.colour)

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """Unit descriptors (B, C, h, w), float32, at strides 16, 8, 4 and 2 of the input (B, 3, H, W)."""
        stem = F.relu(self.bn1(self.conv1(x)))
        stage1 = self.layer1(stem)
        stage2 = self.layer2(stage1)
        stage3 = self.layer3(stage2)
        top = self.lateral3(stage3)
        middle = self.lateral2(stage2) + upsample_lattice(top, _size(stage2))
        bottom = self.lateral1(stage1) + upsample_lattice(middle, _size(stage1))
        fine = F.relu(stem + upsample_lattice(self.stem_lateral(bottom), _size(stem)))
        return self.describe16(top), self.describe8(middle), self.describe4(bottom), self.describe2(fine)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.features(x)


def _size(x: Tensor) -> tuple[int, int]:
    return x.shape[-2], x.shape[-1]
