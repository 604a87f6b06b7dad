"""The bytes of one response -> its status, headers, body and end. Pure: fed by whoever reads a socket.

httptools (llhttp) parses; what it leaves open is decided here: interim responses, limits, and what the end of a connection means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import httptools

from gateway_project.errors import ConnectionBroken

MAX_HEAD_BYTES = 64 * 1024
"""Also the limit of what may come between two pieces of a body, and after its last."""
_BODILESS = frozenset({204, 304})
_KEEP_ALIVE_S = re.compile(rb"\btimeout=(\d{1,9})\b", re.IGNORECASE)


class Headers(Mapping[str, str]):
    """Response headers. Names are found in any case; the values of a repeated one are joined by `, `."""

    __slots__ = ("_values",)

    def __init__(self, pairs: list[tuple[bytes, bytes]]) -> None:
        self._values = {name.lower(): value for name, value in pairs}
        if len(self._values) != len(pairs):
            for name in self._values:
                self._values[name] = b", ".join(value for other, value in pairs if other.lower() == name)

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower().encode("latin-1", "replace")].decode("latin-1")

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._values)

    def __len__(self) -> int:
        return len(self._values)

    def raw(self, name: bytes) -> bytes | None:
        """The value of a name in lower case as it came, None where there is none."""
        return self._values.get(name)


class ResponseParser:
    """One final response. `status`, `headers` and `is_reusable` mean something once `has_head`, until then nothing.

    `buffered` is the size of the body that has come and is not taken. `is_reusable`: another request may follow on the connection,
    within `keep_alive_s` where the provider named a time. Content encodings are not looked at.
    """

    __slots__ = (
        "_ends_with_connection", "_fields", "_framing_bytes", "_parts", "_wire",
        "buffered", "has_begun", "has_head", "headers", "is_complete", "is_reusable", "keep_alive_s", "status",
    )  # fmt: skip

    def __init__(self) -> None:
        self.status = 0
        self.headers = NO_HEADERS
        self.has_begun = self.has_head = self.is_complete = self.is_reusable = False
        self.keep_alive_s: int | None = None
        self.buffered = 0
        self._parts: list[bytes] = []
        self._fields: list[tuple[bytes, bytes]] = []
        self._framing_bytes = 0
        self._ends_with_connection = False
        wire = httptools.HttpResponseParser(self)
        # Some servers end lines with LF alone (RFC 9112, 2.2 lets us read it), and some pad a chunk's size; aiohttp reads both.
        wire.set_dangerous_leniencies(lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True)
        self._wire: httptools.HttpResponseParser | None = wire

    def feed(self, data: bytes) -> None:
        """Take what has arrived. Raises `ConnectionBroken` where it is no HTTP/1 response or its head has no end."""
        assert self._wire is not None, "fed after the response's end"
        self.has_begun = True
        self._framing_bytes += len(data)
        try:
            self._wire.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            raise _broken("a switch of protocols that was not asked for") from error
        except httptools.HttpParserError as error:
            if not self.is_complete:
                raise _broken(f"{type(error).__name__}: {error.__context__ or error}") from error
            self.is_reusable = False  # What follows the response is none of ours.
        if self.is_complete:
            self._wire = None  # It holds our callbacks: without this, both would wait for the garbage collector.
        elif self._framing_bytes > MAX_HEAD_BYTES:
            raise _broken(f"more than {MAX_HEAD_BYTES} bytes without a head's end or a body")

    def end(self) -> None:
        """The connection has been closed in order. Raises `ConnectionBroken` unless that is how this response ends."""
        self._wire = None
        if self.is_complete:
            return
        if not (self.has_head and self._ends_with_connection):
            raise _broken("EOFError")
        self.is_complete = True

    def take(self) -> bytes:
        """The body that has come since the last time, b"" where none has."""
        parts = self._parts
        if not parts:
            return b""
        self._parts, self.buffered = [], 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    # --- called by httptools ------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.is_complete:
            self.is_reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.has_head:  # Later ones are trailers, which nobody here asks for.
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        wire = self._wire
        if wire is None or self.has_head:
            return
        self.status = wire.get_status_code()
        fields, self._fields = self._fields, []
        if self.status < 200:
            return  # 100 Continue, 103 Early Hints: the response is yet to come.
        is_suspect = self._framing_bytes > MAX_HEAD_BYTES  # that many have come, though perhaps of the body
        if is_suspect and sum(len(name) + len(value) for name, value in fields) > MAX_HEAD_BYTES:
            raise ValueError(f"more than {MAX_HEAD_BYTES} bytes of headers")
        self.headers = headers = Headers(fields)
        self.is_reusable = wire.should_keep_alive()
        if (told := headers.raw(b"keep-alive")) is not None and (found := _KEEP_ALIVE_S.search(told)):
            self.keep_alive_s = int(found[1])
        self._ends_with_connection = not (
            self.status in _BODILESS or headers.raw(b"content-length") or headers.raw(b"transfer-encoding")
        )
        self.has_head = True

    def on_body(self, data: bytes) -> None:
        if not self.is_complete:
            self._framing_bytes = 0
            self._parts.append(data)
            self.buffered += len(data)

    def on_message_complete(self) -> None:
        if self.has_head:
            self.is_complete = True


NO_HEADERS = Headers([])


def _broken(cause: str) -> ConnectionBroken:
    return ConnectionBroken("Provider broke the connection off", raw=cause)
