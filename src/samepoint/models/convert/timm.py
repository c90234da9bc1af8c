"""timm's vision transformers of the DINO family, and its ResNets.

A transformer with a classifier may have been trained on pictures normalised otherwise than ImageNet's usual way, which
its file does not say: it is refused, not stripped.
"""

from __future__ import annotations

from . import dinov2, torchvision
from .kind import Kind
from .resnets import past_last_stage, torchvision_name

_LICENCE = "not stated; see the model's page"

TRANSFORMER = Kind(
    name="timm",
    title="timm, vision transformer",
    licence=_LICENCE,
    signature=dinov2.SIGNATURE,
    prefixes=("", "backbone."),
    rename=dinov2.transformer_name,
    build=dinov2.build,
    ignored=dinov2.IGNORED,
)
RESNET = Kind(
    name="timm",
    title="timm, ResNet",
    licence=_LICENCE,
    signature=torchvision.SIGNATURE,
    prefixes=torchvision.PREFIXES,
    rename=torchvision_name,
    build=torchvision.build,
    ignored=torchvision.IGNORED,
    surplus=past_last_stage,
)
