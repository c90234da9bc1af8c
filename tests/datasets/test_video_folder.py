"""Folders of videos as clips: frames within a shot, gaps as drawn, the same whatever the cache holds."""

from __future__ import annotations

import json
import pickle
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from samepoint.datasets import frame_cache, video_folder
from samepoint.datasets.frame_cache import FrameCache
from samepoint.datasets.video_folder import Gap, VideoFolder, find_videos
from samepoint.errors import InputError
from samepoint.io.images import natural_key, write_image
from tests.datasets.test_shots import scene
from tests.io.clips import encode
from tests.shared import shared_path

CUT = 14


def numbered(count: int, seed: int = 0, cut: int | None = CUT) -> np.ndarray:
    """Frames (count, 72, 96, 3) of one scene or two, whose grey corner tells their number."""
    parts = [scene(count, seed)] if cut is None else [scene(cut, seed), scene(count - cut, seed + 50)]
    frames = np.concatenate(parts)
    frames[:, :16, :16] = (np.arange(count) * 6).astype(np.uint8)[:, None, None, None]
    return frames


def number_of(frame: np.ndarray) -> int:
    return round(float(frame[3:9, 3:9].mean()) / 6)


def lossless(path: Path, frames: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return encode(path, frames, codec="ffv1", pixels="bgr0")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Two videos with a cut, one without, a folder of pictures; the rest is of no use."""
    folder = tmp_path_factory.mktemp("videos")
    for name, seed in (("b.mkv", 1), ("deep/a.mkv", 2)):
        lossless(folder / name, numbered(40, seed))
    lossless(folder / "one.mkv", numbered(24, 3, cut=None))
    (folder / "pictures").mkdir()
    for index, frame in enumerate(numbered(12, 4, cut=None)):
        write_image(folder / "pictures" / f"{index:03d}.png", frame)
    (folder / "broken.mp4").write_bytes(b"no video" * 50)
    (folder / "empty.avi").write_bytes(b"")
    lossless(folder / "short.mkv", numbered(2, 5, cut=None))
    write_image(folder / "poster.png", np.zeros((8, 8, 3), np.uint8))
    (folder / "mixed").mkdir()
    for side in (8, 9):
        write_image(folder / "mixed" / f"{side}.png", np.zeros((side, side, 3), np.uint8))
    (folder / ".hidden.mp4").write_bytes(b"")
    (folder / "notes.txt").write_text("not a video")
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_what_is_there_and_what_is_not_usable(root, cache) -> None:
    videos = VideoFolder(root, frames=3, cache=cache, short_side=48)
    assert videos.names == ("b.mkv", "deep/a.mkv", "one.mkv", "pictures")
    assert len(videos) == 4
    why = dict(videos.skipped)
    assert sorted(why) == ["broken.mp4", "empty.avi", "mixed", "short.mkv"]
    assert "no shot of 3 frames" in why["short.mkv"]
    assert "is 9x9" in why["mixed"]
    assert videos.clip(0).shape == (3, 48, 64, 3)
    assert VideoFolder(root, frames=2, cache=cache, short_side=48).names[-1] == "short.mkv"


def test_no_clip_crosses_a_cut_and_gaps_are_drawn(root, cache) -> None:
    videos = VideoFolder(root, frames=3, gap=Gap((2, 4)), cache=cache, short_side=48)
    gaps, places = Counter(), Counter()
    for index in range(400):
        video, numbers = videos.place(index)
        gap = numbers[1] - numbers[0]
        assert numbers == [numbers[0], numbers[0] + gap, numbers[0] + 2 * gap]
        cut = CUT if videos.names[video] in ("b.mkv", "deep/a.mkv") else 0
        assert numbers[-1] < cut or numbers[0] >= cut
        gaps[gap] += 1
        places[video] += 1
    assert set(gaps) == {2, 3, 4}
    assert min(gaps.values()) > 90
    assert set(places.values()) == {100}  # each video once an epoch
    starts = {videos.place(index)[1][0] for index in range(400) if videos.place(index)[0] == 2}
    assert set(range(16)) <= starts <= set(range(20))  # where each gap fits, where any does


def test_the_frames_are_those_of_the_place(root, cache) -> None:
    videos = VideoFolder(root, frames=4, gap=Gap((1, 3)), cache=cache, short_side=None)
    for index in range(8):
        _, numbers = videos.place(index)
        assert [number_of(frame) for frame in videos.clip(index)] == numbers


def test_a_full_or_emptied_cache_changes_nothing(root, cache, tmp_path) -> None:
    kept = VideoFolder(root, frames=2, cache=cache, short_side=48, seed=3)
    full = VideoFolder(root, frames=2, cache=tmp_path / "full", short_side=48, seed=3, cache_gb=0)
    assert not list((tmp_path / "full").glob("*.jpegs"))
    assert len(list((tmp_path / "full").glob("*.json"))) == 5
    copied = pickle.loads(pickle.dumps(full))
    for index in (5, 0, 9):
        clip = kept.clip(index)
        np.testing.assert_array_equal(full.clip(index), clip)
        np.testing.assert_array_equal(copied.clip(index), clip)
    # Once there is room the copies are made.
    VideoFolder(root, frames=2, cache=tmp_path / "full", short_side=48)
    assert len(list((tmp_path / "full").glob("*.jpegs"))) == 5


def test_a_seed_decides(root, cache) -> None:
    first, same, other = (VideoFolder(root, cache=cache, short_side=48, seed=seed) for seed in (0, 0, 1))
    places = [first.place(index) for index in range(40)]
    assert [same.place(index) for index in reversed(range(40))] == places[::-1]
    assert [other.place(index) for index in range(40)] != places
    with pytest.raises(IndexError):
        first.clip(-1)


def test_what_a_killed_build_made_is_kept(root, tmp_path, monkeypatch) -> None:
    VideoFolder(root, cache=tmp_path, short_side=48)
    (gone, *_) = sorted(tmp_path.glob("*.json"))
    before = json.loads(gone.read_text())
    gone.unlink()  # a kill before the entry was whole
    damaged = sorted(tmp_path.glob("*.json"))[0]
    damaged.write_text("{")
    (tmp_path / ".0123.part.jpegs").write_bytes(b"half")
    built = []
    build = FrameCache.build
    monkeypatch.setattr(FrameCache, "build", lambda self, path, key: built.append(key) or build(self, path, key))
    VideoFolder(root, cache=tmp_path, short_side=48)
    entries = {gone.stem, damaged.stem}
    assert entries <= set(built)
    assert len(built) == 2 + 3  # and the broken ones are tried again
    assert json.loads(gone.read_text()) == before


def test_builders_at_the_same_time(root, cache, tmp_path) -> None:
    with ThreadPoolExecutor(3) as pool:
        folders = list(pool.map(lambda _: VideoFolder(root, cache=tmp_path, short_side=48), range(3)))
    whole = VideoFolder(root, cache=cache, short_side=48)
    for videos in folders:
        np.testing.assert_array_equal(videos.clip(1), whole.clip(1))
    assert not list(tmp_path.glob(".*"))


def test_building_in_processes(root, cache, tmp_path, monkeypatch) -> None:
    seen = []
    videos = VideoFolder(
        root, cache=tmp_path, short_side=48, workers=2, progress=lambda done, total: seen.append((done, total))
    )
    whole = VideoFolder(root, cache=cache, short_side=48)
    assert (videos.names, videos.skipped) == (whole.names, whole.skipped)
    np.testing.assert_array_equal(videos.clip(2), whole.clip(2))
    assert seen == [(done, 8) for done in range(1, 9)]
    monkeypatch.setattr(video_folder, "ProcessPoolExecutor", None)  # what is there needs no process
    assert VideoFolder(root / "deep", cache=tmp_path, short_side=48, workers=2).names == ("a.mkv",)


def test_the_cache_s_folder_is_counted_once_and_not_for_each_video(root, tmp_path, monkeypatch) -> None:
    counted = []
    count = FrameCache._counted
    monkeypatch.setattr(FrameCache, "_counted", lambda self: counted.append(1) or count(self))
    VideoFolder(root, cache=tmp_path / "kept", short_side=48)
    VideoFolder(root, cache=tmp_path / "full", short_side=48, cache_gb=0)
    VideoFolder(root, cache=tmp_path / "full", short_side=48, cache_gb=0)  # whether there is room now
    assert len(counted) == 3


def test_packs_made_here_count_at_once_and_those_of_others_later(root, tmp_path, monkeypatch) -> None:
    paths = [root / "b.mkv", root / "one.mkv", root / "deep" / "a.mkv"]
    first = FrameCache(tmp_path, 48, 1e9)
    made = first.build(paths[0], first.key(paths[0]))
    assert first.used() == made.offsets[-1] == sum(path.stat().st_size for path in tmp_path.glob("*.jpegs"))
    first.limit = made.offsets[-1] + 1
    assert not first.build(paths[1], first.key(paths[1])).kept
    other = FrameCache(tmp_path, 48, 1e9)
    added = other.build(paths[2], other.key(paths[2])).offsets[-1]
    assert first.used() == made.offsets[-1]
    now = time.monotonic()
    monkeypatch.setattr(frame_cache.time, "monotonic", lambda: now + 31)
    assert first.used() == made.offsets[-1] + added


def test_what_a_clip_is_of_can_be_told(root, cache) -> None:
    videos = VideoFolder(root, frames=2, gap=Gap((2, 2)), cache=cache, short_side=48)
    video, (first, second) = videos.place(5)
    assert videos.describe(5) == f"{videos.names[video]} frames {first}, {second}"


def test_an_entry_belongs_to_a_content_and_settings(tmp_path) -> None:
    path = lossless(tmp_path / "v.mkv", numbered(4, cut=None))
    small, large = (FrameCache(tmp_path / "cache", side, 1e9) for side in (24, 48))
    key = small.key(path)
    assert large.key(path) != key
    moved = path.rename(tmp_path / "moved.mkv")
    assert small.key(moved) == key
    lossless(moved, numbered(5, cut=None))
    assert small.key(moved) != key


def test_short_shots_shorten_the_gap(tmp_path) -> None:
    lossless(tmp_path / "v.mkv", numbered(7, cut=None))
    videos = VideoFolder(tmp_path, frames=3, gap=Gap((9, 9)), cache=tmp_path / ".cache", short_side=None)
    assert {tuple(videos.place(index)[1]) for index in range(20)} == {(0, 3, 6)}


@pytest.mark.parametrize("make", [False, True])
def test_an_empty_folder_is_named(tmp_path, make) -> None:
    folder = tmp_path / "none"
    if make:
        folder.mkdir()
    with pytest.raises(InputError, match=f"{folder}: no "):
        VideoFolder(folder, cache=tmp_path / "cache")
    with pytest.raises(InputError, match=f"{folder}: no "):
        find_videos(folder)


def test_a_link_to_nowhere_is_passed_over(tmp_path) -> None:
    lossless(tmp_path / "videos" / "good.mkv", numbered(4, cut=None))
    (tmp_path / "videos" / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    (tmp_path / "videos" / "loop.mp4").symlink_to(tmp_path / "videos" / "loop.mp4")
    videos = VideoFolder(tmp_path / "videos", cache=tmp_path / "cache")
    assert videos.names == ("good.mkv",)
    assert [name for name, why in videos.skipped if "is not there" in why] == ["gone.mp4"]
    assert any(name == "loop.mp4" and "cannot be opened" in why for name, why in videos.skipped)


def test_single_frames_are_taken_from_pictures_of_any_size(root, cache) -> None:
    videos = VideoFolder(root, 1, cache=cache)
    assert {"poster.png", "mixed/8.png", "mixed/9.png", "pictures", "b.mkv"} <= {*videos.names, "poster.png"}
    assert videos.clip(videos.names.index("mixed/9.png")).shape[0] == 1
    sizes = {videos.clip(index).shape[1:3] for index in range(len(videos))}
    assert {(8, 8), (9, 9)} <= sizes
    told = []
    again = VideoFolder(root, 1, cache=cache, progress=lambda done, count: told.append(done))
    assert again.names == tuple(sorted(again.names, key=natural_key))
    assert told == sorted(told)


def test_only_broken_videos(tmp_path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(InputError, match=r"none of its 1 videos can be used; a\.mp4: "):
        VideoFolder(tmp_path, cache=tmp_path / ".cache")


def test_gaps() -> None:
    rng = np.random.default_rng(0)
    seconds = Gap((0.1, 0.2), unit="seconds")
    assert {seconds.draw(rng, 30.0) for _ in range(200)} == {3, 4, 5, 6}
    assert Gap((0.125, 0.125), unit="seconds").draw(rng, 24.0) == 3
    assert seconds.draw(rng, 1.0) == 1
    weighted = Counter(Gap(weights={1: 3, 8: 1, 5: 0}).draw(rng, 25.0) for _ in range(400))
    assert set(weighted) == {1, 8}
    assert 2 < weighted[1] / weighted[8] < 4.5


@pytest.mark.parametrize(
    "values",
    [
        {"between": (0, 3)},
        {"between": (3, 1)},
        {"between": (1.5, 3)},
        {"weights": {}},
        {"weights": {1: 0}},
        {"weights": {1: -1, 2: 3}},
        {"unit": "minutes"},
    ],
)
def test_bad_gaps(values) -> None:
    with pytest.raises(InputError, match="gap"):
        Gap(**values)


def test_real_video(tmp_path) -> None:
    source = shared_path("data", "videos", "tav_man-surfing.mp4")
    (tmp_path / "surf.mp4").symlink_to(source)
    videos = VideoFolder(tmp_path, frames=4, gap=Gap((0.125, 0.125), unit="seconds"), cache=tmp_path / ".cache")
    clip = videos.clip(0)
    assert clip.shape[0] == 4
    assert min(clip.shape[1:3]) == 256
    assert videos.names == ("surf.mp4",)
