"""Requests as bytes: request line and headers are checked and joined once per endpoint, so that a call is one write. Pure."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlsplit

_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_UNSENDABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_OURS = frozenset({"connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"})
"""Headers that say how a message is framed: the transport's own."""
_PATH_SAFE = "/%:@!$&'()*+,;=~-._"
_QUERY_SAFE = _PATH_SAFE + "?[]"


class Unsendable(ValueError):
    """A URL or header that cannot be sent. `str()` names it and the rule, and never holds a header's value."""


class Address(NamedTuple):
    """Where to connect: `scheme` is http or https, `host` a name in ASCII or an IP address without brackets."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class RequestHead:
    """All of a request but its body, and headers that only one request has. Holds secrets, so it shows none."""

    address: Address
    start: bytes = field(repr=False)
    """The request line and Host."""
    lines: Mapping[str, bytes] = field(repr=False)
    """Header lines by lower-case name."""
    joined: bytes = field(repr=False)
    """`start` and `lines`, for the usual request that adds none."""

    def message(self, body: bytes | None, headers: Mapping[str, str] | None = None) -> bytes:
        """The whole request. `headers` replace prepared ones of the same name. Raises `Unsendable`."""
        head = self.joined
        if headers:
            head = self.start + b"".join({**self.lines, **_lines(headers.items())}.values())
        if body is None:
            return head + b"\r\n"
        return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)


def prepare(method: str, url: str, headers: Mapping[str, str]) -> RequestHead:
    """The head of requests to `url`. A name and password in the URL become an Authorization header, unless there is one.

    Raises `Unsendable` for what is no http(s) URL, and for names and values of headers that would break the message apart.
    """
    parts, address = _split(url)
    lines = _lines(headers.items())
    if parts.username is not None and "authorization" not in lines:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        lines |= _lines([("authorization", f"Basic {b64encode(login.encode()).decode()}")])
    target = quote(parts.path or "/", _PATH_SAFE) + ("?" + quote(parts.query, _QUERY_SAFE) if parts.query else "")
    host = lines.pop("host", f"host: {_authority(address)}\r\n".encode())
    start = f"{method} {target} HTTP/1.1\r\n".encode() + host
    return RequestHead(address, start, lines, start + b"".join(lines.values()))


def _split(url: str) -> tuple[SplitResult, Address]:
    try:
        parts = urlsplit(url)
        port = parts.port
        host = _host(parts.hostname or "")
    except ValueError as error:
        raise Unsendable(f"a URL cannot be read: {error}") from error
    if parts.scheme not in _PORTS or not host or _UNSENDABLE.search(url):
        raise Unsendable("a URL must be like http://host/path or https://host:port/path, without control characters")
    return parts, Address(parts.scheme, host, port or _PORTS[parts.scheme])


def _host(name: str) -> str:
    """The host as it is looked up. Raises `UnicodeError`, a `ValueError`, for what no name can be."""
    return name if is_ip(name) else name.encode("idna").decode()


def is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _authority(address: Address) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return host if address.port == _PORTS[address.scheme] else f"{host}:{address.port}"


def _lines(headers: Iterable[tuple[str, str]]) -> dict[str, bytes]:
    """Header lines by lower-case name; the last of a name counts. Raises `Unsendable`."""
    lines = {}
    for name, value in headers:
        lowered = name.lower()
        if not _NAME.fullmatch(name):
            raise Unsendable(f"header {name!r}: a name is made of letters, digits and !#$%&'*+.^_`|~-")
        if lowered in _OURS:
            raise Unsendable(f"header {name!r} says how the request is framed, which is not configurable; remove it")
        if _UNSENDABLE.search(value):
            raise Unsendable(f"the value of header {name!r} holds a line break or another control character; remove it")
        lines[lowered] = f"{lowered}: {value.strip()}\r\n".encode()
    return lines
