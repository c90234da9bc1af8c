from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from samepoint.errors import InputError
from samepoint.webvideo import attempts
from samepoint.webvideo.rows import Row, complete
from samepoint.webvideo.search import SearchSettings, candidates
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
