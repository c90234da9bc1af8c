"""Pictures of every kind, decoded small: what can be read lies where it lay, what cannot is refused in one line."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samepoint.errors import InputError
from samepoint.io import images
from samepoint.io.images import image_size, read_image, read_reduced

RGB = np.zeros((40, 60, 3), np.uint8) + np.array([200, 100, 50], np.uint8)


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


KINDS = {
    "grey.png": (Image.fromarray(RGB).convert("L"), {}),
    "grey.jpg": (Image.fromarray(RGB).convert("L"), {}),
    "bits.png": (Image.fromarray(RGB).convert("1"), {}),
    "palette.png": (Image.fromarray(RGB).quantize(8), {}),
    "palette-alpha.png": (Image.fromarray(RGB).quantize(8), {"transparency": 0}),
    "grey-alpha.png": (Image.fromarray(RGB).convert("LA"), {}),
    "alpha.png": (Image.fromarray(RGB).convert("RGBA"), {}),
    "alpha.webp": (Image.fromarray(RGB).convert("RGBA"), {"lossless": True}),
    "cmyk.jpg": (Image.fromarray(RGB).convert("CMYK"), {"quality": 95}),
    "cmyk.tif": (Image.fromarray(RGB).convert("CMYK"), {}),
    "lab.tif": (Image.fromarray(RGB).convert("LAB"), {}),
    "deep.png": (Image.fromarray(np.full((40, 60), 0x8080, np.uint16)), {}),
    "deep.tif": (Image.fromarray(np.full((40, 60), 0x8080, np.uint16)), {}),
    "progressive.jpg": (Image.fromarray(RGB), {"progressive": True}),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_becomes_rgb(tmp_path: Path, name: str) -> None:
    image, options = KINDS[name]
    path = save(tmp_path / name, image, **options)
    rgb, size = read_reduced(path, 30)
    assert (rgb.shape, rgb.dtype, size) == ((20, 30, 3), np.uint8, (40, 60))
    whole = read_image(path)
    if "bits" not in name:  # which are dots of black and white
        assert np.abs(rgb.astype(int) - whole[::2, ::2]).max() <= 2
        assert np.ptp(whole.reshape(-1, 3).astype(int), axis=0).max() <= 2
    if "grey" not in name and "deep" not in name and "bits" not in name:
        assert np.abs(whole[0, 0].astype(int) - (200, 100, 50)).max() < 12
    if "deep" in name:
        assert (whole == 0x80).all()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_rotation_is_applied_once(tmp_path: Path, suffix: str, orientation: int) -> None:
    """A bright corner lies where a viewer shows it, at full and at reduced size, and ``image_size`` agrees."""
    rows, columns = np.mgrid[:480, :640]
    stored = np.zeros((480, 640, 3), np.uint8)
    stored[(rows < 120) & (columns < 160)] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"a{suffix}", Image.fromarray(stored), exif=exif)
    corner = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}[orientation]
    size = (480, 640) if orientation < 5 else (640, 480)
    assert image_size(path) == size
    for rgb in (read_image(path), read_reduced(path, 160).rgb):
        quarters = rgb[..., 0].reshape(2, rgb.shape[0] // 2, 2, rgb.shape[1] // 2).mean(axis=(1, 3))
        assert np.unravel_index(quarters.argmax(), (2, 2)) == corner
    assert read_reduced(path, 100).size == size


@pytest.mark.parametrize(("width", "orientation"), [(4001, 1), (4001, 3), (4007, 6), (4007, 8), (4000, 1)])
def test_a_photo_of_twenty_megapixels_stays_in_place(tmp_path: Path, width: int, orientation: int) -> None:
    """Decoders round up to whole pixels: a mark at the far end must lie there to a tenth of a reduced pixel."""
    stored = np.zeros((5003, width, 3), np.uint8)
    stored[-400:, -400:] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.jpg", Image.fromarray(stored), exif=exif, quality=60)
    rgb, size = read_reduced(path, 500)
    assert size == ((5003, width) if orientation < 5 else (width, 5003))
    assert max(rgb.shape) == 500
    light = rgb[..., 0].astype(float)
    for axis, side in ((0, size[0]), (1, size[1])):
        share = light.max(axis=1 - axis).sum() / 255 / rgb.shape[axis]  # of the side that the mark covers
        assert share * rgb.shape[axis] == pytest.approx(400 / side * rgb.shape[axis], abs=0.1)


def test_a_photo_is_never_whole_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JPEG: an eighth of the side is what is decoded. Others of that size are refused."""
    noise = np.random.default_rng(0).integers(0, 255, (800, 1200, 3), dtype=np.uint8)
    monkeypatch.setattr(images, "LARGEST", 150 * 100)
    photo = save(tmp_path / "a.jpg", Image.fromarray(noise))
    assert read_reduced(photo, 150).rgb.shape == (100, 150, 3)
    with pytest.raises(InputError, match=r"b\.png: has 1200x800 pixels"):
        read_reduced(save(tmp_path / "b.png", Image.fromarray(noise)), 150)


def test_animations_take_the_first_picture_and_say_so(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((8, 12, 3), 60 * n, np.uint8)) for n in range(4)]
    for name in ("a.gif", "a.webp", "a.png", "a.tif"):
        more = {"lossless": True} if name.endswith("webp") else {}
        path = save(tmp_path / name, frames[0], save_all=True, append_images=frames[1:], **more)
        with pytest.warns(UserWarning, match=rf"{name}: is animated; the first picture is taken"):
            first = read_reduced(path, 100)
        assert first.rgb.max() == 0
        assert abs(int(read_reduced(path, 100, 2).rgb.mean()) - 120) <= 1
        for frame in (4, -1):
            with pytest.raises(InputError, match=r"has 4 pictures \(0\.\.3\)"):
                read_reduced(path, 100, frame)
    path = save(tmp_path / "one.gif", frames[1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_reduced(path, 100)
        read_reduced(path, 100, 0)
        phone = save(tmp_path / "phone.jpg", frames[1], format="MPO", save_all=True, append_images=frames[:1])
        assert read_reduced(phone, 100).rgb.mean() == pytest.approx(60, abs=2)


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


BAD = {
    "empty.jpg": (b"", "is empty"),
    "text.jpg": (b"once upon a time", "not a picture"),
    "cut.jpg": (jpeg()[:9000], "truncated"),
    "head.jpg": (jpeg()[:20], "picture"),
}


@pytest.mark.parametrize("name", BAD)
def test_damaged_files_are_refused(tmp_path: Path, name: str) -> None:
    content, said = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as error:
        read_reduced(tmp_path / name, 100)
    assert said in str(error.value)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_other_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_reduced(tmp_path / "none.jpg", 100)
    floats = save(tmp_path / "f.tif", Image.fromarray(np.ones((4, 4), np.float32)))
    with pytest.raises(InputError, match=r"f\.tif: .*floating-point"):
        read_reduced(floats, 100)
    with pytest.raises(InputError, match="empty"):
        read_reduced(Image.new("RGB", (0, 5)), 100)
    bomb = save(tmp_path / "bomb.png", Image.new("L", (400, 400)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(InputError, match=r"bomb\.png: .*decompression bomb"):
        read_reduced(bomb, 100)


def test_an_image_of_pillows_stays_as_it_is() -> None:
    image = Image.fromarray(RGB)
    rgb, size = read_reduced(image, 30)
    assert (rgb.shape, size, image.size) == ((20, 30, 3), (40, 60), (60, 40))
