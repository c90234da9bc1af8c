from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from samepoint.errors import InputError
from samepoint.io.images import write_image
from samepoint.webvideo import attempts
from samepoint.webvideo.filters import Filter, Window, is_creative_commons, youtube_search
from samepoint.webvideo.info import address, of_info, uploaded, video_id
from samepoint.webvideo.rows import Row, complete
from samepoint.webvideo.search import SearchSettings, candidates
from tests.io.clips import encode, moving
from tests.webvideo.server import Answer, Site
from tests.webvideo.test_duplicates import picture

QUICK: dict[str, Any] = {"allow_internal": True, "pause": 0, "backoff": 0, "extractors": ("generic", "html5")}
YOUTUBE = ("youtube:search", "youtube:search_url")
BY_ID = {"duplicates": {"perceptual": False}}


def jpeg(seed: int) -> bytes:
    data = io.BytesIO()
    Image.fromarray(picture(seed)).save(data, "JPEG")
    return data.getvalue()


# --- YouTube's search, by yt-dlp's own extractor on answers of the form that YouTube gives


def result(video: str, title: str, length: str | None, **more: Any) -> dict[str, Any]:
    """One result, shortened to what is read."""
    renderer: dict[str, Any] = {
        "videoId": video,
        "title": {"runs": [{"text": title}]},
        "ownerText": {"runs": [{"text": "A channel"}]},
        "thumbnail": {
            "thumbnails": [{"url": f"https://i.ytimg.com/vi/{video}/hq720.jpg", "width": 720, "height": 404}]
        },
        "publishedTimeText": {"simpleText": "3 years ago"},
        **more,
    }
    if length:
        renderer["lengthText"] = {"simpleText": length}
    return {"videoRenderer": renderer}


def answer(*results: dict[str, Any]) -> bytes:
    section = {"itemSectionRenderer": {"contents": list(results)}}
    contents = {"sectionListRenderer": {"contents": [section]}}
    return json.dumps({"contents": {"twoColumnSearchResultsRenderer": {"primaryContents": contents}}}).encode()


@pytest.fixture
def youtube(site: Site, elsewhere: Callable[[str], None]) -> Callable[[dict[str, bytes]], list[dict[str, Any]]]:
    """Answers by the words of the query; returns the list that the questions go into."""
    elsewhere("www.youtube.com")
    elsewhere("i.ytimg.com")
    asked: list[dict[str, Any]] = []

    def serve(answers: dict[str, bytes]) -> list[dict[str, Any]]:
        def search(request: Any) -> Answer:
            question = json.loads(request.body)
            asked.append(question)
            word = question["query"].split()[0]
            return Answer(answers.get(word, answer()), "application/json")

        site.routes["/youtubei/v1/search"] = search
        return asked

    return serve


def test_a_search_gives_rows(youtube: Any, site: Site) -> None:
    asked = youtube(
        {
            "cat": answer(result("aaaaaaaaaaa", "A cat", "0:42"), result("bbbbbbbbbbb", "Two cats", "1:02:03")),
            "dog": answer(result("ccccccccccc", "A dog", "3:20")),
        }
    )
    settings = SearchSettings(**{**QUICK, "extractors": YOUTUBE}, classes=["cat", "dog"], **BY_ID)
    rows = list(candidates(settings))
    assert [row["video"] for row in rows] == ["youtube-aaaaaaaaaaa", "youtube-bbbbbbbbbbb", "youtube-ccccccccccc"]
    first = complete("videos", rows[0])
    assert first["url"] == "https://www.youtube.com/watch?v=aaaaaaaaaaa"
    assert (first["class"], first["source"], first["query"], first["status"]) == ("cat", "search", "cat", "found")
    assert (first["title"], first["uploader"], first["duration"]) == ("A cat", "A channel", 42.0)
    assert first["thumbnail"] == "https://i.ytimg.com/vi/aaaaaaaaaaa/hq720.jpg"
    assert first["uploaded"] is None  # "3 years ago" is no date
    assert first["retrieved"].endswith("+00:00")
    assert rows[1]["duration"] == 3723.0
    assert [question["query"] for question in asked] == ["cat", "dog"]
    assert all(question["params"] == "EgIQAfABAQ==" for question in asked)  # videos only


def test_youtubes_own_filters_really_reach_it(youtube: Any) -> None:
    """The published system's token went into the text of the query."""
    asked = youtube({"cat": answer()})
    settings = SearchSettings(
        **{**QUICK, "extractors": YOUTUBE},
        classes={"cat": ["cat playing"]},
        windows=[2005, ["2010-01-01", "2010-06-30"]],
        licence="creative-commons",
        max_duration=200,
        **BY_ID,
    )
    assert list(candidates(settings)) == []
    assert [(question["query"], question["params"]) for question in asked] == [
        ("cat playing after:2005-01-01 before:2005-12-31", "EgYQARgBMAE="),
        ("cat playing after:2010-01-01 before:2010-06-30", "EgYQARgBMAE="),
    ]


def test_durations_are_checked_on_our_side_too(youtube: Any) -> None:
    live = result("ddddddddddd", "On air", None, thumbnailOverlays=[
        {"thumbnailOverlayTimeStatusRenderer": {"style": "LIVE", "text": {"simpleText": "LIVE"}}}
    ])  # fmt: skip
    youtube({"cat": answer(result("aaaaaaaaaaa", "", "0:09"), result("bbbbbbbbbbb", "", "1:00"), live,
                           result("ccccccccccc", "", "1:01"))})  # fmt: skip
    settings = SearchSettings(
        **{**QUICK, "extractors": YOUTUBE}, classes=["cat"], min_duration=10, max_duration=60, **BY_ID
    )
    assert [row["video"] for row in candidates(settings)] == ["youtube-bbbbbbbbbbb"]


def test_how_many_are_looked_at_and_taken(youtube: Any) -> None:
    short, long = "0:30", "9:00"
    results = [result(f"{index:011d}", "", long if index % 2 else short) for index in range(8)]
    youtube({"cat": answer(*results), "kitten": answer(*[result(f"k{index:010d}", "", short) for index in range(8)])})

    def found(**more: Any) -> list[int]:
        settings = SearchSettings(
            **{**QUICK, "extractors": YOUTUBE}, classes={"cat": ["cat", "kitten"]}, max_duration=60, **BY_ID, **more
        )
        queries = [row["query"] for row in candidates(settings)]
        return [queries.count("cat"), queries.count("kitten")]

    assert found(results=4) == [2, 4]
    assert found(results=3, examined=8) == [3, 3]
    assert found(results=20) == [4, 8]
    assert found(results=20, per_class=5) == [4, 1]


def test_one_video_of_two_classes_is_one_row(youtube: Any) -> None:
    same = result("aaaaaaaaaaa", "A cat and a dog", "0:42")
    youtube({"cat": answer(same), "dog": answer(result("bbbbbbbbbbb", "", "0:10"), same)})
    settings = SearchSettings(**{**QUICK, "extractors": YOUTUBE}, classes=["cat", "dog"], **BY_ID)
    rows = list(candidates(settings))
    assert [(row["video"], row["class"], row.get("also_in")) for row in rows] == [
        ("youtube-aaaaaaaaaaa", "cat", ["dog"]),
        ("youtube-bbbbbbbbbbb", "dog", None),
    ]
    again = list(candidates(settings, known={"youtube-bbbbbbbbbbb"}))
    assert [(row["video"], row["also_in"]) for row in again] == [("youtube-aaaaaaaaaaa", ["dog"])]


def test_the_same_thumbnail_is_the_same_video(youtube: Any, site: Site) -> None:
    youtube(
        {
            "cat": answer(result("aaaaaaaaaaa", "", "0:42"), result("bbbbbbbbbbb", "", "0:42")),
            "dog": answer(result("ccccccccccc", "", "0:43"), result("ddddddddddd", "", "5:00")),
        }
    )
    for video, seed in (("aaaaaaaaaaa", 1), ("bbbbbbbbbbb", 2), ("ccccccccccc", 1), ("ddddddddddd", 1)):
        site.add(f"/vi/{video}/hq720.jpg", jpeg(seed))
    settings = SearchSettings(**{**QUICK, "extractors": YOUTUBE}, classes=["cat", "dog"])
    rows = list(candidates(settings))
    assert [(row["video"][-1], row.get("also_in")) for row in rows] == [("a", ["dog"]), ("b", None), ("d", None)]
    assert all(row["phash"].startswith("t") for row in rows)


def test_a_thumbnail_that_cannot_be_had_costs_nothing_else(youtube: Any, site: Site) -> None:
    youtube({"cat": answer(*[result(f"{index:011d}", "", "0:42") for index in range(4)])})
    site.add("/vi/00000000000/hq720.jpg", b"no picture", kind="image/jpeg")
    bomb = io.BytesIO()
    Image.new("1", (9000, 9000)).save(bomb, "PNG")
    site.add("/vi/00000000001/hq720.jpg", bomb.getvalue())
    site.add("/vi/00000000002/hq720.jpg", status=302, headers={"Location": "file:///etc/passwd"})
    rows = list(candidates(SearchSettings(**{**QUICK, "extractors": YOUTUBE}, classes=["cat"])))
    assert [row.get("phash") for row in rows] == [None] * 4


def test_a_search_that_fails_is_set_aside_and_the_others_go_on(
    youtube: Any, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts.time, "sleep", lambda seconds: None)
    youtube({"dog": answer(result("ccccccccccc", "", "0:43"))})
    served: Any = site.routes["/youtubei/v1/search"]

    def search(request: Any) -> Answer:
        given = served(request)
        return Answer(b"", status=500) if json.loads(request.body)["query"] == "cat" else given

    site.routes["/youtubei/v1/search"] = search
    settings = SearchSettings(**{**QUICK, "extractors": YOUTUBE, "attempts": 3}, classes=["cat", "dog"], **BY_ID)
    failed, found = list(candidates(settings))
    assert failed["video"].startswith("query-")
    assert (failed["status"], failed["class"], failed["query"]) == ("failed", "cat", "cat")
    assert failed["reason"].endswith("(3 attempts)")
    assert complete("videos", failed)
    assert found["video"] == "youtube-ccccccccccc"


def test_a_service_that_there_is_not(only_loopback: None) -> None:
    with pytest.raises(InputError, match=r"service: expected one of .*ytsearch.*, got 'ytserch'"):
        list(candidates(SearchSettings(**QUICK, classes=["cat"], service="ytserch")))


# --- a channel whose videos state licence and day on their own pages (PeerTube's API)


def channel(site: Site, elsewhere: Callable[[str], None]) -> None:
    elsewhere("framatube.org")
    videos = [
        ("aaaaaaaaaaaaaaaaaaaaaa", "Attribution - CC BY", "2019-03-08T10:00:00.000Z", 30),
        ("bbbbbbbbbbbbbbbbbbbbbb", "Public Domain Dedication", "2019-03-08T10:00:00.000Z", 30),
        ("cccccccccccccccccccccc", "Creative Commons Attribution", "2012-12-31T23:00:00.000Z", 30),
        ("dddddddddddddddddddddd", "Creative Commons Attribution", "2020-01-01T00:30:00.000Z", 30),
        ("eeeeeeeeeeeeeeeeeeeeee", "Creative Commons Attribution", "2019-12-31T23:30:00.000Z", 301),
        ("ffffffffffffffffffffff", None, "2019-03-08T10:00:00.000Z", 30),
        ("gggggggggggggggggggggg", "Creative Commons Attribution", None, 30),
        ("hhhhhhhhhhhhhhhhhhhhhh", "Creative Commons Attribution", "2019-12-31T23:30:00.000Z", 299),
    ]
    site.add("/api/v1/video-channels/films", json.dumps({"displayName": "Films"}), "application/json")
    listed = [{"shortUUID": name, "name": f"Film {name[0]}"} for name, *_ in videos]
    site.add("/api/v1/video-channels/films/videos", json.dumps({"data": listed}), "application/json")
    for name, licence, day, duration in videos:
        page = {"name": f"Film {name[0]}", "duration": duration, "publishedAt": day, "files": [
            {"resolution": {"label": "360p"}, "fileUrl": f"{site.url}/{name}.mp4", "fps": 25}
        ]}  # fmt: skip
        if licence:
            page["licence"] = {"id": 1, "label": licence}
        site.add(f"/api/v1/videos/{name}/", json.dumps(page), "application/json")
    site.add("/api/v1/videos/iiiiiiiiiiiiiiiiiiiiii/", status=404)
    listed.append({"shortUUID": "iiiiiiiiiiiiiiiiiiiiii", "name": "Gone"})
    site.add("/api/v1/video-channels/films/videos", json.dumps({"data": listed}), "application/json")


PEERTUBE = {**QUICK, "extractors": ("PeerTube.*",), "playlists": {"film": ("https://framatube.org/c/films/videos",)}}


def test_a_channel_is_filtered_by_what_its_pages_state(site: Site, elsewhere: Callable[[str], None]) -> None:
    channel(site, elsewhere)
    settings = SearchSettings(
        **PEERTUBE, **BY_ID, licence="creative-commons", max_duration=300, after="2013-01-01", before="2019-12-31"
    )
    rows = list(candidates(settings))
    found = {row["video"][-1]: row for row in rows if row["status"] == "found"}
    assert sorted(found) == ["a", "h"]
    assert found["a"]["licence"] == "Attribution - CC BY"
    assert (found["h"]["uploaded"], found["h"]["duration"]) == ("2019-12-31", 299.0)
    assert found["a"]["url"] == "https://framatube.org/w/aaaaaaaaaaaaaaaaaaaaaa"
    (failed,) = [row for row in rows if row["status"] == "failed"]
    assert failed["video"].endswith("iiiiiiiiii")
    assert failed["reason"].startswith("removed: ")


def test_pages_are_read_only_where_a_filter_needs_them(site: Site, elsewhere: Callable[[str], None]) -> None:
    channel(site, elsewhere)
    rows = list(candidates(SearchSettings(**PEERTUBE, **BY_ID)))
    assert len(rows) == 9
    assert not any(path.startswith("/api/v1/videos/") for path in site.asked)
    assert len(list(candidates(SearchSettings(**PEERTUBE, **BY_ID, playlist_results=3)))) == 3


def test_pages_are_read_once(site: Site, elsewhere: Callable[[str], None]) -> None:
    channel(site, elsewhere)
    url = "https://framatube.org/c/films/videos"
    settings = {**PEERTUBE, "playlists": {"film": [url], "cinema": [url]}}
    rows = list(candidates(SearchSettings(**settings, **BY_ID, licence="creative-commons")))
    assert {row["class"] for row in rows} == {"film"}
    assert all(row["also_in"] == ["cinema"] for row in rows)
    assert {count for path, count in site.asked.items() if path.startswith("/api/v1/videos/")} == {1}


# --- pages and feeds without an extractor of their own


def test_a_page_with_several_videos(site: Site) -> None:
    page = "<html><title>Clips</title><video src='/a.mp4' poster='/a.jpg'></video><video src='/b.mp4'></video></html>"
    url = site.add("/page", page)
    rows = list(candidates(SearchSettings(**QUICK, playlists={"clip": [url]})))
    assert [row["url"] for row in rows] == [site.url + "/a.mp4", site.url + "/b.mp4"]
    assert len({row["video"] for row in rows}) == 2
    assert all(row["video"].startswith("url-") and row["source"] == "playlist" for row in rows)


def test_a_feed_redirected_to(site: Site) -> None:
    items = "".join(
        f"<item><title>Film {name}</title><link>{site.url}/{name}.mp4</link><pubDate>{day}</pubDate></item>"
        for name, day in (("a", "Fri, 08 Mar 2019 10:00:00 GMT"), ("b", "Sat, 08 Mar 2014 10:00:00 GMT"))
    )
    feed = f"<?xml version='1.0'?><rss version='2.0'><channel><title>Films</title>{items}</channel></rss>"
    site.add("/feed.xml", feed)
    url = site.add("/moved", status=301, headers={"Location": "/feed.xml"})
    rows = list(candidates(SearchSettings(**QUICK, playlists={"film": [url]})))
    assert [(row["url"], row["title"], row["uploaded"]) for row in rows] == [
        (f"{site.url}/a.mp4", "Film a", "2019-03-08"),
        (f"{site.url}/b.mp4", "Film b", "2014-03-08"),
    ]
    (recent,) = candidates(SearchSettings(**QUICK, playlists={"film": [url]}, after="2015-01-01"))
    assert recent["title"] == "Film a"


@pytest.mark.parametrize("target", ["http://169.254.169.254/feed", "http://[::1]:1/", "http://2130706434/"])
def test_a_playlist_redirected_inside_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    from samepoint.webvideo import safety

    real = safety.is_internal
    monkeypatch.setattr(safety, "is_internal", lambda address: real(address) and str(address) != "127.0.0.1")
    url = site.add("/moved", status=302, headers={"Location": target})
    (row,) = candidates(SearchSettings(**{**QUICK, "allow_internal": False}, playlists={"film": [url]}))
    assert (row["status"], row["reason"].partition(":")[0]) == ("failed", "refused")
    assert row["url"] == url


# --- lists and folders


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


# --- the parts


def test_filters_by_hand() -> None:
    check = Filter(10, 60, "creative-commons", Window(date(2019, 1, 1), date(2019, 12, 31)))
    good = {
        "duration": 60,
        "license": "Creative Commons Attribution license (reuse allowed)",
        "upload_date": "20191231",
    }
    assert check(good) is None
    assert check({}, incomplete=True) is None
    assert check({**good, "duration": 60.5}) == "too long: 60 s"
    assert check({**good, "duration": 9.9}) == "too short: 10 s"
    assert check({**good, "duration": None}) is None
    assert check({**good, "upload_date": "20181231"}) == "too old: 2018-12-31"
    assert check({**good, "upload_date": "20200101"}, incomplete=True) == "too new: 2020-01-01"
    assert check({**good, "upload_date": None}) == "no date"
    assert check({**good, "license": None}) == "licence: not stated"
    assert check({**good, "license": "YouTube"}, incomplete=True) == "licence: YouTube"
    assert check({**good, "live_status": "is_live"}) == "live"
    assert not check.undecided(good)
    for missing in ("duration", "license", "upload_date"):
        assert check.undecided({**good, missing: None})
    assert not Filter().undecided({})
    assert check.days() == ("20190101", "20191231")


def test_creative_commons_is_read_from_what_is_stated() -> None:
    stated = ["Creative Commons Attribution license (reuse allowed)", "creativecommons.org/licenses/by/4.0"]
    stated += ["CC-BY-SA 3.0", "CC0 1.0", "Attribution - CC BY"]
    assert all(map(is_creative_commons, stated))
    assert not any(map(is_creative_commons, ["Standard YouTube License", "All rights reserved", "", None, 3, "ACCBYX"]))


@pytest.mark.parametrize(
    ("wanted", "token"),
    [
        (Filter(), None),
        (Filter(max_duration=241), None),
        (Filter(max_duration=240), "EgQQARgB"),
        (Filter(min_duration=1200), "EgQQARgC"),
        (Filter(min_duration=240, max_duration=1200), "EgQQARgD"),
        (Filter(licence="creative-commons"), "EgQQATAB"),
        (Filter(max_duration=240, licence="creative-commons"), "EgYQARgBMAE%3D"),
    ],
)
def test_youtubes_token(wanted: Filter, token: str | None) -> None:
    ask = youtube_search("a cat & more", wanted, 7)
    if token is None:
        assert ask == "ytsearch7:a cat & more"
    else:
        assert ask == f"https://www.youtube.com/results?search_query=a+cat+%26+more&sp={token}"


def test_windows_meet_the_overall_range(youtube: Any) -> None:
    asked = youtube({})
    settings = SearchSettings(
        **{**QUICK, "extractors": YOUTUBE}, classes=["cat"], windows=[2017, 2018, 2019, 2020], after="2018-07-01",
        before="2019-03-31", **BY_ID,
    )  # fmt: skip
    list(candidates(settings))
    assert [question["query"] for question in asked] == [
        "cat after:2018-07-01 before:2018-12-31",
        "cat after:2019-01-01 before:2019-03-31",
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "at least one of classes, playlists, lists and folders"),
        ({"classes": ["cat"], "windows": [["2010-02-01", "2010-01-01"]]}, "the earlier day first"),
        ({"classes": ["cat"], "after": "2010-02-01", "before": "2010-01-01"}, "the earlier day first"),
        ({"classes": ["cat"], "licence": "cc"}, "creative-commons"),
        ({"classes": ["cat"], "result": 3}, "Extra inputs"),
    ],
)
def test_settings_that_make_no_sense(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SearchSettings(**values)


def test_what_pages_say_becomes_columns() -> None:
    info = {
        "title": "A\ncat\x00 \u202e" + "x" * 1000, "channel": "C", "timestamp": 1306146304, "duration": float("nan"),
        "thumbnails": [{"url": "http://a/1"}, {"url": "http://a/2"}, {}], "license": 3,
    }  # fmt: skip
    row = of_info(info)
    assert row["title"].startswith("A cat x")
    assert len(row["title"]) == 500
    assert (row["uploader"], row["uploaded"], row["duration"]) == ("C", "2011-05-23", None)
    assert (row["thumbnail"], row["licence"]) == ("http://a/2", None)
    for stamp in (1e30, float("inf"), "x", True, None):
        assert uploaded({"timestamp": stamp}) is None
    assert uploaded({"upload_date": "yesterday"}) is None
    assert address({"_type": "url", "url": "http://a/1", "webpage_url": "http://a/0"}) == "http://a/1"
    assert address({"extractor_key": "Generic", "formats": [{"url": "http://a/1"}], "webpage_url": "b"}) == "http://a/1"
    assert address({"extractor_key": "Vimeo", "url": "http://cdn/1", "webpage_url": "http://a/0"}) == "http://a/0"
    assert address({}) is None
    assert video_id({"ie_key": "Vimeo", "id": "../1"}, "http://a") != video_id(
        {"ie_key": "Vimeo", "id": "./1"}, "http://a"
    )
    assert "/" not in video_id({"ie_key": "Vimeo", "id": "../1"}, "http://a")


def test_rows_do_not_depend_on_what_is_known(youtube: Any) -> None:
    youtube({"cat": answer(*[result(f"{index:011d}", "", "0:42") for index in range(5)])})
    settings = SearchSettings(**{**QUICK, "extractors": YOUTUBE}, classes=["cat"], per_class=4, **BY_ID)

    def told(rows: list[Row]) -> list[Row]:
        return [{key: value for key, value in row.items() if key != "retrieved"} for row in rows]

    everything = list(candidates(settings))
    assert len(everything) == 4
    for count in range(5):
        known = {row["video"] for row in everything[:count]}
        assert told(list(candidates(settings, known))) == told(everything[count:])
