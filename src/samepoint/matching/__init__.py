"""The same points in another picture."""

from samepoint.matching.features import (
    FeatureMatchSettings,
    PictureEncoder,
    PictureMap,
    match_features,
    match_maps,
)

__all__ = ["FeatureMatchSettings", "PictureEncoder", "PictureMap", "match_features", "match_maps"]
