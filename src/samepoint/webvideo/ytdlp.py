"""yt-dlp as a library that can only do what is wanted of it.

Every request goes through one handler, ours: http and https alone, the address checked where the connection is made
(``safety``), pages no longer than a limit, a deadline. No post-processor, no external program, no configuration file,
no cache, nothing printed; it never names a file. Importing this module needs the ``web`` extra.
"""

from __future__ import annotations

import functools
import http.client
import io
import logging
import re
import socket
import time
import urllib.request
import urllib.response
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..errors import InputError, MissingExtraError
from .network import NetworkSettings
from .safety import UnsafeURLError, check_url, checked_addresses

try:
    import yt_dlp
    from yt_dlp.networking import _urllib
    from yt_dlp.networking.exceptions import RequestError
except ModuleNotFoundError as error:
    raise MissingExtraError("searching and downloading videos", "web") from error

LONGEST_PAGE = 64_000_000
"""Bytes of an answer that is read as a whole, packed or not."""

_log = logging.getLogger(__name__)
_last_request: dict[str, float] = {}


class RefusedError(RequestError):
    """A request that was not made; an error of yt-dlp's kind, so that it passes through its layers."""


@dataclass
class Guard:
    """What all requests of one client keep to."""

    settings: NetworkSettings
    deadline: float | None = None  # of time.monotonic()
    failure: RequestError | None = None  # of the last request, None where it had an answer
    answers: list[http.client.HTTPResponse] = field(default_factory=list)  # some extractors read none to its end

    def check(self, url: str) -> None:
        """Raises UnsafeURLError where a URL must not be asked for."""
        check_url(url, self.settings.allow_internal)
        if self.settings.proxy is not None:
            # The proxy will look the name up; where this machine can too, its answer counts.
            parts = urlsplit(url)
            try:
                checked_addresses(parts.hostname or "", parts.port or 443, self.settings.allow_internal)
            except OSError:
                _log.debug("%s: only the proxy knows its address", parts.hostname)

    def connect(self, address: tuple[str, int], timeout: Any, source_address: Any = None) -> socket.socket:
        """As ``socket.create_connection``, to addresses that were checked."""
        self.left()
        proxy = urlsplit(self.settings.proxy or "")
        is_proxy = self.settings.proxy is not None and address == (proxy.hostname, proxy.port or 80)
        failure: OSError = OSError(f"{address[0]} has no address")
        for family, kind, protocol, _, place in checked_addresses(*address, is_proxy or self.settings.allow_internal):
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(self.settings.timeout)
                connection.connect(place)
                return connection
            except OSError as error:
                connection.close()
                failure = error
        raise failure

    def left(self) -> None:
        """Raises TimeoutError past the deadline."""
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise TimeoutError("the time limit of this video is over")

    def wait(self, url: str) -> None:
        """Sleep until the pause since this process's last request to the same host is over."""
        host = urlsplit(url).netloc
        pause = _last_request.get(host, -1e9) + self.settings.pause - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        _last_request[host] = time.monotonic()


class _Response(http.client.HTTPResponse):
    """Reads no more than a page at once, and nothing past the deadline however slowly it trickles in."""

    guard: Guard

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.guard.answers.append(self)

    def read(self, amt: int | None = None) -> bytes:
        whole = amt is None or amt < 0
        wanted = LONGEST_PAGE if amt is None or amt < 0 else amt
        parts = []
        while wanted > 0:
            self.guard.left()
            part = self.read1(min(wanted, 1 << 16))
            if not part:
                break
            parts.append(part)
            wanted -= len(part)
        data = b"".join(parts)
        if whole and wanted == 0 and self.read1(1):
            raise RefusedError(f"an answer of more than {LONGEST_PAGE} bytes")
        if whole and self.length:
            raise http.client.IncompleteRead(data, self.length)
        if self.length == 0:
            self.close()
        return data


class _Handler(_urllib.HTTPHandler):
    """http and https with the guard's connections and bounded answers."""

    def __init__(self, guard: Guard, context: Any) -> None:
        super().__init__(context=context)
        self._guard = guard

    def _connection(self, kind: Any, *arguments: Any, **options: Any) -> Any:
        connection = kind(*arguments, **options)
        connection._create_connection = self._guard.connect
        connection.response_class = type("_GuardedResponse", (_Response,), {"guard": self._guard})
        return connection

    def http_open(self, req: Any) -> Any:
        self._guard.check(req.full_url)
        return self.do_open(functools.partial(self._connection, http.client.HTTPConnection), req)

    def https_open(self, req: Any) -> Any:
        self._guard.check(req.full_url)
        open_one = functools.partial(self._connection, http.client.HTTPSConnection)
        return self.do_open(open_one, req, context=self._context)

    def http_response(self, req: Any, resp: Any) -> Any:
        """Unpacked up to the limit: a few kilobytes can be packed gigabytes."""
        encoding = resp.headers.get("Content-encoding", "").strip().lower()
        if encoding not in ("gzip", "deflate"):
            return resp
        packed = resp.read()
        try:
            data = _unpacked(packed, zlib.MAX_WBITS | (16 if encoding == "gzip" else 0))
        except zlib.error:
            data = _unpacked(packed, -zlib.MAX_WBITS)
        plain: Any = urllib.response.addinfourl(io.BytesIO(data), resp.headers, resp.url, resp.code)
        plain.msg = resp.msg
        return plain

    https_response = http_response


class _Redirects(_urllib.RedirectHandler):
    """Followed to where a request of our own might go."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        self._guard.check(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _unpacked(packed: bytes, window: int) -> bytes:
    stream = zlib.decompressobj(window)
    data = stream.decompress(packed, LONGEST_PAGE)
    if stream.unconsumed_tail:
        raise RefusedError(f"an answer of more than {LONGEST_PAGE} bytes")
    return data


class GuardedRH(_urllib.UrllibRH):
    """yt-dlp's own way of making requests, with our handler and without files, FTP and data URLs."""

    _SUPPORTED_URL_SCHEMES = ("http", "https")
    _SUPPORTED_PROXY_SCHEMES = ("http",)
    RH_NAME = "guarded"

    def __init__(self, *, guard: Guard, **options: Any) -> None:
        options.pop("enable_file_urls", None)
        super().__init__(**options)
        self._guard = guard

    def _create_instance(self, proxies: Any, cookiejar: Any, legacy_ssl_support: Any = None) -> Any:
        opener = urllib.request.OpenerDirector()
        for handler in (
            _urllib.ProxyHandler(proxies),
            _Handler(self._guard, self._make_sslcontext(legacy_ssl_support=legacy_ssl_support)),
            urllib.request.HTTPCookieProcessor(cookiejar),
            urllib.request.UnknownHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            _Redirects(self._guard),
        ):
            opener.add_handler(handler)
        opener.addheaders = []
        return opener

    def _prepare_headers(self, _: Any, headers: Any) -> None:
        headers.setdefault("Accept-Encoding", "gzip, deflate")

    def _send(self, request: Any) -> Any:
        try:
            self._guard.check(request.url)
            self._guard.wait(request.url)
            self._guard.failure = None
            return super()._send(request)
        except UnsafeURLError as error:
            raise RefusedError(str(error), cause=error) from error
        except RequestError as error:
            self._guard.failure = error
            raise


class _Log:
    """yt-dlp's messages go to logging, all of them at the level of details."""

    def debug(self, message: str) -> None:
        _log.debug("%s", message)

    info = warning = error = debug


class Client(yt_dlp.YoutubeDL):
    """A YoutubeDL whose every request meets the guard."""

    def __init__(self, guard: Guard, params: dict[str, Any]) -> None:
        self.guard = guard
        super().__init__(params, auto_init="no_verbose_header")

    def build_request_director(self, handlers: Any, preferences: Any = None) -> Any:
        return super().build_request_director([functools.partial(GuardedRH, guard=self.guard)])


@contextmanager
def client(settings: NetworkSettings, deadline: float | None = None, **params: Any) -> Iterator[Client]:
    """A client for one video or one search.

    Args:
        settings: manners and limits.
        deadline: of ``time.monotonic()``; no request or reading goes on beyond.
        params: more of yt-dlp's options.

    Raises:
        InputError: a cookies file that cannot be read.
    """
    options: dict[str, Any] = {
        "quiet": True,
        "noprogress": True,
        "color": "never",
        "logger": _Log(),
        "cachedir": False,
        "warn_when_outdated": False,
        "proxy": settings.proxy or "",
        "socket_timeout": settings.timeout,
        "retries": 0,  # attempts are counted in one place, around all of this
        "extractor_retries": 0,
        "file_access_retries": 0,
        "cookiefile": _cookies(settings),
        "allowed_extractors": list(settings.extractors),
        "js_runtimes": {settings.javascript: {}} if settings.javascript else {},
        "remote_components": (),
        "geo_bypass": False,
        "fixup": "never",
        "ffmpeg_location": str(Path(__file__).with_name("no-ffmpeg")),  # not there: FFmpeg's program is never found
        "updatetime": False,
        "noplaylist": True,
        "format": "bv*/b",  # the default would look for ffmpeg, to join sound and pictures
        "enable_file_urls": False,
        **params,
    }
    guard = Guard(settings, deadline)
    with Client(guard, options) as made:
        try:
            yield made
        except yt_dlp.utils.DownloadError as error:
            if "Got error" in str(error) and guard.failure is not None:
                raise error from guard.failure  # the downloader tells of it in its message only
            raise
        finally:
            for answer in guard.answers:
                answer.close()


def _cookies(settings: NetworkSettings) -> io.StringIO | None:
    """The file's text: given the file itself, yt-dlp would write into it, from all workers at once."""
    if settings.cookies is None:
        return None
    try:
        text = settings.cookies.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{settings.cookies}: the cookies cannot be read ({error})") from None
    if not re.match(r"#( Netscape)? HTTP Cookie File", text):
        raise InputError(f"{settings.cookies}: expected cookies in Netscape's format, '# Netscape HTTP Cookie File'")
    return io.StringIO(text)


def version() -> str:
    """yt-dlp's."""
    return str(yt_dlp.version.__version__)


def date_range(first: str | None, last: str | None) -> Any:
    """yt-dlp's range of days, each YYYYMMDD or open."""
    return yt_dlp.utils.DateRange(first, last)


def identify(ydl: Client, url: str) -> tuple[str, str] | None:
    """The extractor that is made for a URL and the id that it will give the video, without asking the web.

    None where only the generic one takes it, or its id is not in the URL.
    """
    for key, extractor in ydl._ies.items():
        if key != "Generic" and extractor.suitable(url):
            name = extractor.get_temp_id(url)
            return None if name is None else (key, str(name))
    return None


def check_service(service: str) -> None:
    """Raises InputError where yt-dlp has no such search."""
    keys = {
        str(extractor.SEARCH_KEY)
        for extractor in yt_dlp.extractor.list_extractor_classes()
        if getattr(extractor, "SEARCH_KEY", None)
    }
    if service not in keys:
        raise InputError(f"service: expected one of {', '.join(sorted(keys))}, got {service!r}")
