from __future__ import annotations

from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from samepoint.webvideo import attempts
from samepoint.webvideo.download import DownloadSettings, fetch
from samepoint.webvideo.outcomes import explain
from tests.io.clips import encode, moving
from tests.webvideo.server import Answer, Site
from tests.webvideo.test_download import QUICK, SETTINGS, a_row


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were to be waited between attempts; nobody waits."""
    waited: list[float] = []
    monkeypatch.setattr(attempts.time, "sleep", waited.append)
    return waited


@pytest.mark.parametrize(
    ("status", "word"),
    [(401, "login"), (403, "forbidden"), (404, "removed"), (410, "removed"), (418, "http"), (451, "region")],
)
def test_what_the_server_denies_is_asked_for_once(
    site: Site, tmp_path: Path, naps: list[float], status: int, word: str
) -> None:
    row = fetch(a_row(site.add("/a.mp4", status=status)), SETTINGS, tmp_path)
    assert (row["status"], row["reason"].partition(":")[0]) == ("failed", word)
    assert site.asked["/a.mp4"] == 1
    assert naps == []


def test_too_many_requests_wait_as_long_as_the_server_asks(
    site: Site, clip: bytes, tmp_path: Path, naps: list[float]
) -> None:
    answers = iter(
        [
            Answer(status=429, headers={"Retry-After": "7"}),
            Answer(status=503, headers={"Retry-After": formatdate(attempts.time.time() + 30, usegmt=True)}),
        ]
    )
    site.add("/whole.mp4", clip)
    site.routes["/a.mp4"] = lambda request: next(answers, site.routes["/whole.mp4"])  # type: ignore[arg-type,return-value]
    row = fetch(a_row(site.url + "/a.mp4"), SETTINGS, tmp_path)
    assert row["status"] == "ok"
    assert naps[0] == 7
    assert 27 < naps[1] <= 30


def test_the_file_itself_may_answer_too_many_requests(
    site: Site, clip: bytes, tmp_path: Path, naps: list[float]
) -> None:
    """The page is answered, its file is not at first; 503 is what yt-dlp's downloader hides in its message."""
    answers = iter([Answer(status=429, headers={"Retry-After": "5"}), Answer(status=503, headers={"Retry-After": "6"})])
    site.add("/whole.mp4", clip)
    site.add("/page", "<html><title>T</title><video src='/a.mp4'></video></html>")
    site.routes["/a.mp4"] = lambda request: next(answers, site.routes["/whole.mp4"])  # type: ignore[arg-type,return-value]
    row = fetch(a_row(site.url + "/page"), SETTINGS, tmp_path)
    assert (row["status"], row["reason"]) == ("ok", None)
    assert naps == [5, 6]


def test_waiting_is_bounded(site: Site, tmp_path: Path, naps: list[float]) -> None:
    row = a_row(site.add("/a.mp4", status=429, headers={"Retry-After": "3600"}))
    result = fetch(row, SETTINGS, tmp_path)
    assert (result["status"], naps) == ("failed", [])
    assert result["reason"].startswith("too many requests: ")
    assert "3600 s is too long" in result["reason"]
    site.add("/a.mp4", status=500)
    site.asked.clear()
    result = fetch(row, DownloadSettings(**{**QUICK, "backoff": 2.0, "attempts": 4}), tmp_path)
    assert result["reason"].startswith("server: ")
    assert result["reason"].endswith("(4 attempts)")
    assert (site.asked["/a.mp4"], naps) == (4, [2, 4, 8])


def test_a_silent_server_times_out(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(request: Any) -> Answer:
        import time

        time.sleep(1)
        return Answer(b"late")

    site.routes["/a.mp4"] = silent
    row = fetch(a_row(site.url + "/a.mp4"), DownloadSettings(**QUICK, timeout=0.1, attempts=2), tmp_path)
    assert (row["status"], row["reason"].partition(":")[0]) == ("failed", "timeout")
    assert site.asked["/a.mp4"] == 2


def test_local_files_are_read_in_place(clip: bytes, tmp_path: Path, only_loopback: None) -> None:
    path = tmp_path / "mine" / "tall.mp4"
    path.parent.mkdir()
    path.write_bytes(clip)
    row = {"video": "tall-1", "class": "cat", "source": "folder", "path": str(path), "status": "found"}
    found = fetch(row, DownloadSettings(height=10, max_bytes=10), tmp_path / "out")
    assert (found["status"], found["path"], found["bytes"]) == ("ok", str(path), len(clip))
    assert (found["frames"], found["width"], found["height"]) == (30, 64, 48)
    assert not (tmp_path / "out").exists()
    path.write_bytes(b"text")
    assert fetch(row, SETTINGS, tmp_path)["reason"].startswith("broken: ")
    path.unlink()
    assert fetch(row, SETTINGS, tmp_path)["reason"].startswith("removed: ")


def test_a_damaged_local_file_says_so(tmp_path: Path) -> None:
    path = encode(tmp_path / "cut.mkv", moving(30), options={"g": "5"})
    path.write_bytes(path.read_bytes()[:-900])
    row = {"video": "cut-1", "class": "cat", "source": "folder", "path": str(path), "status": "found"}
    found = fetch(row, SETTINGS, tmp_path)
    assert (found["status"], found["reason"]) == ("ok", "damaged: the file is cut short")


@pytest.mark.parametrize(
    ("message", "word"),
    [
        ("[youtube] x: Private video. Sign in if you've been granted access to this video", "private"),
        ("[youtube] x: This video is private", "private"),
        ("[youtube] x: Join this channel to get access to members-only content", "members only"),
        ("[youtube] x: Sign in to confirm your age. This video may be inappropriate for some users.", "age"),
        ("[youtube] x: The uploader has not made this video available in your country", "region"),
        ("[youtube] x: Sign in to confirm you’re not a bot. Use --cookies", "bot check"),
        ("[youtube] x: Video unavailable. This video has been removed by the uploader", "removed"),
        ("[youtube] x: This video is no longer available because the YouTube account has been terminated", "removed"),
        ("[youtube] x: Premieres in 3 hours", "live"),
        ("[vimeo] x: This video is DRM protected", "drm"),
        ("[generic] x: Unsupported URL: http://a.example", "unsupported"),
        ("[vimeo] x: The web client only works when logged-in. Use --cookies", "login"),
        ("[x] y: KeyError('z'); please report this issue on  https://github.com/ , filling out", "extractor"),
    ],
)
def test_reasons_have_words(message: str, word: str) -> None:
    from yt_dlp.utils import DownloadError

    outcome = explain(DownloadError(f"\x1b[0;31mERROR:\x1b[0m {message}"))
    assert (outcome.word, outcome.transient) == (word, False)
    assert outcome.reason.isprintable()
    assert "\x1b" not in outcome.reason
    assert "report this issue" not in outcome.reason


def test_an_extractor_that_breaks_does_not_break_the_run(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, naps: list[float]
) -> None:
    from yt_dlp.extractor.generic import GenericIE

    def broken(self: Any, url: str) -> Any:
        raise AttributeError("'NoneType' object has no attribute 'group'")

    monkeypatch.setattr(GenericIE, "_real_extract", broken)
    row = fetch(a_row(site.url + "/a"), SETTINGS, tmp_path)
    assert (row["status"], naps) == ("failed", [])
    assert "has no attribute 'group'" in row["reason"]


def test_a_full_disk_is_not_the_videos_fault(site: Site, clip: bytes, tmp_path: Path, monkeypatch: Any) -> None:
    import errno

    from samepoint.webvideo import download

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download, "_download", full)
    with pytest.raises(OSError, match="No space left"):
        fetch(a_row(site.add("/a.mp4", clip)), SETTINGS, tmp_path)
