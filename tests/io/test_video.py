from __future__ import annotations

import gc
import pickle
import sys
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from samepoint.errors import InputError
from samepoint.io import videofile
from samepoint.structures import Video
from tests.io.clips import encode, moving, rotate, sequential
from tests.shared import shared_path

B_FRAMES = {"g": "12", "bf": "3", "b-pyramid": "normal", "sc_threshold": "0"}


def _h264(folder: Path) -> Path:
    return encode(folder / "clip.mp4", moving(40), options=B_FRAMES)


def _open_gop(folder: Path) -> Path:
    return encode(folder / "open.mp4", moving(40), options={**B_FRAMES, "x264-params": "open-gop=1"})


def _mpeg4(folder: Path) -> Path:
    return encode(folder / "clip.avi", moving(40), "mpeg4", options={"g": "10", "bf": "2"})


def _matroska(folder: Path) -> Path:
    return encode(folder / "clip.mkv", moving(40), options=B_FRAMES)


def _transport(folder: Path) -> Path:
    """A transport stream starts at a time that is not 0."""
    return encode(folder / "clip.ts", moving(40), options=B_FRAMES)


def _uneven(folder: Path) -> Path:
    rng = np.random.default_rng(3)
    ticks = 500 + np.cumsum(rng.integers(10, 90, 40))
    return encode(folder / "vfr.mkv", moving(40), ticks=ticks.tolist(), options=B_FRAMES)


def _one_key_frame(folder: Path) -> Path:
    return encode(folder / "long.mp4", moving(40), options={"g": "600", "bf": "3"})


KINDS = [_h264, _open_gop, _mpeg4, _matroska, _transport, _uneven, _one_key_frame]


@pytest.mark.parametrize("make", KINDS)
def test_streaming_seeking_and_reversing_give_the_same_frames(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path)
    expected = sequential(path)
    video = Video(path)
    assert video.size == (48, 64)
    assert len(expected) == 40
    for _ in range(2):  # a file can be iterated again
        np.testing.assert_array_equal(np.stack(list(iter(video))), expected)
    assert len(video) == 40
    order = np.random.default_rng(0).permutation(40)
    for index in order[:12]:
        np.testing.assert_array_equal(video[int(index)], expected[index], err_msg=f"frame {index}")
    np.testing.assert_array_equal(video[-1], expected[-1])
    np.testing.assert_array_equal(np.stack(list(reversed(video))), expected[::-1])
    fresh = Video(path)
    np.testing.assert_array_equal(fresh[37], expected[37])
    np.testing.assert_array_equal(np.stack(list(fresh.frames(30, 37))), expected[30:37])


@pytest.mark.parametrize("make", [_h264, _uneven])
def test_backward_reading_in_many_small_chunks(
    tmp_path: Path, make: Callable[[Path], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path)
    monkeypatch.setattr(videofile, "_REVERSE_BYTES", 9 * 48 * 64 * 3)
    video = Video(path)
    np.testing.assert_array_equal(np.stack(list(reversed(video))), sequential(path)[::-1])
    np.testing.assert_array_equal(np.stack(list(video.frames_reversed(5, 33))), sequential(path)[5:33][::-1])


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.slices(20), st.integers(0, 19), st.booleans())
def test_slices_mean_what_they_mean_for_lists(part: slice, index: int, fps_given: bool) -> None:
    frames = moving(20, 4, 12)
    video = Video(frames, fps=10 if fps_given else None)[part]
    np.testing.assert_array_equal(np.array(list(video)).reshape(-1, 4, 12, 3), frames[part])
    assert len(video) == len(frames[part])
    np.testing.assert_array_equal(np.array(list(reversed(video))).reshape(-1, 4, 12, 3), frames[part][::-1])
    if index < len(video):
        np.testing.assert_array_equal(video[index], frames[part][index])
        rate = 10 if fps_given else 25
        assert video.timestamps[index] == pytest.approx(range(20)[part][index] / rate)
    else:
        with pytest.raises(IndexError, match=f"frame {index}"):
            video[index]
    inner = slice(1, None, 2)
    np.testing.assert_array_equal(np.array(list(video[inner])).reshape(-1, 4, 12, 3), frames[part][inner])


def test_frames_takes_any_range(tmp_path: Path) -> None:
    path = _h264(tmp_path)
    expected = np.stack(sequential(path))
    video = Video(path)
    for start, stop, step in [(0, 5, 1), (3, None, 1), (0, 1000, 1), (4, 36, 7), (-6, None, 1), (38, 20, -3)]:
        got = np.stack(list(video.frames(start, stop, step)))
        np.testing.assert_array_equal(got, expected[start:stop:step])
    assert list(video.frames(10, 10)) == []


def test_a_part_is_read_without_counting_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _h264(tmp_path)
    expected = np.stack(sequential(path))
    decoded = 0
    decode = videofile.FileReader._decode

    def counted(*args: object) -> object:
        nonlocal decoded
        for frame in decode(*args):
            decoded += 1
            yield frame

    monkeypatch.setattr(videofile.FileReader, "_decode", staticmethod(counted))
    video = Video(path)
    decoded = 0
    np.testing.assert_array_equal(video[2], expected[2])
    part = video[3:20][1:5]
    np.testing.assert_array_equal(np.stack(list(part)), expected[4:8])
    assert len(part) == 4
    assert decoded < 25
    np.testing.assert_array_equal(part[-1], expected[7])
    with pytest.raises(IndexError, match="frame 4, but the video has 4 frames"):
        part[4]
    with pytest.raises(IndexError, match="frame 40, but the video has 40 frames"):
        video[40]
    assert (len(video[38:50]), len(video[50:60]), len(video[5:2])) == (2, 0, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="no colons in names there")
def test_a_colon_in_a_name_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _h264(tmp_path).rename(tmp_path / "2026-01-15T12:30:00.mp4")
    monkeypatch.chdir(tmp_path)
    assert Video("2026-01-15T12:30:00.mp4").size == (48, 64)


def test_a_file_stays_open_only_where_frames_are_read_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _h264(tmp_path)
    expected = sequential(path)
    opened: list[int] = []
    decode = videofile.FileReader._decode

    def watched(*args: object) -> object:
        opened.append(1)
        try:
            yield from decode(*args)
        finally:
            opened.append(-1)

    monkeypatch.setattr(videofile.FileReader, "_decode", staticmethod(watched))
    video = Video(path)
    for index, alive in [(3, 0), (30, 0), (3, 0), (4, 1), (5, 1), (20, 1), (2, 0)]:
        passes = opened.count(1)
        np.testing.assert_array_equal(video[index], expected[index])
        assert sum(opened) == alive, index
        assert opened.count(1) == passes or index not in (5, 20), "goes on from where it stands"


def test_timestamps_of_a_variable_frame_rate(tmp_path: Path) -> None:
    ticks = [100, 140, 150, 300, 310, 1000]
    path = encode(tmp_path / "vfr.mkv", moving(6), ticks=ticks)
    np.testing.assert_allclose(Video(path).timestamps, (np.array(ticks) - 100) / 1000, atol=1e-9)
    np.testing.assert_allclose(Video(path)[2:5].timestamps, [0.05, 0.2, 0.21], atol=1e-9)
    np.testing.assert_allclose(Video(path, fps=10).timestamps, np.arange(6) / 10)


def test_rate_of_the_file_and_rate_given(tmp_path: Path) -> None:
    path = encode(tmp_path / "clip.mp4", moving(5), rate=50)
    assert Video(path).fps == 50
    assert Video(path, fps=12.5).fps == 12.5
    assert Video(Video(path), fps=5).fps == 5
    assert Video(moving(3)).fps == 25
    assert Video(path)[::2].fps == 25
    for wrong in (0, -1, float("nan"), float("inf"), "fast"):
        with pytest.raises(InputError, match="fps"):
            Video(path, fps=wrong)  # type: ignore[arg-type]


QUARTER = {
    (0, 1, -1, 0): lambda image: np.rot90(image, -1),  # shown a quarter turn clockwise
    (-1, 0, 0, -1): lambda image: image[::-1, ::-1],
    (0, -1, 1, 0): lambda image: np.rot90(image, 1),
    (-1, 0, 0, 1): lambda image: image[:, ::-1],
    (0, 1, 1, 0): lambda image: image.transpose(1, 0, 2),
}


@pytest.mark.parametrize("matrix", list(QUARTER))
def test_rotation_metadata(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    path = encode(tmp_path / "plain.mp4", moving(20))
    plain = sequential(path)
    video = Video(rotate(path, matrix))
    expected = [QUARTER[matrix](image) for image in plain]
    assert video.size == expected[0].shape[:2]
    np.testing.assert_array_equal(np.stack(list(iter(video))), expected)
    np.testing.assert_array_equal(video[18], expected[18])
    assert video[3].flags.c_contiguous


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "size"),
    [
        ("odd.mkv", "ffv1", "bgr0", (37, 53)),
        ("odd.mkv", "ffv1", "yuv420p", (37, 53)),
        ("odd.mp4", "libx264", "yuv444p", (33, 51)),
        ("deep.mkv", "ffv1", "yuv420p10le", (48, 64)),
        ("deep.mp4", "libx264", "yuv420p10le", (48, 64)),
        ("deep.mkv", "ffv1", "gbrp16le", (48, 64)),
        ("alpha.mov", "qtrle", "argb", (48, 64)),
        ("alpha.mov", "png", "rgba", (48, 64)),
        ("grey.mkv", "ffv1", "gray", (48, 64)),
    ],
)
def test_pixel_formats(tmp_path: Path, name: str, codec: str, pixels: str, size: tuple[int, int]) -> None:
    frames = moving(4, *size)
    if "a" in pixels and pixels != "gray":
        alpha = np.linspace(0, 255, size[1], dtype=np.uint8)
        frames = np.concatenate([frames, np.broadcast_to(alpha[None, None, :, None], (4, *size, 1))], axis=3)
    path = encode(tmp_path / name, np.ascontiguousarray(frames), codec, pixels)
    got = np.stack(list(Video(path)))
    assert got.shape == (4, *size, 3)
    assert got.dtype == np.uint8
    wanted = frames[..., :3].astype(float)
    if pixels == "gray":
        wanted = np.repeat((wanted @ (0.299, 0.587, 0.114))[..., None], 3, axis=3)
    error = np.abs(got - wanted)
    if pixels in ("bgr0", "argb", "rgba", "gbrp16le"):
        assert error.max() <= 1  # lossless
    else:
        # Halved chroma blurs the bar's edges; a wrong matrix, range or shift of bits would be off everywhere.
        assert np.median(error) <= 6


def test_stream_that_changes_its_size(tmp_path: Path) -> None:
    path = tmp_path / "two.ts"
    first = encode(tmp_path / "a.ts", moving(12, 48, 64)).read_bytes()
    path.write_bytes(first + encode(tmp_path / "b.ts", moving(12, 96, 128)).read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        frames = list(Video(path))
    assert len(frames) >= 22  # the seam may cost a frame
    assert {frame.shape for frame in frames} == {(48, 64, 3)}


@pytest.mark.parametrize(
    ("name", "codec", "movflags"),
    [("cut.mp4", "libx264", "faststart"), ("cut.mkv", "libx264", None), ("cut.avi", "mpeg4", None)],
)
def test_file_cut_short(tmp_path: Path, name: str, codec: str, movflags: str | None) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3), dtype=np.uint8)
    path = encode(tmp_path / name, noise, codec, movflags=movflags, options={"bf": "0"})
    whole = sequential(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    video = Video(path)
    with pytest.warns(UserWarning, match=rf"{name}: damaged; \d+ frames can be read"):
        frames = list(video)
    assert 10 < len(frames) < 40
    np.testing.assert_array_equal(np.stack(frames), whole[: len(frames)])
    assert len(video) == len(frames)  # told once, not again
    np.testing.assert_array_equal(np.stack(list(reversed(video))), whole[: len(frames)][::-1])


def test_damage_in_the_middle_loses_only_what_is_damaged(tmp_path: Path) -> None:
    path = encode(tmp_path / "hurt.avi", moving(40), "mpeg4", options={"g": "5"})
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 300] = bytes(300)
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert 30 <= len(list(Video(path))) <= 40


def test_every_pass_over_a_damaged_file_yields_the_same_frames(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    blocks = rng.integers(0, 256, (15, 20, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    frames = np.stack([np.roll(blocks, (3 * index, 5 * index), (0, 1)) for index in range(120)])
    path = encode(tmp_path / "hurt.mp4", frames, options={"g": "30", "bf": "3"}, movflags="faststart")
    data = bytearray(path.read_bytes())
    for at in rng.integers(data.index(b"mdat") + 2000, len(data) - 100, 20):
        data[at] ^= 0xFF
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        video = Video(path)
        first = np.stack(list(video))
        assert len(video) == len(first)
        for _ in range(4):
            np.testing.assert_array_equal(np.stack(list(video)), first)


def test_only_a_bounded_number_of_frames_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode(tmp_path / "long.mp4", moving(90), options={"g": "40"})
    monkeypatch.setattr(videofile, "_REVERSE_BYTES", 20 * 48 * 64 * 3)
    alive: weakref.WeakValueDictionary[int, np.ndarray] = weakref.WeakValueDictionary()
    most = 0

    class Watched(videofile.Pictures):
        def __call__(self, frame: object) -> np.ndarray:
            nonlocal most
            image = super().__call__(frame)
            alive[id(image)] = image
            most = max(most, len(alive))
            return image

    monkeypatch.setattr(videofile, "Pictures", Watched)
    video = Video(path)
    assert sum(1 for _ in video) == 90
    gc.collect()
    assert most <= 4
    most = 0
    assert sum(1 for _ in reversed(video)) == 90
    assert most <= 22


def test_a_video_survives_pickling_also_after_use(tmp_path: Path) -> None:
    video = Video(_h264(tmp_path))
    frame = video[30]
    copy = pickle.loads(pickle.dumps(video))
    np.testing.assert_array_equal(copy[30], frame)
    assert len(copy) == 40


@pytest.mark.parametrize("name", ["cotracker_pillow.mp4", "decord_pancake.mkv"])
def test_real_clips(name: str) -> None:
    video = Video(shared_path("data", "videos", name))
    wanted = {0: None, 20: None, len(video) // 2: None, len(video) - 1: None}
    count = 0
    for index, frame in enumerate(video):
        count += 1
        if index in wanted:
            wanted[index] = frame.copy()
    assert count == len(video)
    assert (np.diff(video.timestamps) > 0).all()
    for index in sorted(wanted, reverse=True):
        np.testing.assert_array_equal(video[index], wanted[index])


def test_header_with_a_wrong_count() -> None:
    clips = sorted(shared_path("data", "jhmdb", "dev").rglob("*.avi"))[:2]
    assert clips
    for clip in clips:
        video = Video(clip)
        frames = sequential(clip)
        assert len(video) == len(frames) == len(list(video))
        np.testing.assert_array_equal(np.stack(list(reversed(video))), frames[::-1])
        np.testing.assert_array_equal(video[len(video) - 2], frames[-2])


def test_frames_that_were_read_do_not_wait_for_the_garbage_collector(tmp_path: Path) -> None:
    video = Video(_h264(tmp_path))
    gc.collect()
    gc.disable()
    try:
        for _ in video:
            pass
        alive = sum(type(each).__name__ == "VideoFrame" for each in gc.get_objects())
    finally:
        gc.enable()
    assert alive <= 5  # of 40: the first, whose display matrix was read, in this pass and in the one that opened it
