"""``sp.carry_masks``: regions in other pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import samepoint as sp
from samepoint.errors import InputError
from samepoint.io.masks import write_mask
from samepoint.matching import carry_masks_each, places_inside
from tests.matching.stub import Scaled
from tests.matching.test_points import blobs


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def mask(size: tuple[int, int] = (120, 160)) -> np.ndarray:
    labels = np.zeros(size, np.uint8)
    labels[size[0] // 4 : size[0] // 2, size[1] // 4 : 3 * size[1] // 4] = 1
    labels[size[0] // 2 : 3 * size[0] // 4, size[1] // 4 : size[1] // 2] = 7
    return labels


def test_scaled_with_the_picture(tmp_path: Path) -> None:
    """Where everything lies at the same share of the picture, so do the regions, at the target's own resolution."""
    found = sp.carry_masks(blobs((120, 160)), blobs((300, 200)), mask(), model=Scaled())
    expected = mask((300, 200))
    assert (found.dtype, found.shape) == (np.uint8, (300, 200))
    assert np.unique(found).tolist() == [0, 1, 7]
    for label in (1, 7):
        assert overlap(found == label, expected == label) > 0.9
    path = tmp_path / "m.png"
    write_mask(path, mask())
    many = sp.carry_masks(blobs((120, 160)), [blobs((300, 200))], path, model=Scaled())
    np.testing.assert_array_equal(many[0], found)


def test_nothing_is_there_where_no_place_is_sure() -> None:
    assert not sp.carry_masks(blobs((120, 160)), blobs((90, 90)), mask(), model=Scaled(confidence=0.0)).any()


def test_places_that_are_not_sure_take_what_is_around_them() -> None:
    class Patchy(Scaled):
        def carry(self, source, target, xy):
            carried = super().carry(source, target, xy)
            hole = (np.abs(xy - (80, 45)) < (8, 8)).all(axis=1)
            return carried._replace(confidence=np.where(hole, np.float32(0.05), carried.confidence))

    found = sp.carry_masks(blobs((120, 160)), blobs((120, 160)), mask(), model=Patchy())
    assert overlap(found == 1, mask() == 1) > 0.93


def test_the_mirrored_target_gives_mirrored_regions() -> None:
    class OneWay(Scaled):
        def encode(self, picture):
            return picture.size, bool(picture.rgb[:, :30].mean() > picture.rgb.mean())

        def carry(self, source, target, xy):
            carried = super().carry(source[0], target[0], xy)
            return carried if source[1] == target[1] else carried._replace(confidence=carried.confidence * 0.2)

    source = blobs((120, 160)) // 4
    source[:, :30] = 255
    regions = [
        regions for _, regions in carry_masks_each(source, [source[:, ::-1], source], mask(), OneWay(), flip_test=True)
    ]
    assert overlap(regions[0].labels == 7, mask()[:, ::-1] == 7) > 0.93
    assert overlap(regions[1].labels == 7, mask() == 7) > 0.93
    # Each place of the target says where it comes from.
    rows, columns = regions[0].confidence.shape
    assert (rows, columns) == (48, 64)
    np.testing.assert_allclose(regions[0].origin[0, 0], [158.75, 1.25], atol=1e-3)
    np.testing.assert_allclose(regions[1].origin[0, 0], [1.25, 1.25], atol=1e-3)


def test_places_inside() -> None:
    labels = np.zeros((64, 64), np.uint8)
    labels[10, 20] = 3  # smaller than a cell can see: its own pixel stands for it
    labels[30:34, 40:50] = 1
    places = places_inside(labels)
    assert len(places) == 41
    assert {int(labels[int(y), int(x)]) for x, y in places} == {1, 3}
    large = np.zeros((1280, 1280), np.uint8)
    large[100:103, 200:203] = 5
    assert places_inside(large).tolist() == [[201.5, 101.5]]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((120, 160), np.uint8), "all background"),
        (np.ones((12, 16), np.uint8), "is 16x12, but source is 160x120"),
        (np.ones((120, 160)), "whole numbers"),
        ("none.png", "no such file"),
    ],
)
def test_masks_that_cannot_be_carried(given: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        sp.carry_masks(blobs((120, 160)), blobs((120, 160)), given, model=Scaled())  # type: ignore[arg-type]


def test_a_mask_file_of_another_size(tmp_path: Path) -> None:
    write_mask(tmp_path / "small.png", np.ones((12, 16), np.uint8))
    with pytest.raises(InputError, match=r"small.png: is 16x12, but source is 160x120"):
        sp.carry_masks(blobs((120, 160)), blobs((120, 160)), tmp_path / "small.png", model=Scaled())


def test_by_plain_features() -> None:
    whole = blobs((240, 360))
    source, target = whole[:, :328], whole[:, 32:]
    labels = np.zeros((240, 328), np.uint8)
    labels[60:180, 100:260] = 1
    found = sp.carry_masks(source, target, labels, model="samepoint-base")
    expected = np.zeros((240, 328), np.uint8)
    expected[60:180, 68:228] = 1
    assert overlap(found == 1, expected == 1) > 0.75
