"""CATs (NeurIPS 2021): a matcher of hyper-columns; SSSCWEB's files have the same names.

The number of attention heads is in no tensor. Nor is the backbone's nonlinearity: it is ReLU unless the user says that
the file was trained with GELU, as one script of SSSCWEB builds it; taken for the other it gives wrong matches.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from ...errors import InputError
from ..aggregation import AggregationConfig
from ..hypercolumn import ResNetBackbone
from ..matcher import Matcher, MatcherConfig
from .kind import Choices, Kind, Tensors
from .resnets import torchvision_name

SIGNATURE = ("feature_extraction.backbone.conv1.weight", "decoder.pos_embed_x", "proj.0.weight")
IGNORED = {
    "proj_feat.": "never used",
    "reduce_cat.": "never used",
    "decoder.norm.": "never used",
    "feature_extraction.backbone.fc.": "the classifier",
    "feature_extraction.backbone.layer4.": "past the last level, in stage 3",
    "x_normal": "coordinates of the soft-argmax, which are computed",
    "y_normal": "coordinates of the soft-argmax, which are computed",
}
_BACKBONE, _OURS = "feature_extraction.backbone.", "hypercolumn.backbone."


def rename(name: str) -> str | None:
    """The published matcher's names to ours.

    >>> rename("proj.3.bias"), rename("decoder.proj.bias"), rename("feature_extraction.backbone.bn1.bias")
    ('aggregation.projections.3.bias', 'aggregation.proj.bias', 'hypercolumn.backbone.bn1.bias')
    """
    if name.startswith(_BACKBONE):
        inner = torchvision_name(name.removeprefix(_BACKBONE))
        return None if inner is None else _OURS + inner
    if name.startswith("proj."):
        return "aggregation.projections." + name.removeprefix("proj.")
    if name.startswith(("decoder.pos_embed_", "decoder.blocks.", "decoder.proj.")):
        return "aggregation." + name.removeprefix("decoder.")
    return None


def build_with(heads: int) -> Callable[[Tensors, Choices], Matcher]:
    """What builds a matcher of the tensors' grid and depth, with so many heads unless chosen otherwise."""

    def build(tensors: Tensors, choices: Choices) -> Matcher:
        positions = tensors["aggregation.pos_embed_x"].shape
        levels = {name.split(".")[2] for name in tensors if name.startswith("aggregation.projections.")}
        depth = len({name.split(".")[2] for name in tensors if name.startswith("aggregation.blocks.")})
        published = ResNetBackbone().levels
        if len(positions) != 5 or len(levels) != len(published):
            raise InputError(
                f"expected positions of five dimensions and {len(published)} levels, got {tuple(positions)} and "
                f"{len(levels)}; which levels other files use is not known"
            )
        base = MatcherConfig.published(grid=max(positions[3], 1))
        backbone = ResNetBackbone(activation="gelu" if choices.gelu else "relu")
        chosen = heads if choices.heads is None else choices.heads
        if chosen < 1:
            raise InputError(f"heads must be 1 or more, got {chosen}")
        aggregation = base.aggregation.model_dump() | {"heads": chosen, "depth": max(depth, 1)}
        changes = {"backbone": backbone, "aggregation": AggregationConfig(**aggregation)}
        return Matcher(base.model_copy(update=changes))

    return build


def kept(name: str) -> str | None:
    """What the published matcher lacks."""
    return "the published matcher has no confidence; ours, unfitted" if name.startswith("confidence.") else None


def remark(tensors: Tensors) -> str | None:
    """Coordinates that were trained, by mistake."""
    drift = 0.0
    for name, value in tensors.items():
        if name.endswith(("x_normal", "y_normal")) and value.dim() == 1 and len(value) > 1:
            drift = max(drift, float((value.float() - torch.linspace(-1, 1, len(value))).abs().max()))
    if drift < 1e-3:
        return None
    return f"its soft-argmax coordinates were trained away from -1 to 1, by up to {drift:.3f}; ours are exact"


KIND = Kind(
    name="cats",
    title="CATs: Cost Aggregation Transformers for Visual Correspondence, NeurIPS 2021",
    licence="GPL-3.0",
    signature=SIGNATURE,
    prefixes=("",),
    rename=rename,
    build=build_with(6),
    ignored=IGNORED,
    kept=kept,
    remark=remark,
    choices=("heads", "gelu"),
)
