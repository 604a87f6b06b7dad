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
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field

from accounting import ledger
from completions import relay, sse, streams
from completions.admission import Gate
from completions.attempts import Attempts
from completions.calls import Calls
from completions.dialects.base import JSON, Chunk, Completion
from completions.exchange import Exchange
from completions.live import EventSource, LiveStream
from completions.relay import Identity, StreamRelay
from completions.streams import OpenStream
from completions.upstream import Upstream
from gateway_project.errors import GatewayError, InternalError, ProviderError, ShuttingDown
from routingapp import plan as planner
from routingapp.health import Health
from routingapp.plan import Candidate, Plan
from routingapp.stickiness import Stickiness

log = logging.getLogger("gateway.completions")


@dataclass(slots=True)
class Pipeline:
    """Serves requests over one event loop. `is_stopping` is set at shutdown, so that cut requests are told and recorded."""

    upstream: Upstream
    health: Health
    keepalive_s: float
    stickiness: Stickiness = field(default_factory=Stickiness)
    gate: Gate = field(default_factory=Gate)
    dice: random.Random = field(default_factory=random.Random)
    is_stopping: bool = False
    _attempts: Attempts = field(init=False)

    def __post_init__(self) -> None:
        self._attempts = Attempts(Calls(self.upstream), self.health, self.gate, self.dice)

    # --- whole answers ------------------------------------------------------------------------------------------------

    async def complete(self, exchange: Exchange) -> JSON:
        """The whole answer as JSON. Raises `GatewayError`, recorded already."""
        try:
            plan = self._plan(exchange)
            await self.gate.admit(exchange, plan)
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
        try:
            tally = relay.tally_of(completion, keep_text=exchange.keeps_content)
            usage = tally.settle(exchange.prompt_characters)
            charged = relay.charge(usage, exchange.prices_of(candidate), tally.finish_reason)
            if exchange.hides_reasoning:
                relay.without_reasoning(completion)
            body = relay.body(completion, exchange.identity(candidate), usage, charged)
            exchange.consumed(candidate, tally, usage, charged)
        except Exception:  # a bug of ours: the call must not count as in flight for ever
            self.health.released(candidate.adapter.id)
            raise
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
            await self._abandon(opening)
            raise self._cut_off(exchange) from cancelled
        except GatewayError as error:
            exchange.failed(error)
            raise
        except Exception as error:
            raise self._internal(exchange, error) from error
        else:
            return EventSource(self, exchange, opening)
        finally:
            del opening  # It holds the error that holds this call.

    async def _open(self, exchange: Exchange) -> OpenStream:
        plan = self._plan(exchange)
        await self.gate.admit(exchange, plan)
        return await self._attempts.open(exchange, plan)

    async def events(self, exchange: Exchange, opening: asyncio.Future[OpenStream]) -> AsyncGenerator[bytes, None]:
        """The bytes of an event stream, to `[DONE]`. Closing the generator ends the upstream's call and settles."""
        live: LiveStream | None = None
        has_left = False
        try:
            if not opening.done():
                yield sse.COMMENT
            live = LiveStream.begin(exchange, await opening)
            async for chunks in self._chunks(exchange, live):
                if events := live.relaying.events(chunks):
                    yield events
            yield self._finish(exchange, live)
        except GatewayError as error:
            yield self._break_off(exchange, live, error)
        except asyncio.CancelledError:
            has_left = not self.is_stopping
            if not has_left:
                yield self._break_off(exchange, live, _shutting_down())
            raise
        except GeneratorExit:
            has_left = True
            raise
        except Exception as error:  # noqa: BLE001  a bug of ours must still end the stream honestly
            yield self._break_off(exchange, live, self._internal(exchange, error, settle=False))
        finally:
            try:
                await (self._abandon(opening) if live is None else live.opened.answer.aclose())
            finally:
                if has_left:
                    self._client_gone(exchange, live)

    async def _chunks(self, exchange: Exchange, live: LiveStream) -> AsyncIterator[list[Chunk]]:
        """All chunks of the answer, over as many streams as it takes. Raises `ProviderError` if it cannot be completed."""
        while True:
            live.said.add(live.opened.held)
            yield live.opened.held
            try:
                async for chunks in streams.remaining(live.opened):
                    live.said.add(chunks)
                    yield chunks
                return
            except ProviderError as error:
                if not await self._resume(exchange, live, error):
                    raise

    async def _resume(self, exchange: Exchange, live: LiveStream, error: ProviderError) -> bool:
        """Go on with a broken answer on another stream, if its policy allows and somebody can."""
        broken, plan = live.opened, exchange.plan
        if plan is None or not error.try_next or not broken.candidate.policy.resumes or live.said.has_other:
            return False
        self._settle_attempt(exchange, live, error)
        await broken.answer.aclose()
        opened = await self._attempts.reopen(exchange, plan, broken, live.said, error)
        if opened is None:
            return False
        live.go_on(exchange, opened)
        return True

    async def dismiss(self, exchange: Exchange, opening: asyncio.Future[OpenStream]) -> None:
        """The client left before the first event could be sent."""
        await self._abandon(opening)
        exchange.cancelled()

    def _finish(self, exchange: Exchange, live: LiveStream) -> bytes:
        self._consumed(exchange, live)
        live.is_settled = True
        self._succeeded(exchange, live.opened.candidate, exchange.usage.completion_tokens)
        return live.relaying.finish(exchange.usage, exchange.charged)

    def _break_off(self, exchange: Exchange, live: LiveStream | None, error: GatewayError) -> bytes:
        """The end of a stream that failed after its response had begun: recorded, then told as an event."""
        record = exchange.record
        if live is not None:
            self._settle_attempt(exchange, live, error)
            record.finish_reason = "error"
        exchange.failed(error)
        identity = Identity(record.request_id, int(record.timestamp), record.model_id, record.provider)
        return (live.relaying if live else StreamRelay(identity)).error(error)

    def _settle_attempt(self, exchange: Exchange, live: LiveStream, error: GatewayError) -> None:
        """Write down, once, that the answering attempt failed with `error`, and what it had consumed."""
        if live.is_settled:
            return
        live.is_settled = True
        self._consumed(exchange, live)
        exchange.attempt_failed(live.opened.attempt, error)
        self._attempts.failed(exchange, live.opened.candidate, error)

    def _client_gone(self, exchange: Exchange, live: LiveStream | None) -> None:
        if live is not None and not live.is_settled:
            self.health.released(live.opened.candidate.adapter.id)
            self._consumed(exchange, live)
        exchange.cancelled()

    def _consumed(self, exchange: Exchange, live: LiveStream) -> None:
        tally, candidate = live.relaying.tally, live.opened.candidate
        usage = tally.settle(exchange.prompt_characters)
        exchange.consumed(candidate, tally, usage, relay.charge(usage, exchange.prices_of(candidate), tally.finish_reason))

    async def _abandon(self, opening: asyncio.Future[OpenStream]) -> None:
        """End the opening of a stream nobody waits for any more, and the stream if it is open."""
        opened = await streams.give_up(opening)
        if opened is not None:
            self.health.released(opened.candidate.adapter.id)
            await opened.answer.aclose()

    # --- both ---------------------------------------------------------------------------------------------------------

    def _plan(self, exchange: Exchange) -> Plan:
        ledger.check_writable()
        assert exchange.ask is not None
        snapshot = exchange.snapshot
        now = time.monotonic()
        pinned = self.stickiness.get(exchange.conversation, now) if exchange.conversation else None
        ask = exchange.ask._replace(sticky_adapter_id=pinned) if pinned else exchange.ask
        capacity = self.gate.capacity
        capacity.follow(snapshot.catalogue, snapshot.revision)
        plan = planner.build(
            ask, snapshot.catalogue, snapshot.routing, self.health, now=now, dice=self.dice, capacity=capacity
        )
        exchange.planned(plan)
        return plan

    def _succeeded(self, exchange: Exchange, candidate: Candidate, completion_tokens: int) -> None:
        try:
            exchange.succeeded()
        finally:
            # The provider did answer, whether or not the ledger can say so.
            now, attempt = time.monotonic(), exchange.answering
            assert attempt is not None
            ttft_s = attempt.ttft_ms / 1000 if attempt.ttft_ms is not None else None
            self.health.succeeded(candidate.adapter.id, now, ttft_s, attempt.latency_ms / 1000, completion_tokens)
            if exchange.conversation is not None and exchange.is_worth_pinning:
                self.stickiness.put(exchange.conversation, candidate.adapter, now)

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


def _shutting_down() -> ShuttingDown:
    return ShuttingDown("The gateway is shutting down; send the request again.", headers={"Retry-After": "1"})
