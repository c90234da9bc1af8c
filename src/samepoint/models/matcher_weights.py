"""The published matcher's tensors by our names (web-video-matching.md, section 14)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ..errors import InputError
from .matcher import Matcher, MatcherConfig

_WITHIN_BLOCK = {
    "attn": "cells",
    "attn_multiscale": "levels",
    "mlp2": "mlp1",
    "mlp": "mlp2",
    # The published second and fourth normalisation stand before the perceptron that has their name, not in their order.
    "norm4": "norm2",
    "norm2": "norm4",
}
_UNUSED = ("proj_feat.", "reduce_cat.", "decoder.norm.", "x_normal", "y_normal")
_BACKBONE = "feature_extraction.backbone."


def from_ssscweb(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """SSSCWEB's matcher as tensors of ``Matcher(MatcherConfig.published(f))``, confidence aside, and what is left out.

    Left out are the classifier and the last stage of the backbone, the contrastive projections, a normalisation that
    nothing calls, and the coordinates of the soft-argmax, which were trained by mistake and are constants here.

    Raises:
        InputError: a name that belongs to neither.
    """
    found, ignored = {}, []
    for key, value in tensors.items():
        name = key.removeprefix("module.")
        if name.startswith((*_UNUSED, f"{_BACKBONE}fc.", f"{_BACKBONE}layer4.")):
            ignored.append(key)
        elif name.startswith(_BACKBONE):
            found[f"hypercolumn.backbone.{name.removeprefix(_BACKBONE)}"] = value
        elif name.startswith("proj."):
            found[f"aggregation.projections.{name.removeprefix('proj.')}"] = value
        elif name.startswith("decoder."):
            parts = name.split(".")
            if parts[1] == "blocks" and len(parts) > 3:
                parts[3] = _WITHIN_BLOCK.get(parts[3], parts[3])
            found[".".join(["aggregation", *parts[1:]])] = value
        else:
            raise InputError(f"{key} is no name of SSSCWEB's matcher")
    return found, ignored


def published_matcher(tensors: Mapping[str, Tensor]) -> tuple[Matcher, list[str]]:
    """The matcher of a published checkpoint, in eval mode, and the names of it that were left out.

    Its grid is read from the tensors; confidence is unfitted. The variant with GELU in the backbone has the same names
    and shapes and computes something else: nothing here can tell.

    Raises:
        InputError: a name or shape that does not fit.
    """
    found, ignored = from_ssscweb(tensors)
    positions = found.get("aggregation.pos_embed_x")
    if positions is None or positions.ndim != 5:
        raise InputError("SSSCWEB's matcher: decoder.pos_embed_x (1, L, 1, f, E / 2) is missing")
    matcher = Matcher(MatcherConfig.published(positions.shape[3]))
    expected = matcher.state_dict()
    found |= {key: value for key, value in expected.items() if key.startswith("confidence.")}
    for key in {*expected, *found}:
        shapes = [tuple(each[key].shape) if key in each else "none" for each in (found, expected)]
        if shapes[0] != shapes[1]:
            raise InputError(f"SSSCWEB's matcher: {key} has shape {shapes[0]}, expected {shapes[1]}")
    matcher.load_state_dict(found)
    return matcher.eval(), ignored
