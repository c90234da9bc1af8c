"""Pictures of matches: points, lines and regions lie where they should, in the colours they should have."""

from __future__ import annotations

import numpy as np

from samepoint.structures import Matches
from samepoint.viz.matches import CELL, MOST, PAIR, MatchSheet, RegionSheet, draw_matches, fitted, match_colors

GREY = np.full((180, 240, 3), 90, np.uint8)


def two(confidence: tuple[float, float] = (0.9, 0.2), target: str = "b.jpg") -> Matches:
    return Matches([[60, 45], [180, 135]], [[30, 30], [60, 60]], confidence, (180, 240), (90, 120), target=target)


def close(pixel: np.ndarray, color: np.ndarray) -> bool:
    return bool(np.abs(pixel.astype(int) - color).max() < 60)


def test_a_pair() -> None:
    """PAIR fits both pictures at 720 x 960: scale 4, and 8 for the small target but that it stops at 4."""
    matches = two()
    picture = draw_matches(GREY, GREY[:90, :120], matches)
    assert picture.shape == (720, 960 + 12 + 480, 3)
    colors = match_colors(matches)
    assert close(picture[180, 240], colors[0])  # (60, 45) in the source
    assert close(picture[120, 972 + 120], colors[0])  # (30, 30) in the target
    assert picture[540, 720].tolist() == [90, 90, 90]  # not found: a ring around it
    assert picture[240, 972 + 240].tolist() == [90, 90, 90]  # and nothing in the target
    half = (240 + 972 + 120) // 2, (180 + 120) // 2
    assert not (picture[half[1] - 4 : half[1] + 5, half[0]] == 90).all()  # the line
    assert not (draw_matches(GREY, GREY[:90, :120], two((0.1, 0.2)))[half[1], half[0]] - 90).any()


def test_nothing_to_draw() -> None:
    none = Matches(np.zeros((0, 2)), np.zeros((0, 2)), [], (180, 240), (180, 240))
    assert (draw_matches(GREY, GREY, none)[:, :960] == 90).all()
    guessless = Matches([[60, 45]], [[np.nan, np.nan]], [0.0], (180, 240), (180, 240))
    assert (draw_matches(GREY, GREY, guessless)[:, 972:] == 90).all()


def test_many_points_do_not_hide_the_pictures() -> None:
    grid = np.stack(np.meshgrid(np.arange(4, 240, 4), np.arange(4, 180, 4)), axis=-1).reshape(-1, 2)
    matches = Matches(grid, grid, np.ones(len(grid)), (180, 240), (180, 240))
    picture = draw_matches(GREY, GREY, matches)
    assert (picture[:, :960] == 90).all(axis=2).mean() > 0.2


def test_sheets() -> None:
    sheet = MatchSheet(GREY, names=True)
    sheet.add(GREY[:90, :120], two())
    np.testing.assert_array_equal(sheet.picture(), draw_matches(GREY, GREY[:90, :120], two(), names=True))
    sheet.add(GREY, two(target="folder/c.jpg"))
    three = sheet.picture()
    assert three.shape[0] > CELL[0]
    assert three.shape[1] > 2 * CELL[1]
    for number in range(MOST + 5):
        sheet.add(GREY, two(target=f"{number}.jpg"))
    assert sheet.picture().shape[0] > three.shape[0]


def test_a_sheet_stops_growing() -> None:
    shapes = []
    for count in (MOST, MOST + 1, MOST + 40):
        sheet = MatchSheet(GREY)
        for number in range(count):
            sheet.add(GREY[:90, :120], two(target=str(number)))
        shapes.append(sheet.picture().shape)
    assert shapes[1] == shapes[2]


def test_regions_have_the_colours_of_their_places() -> None:
    labels = np.zeros((180, 240), np.uint8)
    labels[60:120, 60:180] = 1
    sheet = RegionSheet(GREY, labels)
    columns, rows = np.meshgrid((np.arange(64) + 0.5) * 240 / 64, (np.arange(48) + 0.5) * 180 / 48)
    origin = np.stack([columns, rows], axis=-1).astype(np.float32)
    sheet.add(GREY, labels, origin, "b.jpg")
    picture = sheet.picture()
    source, target = picture[:, :960].astype(int), picture[:, 972:].astype(int)
    assert np.abs(source - target).max(axis=2)[250:470, 250:710].max() < 12
    assert (source[:200] == 90).all()
    left, right = source[360, 260], source[360, 700]
    assert np.abs(left - right).max() > 60
    sheet.add(GREY, np.zeros_like(labels), origin, "none.jpg")
    assert sheet.picture().shape != picture.shape


def test_fitted() -> None:
    assert fitted(GREY, PAIR).shape == (720, 960, 3)
    assert fitted(GREY[:10, :10], PAIR).shape == (40, 40, 3)
    assert fitted(np.zeros((4000, 10, 3), np.uint8), CELL).shape == (300, 1, 3)
