"""The life of a request, step by step: validate, plan, call, relay, settle.

Validation has happened in `completions.schemas` when a request arrives here as an `Exchange`. This module owns the order of
the steps, the falling back from one candidate to the next, and what happens when a client leaves. It knows neither HTTP
frameworks nor wire formats.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from accounting import ledger
from accounting.record import Attempt
from completions import relay, sse
from completions.dialects.base import JSON, Chunk, Completion, StreamDecoder
from completions.exchange import Exchange
from completions.relay import StreamRelay, Tally
from completions.upstream import MAX_ERROR_BYTES, Answer, Endpoint, Upstream
from gateway_project.errors import (
    GatewayError,
    InternalError,
    InvalidRequest,
    NotServing,
    ProviderError,
    ProviderUnavailable,
)
from routingapp import plan as planner
from routingapp.health import Health
from routingapp.plan import Candidate, Plan

log = logging.getLogger("gateway.completions")

Result = TypeVar("Result")
Call = Callable[[Exchange, Candidate, Attempt], Awaitable[Result]]

AFTER_FINISH_S = 2.0
"""How long a stream may still send usage after its finish reason, before it is taken for ended."""
ERROR_BODY_S = 10.0
"""How long an upstream's error text is waited for."""


@dataclass(slots=True)
class OpenStream:
    """A stream whose first content has arrived: `held` is all of it so far."""

    candidate: Candidate
    answer: Answer
    decoder: StreamDecoder
    held: list[Chunk]


@dataclass(slots=True)
class Pipeline:
    """Serves requests over one event loop. `is_stopping` is set at shutdown, so that cut requests are recorded as such."""

    upstream: Upstream
    health: Health
    keepalive_s: float
    dice: random.Random = field(default_factory=random.Random)
    is_stopping: bool = False

    # --- whole answers ---------------------------------------------------------------------------------------------

    async def complete(self, exchange: Exchange) -> JSON:
        """The whole answer as JSON. Raises `GatewayError`, recorded already."""
        try:
            plan = self._plan(exchange)
            candidate, completion = await self._first(exchange, plan, self._ask)
            return self._deliver(exchange, candidate, completion)
        except GatewayError as error:
            exchange.failed(error)
            raise
        except asyncio.CancelledError as cancelled:
            raise self._cut_off(exchange) from cancelled
        except Exception as error:
            raise self._internal(exchange, error) from error

    async def _ask(self, exchange: Exchange, candidate: Candidate, attempt: Attempt) -> Completion:
        endpoint = exchange.snapshot.endpoints[candidate.adapter.id]
        request = endpoint.dialect.encode(exchange.chat, candidate.adapter, stream=False)
        deadline = time.monotonic() + self._patience(exchange, candidate, stream=False)
        answer = await self.upstream.send(endpoint, request, stream=False, within_s=_until(deadline))
        try:
            await self._raise_for_status(endpoint, answer)
            body = await answer.read_all(_until(deadline))
        finally:
            await answer.aclose()
        completion = endpoint.dialect.decode(body, candidate.adapter)
        if not relay.is_answer(completion):
            raise ProviderUnavailable("Provider sent an empty answer", upstream_status=answer.status)
        return completion

    def _deliver(self, exchange: Exchange, candidate: Candidate, completion: Completion) -> JSON:
        tally = relay.tally_of(completion, keep_text=exchange.keeps_content)
        usage = tally.settle(exchange.prompt_characters)
        charged = relay.charge(usage, candidate.adapter.prices, tally.finish_reason)
        if exchange.hides_reasoning:
            relay.without_reasoning(completion)
        body = relay.body(completion, exchange.identity(candidate), usage, charged)
        exchange.consumed(candidate, tally, usage, charged)
        self._succeeded(exchange, candidate, usage.completion_tokens)
        return body

    # --- streams ---------------------------------------------------------------------------------------------------

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
            await _abandon(opening)
            raise self._cut_off(exchange) from cancelled
        except GatewayError as error:
            exchange.failed(error)
            raise
        except Exception as error:
            raise self._internal(exchange, error) from error
        return EventSource(self, exchange, opening)

    async def _open(self, exchange: Exchange) -> OpenStream:
        plan = self._plan(exchange)
        _, opened = await self._first(exchange, plan, self._open_one)
        return opened

    async def _open_one(self, exchange: Exchange, candidate: Candidate, attempt: Attempt) -> OpenStream:
        """Ask one candidate and wait for its first content: until then falling back is still possible."""
        endpoint = exchange.snapshot.endpoints[candidate.adapter.id]
        request = endpoint.dialect.encode(exchange.chat, candidate.adapter, stream=True)
        deadline = time.monotonic() + self._patience(exchange, candidate, stream=True)
        answer = await self.upstream.send(endpoint, request, stream=True, within_s=_until(deadline))
        try:
            await self._raise_for_status(endpoint, answer)
            decoder = endpoint.dialect.decoder(candidate.adapter)
            if answer.headers.get("content-type", "").startswith("application/json"):
                held = [_as_chunk(endpoint.dialect.decode(await answer.read_all(_until(deadline)), candidate.adapter))]
                decoder.is_finished = True
            else:
                held = await _first_content(answer, decoder, deadline)
        except BaseException:
            await answer.aclose()
            raise
        exchange.said_first(attempt)
        return OpenStream(candidate, answer, decoder, held)

    async def events(self, exchange: Exchange, opening: asyncio.Future[OpenStream]) -> AsyncIterator[bytes]:
        """The bytes of an event stream, to `[DONE]`. Closing the iterator ends the upstream's call and settles."""
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
            async for chunks in _remaining(opened):
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
            await (_abandon(opening) if opened is None else opened.answer.aclose())

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
        if opened is not None and relaying is not None:
            self._consumed_so_far(exchange, opened, relaying)
            if isinstance(error, ProviderError):
                _name_provider(error, opened.candidate)
                self.health.failed(opened.candidate.adapter.id, time.monotonic(), error)
            exchange.attempt_failed(exchange.record.attempts[-1], error)
            exchange.record.finish_reason = "error"
        exchange.failed(error)
        record = exchange.record
        identity = relay.Identity(record.request_id, int(record.timestamp), record.model_id, record.provider)
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

    # --- both ------------------------------------------------------------------------------------------------------

    def _plan(self, exchange: Exchange) -> Plan:
        ledger.check_writable()
        assert exchange.ask is not None
        snapshot = exchange.snapshot
        plan = planner.build(
            exchange.ask, snapshot.catalogue, snapshot.routing, self.health, now=time.monotonic(), dice=self.dice
        )
        exchange.planned(plan)
        return plan

    async def _first(self, exchange: Exchange, plan: Plan, call: Call[Result]) -> tuple[Candidate, Result]:
        """The first candidate that answers, and its answer. Raises the last candidate's error when none does."""
        waiting, tries_left = list(plan.candidates), plan.policy.max_attempts
        previous: list[JSON] = []
        while waiting:
            candidate, tries_left = waiting.pop(0), tries_left - 1
            adapter_id = candidate.adapter.id
            attempt = exchange.attempt(candidate)
            self.health.started(adapter_id, time.monotonic())
            try:
                return candidate, await call(exchange, candidate, attempt)
            except (ProviderError, InvalidRequest) as error:
                exchange.attempt_failed(attempt, error)
                if isinstance(error, ProviderError):
                    _name_provider(error, candidate)
                    self.health.failed(adapter_id, time.monotonic(), error)
                else:
                    self.health.released(adapter_id)
                waiting = [other for other in waiting if _may_try(error, candidate, other)]
                is_late = time.monotonic() - exchange.started > plan.policy.deadline_s
                if not waiting or not tries_left or is_late:
                    if previous:
                        error.metadata["previous_errors"] = previous
                    raise
                previous.append(
                    {"provider": candidate.adapter.provider.name, "code": error.status, "status": attempt.status}
                )
            except BaseException:
                self.health.released(adapter_id)
                raise
        raise InternalError("A plan without candidates reached the pipeline")  # planner.build raises before this can be

    async def _raise_for_status(self, endpoint: Endpoint, answer: Answer) -> None:
        if answer.status >= 300:
            body = await answer.read_all(ERROR_BODY_S, MAX_ERROR_BYTES)
            raise endpoint.dialect.error(answer.status, answer.headers, body)

    def _patience(self, exchange: Exchange, candidate: Candidate, *, stream: bool) -> float:
        """Seconds for this attempt: its provider's timeout, and never past the policy's deadline for all attempts.

        A whole answer sends no byte before it is complete, so only a stream can be told to be silent by its first byte.
        """
        provider = candidate.adapter.provider
        own = provider.first_byte_timeout_s if stream else provider.total_timeout_s
        left = candidate.policy.deadline_s - (time.monotonic() - exchange.started)
        return max(0.05, min(own, left))

    def _succeeded(self, exchange: Exchange, candidate: Candidate, completion_tokens: int) -> None:
        exchange.succeeded()
        attempt = exchange.record.attempts[-1]
        ttft_s = attempt.ttft_ms / 1000 if attempt.ttft_ms is not None else None
        self.health.succeeded(candidate.adapter.id, time.monotonic(), ttft_s, attempt.latency_ms / 1000, completion_tokens)

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

    def __init__(self, pipeline: Pipeline, exchange: Exchange, opening: asyncio.Future[OpenStream]) -> None:
        self._exchange, self._opening = exchange, opening
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
            await _abandon(self._opening)
            self._exchange.cancelled()
        await self._events.aclose()  # type: ignore[attr-defined]


async def _abandon(opening: asyncio.Future[OpenStream]) -> None:
    """End the opening of a stream nobody waits for any more, and the stream if it is open."""
    opening.cancel()
    try:
        opened = await opening
    except (asyncio.CancelledError, GatewayError):
        return
    await opened.answer.aclose()


async def _first_content(answer: Answer, decoder: StreamDecoder, deadline: float) -> list[Chunk]:
    """Everything up to the first content. Raises `ProviderError` if the stream ends, fails or stays silent before it."""
    held: list[Chunk] = []
    while True:
        data = await answer.read(_until(deadline))
        chunks = decoder.feed(data) if data else decoder.flush()
        held += chunks
        if any(map(relay.has_content, chunks)):
            return held
        if not data:
            if decoder.is_finished and any(chunk.usage and chunk.usage.completion_tokens for chunk in held):
                return held
            raise ProviderUnavailable("Provider ended the stream without an answer", upstream_status=answer.status)


async def _remaining(opened: OpenStream) -> AsyncIterator[list[Chunk]]:
    """The chunks after the first content. Raises `ProviderError` if the stream breaks before its finish reason."""
    answer, decoder = opened.answer, opened.decoder
    provider = opened.candidate.adapter.provider
    deadline = time.monotonic() + provider.total_timeout_s
    while not decoder.is_done:
        patience = AFTER_FINISH_S if decoder.is_finished else min(provider.idle_timeout_s, _until(deadline))
        try:
            data = await answer.read(patience)
        except ProviderError:
            if decoder.is_finished:
                return  # All has been said; only the connection's end was missing.
            raise
        yield decoder.feed(data) if data else decoder.flush()
        if decoder.failure is not None:
            raise decoder.failure
        if not data:
            break
    if not decoder.is_finished:
        raise ProviderUnavailable("Provider broke the stream off before its end")


def _as_chunk(completion: Completion) -> Chunk:
    """A whole answer, from a provider that does not stream, as the one chunk of a stream."""
    if not relay.is_answer(completion):
        raise ProviderUnavailable("Provider sent an empty answer")
    choices = [{**{k: v for k, v in c.items() if k != "message"}, "delta": c["message"]} for c in completion.choices]
    return Chunk(choices, completion.usage, completion.upstream_id, completion.extra)


def _may_try(error: ProviderError | InvalidRequest, failed: Candidate, following: Candidate) -> bool:
    """Whether `following` may be asked after `failed` refused or broke: another model may always, another adapter of the
    same model only where the request itself was not at fault, or was one that just this dialect cannot say."""
    if following.model.id != failed.model.id or isinstance(error, InvalidRequest):
        return True
    return error.try_next


def _name_provider(error: ProviderError, candidate: Candidate) -> None:
    error.metadata["provider_name"] = candidate.adapter.provider.name
    error.metadata["is_byok"] = False


def _shutting_down() -> NotServing:
    return NotServing("The gateway is shutting down; send the request again.", headers={"Retry-After": "1"})


def _until(deadline: float) -> float:
    """Seconds left, at least a sliver, so that a passed deadline reads as a timeout."""
    return max(0.001, deadline - time.monotonic())
