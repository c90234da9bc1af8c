"""The same points in another picture."""

from samepoint.matching.features import (
    FeatureMatchSettings,
    PictureEncoder,
    PictureMap,
    match_features,
    match_maps,
)
from samepoint.matching.pair_model import Carried, PairModel, PlainMatcher, default_model, pair_model
from samepoint.matching.pictures import Picture, PictureSource, open_picture
from samepoint.matching.points import match, match_each
from samepoint.matching.regions import CarriedRegions, carry_masks, carry_masks_each

__all__ = [
    "Carried",
    "CarriedRegions",
    "FeatureMatchSettings",
    "PairModel",
    "Picture",
    "PictureEncoder",
    "PictureMap",
    "PictureSource",
    "PlainMatcher",
    "carry_masks",
    "carry_masks_each",
    "default_model",
    "match",
    "match_each",
    "match_features",
    "match_maps",
    "open_picture",
    "pair_model",
]
