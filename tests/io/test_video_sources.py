"""Sources other than a plain video file: folders, arrays, cameras, URLs, and what is no video at all."""

from __future__ import annotations

import functools
import http.server
import socket
import threading
import wave
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from samepoint.errors import InputError
from samepoint.io import videofile
from samepoint.io.video import LiveReader
from samepoint.structures import Video
from tests.io.clips import encode, moving, sequential


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

    def test_several_pictures_in_a_file(self, tmp_path: Path) -> None:
        page = Image.fromarray(moving(1)[0])
        page.save(tmp_path / "a.tif")
        assert len(Video(tmp_path)) == 1
        page.save(tmp_path / "b.tif", save_all=True, append_images=[page, page])
        with pytest.raises(InputError, match=r"b\.tif: holds 3 pictures; expected each picture in a file of its own"):
            Video(tmp_path)

    def test_twelve_bits_in_sixteen(self, tmp_path: Path) -> None:
        Image.fromarray(moving(1, 6, 14)[0]).save(tmp_path / "a.png")
        values = np.full((6, 14), 4095, np.uint16)
        Image.fromarray(values).save(tmp_path / "b.png")
        with pytest.warns(UserWarning, match=r"b\.png: uses only 4096 of 65536 levels .*; scale the pictures") as told:
            assert Video(tmp_path)[1].max() == 15
        assert len(told) == 1
        Image.fromarray(values + 1).save(tmp_path / "b.png")
        assert Video(tmp_path)[1].max() == 16


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

    def test_names_that_cannot_be(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        Image.fromarray(moving(1)[0]).save("a.png")
        for name in ("", "a\0.mp4"):
            with pytest.raises(InputError, match="not a path; expected that of a video file or a folder"):
                Video(name)
        with pytest.raises(InputError, match=r"x{300}: cannot be opened"):
            Video("x" * 300)

    @pytest.mark.parametrize("source", [None, 1.5, [1, 2], True, b"a.mp4"])
    def test_other_types(self, source: object) -> None:
        with pytest.raises(InputError, match="a video must be"):
            Video(source)

    def test_missing_camera(self, capfd: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(InputError, match="camera 97 cannot be opened"):
            Video(97)
        assert capfd.readouterr().err == ""

    @pytest.mark.parametrize("number", [-1, 2**31])
    def test_numbers_that_no_camera_has(self, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cv2, "VideoCapture", lambda index: pytest.fail("OpenCV may crash on such a number"))
        with pytest.raises(InputError, match=f"camera {number} cannot be opened; expected the number of"):
            Video(number)

    def test_url_that_never_answers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(videofile, "_TIMEOUT", (0.5, 0.5))
        with socket.create_server(("127.0.0.1", 0)) as server:
            url = f"http://127.0.0.1:{server.getsockname()[1]}/clip.mp4"
            # Without a limit this would never end: closing the server ends it.
            rescue = threading.Timer(20, server.shutdown, [socket.SHUT_RDWR])
            rescue.start()
            with pytest.raises(InputError, match=rf"{url}: no answer within 0\.5 seconds"):
                Video(url)
            rescue.cancel()

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


def test_video_served_over_http(tmp_path: Path) -> None:
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
