"""One request to the fake provider: what came in, and the raw means to answer it well or badly.

Owns the HTTP/1.1 of the fake. Knows nothing of scenarios.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 429: "Too Many Requests", 502: "Bad Gateway"}


@dataclass(slots=True)
class Call:
    """A request as it arrived, and how its answer fared. Times are `time.monotonic()` seconds."""

    method: str
    path: str
    headers: Mapping[str, str]
    raw: bytes
    connection: int
    arrived_at: float = field(default_factory=time.monotonic)
    json: dict[str, Any] = field(default_factory=dict)
    events_sent: int = 0
    finished_at: float | None = None
    client_left_at: float | None = None

    @property
    def model(self) -> str:
        return str(self.json.get("model", ""))

    @property
    def scenario(self) -> str:
        return self.model.partition("?")[0]

    @property
    def options(self) -> dict[str, str]:
        return dict(parse_qsl(self.model.partition("?")[2]))

    @property
    def is_stream(self) -> bool:
        return bool(self.json.get("stream"))

    @property
    def is_over(self) -> bool:
        return self.finished_at is not None or self.client_left_at is not None

    def option(self, name: str, default: float) -> float:
        """The number behind `name` in the model name, as in `stream?tokens=20&delay=0.05`."""
        return float(self.options.get(name, default))

    def last_words(self) -> str:
        """The text of the last message, whether written as a string or as parts."""
        messages = self.json.get("messages") or [{"content": ""}]
        content = messages[-1].get("content") or ""
        return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


class Reply:
    """The answer to one `Call`, on its socket. `nth` counts the calls of this model name from 1.

    `since_first_s`: seconds since the first of them.
    """

    def __init__(self, call: Call, writer: asyncio.StreamWriter, nth: int, since_first_s: float = 0.0) -> None:
        self.call = call
        self.nth = nth
        self.since_first_s = since_first_s
        self._writer = writer

    async def json(self, body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        await self.whole(json.dumps(body).encode(), status, {"content-type": "application/json", **(headers or {})})

    async def whole(
        self, body: bytes, status: int, headers: Mapping[str, str], *, announced_bytes: int | None = None
    ) -> None:
        """A complete answer, or one cut short where `announced_bytes` promises more than `body` holds."""
        length = len(body) if announced_bytes is None else announced_bytes
        await self._send(_head(status, {**headers, "content-length": str(length)}) + body)

    async def begin(self, headers: Mapping[str, str] | None = None) -> None:
        """The head of a streamed answer."""
        sent = {"content-type": "text/event-stream", "transfer-encoding": "chunked", **(headers or {})}
        await self._send(_head(200, sent))

    async def piece(self, data: bytes) -> None:
        """Bytes of a streamed answer, as one HTTP chunk."""
        await self._send(b"%x\r\n%s\r\n" % (len(data), data))

    async def event(self, data: Any, line_end: bytes = b"\n") -> None:
        """One server-sent event: JSON, or text as it is."""
        text = data if isinstance(data, str) else json.dumps(data)
        await self.piece(b"data: " + text.encode() + line_end * 2)
        self.call.events_sent += 1

    async def end(self) -> None:
        await self._send(b"0\r\n\r\n")

    def hang_up(self) -> None:
        """Close the socket, whatever was promised."""
        self._writer.close()

    def reset(self) -> None:
        """Close the socket with RST, so that the client reads `connection reset` and nothing else."""
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def _send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


class RequestReader(asyncio.StreamReader):
    """A stream reader that tells at once when the client is gone, while nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.client_left = asyncio.Event()

    def feed_eof(self) -> None:
        super().feed_eof()
        self.client_left.set()

    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self.client_left.set()


async def read_call(reader: asyncio.StreamReader, connection: int) -> Call | None:
    """The next request of a connection, None when the client has closed it."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    request_line, *lines = head.decode("latin-1").rstrip().split("\r\n")
    method, path, _ = request_line.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        raw = await _read_chunked(reader)
    else:
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
    call = Call(method, path, headers, raw, connection)
    if raw.startswith(b"{"):
        call.json = json.loads(raw)
    return call


async def _read_chunked(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return body


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
