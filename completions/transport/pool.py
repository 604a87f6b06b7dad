"""Calls over kept connections: the one used last is used next, and those that nobody needs are closed.

No limit on their number, since how many calls may be under way is decided before. One pool per event loop.
"""

from __future__ import annotations

import asyncio

from completions import underway
from completions.transport.answer import Answer
from completions.transport.connection import Connection
from completions.transport.dialing import Dialer
from completions.transport.request import Address, RequestHead
from gateway_project.errors import ConnectionBroken, ProviderTimeout, ProviderUnavailable, ShuttingDown

SWEEP_S = 10.0
"""How often idle connections past their time are closed."""


class Pool:
    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._open: set[Connection] = set()
        self._idle: dict[Address, list[Connection]] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Future[None] | None = None
        self._is_closed = False

    async def call(self, head: RequestHead, message: bytes, *, connect_s: float, within_s: float) -> Answer:
        """Send `message`, of `head`, and wait `within_s` seconds in all for the head of its answer. Raises `ProviderError`.

        A new connection is there within `connect_s` seconds, TLS included. Not tried again: the provider may have begun to work.
        """
        connection, patience_s = self._kept(head.address), within_s
        if connection is None:
            connection, patience_s = await self._connected(head.address, connect_s, within_s)
        answer = connection.send(message)
        await answer.head(patience_s, within_s)
        return answer

    async def repeatable_call(self, head: RequestHead, message: bytes, *, within_s: float) -> Answer:
        """The same for a request that may be sent twice: one that met the end of a kept connection is sent on a new one."""
        connection = self._kept(head.address)
        if connection is not None:
            answer = connection.send(message)
            try:
                await answer.head(within_s, within_s)
                return answer
            except ConnectionBroken:
                if answer.has_begun:
                    raise
        connection, patience_s = await self._connected(head.address, within_s, within_s)
        answer = connection.send(message)
        await answer.head(patience_s, within_s)
        return answer

    async def aclose(self) -> None:
        """Close all connections, also those with calls on them."""
        self._is_closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        for connection in tuple(self._open):
            connection.abort()
        if self._open:
            self._emptied = asyncio.get_running_loop().create_future()
            await self._emptied

    def _kept(self, address: Address) -> Connection | None:
        """An idle connection that is still good."""
        idle = self._idle.get(address)
        if not idle:
            return None
        now = asyncio.get_running_loop().time()
        while idle:
            connection = idle.pop()
            if connection.is_usable(now):
                return connection
            connection.abort()
        return None

    async def _connected(self, address: Address, connect_s: float, within_s: float) -> tuple[Connection, float]:
        """A new connection, and what is left of `within_s`. The time it takes counts as waiting for a provider."""
        loop, request = asyncio.get_running_loop(), underway.current()
        began = loop.time()
        if request is not None:
            request.wait_begins()
        try:
            async with asyncio.timeout(min(connect_s, within_s)):
                connection = await self._dialer.connect(address, lambda: Connection(address, self._keep, self._forget))
        except TimeoutError as error:
            if within_s < connect_s:
                raise ProviderTimeout(f"Provider sent nothing within {within_s:g} s") from error
            raise ProviderTimeout("Provider did not accept the connection in time") from error
        except OSError as error:
            raise ProviderUnavailable("Provider cannot be reached", raw=type(error).__name__) from error
        finally:
            if request is not None:
                request.wait_ends()
        self._open.add(connection)
        if self._is_closed:
            connection.abort()
            raise ShuttingDown("The gateway is shutting down; try again in a moment.", headers={"Retry-After": "1"})
        return connection, within_s - (loop.time() - began)

    def _keep(self, connection: Connection) -> None:
        if self._is_closed:
            connection.abort()
            return
        self._idle.setdefault(connection.address, []).append(connection)
        if self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def _forget(self, connection: Connection) -> None:
        self._open.discard(connection)
        idle = self._idle.get(connection.address, [])
        if connection in idle:
            idle.remove(connection)
        if self._emptied is not None and not self._open and not self._emptied.done():
            self._emptied.set_result(None)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for address, idle in list(self._idle.items()):
            good = [connection for connection in idle if connection.is_usable(now)]
            for connection in idle:
                if connection not in good:
                    connection.abort()
            if good:
                self._idle[address] = good
            else:
                del self._idle[address]
        self._sweeping = loop.call_later(SWEEP_S, self._sweep) if self._idle else None
