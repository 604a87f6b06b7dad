"""Providers without sockets: connections on which scripts are played, byte by byte and second by second, on any event loop.

For tests that need thousands of faults on a virtual clock (`tests.fakes.clock`); what sockets do is `tests.fakes.provider`'s.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from completions.transport.connection import Connection
from completions.transport.request import Address

Piece = bytes | Exception | float
"""What happens next: bytes arrive, the connection breaks, or seconds pass."""


@dataclass(frozen=True, slots=True)
class Script:
    """How one call is answered. `before` precedes the head; a `status` of 0: no head ever comes."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = (("content-type", "text/event-stream"),)
    body: tuple[Piece, ...] = ()
    before: tuple[Exception | float, ...] = ()


@dataclass(slots=True)
class Played:
    """One call: who was asked for what, and whether its answer has begun and neither come to its end nor been given up."""

    host: str
    request: dict[str, Any]
    script: Script
    is_open: bool = False


@dataclass(slots=True)
class ScriptedDialer:
    """Connects to a stage on which each call is answered with the script that `choose` gives.

    `choose` is told the call's host, its body and its number there (from 0), `refuses` the host and the number of the call that
    a new connection is for.
    """

    choose: Callable[[str, dict[str, Any], int], Script]
    refuses: Callable[[str, int], bool] = lambda host, number: False
    calls: list[Played] = field(default_factory=list)

    async def connect(self, address: Address, make: Callable[[], Connection]) -> Connection:
        if self.refuses(address.host, self._calls_of(address.host)):
            self.calls.append(Played(address.host, {}, Script(status=0)))
            raise ConnectionRefusedError
        connection = make()
        connection.connection_made(_Wire(self, address.host, connection))
        return connection

    def begin(self, host: str, request: dict[str, Any]) -> Played:
        call = Played(host, request, self.choose(host, request, self._calls_of(host)))
        self.calls.append(call)
        return call

    def _calls_of(self, host: str) -> int:
        return sum(call.host == host for call in self.calls)


class _Wire(asyncio.Transport):
    """The socket's place: what is written on it is answered by a script."""

    def __init__(self, dialer: ScriptedDialer, host: str, connection: Connection) -> None:
        super().__init__()
        self._dialer, self._host, self._connection = dialer, host, connection
        self._call: Played | None = None
        self._playing: asyncio.Task[None] | None = None
        self._readable = asyncio.Event()
        self._readable.set()
        self._is_closing = False

    def write(self, data: Any) -> None:
        assert self._playing is None or self._playing.done(), "a request before the end of the last one's answer"
        _, _, body = bytes(data).partition(b"\r\n\r\n")
        self._call = self._dialer.begin(self._host, json.loads(body))
        self._playing = asyncio.get_running_loop().create_task(self._play(self._call))

    def abort(self) -> None:
        if self._playing is not None:
            self._playing.cancel()
        self._lose(None)

    def is_closing(self) -> bool:
        return self._is_closing

    def pause_reading(self) -> None:
        self._readable.clear()

    def resume_reading(self) -> None:
        self._readable.set()

    def get_write_buffer_size(self) -> int:
        return 0

    async def _play(self, call: Played) -> None:
        script = call.script
        for early in script.before:
            if isinstance(early, Exception):
                self._lose(early)
                return
            await asyncio.sleep(early)
        if not script.status:
            return
        lines = [f"HTTP/1.1 {script.status} As played", *(f"{name}: {value}" for name, value in script.headers)]
        call.is_open = True
        self._connection.data_received(("\r\n".join(lines) + "\r\ntransfer-encoding: chunked\r\n\r\n").encode())
        for position, piece in enumerate(script.body, 1):
            await self._readable.wait()
            if isinstance(piece, bytes):
                is_last = position == len(script.body)
                call.is_open = not is_last
                self._connection.data_received(b"%x\r\n%b\r\n" % (len(piece), piece) + b"0\r\n\r\n" * is_last)
                await asyncio.sleep(0)
            elif isinstance(piece, Exception):
                self._lose(piece)
                return
            else:
                await asyncio.sleep(piece)
        if call.is_open:
            call.is_open = False
            self._connection.data_received(b"0\r\n\r\n")

    def _lose(self, error: Exception | None) -> None:
        if self._is_closing:
            return
        self._is_closing = True
        if self._call is not None:
            self._call.is_open = False
        asyncio.get_running_loop().call_soon(self._connection.connection_lost, error)
