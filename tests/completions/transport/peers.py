"""Real servers on loopback that say what a test wants, byte by byte, and calls of them over a pool."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from completions.transport.answer import Answer
from completions.transport.dialing import Internet
from completions.transport.pool import Pool
from completions.transport.request import prepare

OK = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"
HELLO = OK + b"content-length: 5\r\n\r\nhello"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"


class Peer:
    """The provider's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.requests = 0
        self.left = asyncio.Event()
        """The gateway has closed the connection."""

    async def request(self) -> bytes:
        """The next request, with its body. Raises `IncompleteReadError` where the gateway leaves instead."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left.set()
            raise
        self.requests += 1
        _, _, length = head.lower().partition(b"content-length: ")
        return head + (await self.reader.readexactly(int(length.partition(b"\r")[0])) if length else b"")

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def gone(self) -> None:
        """Wait until the gateway has closed the connection."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass
        self.left.set()


@dataclass(slots=True)
class Provider:
    """A server that does as `play` says on each connection, until it returns."""

    port: int = 0
    scheme: str = "http"
    peers: list[Peer] = field(default_factory=list)

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    async def peer(self, number: int = 0) -> Peer:
        """The connection of that number, once it is there."""
        await eventually(lambda: len(self.peers) > number, f"connection {number} was never made")
        return self.peers[number]


Play = Callable[[Peer], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(play: Play, tls: ssl.SSLContext | None = None) -> AsyncIterator[Provider]:
    provider = Provider(scheme="https" if tls else "http")

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        provider.peers.append(peer)
        try:
            await play(peer)
        except (asyncio.IncompleteReadError, ConnectionError):
            peer.left.set()
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    provider.port = server.sockets[0].getsockname()[1]
    try:
        yield provider
    finally:
        server.close()


async def always(peer: Peer) -> None:
    """Answer every request with HELLO."""
    while True:
        await peer.request()
        await peer.say(HELLO)


async def eventually(probe: Callable[[], object], what: str, within_s: float = 5) -> None:
    """Wait until `probe` is true. Fails with `what`."""
    ends_at = asyncio.get_running_loop().time() + within_s
    while not probe():
        assert asyncio.get_running_loop().time() < ends_at, f"not within {within_s} s: {what}"
        await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def pooled(tls: ssl.SSLContext | None = None) -> AsyncIterator[Pool]:
    pool = Pool(Internet(tls))
    try:
        yield pool
    finally:
        await pool.aclose()


async def post(pool: Pool, url: str, *, body: bytes = b"{}", connect_s: float = 3, within_s: float = 3) -> Answer:
    head = prepare("POST", url, {})
    return await pool.call(head, head.message(body), connect_s=connect_s, within_s=within_s)


async def get(pool: Pool, url: str) -> Answer:
    head = prepare("GET", url, {})
    return await pool.repeatable_call(head, head.message(None), within_s=3)


async def text(answer: Answer) -> bytes:
    try:
        return await answer.read_all(3)
    finally:
        await answer.aclose()


def open_sockets() -> int:
    """Those of this process. Other descriptors come with the loop: libuv keeps one in reserve from the first server on."""
    count = 0
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            count += os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket:")
    return count


async def nothing_is_left(sockets: int) -> None:
    """Wait until no more than `sockets` are open."""
    await eventually(lambda: open_sockets() <= sockets, "a socket was left open")
