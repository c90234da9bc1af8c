"""What all kinds of ResNets share: their depth is in their names, their strides are not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ...errors import InputError
from ..colour import ColourSpace
from ..fitting import Network, past_outputs
from ..resnet import ResNet
from .kind import Choices, Tensors

_DEPTHS = {18: (False, (2, 2, 2)), 34: (False, (3, 4, 6)), 50: (True, (3, 4, 6)), 101: (True, (3, 4, 23))}
"""Whether blocks have three convolutions, and how many blocks stages 1 to 3 have."""


def depth_of(tensors: Tensors) -> int:
    """The depth of tensors under our names, by the number of blocks in the first three stages, which all files have.

    Raises:
        InputError: no depth of ours.
    """
    counts = tuple(
        len({key.split(".")[1] for key in tensors if key.startswith(f"layer{stage}.")}) for stage in (1, 2, 3)
    )
    wide = "layer1.0.conv3.weight" in tensors
    for depth, kind in _DEPTHS.items():
        if kind == (wide, counts):
            return depth
    raise InputError(f"stages 1 to 3 have {counts} blocks; expected a ResNet of depth 18, 34, 50 or 101")


def resnet(
    depth: int,
    strides: Sequence[int],
    pool: bool,
    choices: Choices,
    colour: ColourSpace,
    padding: Literal["zeros", "reflect"] = "zeros",
) -> ResNet:
    """An unfilled ResNet that returns the stages chosen, stage 3 by default.

    Raises:
        InputError: stages that a ResNet does not have.
    """
    stages = (3,) if choices.outputs is None else choices.outputs
    if not stages or not all(1 <= stage <= 4 for stage in stages):
        raise InputError(f"stages to output: expected some of 1 to 4, got {list(stages)}")
    return ResNet(depth, strides, pool, stages, colour, padding)


def torchvision_name(name: str) -> str | None:
    """A name that torchvision gives to a tensor of a ResNet is ours; None for any other.

    >>> torchvision_name("layer2.0.downsample.1.bias"), torchvision_name("layer2.0.se.bias")
    ('layer2.0.downsample.1.bias', None)
    """
    parts = name.split(".")
    if parts[0] in ("conv1", "bn1"):
        known = len(parts) == 2
    else:
        shaped = len(parts) in (4, 5) and parts[0] in ("layer1", "layer2", "layer3", "layer4") and parts[1].isdecimal()
        known = shaped and (
            (len(parts) == 4 and parts[2] in ("conv1", "conv2", "conv3", "bn1", "bn2", "bn3"))
            or (len(parts) == 5 and parts[2] == "downsample" and parts[3] in ("0", "1"))
        )
    return name if known else None


def past_last_stage(network: Network, name: str) -> str | None:
    """Why a ResNet lacks a tensor of a later stage."""
    return past_outputs(name, network.outputs[0]) if isinstance(network, ResNet) else None
