"""A stream on its way to the client: what has been relayed of it, and its events as an iterator that may be closed at any time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Protocol

from completions.exchange import Exchange
from completions.relay import StreamRelay, Tally
from completions.resume import Said
from completions.streams import OpenStream


class Streaming(Protocol):
    """What serves a stream: `completions.pipeline`."""

    def events(self, exchange: Exchange, opening: asyncio.Future[OpenStream]) -> AsyncGenerator[bytes, None]: ...

    async def dismiss(self, exchange: Exchange, opening: asyncio.Future[OpenStream]) -> None: ...


@dataclass(slots=True)
class LiveStream:
    """A stream on its way to the client. `is_settled`: how the present attempt ended has been written down."""

    opened: OpenStream
    relaying: StreamRelay
    said: Said = field(default_factory=Said)
    is_settled: bool = False

    @classmethod
    def begin(cls, exchange: Exchange, opened: OpenStream) -> LiveStream:
        text: list[str] | None = [] if exchange.keeps_content else None
        identity = exchange.identity(opened.candidate)
        return cls(opened, StreamRelay(identity, Tally(text=text), hide_reasoning=exchange.hides_reasoning))

    def go_on(self, exchange: Exchange, opened: OpenStream) -> None:
        """Another stream continues the answer: it has a tally of its own, as it is charged on its own."""
        self.opened, self.is_settled = opened, False
        self.relaying.go_on(exchange.identity(opened.candidate))


class EventSource:
    """The events of one stream as an iterator that may be closed at any time, also before its first step."""

    def __init__(self, pipeline: Streaming, exchange: Exchange, opening: asyncio.Future[OpenStream]) -> None:
        self._pipeline, self._exchange, self._opening = pipeline, exchange, opening
        self._events = pipeline.events(exchange, opening)
        self._has_begun = False

    def __aiter__(self) -> EventSource:
        return self

    async def __anext__(self) -> bytes:
        self._has_begun = True
        return await anext(self._events)

    async def aclose(self) -> None:
        """End the upstream's call and settle, if that has not happened yet."""
        if not self._has_begun:
            # An async generator that was never started runs no `finally`.
            self._has_begun = True
            await self._pipeline.dismiss(self._exchange, self._opening)
        await self._events.aclose()
