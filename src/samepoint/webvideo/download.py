"""One candidate row to a whole file and what is known of it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from ..errors import InputError
from ..io.atomic import atomic_write
from .attempts import persist
from .duplicates import hash_video
from .filters import check_durations
from .info import described, of_info, tool_versions
from .network import NetworkSettings
from .outcomes import LimitError, Outcome
from .probe import Probe, file_sha256, probe
from .rows import Row
from .safety import UnsafeURLError, check_url, safe_name

_MEASURED = ("path", "sha256", "bytes", "fps", "width", "height", "frames")
_PROTOCOLS = ("http", "https")


class DownloadSettings(NetworkSettings):
    """What is fetched and what is too much; a video beyond a limit is skipped with its reason."""

    height: int = Field(480, ge=1)  # lines, at most
    max_bytes: int = Field(500_000_000, ge=1)
    min_duration: float | None = Field(None, ge=0)  # seconds
    max_duration: float | None = Field(1800.0, gt=0)
    time_limit: float = Field(1800.0, gt=0)  # seconds that one video may take, waiting for retries included
    rate: int | None = Field(None, ge=1)  # bytes a second, of each worker

    @model_validator(mode="after")
    def _fit(self) -> DownloadSettings:
        check_durations(self.min_duration, self.max_duration)
        return self


def fetch(row: Row, settings: DownloadSettings, folder: Path) -> Row:
    """The row with its file and what was measured on it; one video, never more.

    A file that is there and whole is kept. What was transferred before an interruption is continued. A file of the
    user's own folder is read where it lies; the limits are for what comes from the web.

    Args:
        row: a row of the table of videos.
        settings: limits.
        folder: output folder; files go to ``videos/<class>/<id>/`` in it.

    Returns:
        The row with the status "ok", "failed" (the video's own doing) or "skipped" (ours: a limit, an address refused)
        and the reason, ``word: detail``.

    Raises:
        InputError: settings that cannot be used (a cookies file that is not there).
        MissingExtraError: yt-dlp is not installed.
        OSError: of this machine (a full disk).
    """
    if row.get("source") == "folder":
        return _local(row)
    try:
        url = check_url(str(row.get("url") or ""), settings.allow_internal)
    except UnsafeURLError as error:
        return _ended(row, Outcome("refused", str(error)))
    name = safe_name(str(row["video"]))
    place = folder / "videos" / safe_name(str(row.get("class") or "")) / name
    kept = _kept(row, place, folder)
    if kept is not None and kept["height"] <= settings.height:  # else there may be a smaller format
        try:
            _check_limits(kept, settings)
        except LimitError as error:
            return _ended(row, Outcome(error.word, error.detail))
        return kept
    place.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + settings.time_limit
    found = persist(lambda: _transferred(row, url, settings, place, folder, deadline), settings, deadline)
    return _ended(row, found) if isinstance(found, Outcome) else found


def _ended(row: Row, outcome: Outcome) -> Row:
    return {**row, "status": outcome.status, "reason": outcome.reason, "retrieved": _now()}


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def own_size(row: Row) -> int | None:
    """Bytes of the user's own file; None where it is away, or the row is of another source."""
    path = Path(str(row.get("path") or ""))
    return path.stat().st_size if row.get("source") == "folder" and path.is_file() else None


def _local(row: Row) -> Row:
    """A file of the user's own, read in place; where that fails its size tells later whether there is another."""
    path, size = Path(str(row.get("path") or "")), own_size(row)
    if size is None:
        return {**_ended(row, Outcome("removed", f"{path}: no such file")), "bytes": 0}
    try:
        found = probe(path)
    except InputError as error:
        return {**_ended(row, Outcome("broken", str(error))), "bytes": size}
    reason = f"damaged: {found.damage}" if found.damage else None
    return {**row, **_measured(found, path), "path": str(path), "status": "ok", "reason": reason, "retrieved": _now()}


def _measured(found: Probe, path: Path) -> Row:
    return {
        "sha256": file_sha256(path),
        "bytes": path.stat().st_size,
        "fps": found.fps,
        "width": found.width,
        "height": found.height,
        "frames": found.frames,
        "duration": found.duration,
        "tool_versions": tool_versions(),
    }


def _kept(row: Row, place: Path, folder: Path) -> Row | None:
    """The row of a file that an earlier run brought, if it is there as it was recorded."""
    try:
        record = json.loads((place / f"{place.name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        record = row
    if not isinstance(record, dict) or not all(record.get(key) for key in _MEASURED if key != "fps"):
        return None
    path = folder / str(record["path"])
    if path.parent != place or not path.is_file() or path.stat().st_size != record["bytes"]:
        return None
    if file_sha256(path) != record["sha256"]:
        return None
    return {**row, **{key: value for key, value in record.items() if value is not None}, "status": "ok", "reason": None}


def _transferred(row: Row, url: str, settings: DownloadSettings, place: Path, folder: Path, deadline: float) -> Row:
    """One attempt. Raises whatever yt-dlp does, and LimitError."""
    from .ytdlp import client

    with client(
        settings,
        deadline,
        format=_formats(settings.height),
        format_sort=["res", "vcodec:h264", "ext"],
        extract_flat="in_playlist",
        playlistend=2,
        ratelimit=settings.rate,
        continuedl=True,
    ) as ydl:
        info = _one_video(ydl, url)
        _check_promised(info, settings)
        partial = place / f"{place.name}.{_format_key(info)}.download"
        _download(ydl, info, partial, settings)
    try:
        found = probe(partial)
    except InputError as error:
        partial.unlink(missing_ok=True)
        raise LimitError("broken", str(error).replace(partial.name, "the file")) from None
    try:
        _check_actual(found, partial, settings)
    except LimitError:
        partial.unlink(missing_ok=True)
        raise
    path = place / f"{place.name}{found.suffix}"
    result = {
        **row,
        **{key: value for key, value in described(of_info(info)).items() if value is not None},
        **_measured(found, partial),
        "path": path.relative_to(folder).as_posix(),
        "phash": row.get("phash") or hash_video(partial),
        "status": "ok",
        "reason": None,
        "retrieved": _now(),
    }
    # The record first: a file without one would be fetched again, a record without its file is none.
    with atomic_write(place / f"{place.name}.json", "w") as file:
        json.dump(result, file, ensure_ascii=True, indent=1)
    partial.replace(path)
    for rest in _rests(place):
        rest.unlink(missing_ok=True)
    return result


def _rests(place: Path) -> Iterator[Path]:
    """What attempts at other formats left."""
    return (path for path in place.iterdir() if path.name.endswith((".download", ".download.part")))


def _formats(height: int) -> str:
    """yt-dlp's selection: pictures without sound if there are any, in one piece, no taller than the limit."""
    transfer = f"[protocol~='^({'|'.join(_PROTOCOLS)})$']"
    named = "/".join(f"{kind}[height<={height}]{transfer}" for kind in ("bv", "bv*"))
    return f"{named}/b[height<=?{height}]{transfer}"


def _format_key(info: dict[str, Any]) -> str:
    """Tells transfers of different formats of a video, which must not continue each other."""
    told = json.dumps([str(info.get(key)) for key in ("format_id", "ext", "filesize", "height", "vcodec")])
    return hashlib.sha256(told.encode()).hexdigest()[:8]


def _one_video(ydl: Any, url: str) -> dict[str, Any]:
    """The information on the one video of a page, its format chosen."""
    for _ in range(2):
        info = ydl.extract_info(url, download=False)
        if not info:
            raise LimitError("unsupported", "nothing found")
        if info.get("_type", "video") not in ("playlist", "multi_video"):
            return dict(info)
        entries = list(info.get("entries") or ())
        if not entries:
            raise LimitError("unsupported", "no video on this page")
        if len(entries) > 1:
            raise LimitError("several videos", "a page or playlist of several; give it as a playlist to search")
        if entries[0].get("_type", "video") == "video":
            return dict(entries[0])
        url = str(entries[0]["url"])
    raise LimitError("several videos", "a playlist in a playlist; give it as a playlist to search")


def _check_promised(info: dict[str, Any], settings: DownloadSettings) -> None:
    if info.get("is_live") or info.get("live_status") in ("is_live", "is_upcoming", "post_live"):
        raise LimitError("live", "not a finished video")
    _check_duration(info.get("duration"), settings)
    size = info.get("filesize")
    if isinstance(size, (int, float)) and size > settings.max_bytes:
        raise LimitError("too large", f"{size:.0f} bytes, at most {settings.max_bytes}")
    if info.get("protocol") not in _PROTOCOLS:
        raise LimitError("no format", f"only {info.get('protocol')}")


def _check_duration(duration: float | None, settings: DownloadSettings) -> None:
    if duration is None:
        return
    if settings.max_duration is not None and duration > settings.max_duration:
        raise LimitError("too long", f"{duration:.0f} s, at most {settings.max_duration:.0f}")
    if settings.min_duration is not None and duration < settings.min_duration:
        raise LimitError("too short", f"{duration:.1f} s, at least {settings.min_duration:.1f}")


def _check_actual(found: Probe, path: Path, settings: DownloadSettings) -> None:
    """Pages leave out or misstate what the file then shows."""
    if found.damage:
        raise LimitError("broken", found.damage)
    _check_limits({"bytes": path.stat().st_size, "height": found.height, "duration": found.duration}, settings)


def _check_limits(measured: Row, settings: DownloadSettings) -> None:
    """Of a file that is there."""
    if measured["bytes"] > settings.max_bytes:
        raise LimitError("too large", f"{measured['bytes']} bytes, at most {settings.max_bytes}")
    if measured["height"] > settings.height:
        raise LimitError("too tall", f"{measured['height']} lines, at most {settings.height}")
    _check_duration(measured.get("duration"), settings)


def _download(ydl: Any, info: dict[str, Any], path: Path, settings: DownloadSettings) -> None:
    """The transfer alone, by yt-dlp's own downloader; the name is ours.

    ``YoutubeDL.process_info`` would run post-processors and make names of what pages say.
    """
    from yt_dlp.downloader.http import HttpFD

    def watch(progress: dict[str, Any]) -> None:
        ydl.guard.left()
        size = max(progress.get("downloaded_bytes") or 0, progress.get("total_bytes") or 0)
        if size > settings.max_bytes:
            raise LimitError("too large", f"{size} bytes, at most {settings.max_bytes}")

    downloader = HttpFD(ydl, ydl.params)
    downloader.add_progress_hook(watch)
    try:
        succeeded, _ = downloader.download(str(path), {**info, "http_headers": info.get("http_headers") or {}})
    except LimitError:
        path.with_name(f"{path.name}.part").unlink(missing_ok=True)
        raise
    if not succeeded or not path.is_file():
        raise LimitError("broken", "nothing was transferred")
