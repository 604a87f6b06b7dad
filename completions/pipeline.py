"""The life of a request, step by step: validate, plan, call, relay, settle.

Validation has happened in `completions.schemas` when a request arrives here as an `Exchange`. This module owns the order of
the steps and what happens on every way out: success, error, a client that leaves, a shutdown. It knows neither HTTP frameworks
nor wire formats.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from accounting import ledger
from completions import relay, sse, streams
from completions.attempts import Attempts
from completions.dialects.base import JSON, Completion
from completions.exchange import Exchange
from completions.relay import Identity, StreamRelay, Tally
from completions.streams import OpenStream
from completions.upstream import Upstream
from gateway_project.errors import GatewayError, InternalError, NotServing, ProviderError
from routingapp import plan as planner
from routingapp.health import Health
from routingapp.plan import Candidate, Plan

log = logging.getLogger("gateway.completions")


@dataclass(slots=True)
class Pipeline:
    """Serves requests over one event loop. `is_stopping` is set at shutdown, so that cut requests are told and recorded."""

    upstream: Upstream
    health: Health
    keepalive_s: float
    dice: random.Random = field(default_factory=random.Random)
    is_stopping: bool = False
    _attempts: Attempts = field(init=False)

    def __post_init__(self) -> None:
        self._attempts = Attempts(self.upstream, self.health)

    # --- whole answers ------------------------------------------------------------------------------------------------

    async def complete(self, exchange: Exchange) -> JSON:
        """The whole answer as JSON. Raises `GatewayError`, recorded already."""
        try:
            plan = self._plan(exchange)
            candidate, completion = await self._attempts.answer(exchange, plan)
            return self._deliver(exchange, candidate, completion)
        except GatewayError as error:
            exchange.failed(error)
            raise
        except asyncio.CancelledError as cancelled:
            raise self._cut_off(exchange) from cancelled
        except Exception as error:
            raise self._internal(exchange, error) from error

    def _deliver(self, exchange: Exchange, candidate: Candidate, completion: Completion) -> JSON:
        """Relay and settle, in this order: the body is ready before its record is durable, and is sent after."""
        tally = relay.tally_of(completion, keep_text=exchange.keeps_content)
        usage = tally.settle(exchange.prompt_characters)
        charged = relay.charge(usage, candidate.adapter.prices, tally.finish_reason)
        if exchange.hides_reasoning:
            relay.without_reasoning(completion)
        body = relay.body(completion, exchange.identity(candidate), usage, charged)
        exchange.consumed(candidate, tally, usage, charged)
        self._succeeded(exchange, candidate, usage.completion_tokens)
        return body

    # --- streams ------------------------------------------------------------------------------------------------------

    async def stream(self, exchange: Exchange) -> EventSource:
        """The answer as events, once the first content is there or `keepalive_s` has passed in silence.

        Raises `GatewayError`, recorded already, for what fails before. After that errors travel inside the stream.
        """
        opening = asyncio.ensure_future(self._open(exchange))
        try:
            await asyncio.wait((opening,), timeout=self.keepalive_s)
            if opening.done():
                opening.result()
        except asyncio.CancelledError as cancelled:
            await streams.abandon(opening)
            raise self._cut_off(exchange) from cancelled
        except GatewayError as error:
            exchange.failed(error)
            raise
        except Exception as error:
            raise self._internal(exchange, error) from error
        return EventSource(exchange, opening, self._events(exchange, opening))

    async def _open(self, exchange: Exchange) -> OpenStream:
        return await self._attempts.open(exchange, self._plan(exchange))

    async def _events(self, exchange: Exchange, opening: asyncio.Future[OpenStream]) -> AsyncGenerator[bytes, None]:
        """The bytes of an event stream, to `[DONE]`. Closing the generator ends the upstream's call and settles."""
        opened: OpenStream | None = None
        relaying: StreamRelay | None = None
        try:
            if not opening.done():
                yield sse.COMMENT
            opened = await opening
            relaying = StreamRelay(
                exchange.identity(opened.candidate),
                Tally(text=[] if exchange.keeps_content else None),
                hide_reasoning=exchange.hides_reasoning,
            )
            if first := relaying.events(opened.held):
                yield first
            async for chunks in streams.remaining(opened):
                if events := relaying.events(chunks):
                    yield events
            yield self._finish(exchange, opened.candidate, relaying)
        except GatewayError as error:
            yield self._break_off(exchange, opened, relaying, error)
        except asyncio.CancelledError:
            if not self.is_stopping:
                self._client_gone(exchange, opened, relaying)
                raise
            yield self._break_off(exchange, opened, relaying, _shutting_down())
            raise
        except GeneratorExit:
            self._client_gone(exchange, opened, relaying)
            raise
        except Exception as error:  # noqa: BLE001  a bug of ours must still end the stream honestly
            yield self._break_off(exchange, opened, relaying, self._internal(exchange, error, settle=False))
        finally:
            await (streams.abandon(opening) if opened is None else opened.answer.aclose())

    def _finish(self, exchange: Exchange, candidate: Candidate, relaying: StreamRelay) -> bytes:
        usage = relaying.tally.settle(exchange.prompt_characters)
        charged = relay.charge(usage, candidate.adapter.prices, relaying.tally.finish_reason)
        exchange.consumed(candidate, relaying.tally, usage, charged)
        self._succeeded(exchange, candidate, usage.completion_tokens)
        return relaying.finish(usage, charged)

    def _break_off(
        self, exchange: Exchange, opened: OpenStream | None, relaying: StreamRelay | None, error: GatewayError
    ) -> bytes:
        """The end of a stream that failed after its response had begun: recorded, then told as an event."""
        record = exchange.record
        if opened is not None and relaying is not None:
            self._consumed_so_far(exchange, opened, relaying)
            if isinstance(error, ProviderError):
                self._attempts.failed(opened.candidate, error)
            else:
                self.health.released(opened.candidate.adapter.id)
            exchange.attempt_failed(record.attempts[-1], error)
            record.finish_reason = "error"
        exchange.failed(error)
        identity = Identity(record.request_id, int(record.timestamp), record.model_id, record.provider)
        return (relaying or StreamRelay(identity)).error(error)

    def _client_gone(self, exchange: Exchange, opened: OpenStream | None, relaying: StreamRelay | None) -> None:
        if opened is not None:
            self.health.released(opened.candidate.adapter.id)
            if relaying is not None:
                self._consumed_so_far(exchange, opened, relaying)
        exchange.cancelled()

    def _consumed_so_far(self, exchange: Exchange, opened: OpenStream, relaying: StreamRelay) -> None:
        usage = relaying.tally.settle(exchange.prompt_characters)
        charged = relay.charge(usage, opened.candidate.adapter.prices, relaying.tally.finish_reason)
        exchange.consumed(opened.candidate, relaying.tally, usage, charged)

    # --- both ---------------------------------------------------------------------------------------------------------

    def _plan(self, exchange: Exchange) -> Plan:
        ledger.check_writable()
        assert exchange.ask is not None
        snapshot = exchange.snapshot
        plan = planner.build(
            exchange.ask, snapshot.catalogue, snapshot.routing, self.health, now=time.monotonic(), dice=self.dice
        )
        exchange.planned(plan)
        return plan

    def _succeeded(self, exchange: Exchange, candidate: Candidate, completion_tokens: int) -> None:
        try:
            exchange.succeeded()
        finally:
            # The provider did answer, whether or not the ledger can say so.
            attempt = exchange.record.attempts[-1]
            ttft_s = attempt.ttft_ms / 1000 if attempt.ttft_ms is not None else None
            latency_s = attempt.latency_ms / 1000
            self.health.succeeded(candidate.adapter.id, time.monotonic(), ttft_s, latency_s, completion_tokens)

    def _cut_off(self, exchange: Exchange) -> BaseException:
        """What ends a request that was cancelled before its response began: the client's leaving or our shutdown."""
        if not self.is_stopping:
            exchange.cancelled()
            return asyncio.CancelledError()
        error = _shutting_down()
        exchange.failed(error)
        return error

    def _internal(self, exchange: Exchange, error: Exception, *, settle: bool = True) -> InternalError:
        """An `InternalError` for a bug of ours: logged whole, told in one sentence."""
        log.error("request %s failed", exchange.record.request_id, exc_info=error)
        internal = InternalError(f"Internal error; the log has more under {exchange.record.request_id}")
        if settle:
            exchange.failed(internal)
        return internal


class EventSource:
    """The events of one stream as an iterator that may be closed at any time, also before its first step."""

    def __init__(
        self, exchange: Exchange, opening: asyncio.Future[OpenStream], events: AsyncGenerator[bytes, None]
    ) -> None:
        self._exchange, self._opening, self._events = exchange, opening, events
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
            await streams.abandon(self._opening)
            self._exchange.cancelled()
        await self._events.aclose()


def _shutting_down() -> NotServing:
    return NotServing("The gateway is shutting down; send the request again.", headers={"Retry-After": "1"})
