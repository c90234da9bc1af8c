import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samepoint.datasets.warp import Warp, WarpSettings, draw_warp
from samepoint.errors import InputError


def blobs(height: int, width: int, places: np.ndarray, sigma: float = 3.0) -> np.ndarray:
    """A black picture with a soft spot at each place."""
    y, x = np.mgrid[:height, :width] + 0.5
    spots = [np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma**2)) for px, py in places]
    return np.repeat((255 * np.clip(sum(spots), 0, 1)).astype(np.uint8)[..., None], 3, axis=2)


def centre_near(picture: np.ndarray, place: np.ndarray, reach: int = 14) -> np.ndarray:
    """The centre of mass of what is bright around a place."""
    x0, y0 = (int(max(value - reach, 0)) for value in place)
    part = picture[y0 : y0 + 2 * reach, x0 : x0 + 2 * reach, 0].astype(float)
    y, x = np.mgrid[: part.shape[0], : part.shape[1]] + 0.5
    return np.array([(part * x).sum(), (part * y).sum()]) / part.sum() + [x0, y0]


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from([(360, 640), (240, 320), (640, 360)]))
def test_points_lie_where_the_picture_shows_them(seed: int, size: tuple[int, int]) -> None:
    """Keypoints against the warped picture, frames that are not square: below half a pixel (acceptance check 6)."""
    rng = np.random.default_rng(seed)
    warp = draw_warp(size, (256, 256), WarpSettings(area=(0.5, 1), rotation=10, perspective=1.0), rng)
    new = np.array([[64.0, 70.0], [180.0, 90.0], [120.0, 190.0]])
    old = warp.source_of(new)
    inside = ((old > 12) & (old < np.array([size[1], size[0]]) - 12)).all(axis=1)
    shown = warp.picture(blobs(*size, old, sigma=4.0))
    for place, seen in zip(new, inside, strict=True):
        if seen:
            assert np.linalg.norm(centre_near(shown, place) - place) < 0.5 + 0.03 * 14  # perspective skews the spot


def test_spots_under_splines_lie_where_the_way_back_says() -> None:
    rng = np.random.default_rng(3)
    warp = draw_warp((256, 256), (256, 256), WarpSettings(area=(1, 1), aspect=(1, 1), perspective=0.0, bend=0.02), rng)
    new = np.array([[80.0, 90.0], [170.0, 160.0]])
    shown = warp.picture(blobs(256, 256, warp.source_of(new)))
    for place in new:
        assert np.linalg.norm(centre_near(shown, place) - place) < 0.7
    with pytest.raises(InputError, match="only be followed back"):
        warp.points(new)


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_the_way_there_and_back(seed: int) -> None:
    rng = np.random.default_rng(seed)
    warp = draw_warp((300, 400), (128, 128), WarpSettings(flip=0.5), rng)
    new = rng.uniform(0, 128, (20, 2))
    np.testing.assert_allclose(warp.points(warp.source_of(new)), new, atol=0.02)


def test_a_plain_resize_by_hand() -> None:
    warp = draw_warp((100, 200), (50, 50), WarpSettings((1, 1), (1, 1), 0, 0, 0), np.random.default_rng(0))
    np.testing.assert_allclose(warp.points(np.array([[0, 0], [200, 100], [100, 25]])), [[0, 0], [50, 50], [25, 12.5]])
    flat = np.zeros((100, 200, 3), np.uint8)
    flat[:, 100:] = 200
    shown = warp.picture(flat)
    assert shown[:, :24].max() == 0
    assert shown[:, 26:].min() == 200


def test_what_shrinks_is_averaged() -> None:
    """Lines a pixel wide do not vanish or survive by luck: every pixel of the small picture is their mean."""
    lines = np.zeros((256, 256, 3), np.uint8)
    lines[:, ::2] = 200
    shown = Warp(np.diag([4.0, 4.0, 1.0]), (64, 64)).picture(lines)
    np.testing.assert_allclose(shown[2:-2, 2:-2].astype(int), 100, atol=2)


def test_mirroring() -> None:
    warp = draw_warp((64, 64), (64, 64), WarpSettings((1, 1), (1, 1), 0, 0, 0, flip=1.0), np.random.default_rng(0))
    np.testing.assert_allclose(warp.points(np.array([[10, 20]])), [[54, 20]], atol=1e-4)


@pytest.mark.parametrize("change", [{"area": (0, 1)}, {"aspect": (2, 1)}, {"distortion": 1}, {"flip": 2}, {"bend": -1}])
def test_values_out_of_range_are_named(change: dict) -> None:
    with pytest.raises(InputError, match=next(iter(change))):
        WarpSettings(**change)


def test_dense_splines_are_the_splines() -> None:
    warp = draw_warp((200, 300), (90, 130), WarpSettings(bend=0.04), np.random.default_rng(1))
    assert warp.splines is not None
    y, x = np.mgrid[:90, :130] + 0.5
    exact = warp.splines(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(90, 130, 2)
    assert np.abs(exact).max() > 1
    np.testing.assert_allclose(warp.splines.dense((90, 130)), exact, atol=0.15)  # worst at a control point
