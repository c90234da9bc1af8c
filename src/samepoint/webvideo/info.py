"""From what yt-dlp says of a video to a row of the table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib import metadata
from typing import Any

from .rows import Row
from .safety import safe_name

_TEXT = 500
"""Characters of a title or name that are kept."""
_ANONYMOUS = ("Generic", "HTML5MediaEmbed")
"""Extractors whose ids are parts of URLs, not unique beyond their site."""


def of_info(info: Mapping[str, Any]) -> Row:
    """The columns that yt-dlp's information on a video, or on an entry of a list, answers; the others are null."""
    return {
        "title": _text(info.get("title")),
        "uploader": _text(info.get("uploader") or info.get("channel") or info.get("uploader_id")),
        "licence": _text(info.get("license")),
        "uploaded": uploaded(info),
        "duration": number(info.get("duration")),
        "thumbnail": thumbnail(info),
    }


def described(row: Row) -> Row:
    """Of a row, what describes the video."""
    return {key: row[key] for key in ("title", "uploader", "licence", "uploaded", "duration", "thumbnail")}


def uploaded(info: Mapping[str, Any]) -> str | None:
    """Day of upload, YYYY-MM-DD, in UTC.

    >>> uploaded({"upload_date": "20110523"})
    '2011-05-23'
    """
    text = info.get("upload_date") or info.get("release_date")
    if isinstance(text, str) and len(text) == 8 and text.isdecimal():
        return f"{text[:4]}-{text[4:6]}-{text[6:]}"
    stamp = number(info.get("timestamp"))
    if stamp is None:
        return None
    try:
        return datetime.fromtimestamp(stamp, timezone.utc).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return None


def thumbnail(info: Mapping[str, Any]) -> str | None:
    """The picture's URL; of several the last, which is the best."""
    if isinstance(info.get("thumbnail"), str):
        return str(info["thumbnail"])
    urls = [one.get("url") for one in info.get("thumbnails") or () if isinstance(one, Mapping)]
    return next((url for url in reversed(urls) if isinstance(url, str)), None)


def address(info: Mapping[str, Any]) -> str | None:
    """The URL from which one row's video can be fetched: its page, or its file where the page holds several."""
    extractor = str(info.get("ie_key") or info.get("extractor_key") or "")
    if info.get("_type") in ("url", "url_transparent") or extractor in _ANONYMOUS or not info.get("webpage_url"):
        formats = [one for one in info.get("formats") or () if isinstance(one, Mapping) and one.get("url")]
        found = info.get("url") or (formats[-1]["url"] if formats else None) or info.get("webpage_url")
    else:
        found = info["webpage_url"]
    return str(found) if found else None


def video_id(info: Mapping[str, Any], url: str) -> str:
    """``<extractor>-<id>``, the same from whichever page it was found; by its URL where the site has no ids.

    >>> video_id({"ie_key": "Youtube", "id": "dQw4w9WgXcQ"}, "https://www.youtube.com/watch?v=dQw4w9WgXcQ")
    'youtube-dQw4w9WgXcQ'
    """
    extractor = str(info.get("ie_key") or info.get("extractor_key") or "")
    if not extractor or extractor in _ANONYMOUS or not info.get("id"):
        return url_id(url)
    return safe_name(f"{extractor.lower()}-{info['id']}")


def url_id(url: str) -> str:
    """An id made of a URL."""
    return f"url-{hashlib.sha256(url.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def tool_versions() -> str:
    """JSON object of the packages that found, fetched and read a video."""
    found = {}
    for package in ("samepoint", "yt-dlp", "av"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return json.dumps(found, sort_keys=True)


def _text(value: Any) -> str | None:
    """One line; what pages say can be long and hold anything."""
    if not isinstance(value, str):
        return None
    shown = " ".join("".join(character if character.isprintable() else " " for character in value).split())
    return shown[:_TEXT] or None


def number(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value or value in (1e999, -1e999):
        return None
    return float(value)
