"""TAP-Vid's labels as CSV with clips as videos."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samepoint.datasets.tapvid import check, names, sequences
from samepoint.datasets.tapvid_csv import read_labels
from samepoint.errors import InputError
from tests.datasets.fuzz import used_or_named

SIZE = (32, 48)


def write_clip(path, frames, rate):
    """Frame t has the brightness 20 t."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(rate))
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        for t in range(frames):
            picture = np.full((*SIZE, 3), 20 * t, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def row(head, frames, x=0.25, hidden=()):
    cells = [f"{x},{0.5},{int(t in hidden)}" for t in range(frames)]
    return ",".join([head, *cells]) + "\n"


def shown(video):
    """Which frames of the clip are shown."""
    return np.rint(video.frames(None).mean(axis=(1, 2, 3)) / 20).astype(int).tolist()


@pytest.mark.parametrize(
    ("rate", "frames", "expected"),
    [
        (25, 6, [0, 1, 2, 3, 4, 5]),
        (50, 9, [0, 2, 4, 6, 8]),
        (Fraction(25, 2), 3, [0, 0, 1, 1, 2]),  # 12.5 a second: each twice, but the last, whose end is unknown
        (30, 7, [0, 1, 2, 4, 5, 6]),  # at 0, 33, 67, 100, 133, 167, 200 ms: slots 0, 1, 2, 3, 3, 4, 5
    ],
)
def test_kinetics_clips_are_sampled_at_25(tmp_path, rate, frames, expected):
    write_clip(tmp_path / "some" / "folder" / "ab_cd_000007_000017.mp4", frames, rate)
    labels = row("ab_cd,7,17", 250, hidden=[1]) + row("ab_cd,7,17", 250, x=0.75) + row("gone,0,10", 250)
    (tmp_path / "tapvid_kinetics.csv").write_text(labels)
    assert len(labels.splitlines()[0].split(",")) == 753
    assert names(tmp_path, "tapvid-kinetics") == ("ab_cd_000007_000017",)
    (video,) = sequences(tmp_path, "tapvid-kinetics")
    assert (video.name, video.size, video.origin) == ("ab_cd_000007_000017", SIZE, "csv")
    assert shown(video) == expected
    assert video.points.shape == (2, len(expected), 2)  # cut to the clip
    assert video.xy[:, 0].tolist() == [[12, 16], [36, 16]]
    assert video.occluded[0].tolist() == [t == 1 for t in range(len(expected))]
    np.testing.assert_allclose(np.stack(list(video.decode(2, 4))).mean(axis=(1, 2, 3)) / 20, expected[2:4], atol=0.4)
    answer = check(tmp_path, "tapvid-kinetics")
    assert answer.found == 1
    assert answer.missing[0].startswith("1 missing (gone_000000_000010.mp4); get the labels from https://")
    assert answer.missing[1].startswith("1 of 2 videos; many have left YouTube")
    assert answer.notes[:2] == ("2 tracks", "labels from the CSV")


def test_robotap_clips_are_taken_as_they_are(tmp_path):
    write_clip(tmp_path / "one.mp4", 5, 10)
    write_clip(tmp_path / "two.mp4", 2, 50)
    (tmp_path / "robotap.csv").write_text(row("two.mp4", 2) + row("one", 4) + row("one", 4))
    one, two = sequences(tmp_path, "robotap")
    assert (one.name, one.points.shape, shown(one)) == ("one", (2, 4, 2), [0, 1, 2, 3])
    assert (two.name, two.points.shape, shown(two)) == ("two", (1, 2, 2), [0, 1])
    assert [item.name for item in sequences(tmp_path, "robotap", only={"two"})] == ["two"]


def test_a_clip_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "one.mp4").write_bytes(b"no video")
    (tmp_path / "robotap.csv").write_text(row("one", 4))
    with pytest.raises(InputError, match=r"one\.mp4"):
        list(sequences(tmp_path, "robotap"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,0.5,0.5\n", "row 1: 2 numbers; expected x, y and occluded for each frame"),
        ("a\n", "row 1: 0 numbers"),
        ("a,0.5,0.5,0\na,0.5,y,0\n", "row 2: could not convert string to float: 'y'"),
        ("a,0.5,0.5,2\n", "row 1: occluded holds other values"),
        ("a,0.5,128,0\n", "row 1: a visible point is far outside"),
        ("a,nan,0.5,0\n", "row 1: a visible point is far outside"),
        ("a,0.5,0.5,0\n\na,0.5,0.5,0,0.5,0.5,0\n", "row 3: 2 frames, other tracks of a have 1"),
        ("../a,0.5,0.5,0\n", "row 1: '../a' cannot name a file"),
        ("", "holds no track"),
    ],
)
def test_wrong_rows_are_named(tmp_path, text, message):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"labels\.csv.*{message}"):
        read_labels(path, seconds=False)
    assert str(path) in check(tmp_path, "robotap").missing[0]


def test_wrong_seconds_are_named(tmp_path):
    path = tmp_path / "labels.csv"
    for second in ("x", "inf", "1e999"):
        path.write_text(f"a,1,{second},0.5,0.5,0\n")
        with pytest.raises(InputError, match=r"row 1: .*expected the start and end second"):
            read_labels(path, seconds=True)


@settings(max_examples=100)
@given(data=st.binary(max_size=40) | st.text('a0.,"\n-e15', max_size=40).map(str.encode), seconds=st.booleans())
def test_any_csv_is_used_or_named(tmp_path_factory, data, seconds):
    path = tmp_path_factory.mktemp("csv") / "labels.csv"
    path.write_bytes(data)
    with used_or_named(path):
        for tracks in read_labels(path, seconds=seconds).values():
            assert tracks.ndim == 3
            assert tracks.shape[2] == 3
