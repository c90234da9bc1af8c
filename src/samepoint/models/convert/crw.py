"""CRW (NeurIPS 2020): ResNet-18 with reflect padding whose stage 3 stays at stride 8."""

from __future__ import annotations

import re

from ...errors import InputError
from ..resnet import ResNet
from .kind import Choices, Kind, Tensors
from .resnets import depth_of, past_last_stage, resnet, torchvision_name


def _rename(name: str) -> str | None:
    """Older files hold each padded convolution as a pair (padding, convolution): its ``.1`` goes.

    >>> _rename("layer1.0.conv2.1.weight"), _rename("layer2.0.downsample.1.weight")
    ('layer1.0.conv2.weight', 'layer2.0.downsample.1.weight')
    """
    return torchvision_name(re.sub(r"(^|\.)(conv[12])\.1\.", r"\1\2.", name))


def _build(tensors: Tensors, choices: Choices) -> ResNet:
    depth = depth_of(tensors)
    if depth != 18:
        raise InputError(f"CRW's encoder is a ResNet-18, this one has depth {depth}")
    return resnet(18, (1, 2, 1, 1), True, choices, "rgb", "reflect")


KIND = Kind(
    name="crw",
    title="CRW, Space-Time Correspondence as a Contrastive Random Walk, NeurIPS 2020",
    licence="MIT",
    signature=("bn1.weight", "layer1.0.bn1.weight"),
    prefixes=("encoder.model.",),
    rename=_rename,
    build=_build,
    ignored={"selfsim_fc.": "the head that the random walk was trained with"},
    surplus=past_last_stage,
)
