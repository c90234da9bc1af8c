from __future__ import annotations

import ipaddress
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from samepoint.webvideo import safety
from samepoint.webvideo.network import NetworkSettings
from samepoint.webvideo.safety import UnsafeURLError, check_url, checked_addresses, is_internal, safe_name
from samepoint.webvideo.ytdlp import Guard, RefusedError, client
from tests.webvideo.server import Site

DEVICES = {"con", "prn", "aux", "nul", *(f"{kind}{n}" for kind in ("com", "lpt") for n in range(10))}
NASTY = st.sampled_from(
    [
        "../",
        "..\\",
        "/etc/passwd",
        "C:\\",
        "\0",
        "NUL",
        "con",
        "LPT1",
        "~",
        "$HOME",
        "%(id)s",
        ".",
        "-rf",
        "\n",
        " ",
        "ü",
    ]
)
NAMES = st.lists(NASTY | st.text(max_size=8), max_size=6).map("".join) | st.text(min_size=200, max_size=400)


@settings(max_examples=150)
@example("")
@example("..")
@example("a" * 300)
@example("COM1")
@given(NAMES)
def test_a_name_stays_in_its_folder(text: str) -> None:
    name = safe_name(text)
    folder = Path("/output/videos")
    assert (folder / name).parent == folder
    assert Path(f"/output/videos/{name}/{name}.mp4").parts == ("/", "output", "videos", name, f"{name}.mp4")
    assert 0 < len(name) <= 80
    assert set(name) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
    assert name[0] != "-"
    assert name.lower() not in DEVICES
    assert safe_name(name) == name


@settings(max_examples=100)
@given(NAMES, NAMES)
def test_different_texts_have_different_names(first: str, second: str) -> None:
    assert (safe_name(first) == safe_name(second)) == (first == second)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001", "127.0.0.1.",
        "0", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "192.0.0.192",
        "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "[::1]", "[::]", "[fe80::1%25eth0]", "[fc00::1]",
        "[fec0::1]", "[ff02::1]", "[::ffff:127.0.0.1]", "[::ffff:a00:1]", "[::127.0.0.1]", "[2002:7f00:1::]",
        "[2001:0:4136:e378:8000:63bf:3fff:fdd2]", "[64:ff9b::7f00:1]", "[64:ff9b:1::a00:1]", "localhost", "LOCALHOST.",
        "a.localhost", "printer.local", "metadata.google.internal", "router", "user:word@127.0.0.1", "１２７.0.0.1",
        "127。0。0。1", "①⑦②.16.0.1",
    ],
)  # fmt: skip
def test_internal_hosts_are_refused_in_every_spelling(host: str) -> None:
    for url in (f"http://{host}/a.mp4", f"https://{host}:8080/"):
        with pytest.raises(UnsafeURLError):
            check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://example.com/a", "data:text/plain,a", "javascript:alert(1)", "example.com/a", "",
        "http://", "http:///a", "//example.com/a", "http://example.com:99999/", "http://[::1", "ytsearch5:cat",
        "http://example.com\\@127.0.0.1/", "http://exa mple.com/", "http://example.com/\n", "http://example.com/\0",
        "rtmp://example.com/a", "concat:a|b",
    ],
)  # fmt: skip
def test_what_is_no_plain_web_address_is_refused_even_where_internal_ones_are_allowed(url: str) -> None:
    with pytest.raises(UnsafeURLError):
        check_url(url, allow_internal=True)


@pytest.mark.parametrize(
    "url",
    ["https://www.youtube.com/watch?v=a-b_c&t=1#x", "http://8.8.8.8/", "http://134744072/", "http://[2606:4700::1]:8/"],
)
def test_public_addresses_pass(url: str) -> None:
    assert check_url(url) == url


def test_internal_addresses_pass_where_they_are_allowed() -> None:
    assert check_url("http://127.0.0.1:8000/a", allow_internal=True) == "http://127.0.0.1:8000/a"


@settings(max_examples=100)
@given(st.integers(0, 2**32 - 1))
def test_ipv6_carries_ipv4(number: int) -> None:
    plain = ipaddress.IPv4Address(number)
    carried = [f"::ffff:{plain}", f"64:ff9b::{plain}", str(ipaddress.IPv6Address((0x2002 << 112) | (number << 80)))]
    assert {is_internal(text) for text in carried} == {is_internal(str(plain))}


def test_an_answer_with_one_internal_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(host: str, port: int, *_: Any) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("93.184.216.34", "10.0.0.5")
        ]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    with pytest.raises(UnsafeURLError, match=r"inside\.example is the internal address 10\.0\.0\.5"):
        checked_addresses("inside.example", 80)
    assert len(checked_addresses("inside.example", 80, allow_internal=True)) == 2


def test_what_was_checked_is_what_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that answers otherwise the second time is not asked a second time."""
    asked: list[str] = []
    connected: list[Any] = []

    real = socket.getaddrinfo

    def answer(host: str, port: int, *others: Any) -> list[Any]:
        if host != "rebinds.example":  # a thread that an earlier test left behind
            return real(host, port, *others)
        asked.append(host)
        address = "93.184.216.34" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    def connect(self: socket.socket, address: Any) -> None:
        connected.append(address)
        raise ConnectionRefusedError("nobody")

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    monkeypatch.setattr(socket.socket, "connect", connect)
    with pytest.raises(ConnectionRefusedError):
        Guard(NetworkSettings()).connect(("rebinds.example", 80), 1.0)
    assert asked == ["rebinds.example"]
    assert connected == [("93.184.216.34", 80)]
    with pytest.raises(UnsafeURLError):
        Guard(NetworkSettings()).connect(("rebinds.example", 80), 1.0)
    assert len(connected) == 1


@pytest.fixture
def loopback_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a test server can be reached where internal addresses are refused."""
    monkeypatch.setattr(safety, "is_internal", lambda address: is_internal(address) and str(address) != "127.0.0.1")


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest",
        "http://[::1]:1/",
        "http://0x0a000001/",
        "file:///etc/passwd",
        "ftp://127.0.0.1/a",
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_an_unsafe_address_is_not_followed(
    site: Site, loopback_is_public: None, target: str, status: int
) -> None:
    url = site.add("/moved", status=status, headers={"Location": target})
    with (
        client(NetworkSettings(pause=0)) as ydl,
        pytest.raises(Exception, match=r"internal address|http://|Error 30"),
    ):
        ydl.urlopen(url).read()
    assert site.asked == {"/moved": 1}


def test_a_redirect_between_safe_addresses_is_followed(site: Site, loopback_is_public: None) -> None:
    site.add("/there", "arrived")
    url = site.add("/moved", status=302, headers={"Location": "/there"})
    with client(NetworkSettings(pause=0)) as ydl, ydl.urlopen(url) as answer:
        assert answer.read() == b"arrived"


def test_requests_to_internal_addresses_are_refused_before_a_connection(site: Site) -> None:
    url = site.add("/a", "secret")
    with client(NetworkSettings(pause=0)) as ydl, pytest.raises(RefusedError, match="internal address"):
        ydl.urlopen(url)
    assert not site.asked


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/a", "data:text/plain,a", "ws://127.0.0.1/"])
def test_other_schemes_are_not_spoken(only_loopback: None, url: str) -> None:
    with (
        client(NetworkSettings(allow_internal=True)) as ydl,
        pytest.raises(Exception, match=r"Unsupported url|http://|WebSocket"),
    ):
        ydl.urlopen(url)


def test_pages_and_packed_pages_have_a_limit(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    import gzip

    monkeypatch.setattr("samepoint.webvideo.ytdlp.LONGEST_PAGE", 10_000)
    packed = {"Content-Encoding": "gzip"}
    fits = site.add("/fits", gzip.compress(bytes(10_000)), headers=packed)
    bomb = site.add("/bomb", gzip.compress(bytes(1_000_000)), headers=packed)
    long = site.add("/long", bytes(10_001))
    endless = site.add("/endless", bytes(20_000), length=False)
    with client(NetworkSettings(allow_internal=True, pause=0)) as ydl:
        assert ydl.urlopen(fits).read() == bytes(10_000)
        for url in (bomb, long, endless):
            with pytest.raises(RefusedError, match="more than 10000 bytes"):
                ydl.urlopen(url).read()
        assert len(ydl.urlopen(long).read(5000)) == 5000


def test_reading_ends_at_the_deadline_however_slowly_it_trickles(site: Site) -> None:
    import time

    url = site.add("/slow", bytes(100_000), pause=0.02)
    began = time.monotonic()
    with client(NetworkSettings(allow_internal=True, pause=0), deadline=began + 0.3) as ydl:
        with pytest.raises(Exception, match="time limit"):
            ydl.urlopen(url).read()
        with pytest.raises(Exception, match="time limit"):
            ydl.urlopen(url)
    assert time.monotonic() - began < 5


def test_a_proxy_gets_the_requests_but_not_those_for_internal_addresses(site: Site, monkeypatch: Any) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", _resolver(site))
    site.add("/page", "through the proxy")
    site.routes["http://public.example/page"] = site.routes["/page"]
    with client(NetworkSettings(proxy=site.url, pause=0)) as ydl:
        assert ydl.urlopen("http://public.example/page").read() == b"through the proxy"
        for url in ("http://10.0.0.1/", "http://inside.example/"):
            with pytest.raises(RefusedError):
                ydl.urlopen(url)
    assert list(site.asked) == ["http://public.example/page"]


def _resolver(site: Site) -> Any:
    look_up = socket.getaddrinfo

    def answer(host: str, port: int, *arguments: Any, **options: Any) -> list[Any]:
        if host == "public.example":
            raise socket.gaierror("only the proxy knows")
        if host == "inside.example":
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.168.0.7", port))]
        return look_up(host, port, *arguments, **options)

    return answer


def test_the_environments_proxies_are_not_used(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://192.168.0.1:3128")
    url = site.add("/a", "direct")
    with client(NetworkSettings(allow_internal=True, pause=0)) as ydl:
        assert ydl.urlopen(url).read() == b"direct"


def test_no_program_is_run_and_nothing_is_kept_outside(only_loopback: None) -> None:
    from yt_dlp.postprocessor.ffmpeg import FFmpegPostProcessor

    with client(NetworkSettings()) as ydl:
        assert not FFmpegPostProcessor(ydl).available
        assert ydl.params["js_runtimes"] == {}
        assert not ydl.params["remote_components"]
        assert not ydl.params.get("external_downloader")
        assert not ydl._pps["post_process"]
        assert ydl.params["cachedir"] is False
        assert list(ydl._request_director.handlers) == ["Guarded"]
    with client(NetworkSettings(javascript="deno")) as ydl:
        assert list(ydl.params["js_runtimes"]) == ["deno"]
