"""A small web of our own, and nothing else: whoever asks for it can reach the loopback alone."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.io.clips import encode, moving
from tests.webvideo.server import Site, serve


@pytest.fixture
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connecting anywhere else, or looking up any name, fails the test."""
    connect = socket.socket.connect
    look_up = socket.getaddrinfo

    def checked_connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1"):
            pytest.fail(f"a connection to {address}")
        connect(self, address)

    def checked_look_up(host: Any, *arguments: Any, **options: Any) -> Any:
        if host not in ("127.0.0.1", "::1", "localhost", None):
            pytest.fail(f"looked up {host}")
        return look_up(host, *arguments, **options)

    monkeypatch.setattr(socket.socket, "connect", checked_connect)
    monkeypatch.setattr(socket, "getaddrinfo", checked_look_up)


@pytest.fixture
def site(only_loopback: None) -> Iterator[Site]:
    with serve() as served:
        yield served


@pytest.fixture
def elsewhere(site: Site, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """``elsewhere(host)``: requests to that host are answered by ``site``, as yt-dlp's own extractors need it."""
    from samepoint.webvideo.ytdlp import GuardedRH

    send = GuardedRH._send
    hosts: set[str] = set()

    def redirected(self: Any, request: Any) -> Any:
        parts = urlsplit(request.url)
        if parts.hostname in hosts:
            request = request.copy()
            request.url = site.url + parts.path + (f"?{parts.query}" if parts.query else "")
        return send(self, request)

    monkeypatch.setattr(GuardedRH, "_send", redirected)
    return hosts.add


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An MP4 of 30 frames, 64x48, 25 a second; its index lies at the end."""
    return Path(encode(tmp_path_factory.mktemp("clip") / "clip.mp4", moving(30), options={"g": "10"})).read_bytes()
