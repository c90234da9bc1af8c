"""Resizing, names and numbered files."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samepoint.datasets.frames import checked_name, numbered, resize_frames, resize_picture
from samepoint.errors import InputError


def test_bilinear_takes_the_nearest_centres_and_lanczos_all():
    """A row of 8 columns to 2: centres fall at 2 and 6, between columns 1 and 2, and 5 and 6."""
    row = np.array([[0, 0, 100, 0, 0, 0, 200, 0]], np.uint8)[..., None].repeat(3, axis=2)
    np.testing.assert_array_equal(resize_picture(row, (1, 2), "bilinear")[0, :, 0], [50, 100])
    lanczos = resize_picture(row, (1, 2), "lanczos")[0, :, 0]
    assert 20 < lanczos[0] < 50 < lanczos[1] < 100  # a quarter of the area each, sharpened
    np.testing.assert_array_equal(resize_picture(row[..., 0], (1, 4), "nearest")[0], [0, 100, 0, 200])
    with pytest.raises(InputError, match="unknown filter 'cubic'"):
        resize_picture(row, (1, 2), "cubic")


@pytest.mark.parametrize("method", ["lanczos", "bilinear"])
def test_frames_are_resized_one_at_a_time(method):
    frames = resize_frames((np.full((4, 6, 3), 10 * t, np.uint8) for t in range(3)), (5, 7), method)
    assert frames.shape == (3, 5, 7, 3)
    np.testing.assert_array_equal(frames.mean(axis=(1, 2, 3)), [0, 10, 20])
    assert resize_frames(iter([]), (5, 7)).shape == (0, 5, 7, 3)


def test_numbered_files(tmp_path):
    for name in ("9.png", "10.png", "11.png", ".hidden.png", "12.jpg"):
        (tmp_path / name).touch()
    assert [path.name for path in numbered(tmp_path, ".png")] == ["9.png", "10.png", "11.png"]
    (tmp_path / "10.png").unlink()
    with pytest.raises(InputError, match=r"10\.png: missing"):
        numbered(tmp_path, ".png")
    with pytest.raises(InputError, match=r"no \*\.bmp in it"):
        numbered(tmp_path, ".bmp")


@pytest.mark.parametrize(
    "name", ["", "/a", "a/", "a//b", "..", "a/../b", ".", "a\\b", "a\n", "a\0", 3, None, "\ud800", "é" * 101]
)
def test_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(InputError, match=r"list: .* cannot name a file"):
        checked_name(name, "list")


@given(st.text(max_size=20))
def test_a_name_stays_in_its_folder(tmp_path_factory, name):
    folder = tmp_path_factory.getbasetemp()
    try:
        place = folder / checked_name(name, "list")
    except InputError:
        return
    assert folder in place.resolve().parents
