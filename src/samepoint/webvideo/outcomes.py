"""What went wrong with a video, in a word that can be counted, and whether to try again."""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import NamedTuple

LONGEST_REASON = 300

_MESSAGES = (
    ("private", r"private (video|account)|is private|video is not public"),
    ("members only", r"members[- ]only|join this channel|subscribers? only|paid|purchase|rent(al)? (is )?required"),
    ("age", r"confirm your age|age[- ]restricted|inappropriate for some users|over 18"),
    (
        "region",
        r"(not|n't)( made this video)? available (in|from) your (country|region|location)|geo[- ]?(restrict|block)",
    ),
    ("bot check", r"not a bot|captcha|unusual traffic"),
    ("login", r"log ?in|sign in|authentication|account (is )?required|use --cookies"),
    ("drm", r"\bDRM\b"),
    ("live", r"live event|premieres? (will|in)|is(n't| not) (currently )?live|live ?stream"),
    (
        "removed",
        r"(has been|was|been) (removed|deleted|taken down|terminated)|no longer (available|exists)|video unavailable"
        r"|(is|are) (un|not )available|does not exist|not found|copyright",
    ),
    ("unsupported", r"unsupported url|no suitable extractor|no video formats? found|impersonat"),
    ("no format", r"requested format is not available"),
)
_STATUS = {401: "login", 403: "forbidden", 404: "removed", 410: "removed", 429: "too many requests", 451: "region"}
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_SKIPPED = ("refused", "too long", "too short", "too large", "too tall", "live", "several videos", "no format")


class LimitError(Exception):
    """A video beyond a limit, or not what one row stands for."""

    def __init__(self, word: str, detail: str) -> None:
        self.word, self.detail = word, detail
        super().__init__(f"{word}: {detail}")


class Outcome(NamedTuple):
    """Why a video was not had."""

    word: str
    detail: str
    transient: bool = False  # another attempt may end otherwise
    wait: float | None = None  # seconds that the server asks for

    @property
    def status(self) -> str:
        return "skipped" if self.word in _SKIPPED else "failed"

    @property
    def reason(self) -> str:
        return f"{self.word}: {self.detail}"


def explain(error: BaseException) -> Outcome:
    """The outcome that an error of yt-dlp or of the network stands for.

    Raises:
        OSError: the error is of this machine, a full disk: it would meet every other video too.
    """
    chain = list(_chain(error))
    detail = _message(error)
    for one in chain:
        if isinstance(one, OSError) and one.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise one
        if isinstance(one, LimitError):
            return Outcome(one.word, one.detail)
    kinds = {type(one).__name__ for one in chain}
    if "RefusedError" in kinds:
        return Outcome("refused", next(_message(one) for one in chain if type(one).__name__ == "RefusedError"))
    if "GeoRestrictedError" in kinds:
        return Outcome("region", detail)
    status = next((status for one in chain if isinstance(status := getattr(one, "status", None), int)), None)
    if status is not None:
        word = _STATUS.get(status, "server" if status >= 500 else "http")
        return Outcome(word, detail, status in _TRANSIENT, _retry_after(chain))
    if any("time limit of this video" in str(one) for one in chain):
        return Outcome("too slow", detail)
    for word, pattern in _MESSAGES:
        if re.search(pattern, detail, re.IGNORECASE):
            return Outcome(word, detail)
    if any(isinstance(one, TimeoutError) for one in chain) or re.search("timed out", detail):
        return Outcome("timeout", detail, True)
    network = kinds & {"TransportError", "IncompleteRead", "SSLError", "ProxyError"}
    if network or any(isinstance(one, OSError) for one in chain) or re.search(r"Got error|bytes, expected", detail):
        return Outcome("network", detail, "CertificateVerifyError" not in kinds)
    return Outcome("extractor", detail)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and all that caused it, each once."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        info = getattr(one, "exc_info", None) or (None, None)
        waiting += [info[1], getattr(one, "cause", None), one.__cause__, one.__context__]


def _message(error: BaseException) -> str:
    """One line, without colours and what yt-dlp adds for its own developers."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)) or type(error).__name__
    text = re.sub(r"^\s*ERROR:\s*", "", text)
    text = re.sub(r"[;.]?\s*please report this issue on .*", "", text, flags=re.DOTALL)
    text = re.sub(r"\(caused by .*", "", text, flags=re.DOTALL)
    text = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(text.split())[:LONGEST_REASON]


def _retry_after(chain: list[BaseException]) -> float | None:
    """Seconds that a Retry-After header asks for, in either of its forms (RFC 9110, 10.2.3)."""
    for one in chain:
        headers = getattr(getattr(one, "response", None), "headers", None)
        value = headers.get("Retry-After") if headers is not None else None
        if value is None:
            continue
        if re.fullmatch(r"\s*[0-9]{1,9}\s*", value):
            return float(value)
        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
        except (ValueError, TypeError):
            return None
    return None
