"""Spa-then-Temp (CVPR 2023): FGVC's names; stem without pooling, stages at strides 2, 4, 8 and 32, Lab.

Its stride-4 models have the same names and shapes, other strides and a pooling that was not published in detail: they
cannot be told from these and are not to be converted as such.
"""

from __future__ import annotations

from ..resnet import ResNet
from .fgvc import IGNORED, PREFIXES, SIGNATURE, plain_name
from .kind import Choices, Kind, Tensors
from .resnets import depth_of, past_last_stage, resnet


def _build(tensors: Tensors, choices: Choices) -> ResNet:
    return resnet(depth_of(tensors), (1, 2, 2, 4), False, choices, "lab")


KIND = Kind(
    name="spa-then-temp",
    title="Spa-then-Temp, Spatial-then-Temporal Self-Supervised Learning for Video Correspondence, CVPR 2023",
    licence="MIT",
    signature=SIGNATURE,
    prefixes=PREFIXES,
    rename=plain_name,
    build=_build,
    ignored=IGNORED,
    surplus=past_last_stage,
)
