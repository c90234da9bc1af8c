import cv2
import numpy as np
import pytest

from samepoint.datasets.photometric import (
    PhotometricSettings,
    change_colours,
    equalise,
    grey,
    jitter,
    lighten,
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


def test_hue_turns_as_far_as_it_is_told() -> None:
    """Red has hue 0: of 180 steps it moves by up to 36 at a fifth of the circle, by up to 12 at a third of 0.2."""
    red = np.full((1, 1, 3), (200, 40, 40), np.uint8)

    def turns(hue: float | None) -> np.ndarray:
        hsv = [cv2.cvtColor(jitter(red, 0.2, np.random.default_rng(n), hue), cv2.COLOR_RGB2HSV) for n in range(300)]
        steps = np.array([int(one[0, 0, 0]) for one in hsv])
        return np.minimum(steps, 180 - steps)

    assert 33 <= turns(0.2).max() <= 38
    assert 10 <= turns(None).max() <= 14
    assert turns(0.0).max() <= 2


def test_light_changes_brightness_and_contrast() -> None:
    dark, bright = np.full((1, 1, 3), 60, np.uint8), np.full((1, 1, 3), 180, np.uint8)
    pairs = [
        [int(lighten(one, 0.2, np.random.default_rng(seed))[0, 0, 0]) for one in (dark, bright)] for seed in range(200)
    ]
    low, high = np.array(pairs).T
    assert 40 < low.max() - 60 < 64  # 51 of brightness and 12 of contrast
    assert 100 < (high - low).min() + 5 < 125 < (high - low).max() - 5 < 150
    changed = change_colours(picture(), PhotometricSettings(**{**vars(NONE), "light": 1.0}), np.random.default_rng(0))
    assert (changed != picture()).any()


def test_what_has_no_chance_of_light_draws_as_before_there_was_any() -> None:
    rng, expected = np.random.default_rng(3), np.random.default_rng(3)
    change_colours(picture(), NONE, rng)
    expected.random(7)  # one draw for each of the other changes
    assert rng.random() == expected.random()


def test_published_settings() -> None:
    web, pairs = PhotometricSettings.published(), PhotometricSettings.published_pairs()
    same = {"equalise": 0.2, "solarise": 0.2, "jitter": 0.2, "grey": 0.2, "strength": 0.2, "hue": 0.2, "blur": 0.0}
    more = ("posterise", "sharpen", "light")
    assert vars(web) == same | dict.fromkeys(more, 0.0)
    assert vars(pairs) == same | dict.fromkeys(more, 0.2)


def test_chances_beyond_one_are_refused() -> None:
    with pytest.raises(InputError, match=r"hue: 0\.6 given, 0 to 0\.5 expected"):
        PhotometricSettings(hue=0.6)
    with pytest.raises(InputError, match=r"jitter: 1\.5 given"):
        PhotometricSettings(jitter=1.5)
