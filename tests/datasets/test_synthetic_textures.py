"""Textures from folders and from nothing."""

from __future__ import annotations

import weakref

import av
import cv2
import numpy as np
import pytest

from samepoint.datasets.synthetic import FolderTextures, ProceduralTextures, textures
from samepoint.datasets.synthetic.textures import random_crop
from samepoint.errors import InputError


def write_video(path, frames):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 4_000_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "deep").mkdir()
    rng = np.random.default_rng(0)
    for name in ("a.png", "deep/b.JPG"):
        _, data = cv2.imencode(name[-4:].lower(), rng.integers(0, 256, (60, 80, 3)).astype(np.uint8))
        (tmp_path / name).write_bytes(data.tobytes())
    write_video(tmp_path / "deep" / "c.avi", [np.full((48, 64, 3), 20 * i, np.uint8) for i in range(12)])
    (tmp_path / "notes.txt").write_text("not a texture")
    return tmp_path


@pytest.mark.parametrize("size", [(17, 200), (64, 64), (300, 40)])
def test_any_size_is_served(folder, size):
    for source in (FolderTextures(folder), ProceduralTextures(3)):
        texture = source.sample(np.random.default_rng(1), *size)
        assert texture.shape == (*size, 3)
        assert texture.dtype == np.uint8
        assert texture.flags["C_CONTIGUOUS"]


def test_pictures_and_videos_are_found_recursively(folder):
    source = FolderTextures(folder, frames=4)
    assert [f.name for f in source.files] == ["a.png", "b.JPG", "c.avi"]
    levels = [int(np.median(p)) for p in source._pictures(2)]
    # Twelve frames of levels 0, 20, 40 ...: the middles of four parts are frames 1, 4, 7 and 10.
    np.testing.assert_allclose(levels, [20, 80, 140, 200], atol=4)


def test_sampling_depends_on_the_generator_only(folder):
    warm = FolderTextures(folder)
    for seed in range(10):
        warm.sample(np.random.default_rng(seed), 20, 20)
    cold = FolderTextures(folder, cache_mb=0)
    for seed in range(10):
        one, two = (s.sample(np.random.default_rng(seed), 20, 30) for s in (warm, cold))
        np.testing.assert_array_equal(one, two)
    assert len(cold._cache) == 1


def test_memory_is_bounded_and_large_pictures_shrink(tmp_path):
    for i in range(4):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((500, 1000, 3), 50 * i, np.uint8))
    source = FolderTextures(tmp_path, longest=640, cache_mb=2)
    for seed in range(12):
        source.sample(np.random.default_rng(seed), 30, 30)
        assert sum(p.nbytes for pictures in source._cache.values() for p in pictures) <= 2_000_000
    assert source._pictures(0)[0].shape == (320, 640, 3)


def test_a_choice_of_files_is_the_same_for_the_same_seed(folder):
    one, two = (FolderTextures(folder, limit=2, seed=4) for _ in range(2))
    assert one.files == two.files
    assert len(one.files) == 2


def test_an_unreadable_file_is_passed_over(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    cv2.imwrite(str(tmp_path / "good.png"), np.full((20, 20, 3), 90, np.uint8))
    source = FolderTextures(tmp_path)
    for seed in range(6):
        assert source.sample(np.random.default_rng(seed), 10, 10).shape == (10, 10, 3)


def test_an_unreadable_picture_is_passed_over(folder, monkeypatch):
    real = np.fromfile

    def refuse(file, *arguments):
        if file.name == "a.png":
            raise PermissionError(13, "Permission denied", str(file))
        return real(file, *arguments)

    monkeypatch.setattr(np, "fromfile", refuse)
    source = FolderTextures(folder)
    assert all(source.sample(np.random.default_rng(i), 16, 16).shape == (16, 16, 3) for i in range(9))


def test_a_long_video_is_not_held_whole(tmp_path, monkeypatch):
    alive = weakref.WeakSet()
    most = 0

    class Frame:
        def __init__(self, index):
            self.index = index

        def to_ndarray(self, format):
            return np.full((24, 32, 3), self.index, np.uint8)

    def decoded(file):
        nonlocal most
        for index in range(200):
            frame = Frame(index)
            alive.add(frame)
            most = max(most, len(alive))
            yield frame

    monkeypatch.setattr(textures, "_decoded", decoded)
    (tmp_path / "long.avi").write_bytes(b"")
    pictures = FolderTextures(tmp_path / "long.avi")._read_video(tmp_path / "long.avi")
    assert [int(picture[0, 0, 0]) for picture in pictures] == [33, 100, 166]
    assert most <= 3


def test_nothing_usable_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        FolderTextures(tmp_path / "absent")
    with pytest.raises(InputError, match="no pictures or videos"):
        FolderTextures(tmp_path)
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(InputError, match="none of its 1"):
        FolderTextures(tmp_path).sample(np.random.default_rng(0), 10, 10)
    with pytest.raises(InputError, match="pictures: 0"):
        ProceduralTextures(0)


def test_a_crop_comes_from_the_picture():
    # Red runs along x, green along y: however turned and recoloured, each varies along one axis of the crop only.
    y, x = np.mgrid[:100, :100]
    picture = np.stack([50 + x, 50 + y, np.full_like(x, 99)], -1).astype(np.uint8)
    turned = set()
    for seed in range(40):
        crop = random_crop(picture, np.random.default_rng(seed), 25, 35).astype(int)
        along_x = [np.abs(np.diff(crop[..., c], axis=1)).mean() for c in range(3)]
        along_y = [np.abs(np.diff(crop[..., c], axis=0)).mean() for c in range(3)]
        assert along_x[2] == along_y[2] == 0
        is_turned = along_y[0] > along_x[0]
        flat = (along_x[0], along_y[1]) if is_turned else (along_y[0], along_x[1])
        assert max(flat) < 0.05
        turned.add(is_turned)
    assert turned == {True, False}


def test_procedural_pictures_differ_and_have_structure():
    source = ProceduralTextures(pictures=6, seed=1)
    samples = [source.sample(np.random.default_rng(s), 128, 128).astype(float) for s in range(8)]
    for texture in samples:
        assert np.abs(np.diff(texture, axis=1)).mean() > 0.5
        assert texture.std() > 8
    assert np.abs(samples[0] - samples[1]).mean() > 5
