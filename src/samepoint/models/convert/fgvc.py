"""FGVC (ICCV 2023): ResNet-18 at stride 2 on Lab, with the names of mmcv's convolution modules."""

from __future__ import annotations

from ...errors import InputError
from ..resnet import ResNet
from .kind import Choices, Kind, Tensors
from .resnets import depth_of, past_last_stage, resnet, torchvision_name

SIGNATURE = ("conv1.conv.weight", "layer1.0.conv1.conv.weight")
PREFIXES = ("", "backbone.", "encoder.", "backbone_fine.")
IGNORED = {
    "iteration": "a counter of training steps",
    "teacher.": "the teacher of the training, never part of the encoder",
    "corr_discriminator.": "the adversary of the training",
    "discriminator.": "the adversary of the training",
}


def plain_name(name: str) -> str | None:
    """``conv1.bn.bias`` is ``bn1.bias``, ``layer2.0.downsample.conv.weight`` is ``layer2.0.downsample.0.weight``.

    >>> plain_name("layer2.0.conv2.bn.running_var"), plain_name("layer2.0.downsample.bn.bias"), plain_name("fc.bias")
    ('layer2.0.bn2.running_var', 'layer2.0.downsample.1.bias', None)
    """
    parts = name.split(".")
    if len(parts) < 3 or parts[-2] not in ("conv", "bn"):
        return None
    *stage, module, kind, leaf = parts
    if module == "downsample":
        changed = [*stage, module, "0" if kind == "conv" else "1", leaf]
    else:
        changed = [*stage, module if kind == "conv" else module.replace("conv", "bn"), leaf]
    return torchvision_name(".".join(changed))


def _build(tensors: Tensors, choices: Choices) -> ResNet:
    depth = depth_of(tensors)
    if depth != 18:
        raise InputError(f"FGVC's encoder is a ResNet-18, this one has depth {depth}")
    return resnet(18, (1, 1, 1, 4), False, choices, "lab")


KIND = Kind(
    name="fgvc",
    title="FGVC, Learning Fine-Grained Features for Pixel-wise Video Correspondences, ICCV 2023",
    licence="MIT",
    signature=SIGNATURE,
    prefixes=PREFIXES,
    rename=plain_name,
    build=_build,
    ignored=IGNORED,
    surplus=past_last_stage,
)
