from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from samepoint.errors import InputError
from samepoint.webvideo.download import DownloadSettings, fetch
from samepoint.webvideo.probe import file_sha256, probe
from samepoint.webvideo.rows import Row, complete
from tests.io.clips import encode, moving
from tests.webvideo.server import Answer, Site

QUICK: dict[str, Any] = {"allow_internal": True, "pause": 0, "backoff": 0.01, "extractors": ("generic", "html5")}
SETTINGS = DownloadSettings(**QUICK)


def a_row(url: str, **more: Any) -> Row:
    return {"video": "url-1", "class": "cat", "source": "list", "url": url, "status": "found", **more}


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_file_arrives_whole_and_measured(site: Site, clip: bytes, tmp_path: Path) -> None:
    row = fetch(a_row(site.add("/a.mp4", clip)), SETTINGS, tmp_path)
    path = tmp_path / "videos/cat/url-1/url-1.mp4"
    assert path.read_bytes() == clip
    assert files(tmp_path) == ["videos/cat/url-1/url-1.json", "videos/cat/url-1/url-1.mp4"]
    assert complete("videos", row).items() >= row.items()
    assert (row["status"], row["reason"], row["path"]) == ("ok", None, "videos/cat/url-1/url-1.mp4")
    assert (row["width"], row["height"], row["frames"], row["fps"]) == (64, 48, 30, 25.0)
    assert (row["bytes"], row["sha256"], row["duration"]) == (len(clip), file_sha256(path), pytest.approx(1.2))
    assert row["phash"].startswith("f")
    assert set(json.loads(row["tool_versions"])) == {"samepoint", "yt-dlp", "av"}
    assert row["title"] == "a"


def test_a_whole_file_is_kept_and_a_changed_one_is_not(site: Site, clip: bytes, tmp_path: Path) -> None:
    row = a_row(site.add("/a.mp4", clip))
    first = fetch(row, SETTINGS, tmp_path)
    asked = site.asked.total()
    assert fetch(row, SETTINGS, tmp_path) == first
    assert fetch(first, SETTINGS, tmp_path) == first
    assert site.asked.total() == asked
    (tmp_path / "videos/cat/url-1/url-1.json").unlink()
    assert fetch(first, SETTINGS, tmp_path) == first
    assert site.asked.total() == asked
    beyond = fetch(first, SETTINGS.model_copy(update={"max_bytes": 10}), tmp_path)
    assert (beyond["status"], beyond["reason"].partition(":")[0]) == ("skipped", "too large")
    assert fetch(beyond, SETTINGS, tmp_path)["status"] == "ok"
    assert site.asked.total() == asked
    low = fetch(first, SETTINGS.model_copy(update={"height": first["height"] - 1}), tmp_path)
    assert site.asked.total() > asked, "there may be a smaller format"
    assert low["reason"].partition(":")[0] == "too tall"
    asked = site.asked.total()
    path = tmp_path / first["path"]
    path.write_bytes(clip[:-1] + b"x")
    again = fetch(first, SETTINGS, tmp_path)
    assert site.asked.total() > asked
    assert path.read_bytes() == clip
    assert {**again, "retrieved": 0} == {**first, "retrieved": 0}


def test_a_record_that_points_elsewhere_is_not_believed(site: Site, clip: bytes, tmp_path: Path) -> None:
    first = fetch(a_row(site.add("/a.mp4", clip)), SETTINGS, tmp_path)
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(clip)
    record = tmp_path / "videos/cat/url-1/url-1.json"
    record.write_text(json.dumps({**first, "path": "videos/cat/url-1/../../../secret.mp4"}))
    assert fetch(a_row(first["url"]), SETTINGS, tmp_path)["path"] == first["path"]


def test_the_one_video_of_a_page(site: Site, clip: bytes, tmp_path: Path) -> None:
    site.add("/a.mp4", clip)
    page = site.add("/page", "<html><title>My cat\x1b[31m\n</title><video src='/a.mp4' poster='/a.jpg'></video></html>")
    row = fetch(a_row(page), SETTINGS, tmp_path)
    assert row["status"] == "ok"
    assert row["title"].startswith("My cat")
    assert row["title"].isprintable()
    assert row["thumbnail"] == site.url + "/a.jpg"


def test_a_page_of_several_is_not_one_video(site: Site, clip: bytes, tmp_path: Path) -> None:
    site.add("/a.mp4", clip)
    site.add("/b.mp4", clip)
    page = site.add("/page", "<html><title>T</title><video src='/a.mp4'></video><video src='/b.mp4'></video></html>")
    row = fetch(a_row(page), SETTINGS, tmp_path)
    assert (row["status"], row["reason"].partition(":")[0]) == ("skipped", "several videos")
    assert not files(tmp_path)


def test_an_interrupted_transfer_goes_on_where_it_was(site: Site, clip: bytes, tmp_path: Path) -> None:
    cuts = iter([None, 2000, None, 1500])  # the first request of each attempt only asks what it is

    def answer(request: Any) -> Answer:
        return Answer(clip, "video/mp4", break_after=next(cuts, None))

    site.routes["/a.mp4"] = answer
    row = fetch(a_row(site.url + "/a.mp4"), SETTINGS, tmp_path)
    assert row["status"] == "ok"
    assert (tmp_path / row["path"]).read_bytes() == clip
    ranges = [headers.get("Range") for _, _, headers, _ in site.requests]
    assert [text for text in ranges if text] == ["bytes=2000-", "bytes=3500-"]
    assert files(tmp_path) == ["videos/cat/url-1/url-1.json", "videos/cat/url-1/url-1.mp4"]


def test_what_a_killed_run_left_is_continued_by_the_next(site: Site, clip: bytes, tmp_path: Path) -> None:
    once = DownloadSettings(**{**QUICK, "attempts": 1})
    site.add("/a.mp4", clip, break_after=2000)
    row = a_row(site.url + "/a.mp4")
    failed = fetch(row, once, tmp_path)
    assert (failed["status"], failed["reason"].partition(":")[0]) == ("failed", "network")
    (left,) = files(tmp_path)
    assert left.endswith(".download.part")
    site.add("/a.mp4", clip)
    assert fetch(row, once, tmp_path)["status"] == "ok"
    assert site.requests[-1][2]["Range"] == "bytes=2000-"
    assert (tmp_path / "videos/cat/url-1/url-1.mp4").read_bytes() == clip


def test_a_server_without_ranges_starts_anew(site: Site, clip: bytes, tmp_path: Path) -> None:
    cuts = iter([None, 2000])

    def answer(request: Any) -> Answer:
        del request.headers["Range"]
        return Answer(clip, "video/mp4", break_after=next(cuts, None))

    site.routes["/a.mp4"] = answer
    row = fetch(a_row(site.url + "/a.mp4"), SETTINGS, tmp_path)
    assert row["status"] == "ok"
    assert (tmp_path / row["path"]).read_bytes() == clip


@pytest.mark.parametrize("length", [True, False])
def test_a_broken_file_is_no_video(site: Site, clip: bytes, tmp_path: Path, length: bool) -> None:
    row = fetch(a_row(site.add("/a.mp4", clip[: len(clip) // 2], length=length)), SETTINGS, tmp_path)
    assert (row["status"], row["reason"].partition(":")[0]) == ("failed", "broken")
    assert not files(tmp_path)
    assert row.get("sha256") is None


def test_a_file_cut_short_behind_its_index_is_broken(site: Site, tmp_path: Path) -> None:
    path = encode(tmp_path / "fast.mp4", moving(30), options={"g": "10"}, movflags="faststart")
    whole = path.read_bytes()
    row = fetch(a_row(site.add("/a.mp4", whole[:-500], length=False)), SETTINGS, tmp_path / "out")
    assert (row["status"], row["reason"]) == ("failed", "broken: the file is cut short")


@pytest.mark.parametrize(
    "body",
    [
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.ts\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile secret.mp4\n",
        b"<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'></MPD>",
        b"hello\n" * 400,
        bytes(4000),
    ],
)
def test_a_file_that_names_other_files_is_not_opened(site: Site, clip: bytes, tmp_path: Path, body: bytes) -> None:
    place = tmp_path / "videos/cat/url-1"
    place.mkdir(parents=True)
    for name in ("secret.ts", "secret.mp4"):
        (place / name).write_bytes(clip)
    path = place / "playlist.mp4"
    path.write_bytes(body)
    with pytest.raises(InputError, match="not a video"):
        probe(path)
    row = fetch(a_row(site.add("/a.mp4", body)), SETTINGS, tmp_path)
    assert row["status"] != "ok"


def test_limits(site: Site, clip: bytes, tmp_path: Path) -> None:
    url = site.add("/a.mp4", clip)
    site.add("/b.mp4", clip, length=False)
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("/a.mp4", {"max_bytes": len(clip) - 1}, f"too large: {len(clip)} bytes, at most {len(clip) - 1}"),
        ("/b.mp4", {"max_bytes": 3000}, "too large: "),
        ("/a.mp4", {"height": 47}, "too tall: 48 lines, at most 47"),
        ("/a.mp4", {"max_duration": 1.0}, "too long: 1 s, at most 1"),
        ("/a.mp4", {"min_duration": 2.0}, "too short: 1.2 s, at least 2.0"),
    ]
    for path, limits, reason in cases:
        row = fetch(a_row(site.url + path), DownloadSettings(**QUICK, **limits), tmp_path)
        assert row["status"] == "skipped"
        assert row["reason"].startswith(reason)
        assert not files(tmp_path)
    exact = DownloadSettings(**QUICK, max_bytes=len(clip), height=48, max_duration=1.2, min_duration=1.2)
    assert fetch(a_row(url), exact, tmp_path)["status"] == "ok"


def test_a_slow_file_arrives_or_is_given_up_in_time(site: Site, clip: bytes, tmp_path: Path) -> None:
    url = site.add("/slow.mp4", clip, pause=0.05)
    assert fetch(a_row(url), SETTINGS, tmp_path)["status"] == "ok"
    hours = site.add("/hours.mp4", clip * 20, pause=0.2)
    row = fetch(a_row(hours, video="url-2"), DownloadSettings(**QUICK, time_limit=1.0), tmp_path)
    assert (row["status"], row["reason"].partition(":")[0]) == ("failed", "too slow")


def test_the_rate_is_limited(site: Site, tmp_path: Path) -> None:
    import time

    clip = encode(tmp_path / "long.mp4", moving(120, 96, 128), options={"g": "1", "crf": "1"}).read_bytes()
    url = site.add("/a.mp4", clip)
    began = time.monotonic()
    assert fetch(a_row(url), DownloadSettings(**QUICK, rate=2 * len(clip)), tmp_path)["status"] == "ok"
    assert time.monotonic() - began > 0.3


def test_refused_addresses_are_skipped_unasked(site: Site, clip: bytes, tmp_path: Path) -> None:
    url = site.add("/a.mp4", clip)
    for refused in (url, "file:///etc/passwd", "http://10.0.0.1/a.mp4", ""):
        row = fetch(a_row(refused), DownloadSettings(**{**QUICK, "allow_internal": False}), tmp_path)
        assert (row["status"], row["reason"].partition(":")[0]) == ("skipped", "refused")
    assert not site.asked
    assert not files(tmp_path)


def test_a_page_that_points_inside_is_refused(
    site: Site, tmp_path: Path, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    from samepoint.webvideo import safety

    real = safety.is_internal
    monkeypatch.setattr(safety, "is_internal", lambda address: real(address) and str(address) != "127.0.0.1")
    page = site.add("/page", "<html><title>T</title><video src='http://[::1]:1/a.mp4'></video></html>")
    moved = site.add("/moved", status=302, headers={"Location": "http://169.254.169.254/latest"})
    for url in (page, moved):
        row = fetch(a_row(url), DownloadSettings(**{**QUICK, "allow_internal": False}), tmp_path)
        assert (row["status"], row["reason"].partition(":")[0]) == ("skipped", "refused")


def test_cookies_are_passed_on_and_the_file_stays_as_it_was(site: Site, clip: bytes, tmp_path: Path) -> None:
    jar = tmp_path / "cookies.txt"
    text = "# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\tsecret\n"
    jar.write_text(text)
    site.add("/a.mp4", clip, headers={"Set-Cookie": "tracking=1"})
    row = fetch(a_row(site.url + "/a.mp4"), DownloadSettings(**QUICK, cookies=jar), tmp_path / "out")
    assert row["status"] == "ok"
    assert all("session=secret" in headers["Cookie"] for _, _, headers, _ in site.requests)
    assert jar.read_text() == text
    assert "secret" not in json.dumps(row)
    for wrong in (tmp_path / "none.txt", Path(__file__)):
        with pytest.raises(InputError, match="cookies"):
            fetch(a_row(site.url + "/a.mp4", video="url-2"), DownloadSettings(**QUICK, cookies=wrong), tmp_path / "out")


NASTY = st.sampled_from(["../", "/", "\\", "\0", "NUL", "C:", "~", "$HOME", "%(ext)s", ".", "-", "\n", "ü", "a"])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(NASTY, min_size=1, max_size=60).map("".join),
    st.lists(NASTY, max_size=8).map("".join),
    st.lists(NASTY, max_size=3).map("".join),
)
def test_nothing_is_written_outside_the_output_folder(
    tmp_path: Path, clip: bytes, monkeypatch: pytest.MonkeyPatch, video: str, label: str, kind: str
) -> None:
    """Whatever ids, classes and suffixes a page states; the transfer itself is left out."""
    from samepoint.webvideo import download

    info = {
        "id": video,
        "title": video,
        "url": f"http://a.example/{kind}",
        "ext": kind,
        "protocol": "http",
        "format_id": kind,
    }
    monkeypatch.setattr(download, "_one_video", lambda ydl, url: info)
    monkeypatch.setattr(download, "_download", lambda ydl, info, path, settings: path.write_bytes(clip))
    out = tmp_path / "in" / "out"
    before = {path for path in tmp_path.rglob("*") if out not in path.parents}
    row = fetch({"video": video, "class": label, "source": "search", "url": "http://a.example/"}, SETTINGS, out)
    assert row["status"] == "ok"
    path = (out / row["path"]).resolve()
    assert path.parent.parent.parent == (out / "videos").resolve()
    assert path.suffix == ".mp4"
    after = {path for path in tmp_path.rglob("*") if out not in path.parents}
    assert after - before <= {out, out.parent}


def test_nothing_is_printed(site: Site, clip: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fetch(a_row(site.add("/a.mp4", clip)), SETTINGS, tmp_path)
    fetch(a_row(site.url + "/none", video="url-2"), SETTINGS, tmp_path)
    assert capfd.readouterr() == ("", "")


def peertube(site: Site, clip: bytes, name: str = "Caminandes") -> dict[str, Any]:
    """A recorded answer of PeerTube's API, shortened: one video in two sizes."""
    files = [
        {
            "resolution": {"id": lines, "label": f"{lines}p"},
            "size": len(clip),
            "fps": 25,
            "fileUrl": f"{site.url}/{lines}.mp4",
        }
        for lines in (1080, 48)
    ]
    return {
        "name": name, "description": "short", "duration": 1, "publishedAt": "2019-03-08T10:00:00.000Z",
        "licence": {"id": 1, "label": "Attribution"}, "account": {"displayName": "Blender", "id": 3},
        "thumbnailPath": "/static/thumbnails/1.jpg", "files": files, "streamingPlaylists": [],
    }  # fmt: skip


def test_the_size_is_chosen_and_the_provenance_written_down(
    site: Site, clip: bytes, tmp_path: Path, elsewhere: Callable[[str], None]
) -> None:
    elsewhere("framatube.org")
    video = "9c9de5e8-0a1e-484a-b099-e80766180a6d"
    site.add(f"/api/v1/videos/{video}/", json.dumps(peertube(site, clip)), "application/json")
    site.add("/48.mp4", clip)
    row = a_row(f"https://framatube.org/videos/watch/{video}", video=f"peertube-{video}")
    found = fetch(row, DownloadSettings(**{**QUICK, "extractors": ("PeerTube",)}), tmp_path)
    assert (found["status"], found["reason"], found["height"]) == ("ok", None, 48)
    assert (found["title"], found["uploader"], found["licence"]) == ("Caminandes", "Blender", "Attribution")
    assert (found["uploaded"], found["thumbnail"]) == ("2019-03-08", "https://framatube.org/static/thumbnails/1.jpg")
    assert site.asked["/1080.mp4"] == 0
    assert json.loads((tmp_path / f"videos/cat/{row['video']}/{row['video']}.json").read_text()) == found
