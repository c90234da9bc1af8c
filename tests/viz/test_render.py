"""Videos that browsers play and contact sheets: right in every property, whole or absent, one frame in memory."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from samepoint.errors import InputError
from samepoint.structures import Queries, Tracks, Video
from samepoint.viz.draw import draw_tracks
from samepoint.viz.render import contact_sheet, render_tracks
from samepoint.viz.writer import VideoWriter


def clip(count: int = 7, size: tuple[int, int] = (61, 83)) -> np.ndarray:
    """Smooth colours, so that compression loses little."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    shades = [np.stack([rows * 3, columns * 2, np.full(size, 20 * t)], axis=2) for t in range(count)]
    return np.stack(shades).clip(0, 255).astype(np.uint8)


def still(count: int = 7, size: tuple[int, int] = (61, 83), fps: float = 30000 / 1001) -> Tracks:
    xy = np.broadcast_to(Queries.grid(2, size).xy[:, None], (4, count, 2))
    return Tracks.from_confidence(xy, np.ones((4, count)), fps, size)


def probe(path: Path) -> tuple[av.VideoStream, list[np.ndarray]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream, [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]


@pytest.mark.parametrize("fps", [25.0, 30000 / 1001, 12.5, 7.3])
def test_video_is_h264_for_browsers(tmp_path: Path, fps: float) -> None:
    out = tmp_path / "out.mp4"
    render_tracks(Video(clip(), fps=fps), still(fps=fps), out)
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert (stream.width, stream.height) == (84, 62)
        assert stream.average_rate == Fraction(fps).limit_denominator(1001)
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(frames) == stream.frames == 7
    data = out.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat"), "a player must not have to read the whole file first"
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_a_slow_time_lapse_is_written_as_slowly_as_a_video_can_be(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"as slow as 0\.002 frames a second; it is written at 0\.01"):
        render_tracks(clip(), still(fps=0.002), tmp_path / "out.mp4")
    stream, decoded = probe(tmp_path / "out.mp4")
    assert (stream.average_rate, len(decoded)) == (Fraction(1, 100), 7)


def test_frames_are_the_drawn_ones_in_true_colours(tmp_path: Path) -> None:
    frames, tracks = clip(), still()
    render_tracks(iter(frames), tracks, tmp_path / "out.mp4", side_by_side=True)
    _, decoded = probe(tmp_path / "out.mp4")
    for t, picture in enumerate(decoded):
        wanted = np.hstack([frames[t], draw_tracks(frames[t], tracks, t)]).astype(int)
        assert picture.shape == (62, 166, 3)
        error = np.abs(picture[:61].astype(int) - wanted)
        assert np.median(error) <= 2
        assert error[:, :83].mean() < 4.0, "the original, to the left"
        np.testing.assert_allclose(picture[61].astype(int), picture[60].astype(int), atol=12)


def test_one_frame_is_taken_at_a_time(tmp_path: Path) -> None:
    taken: list[int] = []
    done: list[tuple[int, int | None]] = []

    def source() -> Iterator[np.ndarray]:
        for t, frame in enumerate(clip()):
            assert len(done) == t, "the previous frame is finished before the next is asked for"
            taken.append(t)
            yield frame

    render_tracks(source(), still(), tmp_path / "out.mp4", progress=lambda now, total: done.append((now, total)))
    assert done == [(t, 7) for t in range(1, 8)]
    assert taken == list(range(7))


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("write", [render_tracks, contact_sheet])
def test_a_failure_leaves_what_was_there(tmp_path: Path, failure: BaseException, write) -> None:
    out = tmp_path / ("out.mp4" if write is render_tracks else "out.png")

    def source() -> Iterator[np.ndarray]:
        yield from clip()[:3]
        raise failure

    for before in (None, b"before"):
        if before:
            out.write_bytes(before)
        with pytest.raises(type(failure)):
            write(source(), still(), out)
        assert [path.read_bytes() for path in tmp_path.iterdir()] == ([before] if before else [])


@pytest.mark.parametrize("write", [render_tracks, contact_sheet])
@pytest.mark.parametrize(
    ("frames", "tracks", "said"),
    [
        (clip(6), still(), "video has 6"),
        (clip(8), still(), "cover 7 frames"),
        (clip(7, (60, 83)), still(), "83x61"),
    ],
)
def test_tracks_of_another_video_are_refused(tmp_path: Path, write, frames, tracks, said: str) -> None:
    out = tmp_path / ("out.mp4" if write is render_tracks else "out.png")
    with pytest.raises(InputError, match=said):
        write(iter(frames), tracks, out)
    assert not list(tmp_path.iterdir())


def test_other_bad_calls(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.mp4"):
        render_tracks(clip(), still(), tmp_path / "out.avi")
    with pytest.raises(InputError, match="frames a second"):
        VideoWriter(tmp_path / "x.mp4", 0.0)
    with VideoWriter(tmp_path / "x.mp4", 5.0) as writer:
        writer.write(clip()[0])
        with pytest.raises(InputError, match="shape"):
            writer.write(clip()[0, 1:])
    with pytest.raises(InputError, match="contact sheet"):
        contact_sheet(clip(), still(), tmp_path / "x.png", frames=0)


def test_sheet_shows_first_to_last_frame_in_rows(tmp_path: Path) -> None:
    contact_sheet(clip(9), still(9), tmp_path / "out.png", frames=4, columns=2, trail=0)
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.format == "PNG"
        sheet = np.asarray(picture.convert("RGB")).astype(int)
    gap = next(i for i in range(40) if (sheet[i, 20:80] != sheet[0, 0]).any())
    expected = draw_tracks(clip(9)[0], still(9), 0, trail=0)
    np.testing.assert_array_equal(sheet[gap : gap + 61, gap : gap + 83], expected)
    last = draw_tracks(clip(9)[8], still(9), 8, trail=0).astype(int)
    places = np.lib.stride_tricks.sliding_window_view(sheet, last.shape)[:, :, 0]
    assert (places == last).all(axis=(2, 3, 4)).any()


def test_sheet_of_a_short_or_large_video(tmp_path: Path) -> None:
    contact_sheet(clip(2), still(2), tmp_path / "short.png", frames=8)
    with Image.open(tmp_path / "short.png") as picture:
        assert picture.width * picture.height < 4 * 61 * 83, "two frames, not eight"
    contact_sheet(clip(3, (90, 1200)), still(3, (90, 1200)), tmp_path / "large.png", columns=1)
    with Image.open(tmp_path / "large.png") as picture:
        assert 480 <= picture.width < 560
