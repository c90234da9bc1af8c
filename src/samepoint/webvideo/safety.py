"""What comes from the web is not trusted: names that become files, and addresses.

:func:`safe_name` lets no name leave the folder it is put in. :func:`check_url` refuses what can be seen to be unsafe in
a URL; what its host stands for is only known when a connection is made, so :func:`checked_addresses` looks it up there,
once, and what was checked is what is connected to. A name server that changes its answer in between (DNS rebinding)
gains nothing, and every redirect meets the same check.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import socket
import unicodedata
from typing import Any
from urllib.parse import urlsplit

SCHEMES = ("http", "https")
LONGEST = 80
"""Characters of a safe name."""

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_DEVICE = re.compile(r"(con|prn|aux|nul|conin|conout|clock|com[0-9]|lpt[0-9])", re.IGNORECASE)
_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
_COMPATIBLE = ipaddress.IPv6Network("::/96")
# Assigned to special purposes, some only in later versions of Python's own tables; 192.0.0.192 is a cloud's metadata.
_SPECIAL = (ipaddress.IPv4Network("192.0.0.0/24"), ipaddress.IPv4Network("192.88.99.0/24"))
_LOCAL_NAMES = ("localhost", "local", "internal", "localdomain", "lan", "home.arpa")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class UnsafeURLError(Exception):
    """A URL or address that is refused; the message says why."""


def safe_name(text: str) -> str:
    """A name for a file or folder: letters, digits, ``_`` and ``-`` of ASCII, at most 80, none with a meaning.

    What is such a name already stays; anything else is told from its like by a hash.

    >>> safe_name("dQw4w9WgXcQ")
    'dQw4w9WgXcQ'
    >>> safe_name("../../etc/passwd")
    'etc_passwd-3754d6cb3a38'
    """
    plain = _UNSAFE.sub("_", text)
    if plain == text and 0 < len(text) <= LONGEST and text[0] != "-" and not _DEVICE.fullmatch(text):
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    kept = plain.strip("_-")[: LONGEST - len(digest) - 1]
    return f"{kept or 'x'}-{digest}"


def is_internal(address: str | Address) -> bool:
    """Whether an IP address is not one of the public internet's hosts.

    Loopback, private, shared, link-local, multicast, reserved and unspecified addresses are internal; of IPv6 those too
    that carry such an IPv4 address (mapped, compatible, 6to4, Teredo, NAT64).

    >>> [is_internal(text) for text in ("8.8.8.8", "10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::a00:1")]
    [False, True, True, True]
    """
    if isinstance(address, str):
        address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = _carried(address)
        if inner:
            return any(map(is_internal, inner))
        if address.is_site_local:
            return True
    elif any(address in network for network in _SPECIAL):
        return True
    return not address.is_global or address.is_multicast or address.is_reserved or address.is_unspecified


def _carried(address: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    last = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.ipv4_mapped:
        return [address.ipv4_mapped]
    if address.sixtofour:
        return [address.sixtofour]
    if address.teredo:
        return list(address.teredo)
    if any(address in network for network in _NAT64) or (address in _COMPATIBLE and int(address) > 1):
        return [last]
    return []


def _spelled(host: str) -> Address | None:
    """The address that a host spells out, in any way that a C library takes: ``127.1``, ``0x7f000001``, ``0177.1``."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    parts = host.removesuffix(".").split(".")
    if not 1 <= len(parts) <= 4:
        return None
    values = []
    for part in parts:
        if re.fullmatch(r"0[xX][0-9a-fA-F]*", part):
            values.append(int(part[2:] or "0", 16))
        elif re.fullmatch(r"0[0-7]*", part):
            values.append(int(part, 8))
        elif re.fullmatch(r"[0-9]{1,20}", part):
            values.append(int(part))
        else:
            return None
    *leading, last = values
    if any(value > 255 for value in leading) or last >= 256 ** (5 - len(values)):
        return None
    number = last
    for index, value in enumerate(leading):
        number |= value << (8 * (3 - index))
    return ipaddress.IPv4Address(number)


def check_url(url: str, allow_internal: bool = False) -> str:
    """The URL, unless it is seen to be unsafe without looking its host up.

    Raises:
        UnsafeURLError: not http or https, no host, characters that programs read differently, or an internal host.
    """
    shown = url if len(url) <= 200 else url[:200] + "..."
    if any(character <= " " or character in '\\\x7f"<>^`{|}' for character in url):
        raise UnsafeURLError(f"{shown!r}: characters that a URL must not have")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UnsafeURLError(f"{shown}: not a URL ({error})") from None
    if parts.scheme.lower() not in SCHEMES:
        raise UnsafeURLError(f"{shown}: expected a URL that begins with http:// or https://")
    if not host:
        raise UnsafeURLError(f"{shown}: no host in this URL")
    if not allow_internal:
        # Names are compared in the form that resolvers give them: full-width digits and dots are digits and dots.
        host = unicodedata.normalize("NFKC", host).replace("。", ".").lower()
        address = _spelled(host)
        name = host.rstrip(".")
        local = any(name == known or name.endswith(f".{known}") for known in _LOCAL_NAMES) or "." not in name
        if is_internal(address) if address is not None else local:
            raise UnsafeURLError(f"{shown}: the host is an internal address")
    return url


def checked_addresses(host: str, port: int, allow_internal: bool = False) -> list[tuple[Any, ...]]:
    """What ``socket.getaddrinfo`` gives for a host, if none of it is internal.

    Connect to these and do not look the name up again.

    Raises:
        UnsafeURLError: one of the addresses is internal.
        OSError: the name cannot be looked up.
    """
    found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    for *_, address in found:
        if not allow_internal and is_internal(str(address[0])):
            raise UnsafeURLError(f"{host} is the internal address {address[0]}")
    return list(found)
