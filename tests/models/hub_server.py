"""A loopback stand-in for the Hub: repositories are folders of files; the little of its interface that clients use."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

COMMIT = "0123456789abcdef0123456789abcdef01234567"
Files = dict[str, bytes]


class Hub:
    """What it holds, and what it was asked."""

    def __init__(self) -> None:
        self.repositories: dict[str, Files] = {}
        self.asked: list[str] = []


@contextmanager
def serve(hub: Hub) -> Iterator[str]:
    """The address of a server of ``hub``."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

        def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def tell(self, value: object) -> None:
            self.answer(200, json.dumps(value).encode(), Content_Type="application/json")

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            hub.asked.append(f"{self.command} {self.path}")
            parts = self.path.split("?")[0].strip("/").split("/")
            if parts[:2] == ["api", "models"]:
                self.listing("/".join(parts[2:4]), parts[4:])
                return
            files = hub.repositories.get("/".join(parts[:2]))
            if files is None:
                self.answer(404, b"no such repository", X_Error_Code="RepoNotFound")
                return
            name = "/".join(parts[4:])
            if name not in files:
                self.answer(404, b"no such file", X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)
                return
            tag = hashlib.sha256(files[name]).hexdigest()
            self.answer(200, files[name], ETag=f'"{tag}"', X_Repo_Commit=COMMIT)

        def listing(self, repository: str, rest: list[str]) -> None:
            files = hub.repositories.get(repository)
            if files is None:
                self.answer(404, b"no such repository", X_Error_Code="RepoNotFound")
            elif rest[:1] == ["tree"]:
                entries = [{"type": "file", "path": n, "size": len(c), "oid": "0" * 40} for n, c in files.items()]
                self.tell(entries)
            else:
                siblings = [{"rfilename": name} for name in files]
                self.tell({"id": repository, "sha": COMMIT, "siblings": siblings, "private": False, "tags": []})

        def do_POST(self) -> None:
            hub.asked.append(f"POST {self.path}")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = self.path.split("?")[0].strip("/").split("/")
            if parts == ["api", "repos", "create"]:
                told = json.loads(body)
                name = f"{told.get('organization') or 'me'}/{told['name']}"
                hub.repositories.setdefault(name, {})
                self.tell({"url": f"http://{self.headers['Host']}/{name}"})
            elif parts == ["api", "validate-yaml"]:
                self.tell({"errors": [], "warnings": []})
            elif parts[4:5] == ["preupload"]:
                paths = [each["path"] for each in json.loads(body)["files"]]
                modes = [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in paths]
                self.tell({"files": modes})
            elif parts[4:5] == ["commit"]:
                files = hub.repositories["/".join(parts[2:4])]
                for line in body.splitlines():
                    entry = json.loads(line)
                    if entry["key"] == "file":
                        files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
                url = f"http://{self.headers['Host']}/{'/'.join(parts[2:4])}/commit/{COMMIT}"
                self.tell({"commitUrl": url, "commitOid": COMMIT})
            else:
                self.answer(404, b"unknown")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def isolate(monkeypatch: pytest.MonkeyPatch, folder: Path, address: str) -> None:
    """Let ``huggingface_hub`` know the server at ``address`` only, an empty cache below ``folder``, and no token."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "no-token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
