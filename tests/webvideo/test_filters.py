from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from samepoint.webvideo.filters import Filter, Window, is_creative_commons, youtube_search
from samepoint.webvideo.info import address, of_info, uploaded, video_id
from samepoint.webvideo.search import SearchSettings


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
