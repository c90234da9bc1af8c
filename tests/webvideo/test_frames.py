"""Frames of shots are those of the whole video, at whatever size and by whichever way."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest

from samepoint import Video
from samepoint.datasets.frame_cache import FrameCache
from samepoint.errors import InputError
from samepoint.io.images import write_image
from samepoint.webvideo.frames import ShotFrames, all_frames
from tests.io.clips import encode, moving, rotate


def shot(start: int | None = None, end: int | None = None, path: str | None = "clip.mp4") -> dict:
    return {"shot": "clip/0", "video": "clip", "start": start, "end": end, "path": path, "fps": None}


@pytest.fixture
def clip(tmp_path):
    encode(tmp_path / "clip.mp4", moving(60, 96, 128), options={"g": "12", "bf": "2"})
    return tmp_path


@pytest.mark.parametrize(("start", "end"), [(0, 60), (0, 5), (17, 40), (40, 60), (30, 30), (None, None)])
def test_frames_are_the_video_s(clip, start, end) -> None:
    whole = list(Video(clip / "clip.mp4"))
    frames = ShotFrames(shot(start, end), clip)
    expected = whole[start:end]
    assert (len(frames), frames.size, frames.fps, frames.start) == (len(expected), (96, 128), 25.0, start or 0)
    for again in (frames, pickle.loads(pickle.dumps(frames))):
        assert [np.array_equal(a, b) for a, b in zip(again, expected, strict=True)] == [True] * len(expected)
    for index in (-1, 0, len(expected) // 2):
        if expected:
            np.testing.assert_array_equal(frames[index], expected[index])
    with pytest.raises(IndexError, match=f"the shot has {len(expected)} frames"):
        frames[len(expected)]


@pytest.mark.parametrize(
    ("size", "expected"), [(48, (48, 64)), ((32, 40), (32, 40)), (None, (96, 128)), (500, (96, 128))]
)
def test_working_sizes(clip, size, expected) -> None:
    frames = ShotFrames(shot(20, 24), clip, size)
    assert frames.size == expected
    assert all(frame.shape == (*expected, 3) and frame.dtype == np.uint8 for frame in frames)
    import cv2

    slow = cv2.resize(Video(clip / "clip.mp4")[22], expected[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(frames[2].astype(int) - slow).mean() < 5


def test_upright_at_a_working_size(clip) -> None:
    rotate(clip / "clip.mp4", (0, 1, -1, 0))
    frames = ShotFrames(shot(3, 6), clip, 48)
    assert frames.size == frames[0].shape[:2] == (64, 48)
    assert np.abs(frames[0].astype(int) - ShotFrames(shot(3, 6), clip, (64, 48))[0]).max() == 0


def test_a_folder_of_pictures(tmp_path) -> None:
    (tmp_path / "clip").mkdir()
    for index, frame in enumerate(moving(6)):
        write_image(tmp_path / "clip" / f"{index}.png", frame)
    assert [frame.shape for frame in ShotFrames(shot(2, 5, "clip"), tmp_path, 24)] == [(24, 32, 3)] * 3


def test_cached_copies(clip) -> None:
    cache = FrameCache(clip / "cache", 48, 1e9, shots=False)
    direct, cached = ShotFrames(shot(20, 30), clip, 48), ShotFrames(shot(20, 30), clip, 48, cache)
    for a, b in zip(direct, cached, strict=True):
        assert a.shape == b.shape
        assert np.abs(a.astype(int) - b).mean() < 6
    assert len(list((clip / "cache").glob("*.jpegs"))) == 1
    with pytest.raises(InputError, match="expected the same"):
        ShotFrames(shot(20, 30), clip, 96, cache)


def test_once_copied_a_video_is_neither_opened_nor_hashed_again(clip, monkeypatch) -> None:
    """However many others were read meanwhile: a step of training reads frames of dozens."""
    from samepoint.webvideo import frames

    cache = FrameCache(clip / "cache", 48, 1e9, shots=False)
    expected = [frame.copy() for frame in ShotFrames(shot(20, 30), clip, 48, cache)]
    frames._known.cache_clear()

    def refuse(*_: object) -> None:
        raise AssertionError("not asked for")

    monkeypatch.setattr(frames, "open_reader", refuse)
    monkeypatch.setattr(FrameCache, "key", refuse)
    again = ShotFrames(shot(25, 30), clip, 48, cache)
    assert (len(again), again.size, again.fps, again.start) == (5, (48, 64), 25.0, 25)
    np.testing.assert_array_equal(again[2], expected[7])
    assert len(ShotFrames(shot(), clip, 48, cache)) == 60
    with pytest.raises(InputError, match=r"has no frame 60; it ends at 60"):
        list(ShotFrames(shot(58, 70), clip, 48, cache))


def test_a_copy_is_made_anew_when_its_file_changed(clip) -> None:
    cache = FrameCache(clip / "cache", 48, 1e9, shots=False)
    assert len(ShotFrames(shot(), clip, 48, cache)) == 60
    encode(clip / "clip.mp4", moving(33, 96, 128))
    assert len(ShotFrames(shot(), clip, 48, cache)) == 33


def test_an_index_is_made_once_a_video(clip, monkeypatch) -> None:
    """However many shots it has."""
    from samepoint.io.videofile import FileReader

    passes = []
    original = FileReader._raw
    monkeypatch.setattr(FileReader, "_raw", lambda self: passes.append(1) or original(self))
    for start in (20, 30, 40):
        assert len(list(ShotFrames(shot(start, start + 8), clip))) == 8
    assert len(passes) == 1


def test_a_file_that_changed_is_read_anew(clip) -> None:
    assert len(ShotFrames(shot(), clip)) == 60
    encode(clip / "clip.mp4", moving(33, 96, 128))
    assert len(ShotFrames(shot(), clip)) == 33


def test_errors_and_damage(clip) -> None:
    with pytest.raises(InputError, match="clip/0: has no file"):
        ShotFrames(shot(0, 5, None), clip)
    with pytest.raises(InputError, match=r"none.mp4: cannot be opened"):
        ShotFrames(shot(0, 5, "none.mp4"), clip)
    with pytest.raises(InputError, match="frames 9 to 5"):
        ShotFrames(shot(9, 5), clip)
    beyond = ShotFrames(shot(50, 70), clip)
    for read in (lambda: list(beyond), lambda: beyond[15]):
        with pytest.raises(InputError, match=r"clip.mp4: has no frame 6[05]; it ends at 60"):
            read()
    encode(clip / "whole.avi", moving(60, 96, 128), codec="mpeg4", options={"g": "1"})
    data = (clip / "whole.avi").read_bytes()
    (clip / "cut.avi").write_bytes(data[: len(data) // 2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert 10 < len(list(ShotFrames(shot(path="cut.avi"), clip))) < 40
        _, frames = all_frames(clip / "cut.avi", lambda size: size)
        assert 10 < sum(1 for _ in frames) < 40
