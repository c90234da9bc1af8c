"""torchvision's ResNets of depth 18 to 101, and what others trained under the same names."""

from __future__ import annotations

from ..resnet import ResNet
from .kind import Choices, Kind, Tensors
from .resnets import depth_of, past_last_stage, resnet, torchvision_name

SIGNATURE = ("conv1.weight", "layer1.0.conv1.weight")
PREFIXES = ("", "backbone.", "encoder.", "backbone_fine.")
IGNORED = {"fc.": "the classifier"}


def build(tensors: Tensors, choices: Choices) -> ResNet:
    """Standard strides and pooling, RGB with ImageNet's statistics."""
    return resnet(depth_of(tensors), (1, 2, 2, 2), True, choices, "rgb")


KIND = Kind(
    name="torchvision",
    title="torchvision, ResNet",
    licence="BSD-3-Clause",
    signature=SIGNATURE,
    prefixes=PREFIXES,
    rename=torchvision_name,
    build=build,
    ignored=IGNORED,
    surplus=past_last_stage,
)
