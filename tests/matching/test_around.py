import numpy as np
import pytest
import torch

from samepoint.errors import InputError
from samepoint.matching.around import can_match, matcher_around
from samepoint.matching.pair_model import LearntMatcher, as_pair_model
from samepoint.models.network import NetworkConfig, PointNetwork
from samepoint.models.resnet import ResNet
from samepoint.models.vit import VisionTransformer


def networks() -> list[torch.nn.Module]:
    torch.manual_seed(0)
    tiny = NetworkConfig(stem=8, widths=(8, 8, 8), blocks=1, pyramid=8, descriptors=(8, 8, 8, 8))
    return [VisionTransformer(64, 4, 1, 64, 8, 4, True, (2,)), PointNetwork(tiny).eval()]


@pytest.mark.parametrize("which", [0, 1])
def test_a_picture_matches_itself(which: int) -> None:
    network = networks()[which]
    assert can_match(network)
    matcher = matcher_around(network)
    picture = np.random.default_rng(0).integers(0, 256, (96, 128, 3)).astype(np.uint8)
    points = np.array([[40.0, 30.0], [90.0, 70.0], [64.0, 48.0]], np.float32)
    xy, confidence = matcher.match(picture, picture, points)
    assert np.linalg.norm(xy - points, axis=1).max() < 6
    assert (confidence > 0.5).all()
    assert isinstance(as_pair_model(network), LearntMatcher)


def test_the_network_is_used_not_copied_into_what_is_saved() -> None:
    network = networks()[0]
    matcher = matcher_around(network)
    assert not any(name.startswith("hypercolumn") for name in matcher.state_dict())
    assert matcher.config.backbone.levels == (1, 2)  # the two before the last
    assert matcher.config.side == 32 * 8


def test_other_networks_are_refused() -> None:
    assert not can_match(ResNet(18))
    with pytest.raises(InputError, match="got ResNet"):
        matcher_around(ResNet(18))
