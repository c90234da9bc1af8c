"""TAP-Vid's and RoboTAP's pickles as they are published, made up small, and damaged."""

from __future__ import annotations

import io
import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from samepoint.datasets import sharded
from samepoint.datasets.tapvid import check, names, sequences
from samepoint.errors import InputError
from samepoint.evaluation.metrics.tapvid import sample_queries_first
from tests.datasets.fuzz import used_or_named
from tests.shared import shared_path


def sample(frames=3, size=(6, 8), tracks=2, seed=0, jpeg=False):
    """A video of brightness 20 t, tracks at random places."""
    random = np.random.default_rng(seed)
    video = np.broadcast_to((20 * np.arange(frames, dtype=np.uint8))[:, None, None, None], (frames, *size, 3)).copy()
    return {
        "video": [encoded(frame) for frame in video] if jpeg else video,
        "points": random.random((tracks, frames, 2)).astype(np.float32),
        "occluded": random.random((tracks, frames)) < 0.3,
    }


def encoded(frame, form="JPEG"):
    file = io.BytesIO()
    Image.fromarray(frame).save(file, form, quality=95)
    return file.getvalue()


def write(path, content):
    path.write_bytes(pickle.dumps(content))
    return path


def test_davis_is_a_dict_by_name(tmp_path):
    content = {"goat": sample(3), "bike": sample(4, (10, 20), tracks=5, seed=1)}
    write(tmp_path / "tapvid_davis.pkl", content)
    write(tmp_path / "mine.pkl", {})  # not taken where the official name is there
    assert names(tmp_path) == ("bike", "goat")
    bike, goat = sequences(tmp_path)
    assert (bike.name, len(bike), bike.size, bike.origin) == ("bike", 4, (10, 20), "pickle")
    np.testing.assert_array_equal(bike.xy, content["bike"]["points"] * np.float32([20, 10]))
    assert bike.xy.dtype == np.float32
    np.testing.assert_allclose(bike.scaled_xy(), content["bike"]["points"] * 256.0, rtol=1e-12)
    np.testing.assert_array_equal(bike.occluded, content["bike"]["occluded"])
    frames = goat.frames()
    assert (frames.shape, frames.dtype) == ((3, 256, 256, 3), np.uint8)
    np.testing.assert_array_equal(goat.frames(None), content["goat"]["video"])
    assert [item.name for item in sequences(tmp_path, only={"goat"})] == ["goat"]
    with pytest.raises(InputError, match="no video 'lost' in tapvid-davis"):
        list(sequences(tmp_path, only=["lost", "goat"]))


def test_corners_of_the_picture(tmp_path):
    """(0, 0) and (1, 1) of a 480 x 854 video are (0, 0) and (256, 256) of the scored raster."""
    corners = np.array([[[0, 0]], [[1, 1]]], np.float32)
    video = np.zeros((1, 480, 854, 3), np.uint8)
    write(tmp_path / "a.pkl", {"v": {"video": video, "points": corners, "occluded": np.zeros((2, 1), bool)}})
    (item,) = sequences(tmp_path)
    assert item.scaled_xy()[:, 0].tolist() == [[0, 0], [256, 256]]
    assert item.xy[:, 0].tolist() == [[0, 0], [854, 480]]


def test_rgb_stacking_is_a_list(tmp_path):
    write(tmp_path / "tapvid_rgb_stacking.pkl", [sample(seed=k) for k in range(12)])
    assert names(tmp_path, "tapvid-rgb-stacking") == tuple(f"{k:04d}" for k in range(12))
    third = next(iter(sequences(tmp_path, "tapvid-rgb-stacking", only={"0003"})))
    np.testing.assert_array_equal(third.points, sample(seed=3)["points"])


@pytest.fixture
def kinetics(tmp_path):
    """Shards of pictures as JPEG bytes: lists, an array of them, and a dict, which is tolerated."""
    array = sample(seed=2, jpeg=True)
    array["video"] = np.array(array["video"], object)
    write(tmp_path / "0000_of_0004.pkl", [sample(seed=0, jpeg=True), sample(seed=1, jpeg=True)])
    write(tmp_path / "0001_of_0004.pkl", {"b_000001_000011": sample(seed=3, jpeg=True), "a": array})
    write(tmp_path / "0003_of_0004.pkl", [sample(seed=4, jpeg=True)])
    return tmp_path


def test_kinetics_in_shards(kinetics):
    found = names(kinetics, "tapvid-kinetics")
    assert found == (
        "0000_of_0004/0000",
        "0000_of_0004/0001",
        "0001_of_0004/a",
        "0001_of_0004/b_000001_000011",
        "0003_of_0004/0000",
    )
    for item in sequences(kinetics, "tapvid-kinetics"):
        np.testing.assert_allclose(item.frames(None).mean(axis=(1, 2, 3)), [0, 20, 40], atol=1)
        np.testing.assert_array_equal(item.frames((4, 4), "bilinear").shape, (3, 4, 4, 3))


def test_one_shard_at_a_time(kinetics, monkeypatch):
    opened = []
    load = sharded.load_pickle
    monkeypatch.setattr(sharded, "load_pickle", lambda path: opened.append(path.stem) or load(path))
    videos = sequences(kinetics, "tapvid-kinetics")
    assert opened == []
    next(videos), next(videos)
    assert opened == ["0000_of_0004"]
    next(videos)
    assert opened == ["0000_of_0004", "0001_of_0004"]
    opened.clear()
    assert len(list(sequences(kinetics, "tapvid-kinetics", only={"0003_of_0004/0000"}))) == 1
    assert opened == ["0003_of_0004"]


def test_memory_holds_one_shard(tmp_path):
    for k in range(4):
        write(tmp_path / f"{k:04d}_of_0004.pkl", [sample(8, (80, 100), seed=n) for n in range(6)])
    shard = 6 * 8 * 80 * 100 * 3
    tracemalloc.start()
    try:
        assert sum(1 for _ in sequences(tmp_path, "tapvid-kinetics")) == 24
        assert tracemalloc.get_traced_memory()[1] < 1.7 * shard
    finally:
        tracemalloc.stop()


def test_kinetics_check_counts_what_lacks(kinetics):
    answer = check(kinetics, "tapvid-kinetics")
    assert (answer.name, answer.found) == ("tapvid-kinetics", 5)
    assert answer.missing[0].startswith("1 missing (0002_of_0004.pkl); get the labels from https://")
    assert answer.missing[1].startswith("995 of 1000 videos; many have left YouTube; get ")
    assert answer.notes[0] == "10 tracks"
    assert any("half a native pixel" in note for note in answer.notes)
    row = ",".join(["0.5", "0.5", "0"] * 250)
    (kinetics / "labels.csv").write_text("".join(f"{name},1,11,{row}\n" for name in "aabcdefg"))  # 7 clips
    answer = check(kinetics, "tapvid-kinetics")
    assert answer.missing[1].startswith("2 of 7 videos")
    (kinetics / "0001_of_0004.pkl").write_bytes(b"cut")
    answer = check(kinetics, "tapvid-kinetics")
    assert answer.found == 3
    assert any("0001_of_0004.pkl: not a pickle" in line for line in answer.missing)


@pytest.mark.parametrize(
    ("frames", "bounds"),
    [(1000, [0, 1000]), (1001, [0, 501, 1001]), (2000, [0, 1000, 2000]), (2500, [0, 834, 1667, 2500])],
)
def test_long_robotap_videos_come_in_equal_parts(tmp_path, frames, bounds):
    content = sample(frames, (1, 2))
    content["video"][:, 0, 0, 0] = np.arange(frames) // 256
    content["video"][:, 0, 0, 1] = np.arange(frames) % 256
    write(tmp_path / "robotap_split0.pkl", {"video": content, "other": sample()})
    parts = list(sequences(tmp_path, "robotap"))[1:]
    head = "robotap_split0/video"
    assert [part.name for part in parts] == (
        [f"{head}-part{k}" for k in range(len(parts))] if frames > 1000 else [head]
    )
    assert names(tmp_path, "robotap")[1:] == tuple(part.name for part in parts)
    for part, start, stop in zip(parts, bounds[:-1], bounds[1:], strict=True):
        np.testing.assert_array_equal(part.points, content["points"][:, start:stop])
        np.testing.assert_array_equal(part.occluded, content["occluded"][:, start:stop])
        np.testing.assert_array_equal(part.frames(None), content["video"][start:stop])
    last = parts[-1].name
    assert [part.name for part in sequences(tmp_path, "robotap", only={last})] == [last]
    answer = check(tmp_path, "robotap")
    assert answer.found == 2
    assert any("more than 1,000 frames" in note for note in answer.notes) == (frames > 1000)


def test_check_of_davis(tmp_path):
    write(tmp_path / "tapvid_davis.pkl", {f"{k}": sample(seed=k, tracks=5) for k in range(28)})
    answer = check(tmp_path)
    assert answer.found == 28
    assert answer.missing == ("2 of 30 videos; get https://storage.googleapis.com/dm-tapnet/tapvid_davis.zip",)
    assert answer.notes[0] == "140 tracks, 650 are published"
    empty = check(tmp_path / "nowhere")
    assert (empty.found, empty.notes) == (0, ())
    assert "nowhere: no such folder" in empty.missing[0]


def test_what_lacks_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no tapvid_davis\.pkl$"):
        names(tmp_path)
    with pytest.raises(InputError, match=r"no robotap_split\*\.pkl and no CSV of labels"):
        names(tmp_path, "robotap")
    with pytest.raises(InputError, match="unknown benchmark 'davis'; expected one of tapvid-davis, "):
        names(tmp_path, "davis")
    write(tmp_path / "a.pkl", {})
    write(tmp_path / "b.pkl", {})
    with pytest.raises(InputError, match=r"2 pickles; expected one of them named tapvid_davis\.pkl"):
        names(tmp_path)


SHIFTED = sample()["points"] * 256
NAN = np.full((2, 3, 2), np.nan, np.float32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": SHIFTED}, "a visible point is far outside the picture; expected fractions"),
        ({"points": NAN}, "a visible point is far outside"),
        ({"points": np.zeros((2, 3), np.float32)}, r"points must be numbers \(N, T, 2\)"),
        ({"points": np.full((2, 3, 2), "a")}, "points must be numbers"),
        ({"points": [[1, 2]]}, "points must be numbers"),
        ({"occluded": np.zeros((2, 4), bool)}, r"occluded must be truth values \(2, 3\)"),
        ({"occluded": np.full((2, 3), 2)}, "occluded holds other values"),
        ({"video": np.zeros((4, 6, 8, 3), np.uint8)}, "4 frames of 8x6, but tracks of 3 frames"),
        ({"video": np.zeros((3, 0, 8, 3), np.uint8)}, "3 frames of 8x0"),
        ({"video": np.zeros((3, 6, 8, 3), np.float32)}, r"video must be uint8 \(T, H, W, 3\), or T pictures"),
        ({"video": np.zeros((3, 6, 8), np.uint8)}, "video must be uint8"),
        ({"video": []}, "video must be uint8"),
        ({"video": [b"", 3, b""]}, "video must be uint8"),
        ({"video": [b"nothing"] * 3}, "frame 0: not a JPEG picture"),
        ({"video": "abc"}, "video must be uint8"),
    ],
)
def test_wrong_samples_are_named(tmp_path, change, message):
    path = write(tmp_path / "a.pkl", {"fine": sample(), "wrong": sample() | change})
    with pytest.raises(InputError, match=rf"a\.pkl, sample 'wrong'.*{message}"):
        list(sequences(tmp_path))
    assert str(path) in check(tmp_path).missing[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (3, "holds int; expected a dict or a list"),
        ({}, "holds no sample"),
        ([], "holds no sample"),
        ({3: sample()}, "a sample is named 3; expected text"),
        ({"../x": sample()}, "'../x' cannot name a file"),
        ({"a": {"video": 1}}, "expected a dict of video, points and occluded"),
        ([sample(), None], "sample '0001': expected a dict"),
        ({"a": io.BytesIO(b"x")}, "it names _io.BytesIO, which is not allowed"),
        (sample(), "sample 'occluded': expected a dict"),
    ],
)
def test_wrong_pickles_are_named(tmp_path, content, message):
    write(tmp_path / "a.pkl", content)
    with pytest.raises(InputError, match=rf"a\.pkl.*{message}"):
        list(sequences(tmp_path))


def test_later_frames_are_checked_when_decoded(tmp_path):
    content = sample(jpeg=True)
    content["video"][1] = encoded(np.zeros((6, 9, 3), np.uint8))
    content["video"][2] = content["video"][2][:-40]
    write(tmp_path / "a.pkl", {"v": content})
    (item,) = sequences(tmp_path)
    with pytest.raises(InputError, match=r"a\.pkl, sample 'v', frame 1: is 9x6, the first frame 8x6"):
        item.frames()
    with pytest.raises(InputError, match=r"a\.pkl, sample 'v', frame 2: not a JPEG picture \((?i:.*truncated)"):
        list(item.decode(2, 3))


def test_two_videos_of_one_name(tmp_path):
    write(tmp_path / "robotap_split0.pkl", {"v": sample(1500, (1, 1)), "v-part1": sample()})
    with pytest.raises(InputError, match="two videos are named 'robotap_split0/v-part1'"):
        list(sequences(tmp_path, "robotap"))


@settings(max_examples=80)
@given(cut=st.integers(0, 3000), noise=st.binary(max_size=6), jpeg=st.booleans(), protocol=st.sampled_from([2, 4, 5]))
def test_damaged_pickles_are_read_or_named(tmp_path_factory, cut, noise, jpeg, protocol):
    root = tmp_path_factory.mktemp("tapvid")
    path = root / "tapvid_davis.pkl"
    data = pickle.dumps({"a": sample(jpeg=jpeg), "b": sample(seed=1)}, protocol)
    path.write_bytes(data[:cut] + noise + data[cut + len(noise) :])
    with used_or_named(path):
        for item in sequences(root):
            assert item.frames().shape == (3, 256, 256, 3)
            assert item.xy.shape == (2, 3, 2)


VALUES = st.none() | st.integers() | st.binary(max_size=4) | st.text(max_size=4) | st.floats()
ARRAYS = st.builds(
    lambda kind, shape: np.zeros(shape, kind),
    st.sampled_from(["u1", "f4", "?", "O", "S2"]),
    st.lists(st.integers(0, 3), max_size=4),
)


@settings(max_examples=80)
@given(key=st.sampled_from(["video", "points", "occluded"]), value=VALUES | ARRAYS | st.lists(VALUES, max_size=3))
def test_any_sample_is_used_or_named(tmp_path_factory, key, value):
    root = tmp_path_factory.mktemp("tapvid")
    path = write(root / "tapvid_davis.pkl", [sample() | {key: value}])
    with used_or_named(path):
        for item in sequences(root):
            assert len(item.frames((2, 2))) == len(item) == item.occluded.shape[1] == 3


def test_golden_tracks_pass_through(tmp_path):
    """What the official reader makes of a sample: points times 256, queries at the first visible frame."""
    golden = np.load(shared_path("golden", "tapvid_metrics.npz"))
    points, occluded = golden["points_xy"], golden["occluded"]
    video = np.zeros((points.shape[1], 2, 2, 3), np.uint8)
    write(tmp_path / "a.pkl", {"v": {"video": video, "points": points / 256, "occluded": occluded}})
    (item,) = sequences(tmp_path)
    queries = sample_queries_first(item.scaled_xy(), item.occluded)
    expected = golden["first_query_tyx"]
    np.testing.assert_array_equal(queries.frame, expected[:, 0])
    np.testing.assert_allclose(queries.xy[:, ::-1], expected[:, 1:], atol=1e-9)
