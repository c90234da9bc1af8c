"""Shot lists in the published form and in version 2, against lists written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from samepoint.errors import InputError
from samepoint.webvideo.parsing_json import read_parsing, write_parsing
from samepoint.webvideo.rows import complete
from samepoint.webvideo.shots import ShotSettings, cut
from tests.webvideo.scenes import black, scene, video

PUBLISHED = """
{"horse": {"dQw4w9WgXcQ": {"skip_cnt": 1, "0": [0, 40], "1": [40, 41], "2": [41, 300]},
           "aaaaaaaaaa-": {"skip_cnt": 1}},
 "dog": {"local": {"skip_cnt": 1, "0": [0, 7], "10": [107, 117], "1": [7, 17], "2": [17, 27], "3": [27, 37],
                   "4": [37, 47], "5": [47, 57], "6": [57, 67], "7": [67, 77], "8": [77, 87], "9": [87, 107]}}}
"""
SECOND = """
{"version": 2, "detector": {"name": "content", "threshold": 27.0, "min_len": 15, "start_in_scene": true},
 "videos": {"youtube-dQw4w9WgXcQ": {"class": "horse", "url": "https://www.youtube.com/watch?v=dQw4w9WgXcQ",
     "licence": "Creative Commons", "sha256": "ab", "fps": 29.97, "width": 640, "height": 360, "n_frames": 300,
     "shots": [[0, 40], [52, 300]], "dropped": [[40, 52, "black"]], "status": "ok"},
   "file-1": {"class": "dog", "url": null, "licence": null, "sha256": null, "fps": null, "width": null,
     "height": null, "n_frames": null, "shots": [], "status": "failed:private: sign in"}}}
"""


def written(tmp_path: Path, content: str | dict[str, Any]) -> Path:
    path = tmp_path / "parsing.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def stretches(shots: list[dict[str, Any]], video: str) -> list[tuple[int, int]]:
    return [(shot["start"], shot["end"]) for shot in shots if shot["video"] == video and shot["status"] == "ok"]


def test_the_published_form(tmp_path) -> None:
    videos, shots = read_parsing(written(tmp_path, PUBLISHED))
    assert [(row["video"], row["class"]) for row in videos] == [
        ("youtube-dQw4w9WgXcQ", "horse"),
        ("youtube-aaaaaaaaaa-", "horse"),
        ("local", "dog"),
    ]
    assert videos[0]["url"] == "https://www.youtube.com/watch?v=dQw4w9WgXcQ"
    assert stretches(shots, "youtube-dQw4w9WgXcQ") == [(0, 40), (40, 41), (41, 300)]
    assert stretches(shots, "local")[9:] == [(87, 107), (107, 117)]
    assert [shot["shot"] for shot in shots if shot["video"] == "local"][10] == "local/10"
    (dropped,) = [shot for shot in shots if shot["video"] == "youtube-aaaaaaaaaa-"]
    assert (dropped["status"], dropped["kept"], dropped["shot"]) == ("skipped", False, "youtube-aaaaaaaaaa-")
    assert all(complete("videos", row) for row in videos)
    assert all(complete("shots", row) for row in shots)
    assert len({shot["shot"] for shot in shots}) == len(shots)


def test_a_shot_without_frames_is_passed_over_with_a_warning(tmp_path) -> None:
    path = written(tmp_path, {"cow": {"x": {"skip_cnt": 1, "0": [0, 9], "1": [9, 9], "2": [9, 20]}}})
    with pytest.warns(UserWarning, match=r"1 shot without a frame is passed over, the first: cow/x/1"):
        _, shots = read_parsing(path)
    assert [(shot["shot"], shot["start"], shot["end"]) for shot in shots] == [("x/0", 0, 9), ("x/2", 9, 20)]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"cow": {"x": {"0": [0, 9], "1": [10, 20]}}}, "cow/x: shot 1 starts at frame 10, expected 9"),
        ({"cow": {"x": {"0": [0, 9], "1": [8, 20]}}}, "expected 9: no gap and no overlap"),
        ({"cow": {"x": {"0": [1, 9]}}}, "the first shot starts at frame 1, expected 0"),
        ({"cow": {"x": {"0": [0, 9], "2": [9, 20]}}}, "key '2' and no '1'"),
        ({"cow": {"x": {"00": [0, 9]}}}, "key '00' and no '0'"),
        ({"cow": {"x": {"0": [0, 9.5]}}}, r"expected \[start, end\], whole numbers"),
        ({"cow": {"x": {"0": [0, True]}}}, "whole numbers"),
        ({"cow": {"x": {"0": [9, 0]}}}, "no end before its start"),
        ({"cow": {"x": {"0": 9}}}, "cow/x, shot 0"),
        ({"cow": {"x": [0, 9]}}, "cow/x: expected an object"),
        ({"cow": [1]}, "cow: expected an object"),
        ("[1]", "expected an object"),
        ("{", "not JSON"),
        ('{"cow": {}, "cow": {}}', "'cow' twice"),
        ({"version": 3, "videos": {}}, "version 3; expected 2"),
        ({"version": 2}, "videos: expected an object"),
        ({"version": 2, "videos": {"x": {"shots": [[0, 9], [5, 20]]}}}, "frame 5, before another ends at 9"),
        ({"version": 2, "videos": {"x": {"shots": [], "status": "gone"}}}, "expected ok or failed"),
        ({"version": 2, "videos": {"x": {"shots": [], "fps": "25"}}}, 'fps is "25", expected float'),
        ({"version": 2, "videos": {"x": {"shots": [], "dropped": [[0, 2]]}}}, r"expected \[start, end, reason\]"),
    ],
)
def test_wrong_lists_are_refused(tmp_path, content, told) -> None:
    path = written(tmp_path, content)
    with pytest.raises(InputError, match=told) as caught:
        read_parsing(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_list(tmp_path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_parsing(tmp_path / "parsing.json")


def test_version_2(tmp_path) -> None:
    videos, shots = read_parsing(written(tmp_path, SECOND))
    assert all(complete("videos", row) for row in videos)
    assert all(complete("shots", row) for row in shots)
    first, second = videos
    assert (first["video"], first["class"], first["licence"]) == ("youtube-dQw4w9WgXcQ", "horse", "Creative Commons")
    assert (first["fps"], first["width"], first["height"], first["frames"]) == (29.97, 640, 360, 300)
    assert [(shot["start"], shot["end"], shot["kept"], shot["reason"]) for shot in shots[:-1]] == [
        (0, 40, True, None),
        (40, 52, False, "black"),
        (52, 300, True, None),
    ]
    assert (second["status"], second["reason"]) == ("failed", "private: sign in")
    assert (shots[-1]["status"], shots[-1]["reason"], shots[-1]["shot"]) == ("failed", "private: sign in", "file-1")
    again = tmp_path / "again.json"
    write_parsing(again, videos, shots)
    assert json.loads(again.read_text()) == json.loads(SECOND)


def test_the_published_form_comes_back(tmp_path) -> None:
    videos, shots = read_parsing(written(tmp_path, PUBLISHED))
    again = tmp_path / "again.json"
    write_parsing(again, videos, shots, version=1)
    assert json.loads(again.read_text()) == json.loads(PUBLISHED)


def test_what_is_cut_goes_into_both_forms(tmp_path) -> None:
    row = video(tmp_path, [scene(20, 0), scene(5, 1), black(4), scene(30, 2)])
    shots = cut(row, ShotSettings(), tmp_path)
    write_parsing(tmp_path / "1.json", [row], shots, version=1)
    expected = {"0": [0, 20], "1": [20, 25], "2": [25, 29], "3": [29, 59]}
    assert json.loads((tmp_path / "1.json").read_text()) == {"horse": {"clip": {"skip_cnt": 1, **expected}}}
    write_parsing(tmp_path / "2.json", [row], shots, ShotSettings(detector="adaptive"))
    content = json.loads((tmp_path / "2.json").read_text())
    assert content["detector"] == {"name": "adaptive", "threshold": 3.0, "min_len": 15, "start_in_scene": True}
    entry = content["videos"]["clip"]
    assert entry["shots"] == [[0, 20], [29, 59]]
    assert entry["dropped"] == [[20, 25, "short"], [25, 29, "black"]]
    assert (entry["n_frames"], entry["fps"], entry["width"], entry["height"]) == (59, 25.0, 128, 96)
    read = read_parsing(tmp_path / "2.json")
    same = ("shot", "video", "class", "index", "start", "end", "fps", "width", "height", "kept", "reason", "status")
    assert [{key: shot.get(key) for key in same} for shot in read.shots] == [
        {key: shot.get(key) for key in same} for shot in shots
    ]


def test_a_video_without_shots_goes_into_both_forms(tmp_path) -> None:
    row = video(tmp_path, scene(20, 0))
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    bad = {"video": "bad", "class": "horse", "path": "bad.mp4", "status": "ok"}
    shots = [shot for one in (row, bad) for shot in cut(one, ShotSettings(legacy=True), tmp_path)]
    write_parsing(tmp_path / "1.json", [row, bad], shots, version=1)
    assert json.loads((tmp_path / "1.json").read_text()) == {"horse": {"bad": {"skip_cnt": 1}, "clip": {"skip_cnt": 1}}}
    write_parsing(tmp_path / "2.json", [row, bad], shots)
    status = {name: entry["status"] for name, entry in json.loads((tmp_path / "2.json").read_text())["videos"].items()}
    assert status["clip"] == "ok"
    assert status["bad"].startswith("failed:")
    assert "bad.mp4" in status["bad"]


def test_a_gap_cannot_be_written_in_the_published_form(tmp_path) -> None:
    shots = [{"shot": "x/0", "video": "x", "start": 0, "end": 9}, {"shot": "x/1", "video": "x", "start": 11, "end": 20}]
    with pytest.raises(InputError, match="frame 11, expected 9"):
        write_parsing(tmp_path / "1.json", [{"video": "x", "class": "cow"}], shots, version=1)
    assert list(tmp_path.iterdir()) == []


def test_videos_in_the_published_layout_are_found_and_nothing_outside_of_it(tmp_path) -> None:
    content = {
        "horse": {"x": {"skip_cnt": 1, "0": [0, 9]}, "y": {"skip_cnt": 1, "0": [0, 9]}},
        "..": {"z": {"skip_cnt": 1, "0": [0, 9]}},
    }
    for place in ("root/horse/x/x.mp4", "z/z.mp4"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_bytes(b"")
    videos, shots = read_parsing(written(tmp_path, content), tmp_path / "root")
    assert [(row["video"], row["status"], row.get("path") is not None) for row in videos] == [
        ("x", "ok", True),
        ("y", "found", False),
        ("z", "found", False),
    ]
    assert shots[0]["path"] == videos[0]["path"] == str((tmp_path / "root/horse/x/x.mp4").resolve())


def test_what_the_list_does_not_say_of_a_picture_is_of_the_file(tmp_path) -> None:
    file = tmp_path / video(tmp_path, scene(9, 0))["path"]
    place = tmp_path / "root/horse/x/x.mp4"
    place.parent.mkdir(parents=True)
    file.rename(place)
    said = ("width", "height", "fps")
    videos, shots = read_parsing(written(tmp_path, {"horse": {"x": {"0": [0, 9]}}}), tmp_path / "root")
    assert [[row[key] for key in said] for row in (*videos, *shots)] == [[128, 96, 25.0]] * 2
    entry = {"class": "horse", "fps": 12.5, "shots": [[0, 9]]}
    videos, shots = read_parsing(written(tmp_path, {"version": 2, "videos": {"x": entry}}), tmp_path / "root")
    assert [[row[key] for key in said] for row in (*videos, *shots)] == [[128, 96, 12.5]] * 2
    assert all(complete("shots", row) for row in shots)


def test_names_stay_within_a_folder(tmp_path) -> None:
    videos, _ = read_parsing(written(tmp_path, {"cow": {"../../x": {"0": [0, 9]}}}))
    assert "/" not in videos[0]["video"]


def test_one_video_in_two_classes(tmp_path) -> None:
    entry = {"skip_cnt": 1, "0": [0, 9]}
    (only,), shots = read_parsing(written(tmp_path, {"cow": {"x": entry}, "horse": {"x": entry}}))
    assert (only["class"], only["also_in"], len(shots)) == ("cow", ["horse"], 1)
    with pytest.raises(InputError, match="horse/x: has other shots than in class cow"):
        read_parsing(written(tmp_path, {"cow": {"x": entry}, "horse": {"x": {"0": [0, 8]}}}))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.lists(st.integers(1, 500), max_size=12), min_size=1, max_size=4),
    version=st.sampled_from([1, 2]),
)
def test_lists_come_back(tmp_path: Path, lengths, version) -> None:
    content: dict[str, Any] = {"cow": {}}
    for number, members in enumerate(lengths):
        edges = [sum(members[:at]) for at in range(len(members) + 1)]
        entry = {str(at): [edges[at], edges[at + 1]] for at in range(len(members))}
        content["cow"][f"video{number}"] = {"skip_cnt": 1, **entry}
    first = read_parsing(written(tmp_path, content))
    write_parsing(tmp_path / "again.json", *first, version=version)
    again = read_parsing(tmp_path / "again.json")
    assert [(s["shot"], s.get("start"), s.get("end")) for s in again.shots] == [
        (s["shot"], s.get("start"), s.get("end")) for s in first.shots
    ]
