"""A matcher around any network that gives features: nothing is learnt, neighbours decide together."""

from __future__ import annotations

from torch import nn

from ..errors import InputError
from ..models.aggregation import AggregationConfig
from ..models.hypercolumn import AnyBackbone, PyramidBackbone, VitBackbone
from ..models.matcher import Matcher, MatcherConfig
from ..models.network import PointNetwork
from ..models.vit import VisionTransformer

_IDLE = AggregationConfig(grid=4, projection=16, heads=4, ratio=1.0)
"""As small as can be: untrained it adds nothing."""


def can_match(network: object) -> bool:
    """Whether :func:`matcher_around` takes the network."""
    return isinstance(network, VisionTransformer | PointNetwork)


def matcher_around(network: nn.Module) -> Matcher:
    """A matcher whose backbone is a given network, frozen; its transformer is untrained and adds nothing.

    Of a vision transformer the two blocks before the last are used, at 32 cells a side: the last block of those trained
    without labels matches worse. Of our point network, the map at stride 8.

    Raises:
        InputError: another kind of network.
    """
    backbone: AnyBackbone
    if isinstance(network, VisionTransformer):
        config = network.config
        sizes = {key: config[key] for key in ("width", "depth", "heads", "hidden", "patch", "scaled")}
        levels = tuple(range(max(0, config["depth"] - 3), max(1, config["depth"] - 1)))
        backbone = VitBackbone(**sizes, positions=config["grid"], levels=levels)
        side = 32 * backbone.patch
    elif isinstance(network, PointNetwork):
        backbone, side = PyramidBackbone(network=network.config, levels=(1,)), 256
    else:
        raise InputError(f"a matcher takes a vision transformer or a point network, got {type(network).__name__}")
    settings = MatcherConfig(
        backbone=backbone, frozen=True, external=True, side=side, grid=32, fit="keep", aggregation=_IDLE
    )
    return Matcher(settings).use_backbone(network).eval()
