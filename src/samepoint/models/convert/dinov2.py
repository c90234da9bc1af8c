"""DINOv2 (Meta AI): vision transformers without registers, as released and as its training saves them."""

from __future__ import annotations

import re

from ...errors import InputError
from ..fitting import MOST_BLOCKS
from ..vit import VisionTransformer
from .kind import Choices, Kind, Tensors

SIGNATURE = ("patch_embed.proj.weight", "pos_embed", "cls_token", "norm.weight")
_NAME = re.compile(
    r"cls_token|pos_embed|patch_embed\.proj\.(weight|bias)|norm\.(weight|bias)"
    r"|blocks\.\d+\.(norm[12]\.(weight|bias)|attn\.(qkv|proj)\.(weight|bias)|mlp\.fc[12]\.(weight|bias)|ls[12]\.gamma)"
)
IGNORED = {"mask_token": "stands in for masked patches, in training only"}


def transformer_name(name: str) -> str | None:
    """timm's names are ours; None for any other."""
    return name if _NAME.fullmatch(name) else None


def build(tensors: Tensors, choices: Choices) -> VisionTransformer:
    """Of the sizes of its tensors; the last block but one unless chosen otherwise.

    Raises:
        InputError: its names claim more blocks than any transformer has.
    """
    blocks = len({name.split(".")[1] for name in tensors if name.startswith("blocks.")})
    if blocks > MOST_BLOCKS:
        raise InputError(f"its names claim {blocks} blocks; at most {MOST_BLOCKS} are believed")
    return VisionTransformer.shaped_like(tensors, choices.outputs)


def _rename(name: str) -> str | None:
    """Its training cuts the blocks into chunks: ``blocks.2.9.norm1.bias`` is that of block 9.

    >>> _rename("blocks.2.9.norm1.bias"), _rename("blocks.9.norm1.bias"), _rename("register_tokens")
    ('blocks.9.norm1.bias', 'blocks.9.norm1.bias', None)
    """
    return transformer_name(re.sub(r"^blocks\.\d+\.(\d+)\.", r"blocks.\1.", name))


def _build(tensors: Tensors, choices: Choices) -> VisionTransformer:
    if "blocks.0.ls1.gamma" not in tensors:
        raise InputError("DINOv2's blocks have LayerScale (blocks.0.ls1.gamma), these have none")
    return build(tensors, choices)


KIND = Kind(
    name="dinov2",
    title="DINOv2: Learning Robust Visual Features without Supervision, TMLR 2024",
    licence="Apache-2.0",
    signature=SIGNATURE,
    prefixes=("", "backbone."),
    rename=_rename,
    build=_build,
    ignored=IGNORED | {"dino_head.": "a head of the training", "ibot_head.": "a head of the training"},
)
