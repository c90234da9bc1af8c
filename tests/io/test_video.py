from __future__ import annotations

import gc
import pickle
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from samepoint.errors import InputError
from samepoint.io import videofile
from samepoint.io.video import LiveReader
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


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


class TestFolder:
    def test_natural_order_and_passing_over_other_files(self, tmp_path: Path) -> None:
        frames = moving(12, 6, 14)
        for index, frame in enumerate(frames):
            Image.fromarray(frame).save(tmp_path / f"img{index}.png")
        (tmp_path / ".hidden.png").write_bytes(b"not a picture")
        (tmp_path / "notes.txt").write_text("no frame")
        video = Video(tmp_path)
        assert (len(video), video.size, video.fps, video.is_live) == (12, (6, 14), 25, False)
        np.testing.assert_array_equal(np.stack(list(iter(video))), frames)
        np.testing.assert_array_equal(video[10], frames[10])
        np.testing.assert_array_equal(np.stack(list(reversed(video))), frames[::-1])
        np.testing.assert_allclose(video.timestamps, np.arange(12) / 25)

    def test_exif_rotation(self, tmp_path: Path) -> None:
        image = Image.fromarray(moving(1, 6, 14)[0])
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(tmp_path / "a.png", exif=exif)
        video = Video(tmp_path)
        assert video.size == (14, 6)
        np.testing.assert_array_equal(video[0], np.rot90(moving(1, 6, 14)[0], -1))

    def test_sizes_that_differ(self, tmp_path: Path) -> None:
        Image.new("RGB", (8, 4)).save(tmp_path / "a.png")
        Image.new("RGB", (8, 5)).save(tmp_path / "b.png")
        with pytest.raises(InputError, match=r"b\.png: is 8x5, but a\.png is 8x4"):
            Video(tmp_path)

    def test_no_pictures(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no pictures in this folder"):
            Video(tmp_path)

    def test_broken_picture(self, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
        with pytest.raises(InputError, match=r"a\.png"):
            Video(tmp_path)
        Image.fromarray(moving(1)[0]).save(tmp_path / "a.png")
        (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:120])
        with pytest.raises(InputError, match=r"a\.png"):
            list(Video(tmp_path))


class TestArray:
    def test_grey_becomes_three_channels(self) -> None:
        grey = moving(3)[..., 0]
        np.testing.assert_array_equal(Video(grey)[1], np.stack([grey[1]] * 3, axis=2))

    @pytest.mark.parametrize(
        "array",
        [
            np.zeros((2, 4, 4, 3)),
            np.zeros((4, 4), np.uint8),
            np.zeros((2, 4, 4, 4), np.uint8),
            np.zeros((0, 4, 4, 3), np.uint8),
            np.zeros((2, 0, 4, 3), np.uint8),
        ],
    )
    def test_arrays_that_are_no_video(self, array: np.ndarray) -> None:
        with pytest.raises(InputError, match="a video array"):
            Video(array)


class TestNotAVideo:
    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("empty.mp4", b""),
            ("text.mp4", b"hello " * 500),
            ("text.txt", b"hello world\n" * 500),
            ("page.avi", b"<html></html>"),
            ("bytes.mp4", bytes(range(256)) * 40),
            ("cut.mp4", b"\0\0\0\x18ftypisom\0\0\2\0isomiso2"),
            ("picture.png", b"\x89PNG\r\n\x1a\n"),
        ],
    )
    def test_content(self, tmp_path: Path, name: str, content: bytes) -> None:
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            Video(path)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_picture_with_another_suffix(self, tmp_path: Path) -> None:
        Image.fromarray(moving(1)[0]).save(tmp_path / "a.mp4", format="png")
        with pytest.raises(InputError, match=r"a\.mp4: not a video"):
            Video(tmp_path / "a.mp4")

    def test_sound_alone(self, tmp_path: Path) -> None:
        import wave

        with wave.open(str(tmp_path / "a.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(bytes(1600))
        with pytest.raises(InputError, match="no video stream"):
            Video(tmp_path / "a.wav")

    def test_no_frames(self, tmp_path: Path) -> None:
        path = encode(tmp_path / "zero.mkv", moving(1)[:0])
        with pytest.raises(InputError, match=r"zero\.mkv"):
            Video(path)

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"nowhere\.mp4: no such file"):
            Video(tmp_path / "nowhere.mp4")

    @pytest.mark.parametrize("source", [None, 1.5, [1, 2], True, b"a.mp4"])
    def test_other_types(self, source: object) -> None:
        with pytest.raises(InputError, match="a video must be"):
            Video(source)

    def test_missing_camera(self) -> None:
        with pytest.raises(InputError, match="camera 97 cannot be opened"):
            Video(97)

    def test_unreachable_url(self) -> None:
        with pytest.raises(InputError, match="http://127"):
            Video("http://127.0.0.1:9/clip.mp4")


class TestLive:
    def _video(self, frames: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Video:
        monkeypatch.setattr("samepoint.io.video.open_reader", lambda source: LiveReader(source, iter(frames), 30.0))
        return Video("rtsp://camera")

    def test_frames_come_once_and_in_order(self, monkeypatch: pytest.MonkeyPatch) -> None:
        frames = moving(6)
        video = self._video(frames, monkeypatch)
        assert (video.is_live, video.size, video.fps) == (True, (48, 64), 30)
        assert bool(video)
        np.testing.assert_array_equal(np.stack(list(video.frames(0, 2))), frames[:2])
        np.testing.assert_array_equal(np.stack(list(iter(video))), frames[2:])
        assert list(video) == []

    def test_no_length_no_seeking_no_way_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        video = self._video(moving(6), monkeypatch)
        for use in (len, reversed, lambda v: v[0], lambda v: v[1:], lambda v: v.timestamps, lambda v: v.frames(2)):
            with pytest.raises(InputError, match="is live"):
                use(video)

    def test_camera(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import cv2

        frames = moving(3)

        class Camera:
            def __init__(self, index: int) -> None:
                self.left = [frame[..., ::-1] for frame in frames]  # OpenCV gives BGR

            def isOpened(self) -> bool:
                return True

            def read(self) -> tuple[bool, np.ndarray | None]:
                return (True, self.left.pop(0)) if self.left else (False, None)

            def get(self, key: int) -> float:
                return 15.0

            def release(self) -> None:
                pass

        monkeypatch.setattr(cv2, "VideoCapture", Camera)
        video = Video(0)
        assert (video.is_live, video.fps) == (True, 15)
        np.testing.assert_array_equal(np.stack(list(iter(video))), frames)


def test_a_video_survives_pickling_also_after_use(tmp_path: Path) -> None:
    video = Video(_h264(tmp_path))
    frame = video[30]
    copy = pickle.loads(pickle.dumps(video))
    np.testing.assert_array_equal(copy[30], frame)
    assert len(copy) == 40


def test_video_served_over_http(tmp_path: Path) -> None:
    import functools
    import http.server
    import threading

    path = encode(tmp_path / "clip.mp4", moving(30), movflags="faststart", options={"g": "6"})

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        video = Video(f"http://127.0.0.1:{server.server_port}/clip.mp4")
        expected = sequential(path)
        assert not video.is_live
        assert len(video) == 30
        np.testing.assert_array_equal(np.stack(list(iter(video))), expected)
        np.testing.assert_array_equal(video[25], expected[25])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


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
