from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samepoint.errors import InputError
from samepoint.io.images import write_image
from samepoint.webvideo.listing import read_folder
from samepoint.webvideo.rows import complete
from samepoint.webvideo.search import SearchSettings, candidates
from tests.io.clips import encode, moving

QUICK: dict[str, Any] = {"allow_internal": True, "pause": 0, "backoff": 0, "extractors": ("generic", "html5")}
YOUTUBE = ("youtube:search", "youtube:search_url")
BY_ID = {"duplicates": {"perceptual": False}}


def test_a_list_as_a_table(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(
        "\ufeffURL,class,licence,comment\nhttps://a.example/1.mp4,cat,CC BY,x\n\nhttps://a.example/2.mp4,,,\n"
        "https://www.youtube.com/watch?v=dQw4w9WgXcQ&t=9,dog,,\nhttps://youtu.be/dQw4w9WgXcQ,cow,,\n",
        encoding="utf-8",
    )
    rows = list(candidates(SearchSettings(**{**QUICK, "extractors": ("youtube", "generic")}, lists=[path])))
    assert [(row["class"], row["url"]) for row in rows[:2]] == [
        ("cat", "https://a.example/1.mp4"),
        ("video", "https://a.example/2.mp4"),
    ]
    assert (rows[0]["licence"], rows[0]["query"], rows[0]["source"]) == ("CC BY", "list.csv", "list")
    assert rows[0]["video"].startswith("url-")
    assert [(row["video"], row["also_in"]) for row in rows[2:]] == [("youtube-dQw4w9WgXcQ", ["cow"])]
    assert all(complete("videos", row) for row in rows)


def test_a_list_as_text(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(
        "# mine\nhttps://a.example/1.mp4\n\n  https://a.example/2.mp4 potted plant\nhttps://a.example/1.mp4 cat\n"
    )
    rows = list(candidates(SearchSettings(**QUICK, lists=[path], default_class="thing")))
    assert [(row["class"], row.get("also_in")) for row in rows] == [("thing", ["cat"]), ("potted plant", None)]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "link,class\nhttps://a.example/,cat\n", "expected a column url, got link, class"),
        ("a.csv", "", "expected a column url, got an empty file"),
        ("a.csv", "url,class\nhttps://a.example/,cat\n/home/me/a.mp4,cat\n", "a.csv, line 3: /home/me/a.mp4"),
        ("a.txt", "https://a.example/\nfile:///etc/passwd\n", "a.txt, line 2: file:///etc/passwd"),
        ("a.txt", "ytsearch5:cat\n", "line 1"),
    ],
)
def test_lists_that_cannot_be_used(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message.replace(".", r"\.")):
        list(candidates(SearchSettings(**QUICK, lists=[tmp_path / name])))
    with pytest.raises(InputError, match="cannot be read"):
        list(candidates(SearchSettings(**QUICK, lists=[tmp_path / "none.txt"])))


def test_names_that_are_not_utf8_are_passed_over_and_links_followed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "clips"
    (root / "cat").mkdir(parents=True)
    (tmp_path / "disk").mkdir()
    first = encode(tmp_path / "disk" / "far.mp4", moving(12))
    (root / "dog").symlink_to(tmp_path / "disk")
    (root / "cat" / "ring").symlink_to(root)
    (root / "all").symlink_to(root / "own")
    (root / "up").symlink_to(tmp_path)
    (root / "own").mkdir()
    (root / "own" / "near.mp4").write_bytes(first.read_bytes())
    Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.mp4")).write_bytes(first.read_bytes())
    rows = list(read_folder(root, "video"))
    assert [(row["class"], row["title"]) for row in rows] == [("own", "near"), ("dog", "far")]
    assert "its name is not UTF-8; rename it" in caplog.text
    assert next(iter(candidates(SearchSettings(folders=[root]))))["duration"] == pytest.approx(12 / 25, abs=0.1)


def test_a_folder_with_classes_as_sub_folders(tmp_path: Path, only_loopback: None) -> None:
    root = tmp_path / "clips"
    for place in ("cat", "dog/more", ".hidden"):
        (root / place).mkdir(parents=True)
    first = encode(root / "cat" / "a b.mp4", moving(12))
    (root / "dog" / "more" / "copy.mp4").write_bytes(first.read_bytes())
    encode(root / "dog" / "10.avi", moving(20)[::-1], "mpeg4")
    encode(root / "dog" / "9.avi", np.roll(moving(20), 30, axis=2)[:, ::-1], "mpeg4")
    encode(root / "loose.mp4", moving(12)[:, :, ::-1])
    (root / ".hidden" / "x.mp4").write_bytes(first.read_bytes())
    (root / "cat" / "notes.txt").write_text("no video")
    (root / "cat" / "text.mp4").write_text("no video either, as downloading will find")
    rows = list(candidates(SearchSettings(folders=[root], default_class="other")))
    assert [(Path(row["path"]).name, row["class"], row.get("also_in")) for row in rows] == [
        ("loose.mp4", "other", None),
        ("a b.mp4", "cat", ["dog"]),
        ("text.mp4", "cat", None),
        ("9.avi", "dog", None),
        ("10.avi", "dog", None),
    ]
    assert rows[1]["video"].startswith("a_b-")
    assert (rows[1]["source"], rows[1]["query"], rows[1]["title"]) == ("folder", "clips", "a b")
    assert all(complete("videos", row) and Path(row["path"]).is_absolute() for row in rows)
    assert len({row["video"] for row in rows}) == 5
    (root / "none").mkdir()
    with pytest.raises(InputError, match="no videos in it"):
        list(candidates(SearchSettings(folders=[root / "none"])))
    with pytest.raises(InputError, match="no such folder"):
        list(candidates(SearchSettings(folders=[root / "nowhere"])))


def test_irrelevant_candidates_are_set_aside(tmp_path: Path) -> None:
    """Files against example pictures; the class without examples is left alone."""
    from tests.webvideo.test_relevance import draw

    clips, examples = tmp_path / "clips", tmp_path / "examples"
    for kind in ("stripes", "blobs"):
        (examples / kind).mkdir(parents=True)
        for seed in range(2):
            write_image(examples / kind / f"{seed}.png", draw(kind, seed))
    for label, kind in (("stripes", "stripes"), ("blobs", "stripes"), ("other", "blobs")):
        (clips / label).mkdir(parents=True)
        frames = np.stack([draw(kind, seed) for seed in (20 + len(label), 30)])
        encode(clips / label / f"{kind}.mp4", frames, options={"crf": "5"})
    settings = SearchSettings(
        folders=[clips], relevance={"examples": examples, "size": 64, "least": 0.0}, duplicates={"perceptual": False}
    )
    rows = {row["class"]: row for row in candidates(settings)}
    assert rows["stripes"]["status"] == "found"
    assert rows["stripes"]["relevance"] > 0 > rows["blobs"]["relevance"]
    assert (rows["blobs"]["status"], rows["blobs"]["reason"].partition(":")[0]) == ("skipped", "not relevant")
    assert (rows["other"]["status"], rows["other"].get("relevance")) == ("found", None)
