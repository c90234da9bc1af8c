"""A small web on the loopback: pages and files that tests give it, with the faults that they ask for."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """What a path gives."""

    body: bytes = b""
    kind: str = "text/html; charset=utf-8"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    break_after: int | None = None  # bytes after which the connection is closed
    pause: float = 0.0  # seconds between pieces of 1024 bytes
    length: bool = True  # whether Content-Length is sent


Route = Answer | Callable[["_Handler"], Answer]


class Site:
    """``site.routes[path]`` is an answer, or a function of the request that gives one."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.routes: dict[str, Route] = {}
        self.asked: Counter[str] = Counter()
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []  # method, path, headers, body

    def add(self, path: str, body: bytes | str = b"", kind: str | None = None, **more: Any) -> str:
        """The URL of an answer."""
        data = body.encode() if isinstance(body, str) else body
        self.routes[path] = Answer(data, kind or _kind(path), **more)
        return self.url + path


def _kind(path: str) -> str:
    kinds = {".mp4": "video/mp4", ".jpg": "image/jpeg", ".png": "image/png", ".json": "application/json"}
    kinds[".xml"] = "application/rss+xml"
    suffix = re.search(r"\.[a-z0-9]+$", path)
    return kinds.get(suffix.group() if suffix else "", "text/html; charset=utf-8")


class _Handler(BaseHTTPRequestHandler):
    site: Site
    body = b""

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        self.site.asked[path] += 1
        self.site.requests.append((self.command, self.path, dict(self.headers), self.body))
        route = self.site.routes.get(path, Answer(b"no such page", status=404))
        answer = route if isinstance(route, Answer) else route(self)
        body, status, headers = answer.body, answer.status, dict(answer.headers)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if status == 200 and asked and answer.length:
            start, whole = int(asked.group(1)), len(body)
            body, status = body[start:], 206
            headers["Content-Range"] = f"bytes {start}-{whole - 1}/{whole}"
        self.send_response(status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Connection", "close")
        if answer.length:
            self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self._send(body, answer)

    def _send(self, body: bytes, answer: Answer) -> None:
        if answer.break_after is not None:
            body = body[: answer.break_after]
        try:
            if not answer.pause:
                self.wfile.write(body)
                return
            for start in range(0, len(body), 1024):
                self.wfile.write(body[start : start + 1024])
                self.wfile.flush()
                time.sleep(answer.pause)
        except OSError:
            return  # the client has gone, as some tests want it to


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False


@contextmanager
def serve() -> Iterator[Site]:
    """A site of its own on a free port."""
    handler = type("Handler", (_Handler,), {})
    server = _Server(("127.0.0.1", 0), handler)
    site = Site(f"http://127.0.0.1:{server.server_address[1]}")
    handler.site = site
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
