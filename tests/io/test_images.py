from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from samepoint.errors import InputError
from samepoint.io.images import image_size, list_images, natural_key, read_image, write_image


def test_natural_order() -> None:
    names = ["img10.png", "img2.png", "img1.png", "Img3.png", "10.png", "9.png", "a.png", "09.png"]
    assert sorted(names, key=natural_key) == [
        "09.png",
        "9.png",
        "10.png",
        "a.png",
        "img1.png",
        "img2.png",
        "Img3.png",
        "img10.png",
    ]


@settings(max_examples=40)
@given(st.lists(st.text(max_size=8)))
def test_any_names_can_be_ordered(names: list[str]) -> None:
    backwards = list(reversed(names))
    assert sorted(backwards, key=natural_key) == sorted(names, key=natural_key)
    assert len({natural_key(name) for name in names}) == len(set(names))


def test_listing(tmp_path: Path) -> None:
    for name in ("b10.jpg", "b9.JPG", ".c.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["b9.JPG", "b10.jpg"]


def test_round_trip(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    write_image(tmp_path / "a.png", image)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), image)
    assert image_size(tmp_path / "a.png") == (5, 7)
    write_image(tmp_path / "grey.png", image[..., 0])
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), np.stack([image[..., 0]] * 3, axis=2))


def test_other_kinds_of_pictures(tmp_path: Path) -> None:
    red = np.full((2, 3, 4), (200, 10, 20, 7), np.uint8)
    Image.fromarray(red).save(tmp_path / "alpha.png")
    assert read_image(tmp_path / "alpha.png")[0, 0].tolist() == [200, 10, 20]
    deep = np.full((2, 3), 0x8123, np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert read_image(tmp_path / "deep.png")[0, 0].tolist() == [0x81] * 3
    Image.fromarray(red[..., :3]).convert("P").save(tmp_path / "palette.png")
    assert np.abs(read_image(tmp_path / "palette.png")[0, 0].astype(int) - (200, 10, 20)).max() < 40
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "bits.png")
    assert read_image(tmp_path / "bits.png")[0, :, 0].tolist() == [255, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int) -> None:
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 10
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(image).save(tmp_path / "a.png", exif=exif)
    upright = {
        1: image,
        2: image[:, ::-1],
        3: image[::-1, ::-1],
        4: image[::-1],
        5: image.transpose(1, 0, 2),
        6: np.rot90(image, -1),
        7: np.rot90(image, 2).transpose(1, 0, 2),
        8: np.rot90(image),
    }[orientation]
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), upright)
    assert image_size(tmp_path / "a.png") == upright.shape[:2]


def test_bad_input(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no picture")
    for path, message in [("a.png", "not a picture"), ("none.png", "no such file"), (".", "is a folder")]:
        with pytest.raises(InputError, match=message):
            read_image(tmp_path / path)
    with pytest.raises(InputError, match="unknown picture format"):
        write_image(tmp_path / "a.xyz", np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(InputError, match="uint8"):
        write_image(tmp_path / "b.png", np.zeros((2, 2, 3)))
