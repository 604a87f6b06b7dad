"""Providers without sockets: an httpx transport that plays scripts, byte by byte and second by second, on any event loop.

For tests that need thousands of faults on a virtual clock (`tests.fakes.clock`); what sockets do is `tests.fakes.provider`'s.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field

import httpx

Piece = bytes | Exception | float
"""What happens next in a body: bytes arrive, the connection breaks, or seconds pass."""


@dataclass(frozen=True, slots=True)
class Script:
    """How one call is answered. `before` precedes the head; a `status` of 0: no head ever comes."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = (("content-type", "text/event-stream"),)
    body: tuple[Piece, ...] = ()
    before: tuple[Piece, ...] = ()


@dataclass(slots=True)
class Played:
    """One call: who was asked for what, and whether our side has closed the answer."""

    host: str
    request: dict[str, object]
    script: Script
    is_open: bool = False


@dataclass(slots=True)
class ScriptedTransport(httpx.AsyncBaseTransport):
    """Answers each call with the script that `choose` gives for its host, its body and its number there (from 0)."""

    choose: Callable[[str, dict[str, object], int], Script]
    calls: list[Played] = field(default_factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host, body = request.url.host, json.loads(request.content)
        script = self.choose(host, body, sum(call.host == host for call in self.calls))
        call = Played(host, body, script)
        self.calls.append(call)
        async for _ in _play(script.before):
            raise AssertionError("bytes before the head")
        if not script.status:
            await asyncio.Event().wait()
        call.is_open = True
        return httpx.Response(script.status, headers=list(script.headers), stream=_Body(call))


class _Body(httpx.AsyncByteStream):
    def __init__(self, call: Played) -> None:
        self._call = call

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for data in _play(self._call.script.body):
            yield data

    async def aclose(self) -> None:
        self._call.is_open = False


async def _play(pieces: Iterable[Piece]) -> AsyncIterator[bytes]:
    for piece in pieces:
        if isinstance(piece, bytes):
            yield piece
        elif isinstance(piece, Exception):
            raise piece
        else:
            await asyncio.sleep(piece)
