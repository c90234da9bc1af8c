"""Which videos are taken: duration, day of upload, licence. yt-dlp asks this too, and its answers are asked again."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from datetime import date
from typing import Any, Literal, NamedTuple
from urllib.parse import urlencode

from .info import number, uploaded

Licence = Literal["any", "creative-commons"]


class Window(NamedTuple):
    """Days of upload, both included; None is open."""

    first: date | None = None
    last: date | None = None

    def within(self, other: Window) -> Window:
        """The days that are in both."""
        firsts = [day for day in (self.first, other.first) if day]
        lasts = [day for day in (self.last, other.last) if day]
        return Window(max(firsts, default=None), min(lasts, default=None))

    @property
    def empty(self) -> bool:
        return self.first is not None and self.last is not None and self.first > self.last


def check_durations(least: float | None, most: float | None) -> None:
    """Raise ValueError where no duration is between both."""
    if least is not None and most is not None and least > most:
        raise ValueError(f"expected min_duration to be no more than max_duration, got {least:g} and {most:g}")


class Filter(NamedTuple):
    """Called with yt-dlp's information on a video; of the form that its ``match_filter`` has."""

    min_duration: float | None = None
    max_duration: float | None = None
    licence: Licence = "any"
    window: Window = Window()

    def __call__(self, info: Mapping[str, Any], *, incomplete: bool = False) -> str | None:
        """Why a video is not taken, or None.

        What an ``incomplete`` entry of a list does not say is left open. A complete one must state the licence and the
        day where they are asked for; its duration is measured again on the file.
        """
        if info.get("is_live") or info.get("live_status") in ("is_live", "is_upcoming", "post_live"):
            return "live"
        duration = number(info.get("duration"))
        if duration is not None:
            if self.max_duration is not None and duration > self.max_duration:
                return f"too long: {duration:.0f} s"
            if self.min_duration is not None and duration < self.min_duration:
                return f"too short: {duration:.0f} s"
        day = uploaded(info)
        if self.window != Window() and (day is not None or not incomplete):
            if day is None:
                return "no date"
            if self.window.first is not None and day < self.window.first.isoformat():
                return f"too old: {day}"
            if self.window.last is not None and day > self.window.last.isoformat():
                return f"too new: {day}"
        stated = info.get("license")
        if self.licence == "creative-commons" and (stated or not incomplete) and not is_creative_commons(stated):
            return f"licence: {stated or 'not stated'}"
        return None

    def undecided(self, info: Mapping[str, Any]) -> bool:
        """Whether an entry of a list leaves open what is asked for, so that its own page must be read."""
        return (
            (self.licence != "any" and not info.get("license"))
            or (self.window != Window() and uploaded(info) is None)
            or ((self.min_duration or self.max_duration) is not None and number(info.get("duration")) is None)
        )

    def days(self) -> tuple[str | None, str | None]:
        """For yt-dlp's ``DateRange``."""
        return tuple(day.strftime("%Y%m%d") if day else None for day in self.window)  # type: ignore[return-value]


def is_creative_commons(stated: Any) -> bool:
    """Whether a licence, as a page states it, is one of Creative Commons.

    >>> [is_creative_commons(text) for text in ("Creative Commons Attribution license", "CC BY-SA 4.0", "YouTube")]
    [True, True, False]
    """
    if not isinstance(stated, str):
        return False
    return bool(re.search(r"creative\s*commons|\bcc[ -]?(by|0|zero)\b", stated, re.IGNORECASE))


def youtube_search(query: str, wanted: Filter, examined: int) -> str:
    """What yt-dlp is to be asked for: the search, or the page of results with YouTube's own filters where they help.

    Days go into the query as ``after:`` and ``before:``. The filters are a base64 protobuf message: field 2 holds the
    type (2: 1 video), the length (3: 1 under four minutes, 2 over twenty, 3 between) and Creative Commons (6: 1). The
    published system put the same token into its query's text, where it does nothing.

    >>> youtube_search("cat", Filter(max_duration=200, licence="creative-commons"), 20)
    'https://www.youtube.com/results?search_query=cat&sp=EgYQARgBMAE%3D'
    """
    first, last = wanted.window
    days = [f"after:{first.isoformat()}" if first else "", f"before:{last.isoformat()}" if last else ""]
    text = " ".join(part for part in (query, *days) if part)
    fields = bytearray()
    length = _length_class(wanted.min_duration or 0.0, wanted.max_duration)
    if length:
        fields += bytes((0x18, length))
    if wanted.licence == "creative-commons":
        fields += b"\x30\x01"
    if not fields:
        return f"ytsearch{examined}:{text}"
    fields = bytearray(b"\x10\x01") + fields
    token = base64.urlsafe_b64encode(bytes((0x12, len(fields))) + fields).decode()
    return f"https://www.youtube.com/results?{urlencode({'search_query': text, 'sp': token})}"


def _length_class(least: float, most: float | None) -> int:
    if most is not None and most <= 240:
        return 1
    if least >= 1200:
        return 2
    if least >= 240 and most is not None and most <= 1200:
        return 3
    return 0
