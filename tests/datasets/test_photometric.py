import cv2
import numpy as np
import pytest

from samepoint.datasets.photometric import (
    PhotometricSettings,
    change_colours,
    equalise,
    grey,
    jitter,
    sharpen,
)
from samepoint.errors import InputError

NONE = PhotometricSettings(equalise=0, solarise=0, blur=0, jitter=0, grey=0)


def picture(seed: int = 0) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(small, (64, 48), interpolation=cv2.INTER_CUBIC))


def test_no_chance_no_change() -> None:
    np.testing.assert_array_equal(change_colours(picture(), NONE, np.random.default_rng(0)), picture())


def test_draws_decide_alone() -> None:
    settings = PhotometricSettings(posterise=0.5, sharpen=0.5)
    first, again = (change_colours(picture(), settings, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    others = [change_colours(picture(), settings, np.random.default_rng(seed)) for seed in range(8)]
    assert any((other != first).any() for other in others)
    assert all(other.dtype == np.uint8 and other.shape == (48, 64, 3) for other in others)


def test_what_each_change_does() -> None:
    dull = (picture() // 4).astype(np.uint8)
    assert equalise(dull).max() > 240
    assert (np.ptp(grey(picture()).astype(int), axis=-1) == 0).all()
    assert sharpen(picture(), 1.0).std() > picture().std()


def test_jitter_stays_near_and_moves() -> None:
    soft = np.full((4, 4, 3), (120, 100, 90), np.uint8)
    changed = [jitter(soft, 0.2, np.random.default_rng(seed)).astype(int) for seed in range(30)]
    assert all(np.abs(one - soft).max() < 90 for one in changed)
    assert np.std([one[0, 0, 0] for one in changed]) > 5
    np.testing.assert_allclose(jitter(soft, 0.0, np.random.default_rng(0)).astype(int), soft, atol=2)


def test_chances_beyond_one_are_refused() -> None:
    with pytest.raises(InputError, match=r"jitter: 1\.5 given"):
        PhotometricSettings(jitter=1.5)
