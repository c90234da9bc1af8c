"""The same points in another picture."""

from samepoint.matching.features import (
    FeatureMatchSettings,
    PictureEncoder,
    PictureMap,
    match_features,
    match_maps,
)
from samepoint.matching.pair_model import Carried, LearntMatcher, PairModel, PlainMatcher, as_pair_model, default_model
from samepoint.matching.pictures import Picture, PictureSource, open_picture
from samepoint.matching.points import as_points, match, match_each, names_of
from samepoint.matching.regions import CarriedRegions, as_regions, carry_masks, carry_masks_each, places_inside

__all__ = [
    "Carried",
    "CarriedRegions",
    "FeatureMatchSettings",
    "LearntMatcher",
    "PairModel",
    "Picture",
    "PictureEncoder",
    "PictureMap",
    "PictureSource",
    "PlainMatcher",
    "as_pair_model",
    "as_points",
    "as_regions",
    "carry_masks",
    "carry_masks_each",
    "default_model",
    "match",
    "match_each",
    "match_features",
    "match_maps",
    "names_of",
    "open_picture",
    "places_inside",
]
