"""One call under way: its head and body are waited for here, with deadlines; what arrives is told by the connection."""

from __future__ import annotations

import asyncio
from copy import copy
from typing import TYPE_CHECKING

from completions import underway
from completions.transport import encodings
from completions.transport.encodings import Decoder
from completions.transport.parsing import Headers, ResponseParser
from gateway_project.errors import ConnectionBroken, ProviderError, ProviderTimeout, ProviderUnavailable

if TYPE_CHECKING:
    from completions.transport.connection import Connection

MAX_ANSWER_BYTES = 256 * 1024 * 1024
MAX_BUFFERED_BYTES = 256 * 1024
"""Past this the provider is read no further until somebody takes what has come."""
END_WITHIN_S = 1.0
"""How long the end of an answer is waited for, of which all that matters has been read."""


class Answer:
    """An answer whose head has arrived. Read it, then close it; closing early ends the call at the provider at once.

    The connection is given back as soon as the last byte of the answer has arrived, read or not. An error stays: whoever
    reads on gets it again.
    """

    __slots__ = ("_connection", "_decoder", "_error", "_expects_end", "_lingering", "_loop", "_parser", "_waiter")

    def __init__(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        self._connection: Connection | None = connection
        self._loop = loop
        self._parser = ResponseParser()
        self._decoder: Decoder | None = None
        self._error: ProviderError | None = None
        self._expects_end = False
        self._lingering: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def status(self) -> int:
        return self._parser.status

    @property
    def headers(self) -> Headers:
        return self._parser.headers

    @property
    def has_begun(self) -> bool:
        """Whether anything at all has arrived."""
        return self._parser.has_begun

    async def head(self, patience_s: float, within_s: float) -> None:
        """Wait for the head: `patience_s` seconds from now, which are what is left of `within_s`. Raises `ProviderError`."""
        ends_at = self._loop.time() + patience_s
        while not self._parser.has_head:
            self._check()
            await self._wait(ends_at, "nothing within", within_s)
        encoding = self._parser.headers.raw(b"content-encoding")
        if encoding is not None:
            self._decoder = encodings.decoder(encoding.decode("latin-1"))

    async def read(self, within_s: float) -> bytes:
        """The next bytes, b"" at the end. Raises `ProviderError` after `within_s` seconds of silence or when it breaks."""
        data = self._take()
        if not data and not self._is_over():
            ends_at = self._loop.time() + within_s
            while not data and not self._is_over():
                await self._wait(ends_at, "no further data for", within_s)
                data = self._take()
        return data

    async def read_all(self, within_s: float, limit: int = MAX_ANSWER_BYTES) -> bytes:
        """The whole body, within `within_s` seconds in all. Raises `ProviderError`, also past `limit` bytes."""
        ends_at = self._loop.time() + within_s
        parts, size = [], 0
        while True:
            if data := self._take():
                parts.append(data)
                size += len(data)
                if size > limit:
                    self._give_up()
                    raise ProviderUnavailable(f"Provider sent more than {limit} bytes")
            elif self._is_over():
                return parts[0] if len(parts) == 1 else b"".join(parts)
            else:
                await self._wait(ends_at, "no whole answer within", within_s)

    def expect_end(self) -> None:
        """All that matters has been read: `aclose` then leaves the provider a moment to end the answer, for the connection."""
        self._expects_end = True

    async def aclose(self) -> None:
        """End the call. An answer that has not come to its end takes its connection with it."""
        if self._connection is None or self._lingering is not None:
            return
        if self._expects_end:
            self._lingering = self._loop.call_later(END_WITHIN_S, self._give_up)
            self._take_raw()  # Nobody reads it, so what cannot be decoded is no failure either.
        else:
            self._give_up()

    # --- called by the connection -------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        if self._connection is None:
            return  # Given up already; its connection is being closed.
        parser = self._parser
        try:
            parser.feed(data)
        except ProviderError as error:
            self._fail(error)
            return
        if parser.is_complete:
            self._ended()
        elif self._lingering is not None:
            parser.take()
        elif parser.buffered > MAX_BUFFERED_BYTES:
            self._connection.pause()
        if parser.has_head:
            self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        if self._detach() is None:
            return
        try:
            if error is not None:
                raise ConnectionBroken("Provider broke the connection off", raw=type(error).__name__) from error
            self._parser.end()
        except ConnectionBroken as broken:
            self._fail(broken)
        self._wake()

    # --- states -------------------------------------------------------------------------------------------------------

    async def _wait(self, ends_at: float, complaint: str, within_s: float) -> None:
        """Until something has arrived or failed, at most until `ends_at` of the loop's clock. It counts as waiting for a provider.

        Whoever is cancelled here has left: the provider sees it at once.
        """
        loop, request = self._loop, underway.current()
        self._waiter = waiter = loop.create_future()
        timer = loop.call_at(ends_at, self._expire, complaint, within_s)
        if request is not None:
            request.wait_begins()
        try:
            await waiter
        except BaseException:
            self._give_up()
            raise
        finally:
            timer.cancel()
            self._waiter = None
            if request is not None:
                request.wait_ends()

    def _expire(self, complaint: str, within_s: float) -> None:
        self._fail(ProviderTimeout(f"Provider sent {complaint} {within_s:g} s"))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _take(self) -> bytes:
        data = self._take_raw()
        return data if self._decoder is None else self._decoder.decode(data)

    def _take_raw(self) -> bytes:
        data = self._parser.take()
        if self._connection is not None and self._connection.is_paused:
            self._connection.resume()
        return data

    def _is_over(self) -> bool:
        """Whether nothing more will come: the answer's end, once all of it is taken. Raises what broke it off."""
        if self._parser.is_complete:
            if self._decoder is not None:
                self._decoder.end()
            return True
        self._check()
        return False

    def _check(self) -> None:
        if self._error is not None:
            try:
                raise self._error
            finally:
                # A copy stays: the error itself would hold this answer by its traceback, and only the collector would end both.
                self._error = copy(self._error)

    def _fail(self, error: ProviderError) -> None:
        self._error = error
        self._give_up()
        self._wake()

    def _give_up(self) -> None:
        """Close the connection, if there still is one."""
        if self._error is None:
            self._error = ConnectionBroken("The answer was closed before its end")
        connection = self._detach()
        if connection is not None:
            connection.abort()

    def _ended(self) -> None:
        connection = self._detach()
        if connection is not None:
            connection.call_ended(is_reusable=self._parser.is_reusable, keep_alive_s=self._parser.keep_alive_s)

    def _detach(self) -> Connection | None:
        if self._lingering is not None:
            self._lingering.cancel()
        connection, self._connection = self._connection, None
        return connection
