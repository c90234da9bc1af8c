"""Drawing: markers stand where the point is, hollow where it is hidden, and everything else stays as it was."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samepoint.errors import InputError
from samepoint.structures import Tracks
from samepoint.viz.draw import draw_tracks, label, point_colors


def tracks_at(xy: np.ndarray, visible: bool | np.ndarray = True, size: tuple[int, int] = (96, 128), **more) -> Tracks:
    xy = np.asarray(xy, np.float32)
    seen = np.broadcast_to(visible, xy.shape[:2]) & np.isfinite(xy).all(axis=2)
    return Tracks.from_confidence(xy, seen, more.pop("fps", 10.0), size, more.pop("names", ()))


def centre_of_mass(picture: np.ndarray) -> np.ndarray:
    """Where a white picture became darker, in corner-origin pixels (on white, the change is linear in coverage)."""
    change = (255.0 - picture).sum(axis=2)
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]] + 0.5
    return np.array([(columns * change).sum(), (rows * change).sum()]) / change.sum()


white = np.full((96, 128, 3), 255, np.uint8)
coordinates = st.floats(30.0, 60.0, width=32)


@settings(max_examples=60)
@given(coordinates, coordinates, st.booleans())
def test_marker_is_centred_on_the_raster_coordinate(x: float, y: float, seen: bool) -> None:
    picture = draw_tracks(white, tracks_at([[[x, y]]], seen), 0)
    np.testing.assert_allclose(centre_of_mass(picture), (x, y), atol=0.05)


def test_the_centre_of_the_first_pixel_is_at_a_half() -> None:
    picture = draw_tracks(white, tracks_at([[[40.5, 50.5]]]), 0)
    around = picture[30:71, 20:61].astype(int)  # the same distance to all sides of pixel (50, 40)
    np.testing.assert_array_equal(around, around[::-1])
    np.testing.assert_array_equal(around, around[:, ::-1])
    np.testing.assert_array_equal(around, around.transpose(1, 0, 2))


@settings(max_examples=60)
@given(coordinates, coordinates, st.sampled_from([(96, 128), (480, 640), (720, 1280)]))
def test_hidden_marker_is_hollow_and_a_seen_one_full(x: float, y: float, size: tuple[int, int]) -> None:
    frame = np.full((*size, 3), 90, np.uint8)
    seen = draw_tracks(frame, tracks_at([[[x, y]]], size=size), 0)
    hidden = draw_tracks(frame, tracks_at([[[x, y]]], False, size=size), 0)
    cell = int(y), int(x)
    assert (hidden[cell] == 90).all()
    assert (seen[cell] != 90).any()
    assert (hidden != 90).any()


def test_unknown_positions_draw_nothing_and_the_input_stays() -> None:
    frame = white.copy()
    picture = draw_tracks(frame, tracks_at([[[np.nan, np.nan], [50.0, 50.0]]]), 0)
    np.testing.assert_array_equal(picture, white)
    draw_tracks(frame, tracks_at([[[np.nan, np.nan], [50.0, 50.0]]]), 1, names=True)
    np.testing.assert_array_equal(frame, white)


def test_points_off_the_frame_are_cut_off() -> None:
    far = tracks_at([[[-1e7, 3e8], [1.0, 1.0]], [[-0.5, 95.0], [128.0, 96.0]]], False)
    assert draw_tracks(white, far, 0).shape == white.shape
    assert (draw_tracks(white, far, 1, names=True)[0:6, 0:6] != 255).any()


def test_trail_follows_the_path_as_far_as_asked_and_fades() -> None:
    x = np.arange(10, 110, 10, dtype=np.float32)
    path = tracks_at([np.stack([x, np.full(10, 48.5)], axis=1)])
    bare = draw_tracks(white, path, 9, trail=0)
    assert (bare[:, :80] == 255).all()
    picture = draw_tracks(white, path, 9, trail=5).astype(int)
    assert (picture[:, :48] == 255).all(), "the trail starts five frames back, at x = 50"
    strength = 255 - picture[48].min(axis=1)
    assert strength[55] < strength[75] < strength[92]
    assert (draw_tracks(white, path, 0) == draw_tracks(white, path, 0, trail=0)).all()
    broken = tracks_at([np.stack([np.where(x == 60, np.nan, x), np.where(x == 60, np.nan, 48.5)], axis=1)])
    assert (draw_tracks(white, broken, 9, trail=9)[:, 53:67] == 255).all(), "no line across an unknown position"


def test_hidden_stretches_of_a_trail_are_fainter() -> None:
    x = np.linspace(20, 110, 6, dtype=np.float32)
    path = np.stack([x, np.full(6, 48.5)], axis=1)[None]
    hidden = np.ones((1, 6), bool)
    hidden[0, 3] = False
    middle = int((x[2] + x[3]) / 2)
    clear, faint = draw_tracks(white, tracks_at(path), 5), draw_tracks(white, tracks_at(path, hidden), 5)
    assert (255 - faint[48, middle].astype(int)).sum() < (255 - clear[48, middle].astype(int)).sum()


def test_a_resized_frame_is_drawn_on_in_its_own_scale() -> None:
    half = np.full((48, 64, 3), 255, np.uint8)
    picture = draw_tracks(half, tracks_at([[[70.0, 41.0]]]), 0)
    np.testing.assert_allclose(centre_of_mass(picture), (35.0, 20.5), atol=0.05)


def test_names_stand_beside_the_marker_inside_the_frame() -> None:
    tracks = tracks_at([[[64.0, 48.0]], [[126.0, 3.0]]], names=("näse", "ear"))
    bare, named = draw_tracks(white, tracks, 0), draw_tracks(white, tracks, 0, names=True)
    changed = (bare != named).any(axis=2)
    assert changed[30:50, 68:100].sum() > 30
    assert changed[0:20, 90:120].sum() > 30, "a name that would leave the frame stands on the other side"
    assert label("x" * 8, (1, 2, 3), 16).shape[1] > 2 * label("x", (1, 2, 3), 16).shape[1]


def test_few_points_get_colours_that_differ_and_many_get_them_by_place() -> None:
    few = point_colors(tracks_at(np.zeros((24, 1, 2)) + 5)).astype(int)
    gaps = np.abs(few[:, None] - few[None]).sum(axis=2) + 999 * np.eye(24, dtype=int)
    assert gaps.min() > 20
    assert gaps[np.arange(23), np.arange(1, 24)].min() > 100
    rows = np.array([[[x, 40.0]] for x in np.linspace(0, 128, 40)])
    many = point_colors(tracks_at(rows)).astype(int)
    assert np.abs(np.diff(many, axis=0)).sum(axis=1).max() < np.abs(many[0] - many[20]).sum()
    assert point_colors(tracks_at(np.zeros((0, 3, 2)))).shape == (0, 3)
    assert (draw_tracks(white, tracks_at(np.zeros((0, 3, 2))), 1, names=True) == white).all()


@pytest.mark.parametrize(
    ("frame", "t", "trail", "said"),
    [
        (np.zeros((4, 4), np.uint8), 0, None, "uint8"),
        (np.zeros((4, 4, 3), np.float32), 0, None, "uint8"),
        (white, 1, None, "frames 0 to 0"),
        (white, -1, None, "frames 0 to 0"),
        (white, 0, -2, "trail"),
    ],
)
def test_bad_calls_say_why(frame: np.ndarray, t: int, trail: int | None, said: str) -> None:
    with pytest.raises(InputError, match=said):
        draw_tracks(frame, tracks_at([[[40.0, 40.0]]]), t, trail=trail)
