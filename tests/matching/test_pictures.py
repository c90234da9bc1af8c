"""What may be given as a picture, and what is said of all else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samepoint.errors import InputError
from samepoint.matching.pictures import LONGEST, Picture, open_picture, split_frame
from samepoint.viz.writer import VideoWriter

RGB = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, 25.0) as writer:
        for t in range(4):
            writer.write(np.full((48, 64, 3), 60 * t, np.uint8))
    return path


def test_the_same_picture_however_it_is_given(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(RGB).save(path)
    given = [path, str(path), RGB, Image.open(path), Picture(RGB, (20, 30)), np.dstack([RGB, RGB[..., :1]])]
    for source in given:
        picture = open_picture(source, "it")
        np.testing.assert_array_equal(picture.rgb, RGB)
        assert picture.size == (20, 30)
    assert open_picture(path).name == str(path)
    assert open_picture(RGB, "it").name == "it"
    np.testing.assert_array_equal(open_picture(RGB[..., 0]).rgb, np.repeat(RGB[..., :1], 3, axis=2))
    np.testing.assert_array_equal(open_picture(RGB[..., :1]).rgb, open_picture(RGB[..., 0]).rgb)


def test_pillows_images_are_turned_as_they_are_shown(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(open_picture(image).rgb, np.rot90(RGB, -1))


def test_large_arrays_are_reduced_but_keep_their_size() -> None:
    picture = open_picture(np.zeros((LONGEST * 2, 300, 3), np.uint8))
    assert (picture.rgb.shape, picture.size) == ((LONGEST, 150, 3), (LONGEST * 2, 300))


def test_mirrored() -> None:
    picture = Picture(RGB, (40, 60), "a")
    np.testing.assert_array_equal(picture.mirrored().rgb, RGB[:, ::-1])
    assert (picture.mirrored().size, picture.mirrored().name) == ((40, 60), "a")


def test_frames(clip: Path, tmp_path: Path) -> None:
    for frame in (0, 3):
        picture = open_picture(f"{clip}@{frame}")
        assert (picture.size, picture.name) == ((48, 64), f"{clip}@{frame}")
        assert picture.rgb.mean() == pytest.approx(60 * frame, abs=3)
    folder = tmp_path / "frames"
    folder.mkdir()
    for n in (2, 10):
        Image.fromarray(np.full((4, 5, 3), n, np.uint8)).save(folder / f"{n}.png")
    assert (open_picture(f"{folder}@1").rgb == 10).all()
    Image.fromarray(RGB).save(folder / "3.png")  # pictures of a folder that is no video may have any size
    assert open_picture(f"{folder}@1").size == (20, 30)
    with pytest.raises(InputError, match=r"frames: no picture 3; it has 3, counted from 0"):
        open_picture(f"{folder}@3")
    Image.fromarray(RGB).save(tmp_path / "odd@7.png")
    (tmp_path / "odd@7.png").rename(tmp_path / "odd@7")
    assert open_picture(tmp_path / "odd@7").size == (20, 30)  # a file of that name is that file


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{clip}", r"clip\.mp4: is a video; say which frame, for example .*clip\.mp4@0"),
        ("{clip}@4", "the video has 4 frames"),
        ("{clip}@-1", "-1 is negative"),
        ("{folder}", "is a folder"),
        ("{folder}/none.png", "no such file"),
        ("{folder}/none.mp4@3", "no such file"),
        ("{folder}/text.txt", "not a video"),
        ("{folder}/text.jpg", "not a picture"),
        ("{folder}/empty.jpg", "is empty"),
        ("{folder}/empty", "is empty"),
        ("a\0b", "not a path"),
        (np.zeros((0, 5, 3), np.uint8), "is empty"),
        (np.zeros((5, 5, 2), np.uint8), r"must be uint8 \(H, W, 3\)"),
        (np.zeros((5, 5, 3)), "float64"),
        (np.zeros((5, 5), np.uint16), "uint16"),
        (np.zeros((1, 5, 5, 3), np.uint8), "must be uint8"),
        (7, "got int"),
    ],
)
def test_what_is_no_picture(clip: Path, source: object, said: str) -> None:
    for name, content in {"text.txt": "once upon " * 99, "text.jpg": "once", "empty.jpg": "", "empty": ""}.items():
        (clip.parent / name).write_text(content)
    if isinstance(source, str):
        source = source.format(clip=clip, folder=clip.parent)
    with pytest.raises(InputError, match=said) as error:
        open_picture(source)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_split_frame() -> None:
    assert split_frame("a@b.jpg") == (Path("a@b.jpg"), None)
    assert split_frame("a@b@12") == (Path("a@b"), 12)
