"""Calling the candidates of a plan, one after the other, until one answers: the falling back, and what it remembers."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from accounting.record import Attempt
from completions import relay, streams
from completions.dialects.base import JSON, Completion
from completions.exchange import Exchange
from completions.streams import OpenStream, until
from completions.upstream import MAX_ERROR_BYTES, Answer, Endpoint, Upstream
from gateway_project.errors import InternalError, InvalidRequest, ProviderError, ProviderUnavailable
from routingapp.health import Health
from routingapp.plan import Candidate, Plan

Result = TypeVar("Result")
Call = Callable[[Exchange, Candidate, Attempt], Awaitable[Result]]

ERROR_BODY_S = 10.0
"""How long an upstream's error text is waited for."""


@dataclass(frozen=True, slots=True)
class Attempts:
    """Tries candidates over `upstream` and tells `health` how each did."""

    upstream: Upstream
    health: Health

    async def answer(self, exchange: Exchange, plan: Plan) -> tuple[Candidate, Completion]:
        """The first whole answer, and who gave it. Raises the last candidate's error when none answers."""
        return await self._first(exchange, plan, self._complete)

    async def open(self, exchange: Exchange, plan: Plan) -> OpenStream:
        """The first stream that says something. Raises the last candidate's error when none does."""
        _, opened = await self._first(exchange, plan, self._stream)
        return opened

    async def _first(self, exchange: Exchange, plan: Plan, call: Call[Result]) -> tuple[Candidate, Result]:
        waiting, tries_left = list(plan.candidates), plan.policy.max_attempts
        previous: list[JSON] = []
        while waiting:
            candidate, tries_left = waiting.pop(0), tries_left - 1
            attempt = exchange.attempt(candidate)
            self.health.started(candidate.adapter.id, time.monotonic())
            try:
                return candidate, await call(exchange, candidate, attempt)
            except (ProviderError, InvalidRequest) as error:
                exchange.attempt_failed(attempt, error)
                self.failed(candidate, error)
                waiting = [other for other in waiting if _may_try(error, candidate, other)]
                is_late = time.monotonic() - exchange.started > plan.policy.deadline_s
                if not waiting or not tries_left or is_late:
                    if previous:
                        error.metadata["previous_errors"] = previous
                    raise
                name = candidate.adapter.provider.name
                previous.append({"provider": name, "code": error.status, "status": attempt.status})
            except BaseException:
                self.health.released(candidate.adapter.id)
                raise
        # planner.build raises before this can be.
        raise InternalError("A plan without candidates reached the pipeline")

    def failed(self, candidate: Candidate, error: ProviderError | InvalidRequest) -> None:
        """Tell `health` of the failure and the error of its provider. What a dialect cannot say is nobody's fault."""
        if isinstance(error, ProviderError):
            error.metadata["provider_name"] = candidate.adapter.provider.name
            error.metadata["is_byok"] = False
            self.health.failed(candidate.adapter.id, time.monotonic(), error)
        else:
            self.health.released(candidate.adapter.id)

    async def _complete(self, exchange: Exchange, candidate: Candidate, attempt: Attempt) -> Completion:
        endpoint = exchange.snapshot.endpoints[candidate.adapter.id]
        deadline = time.monotonic() + self._patience(exchange, candidate, stream=False)
        answer = await self._send(exchange, endpoint, deadline, stream=False)
        try:
            body = await answer.read_all(until(deadline))
        finally:
            await answer.aclose()
        completion = endpoint.dialect.decode(body, candidate.adapter)
        if not relay.is_answer(completion):
            raise ProviderUnavailable("Provider sent an empty answer", upstream_status=answer.status)
        return completion

    async def _stream(self, exchange: Exchange, candidate: Candidate, attempt: Attempt) -> OpenStream:
        endpoint = exchange.snapshot.endpoints[candidate.adapter.id]
        deadline = time.monotonic() + self._patience(exchange, candidate, stream=True)
        answer = await self._send(exchange, endpoint, deadline, stream=True)
        try:
            opened = await streams.first_content(candidate, endpoint, answer, deadline)
        except BaseException:
            await answer.aclose()
            raise
        exchange.said_first(attempt)
        return opened

    async def _send(self, exchange: Exchange, endpoint: Endpoint, deadline: float, *, stream: bool) -> Answer:
        """The head of a good answer. Raises the error that a bad one stands for."""
        request = endpoint.dialect.encode(exchange.chat, endpoint.adapter, stream=stream)
        answer = await self.upstream.send(endpoint, request, stream=stream, within_s=until(deadline))
        if answer.status < 300:
            return answer
        try:
            body = await answer.read_all(min(ERROR_BODY_S, until(deadline)), MAX_ERROR_BYTES)
        finally:
            await answer.aclose()
        raise endpoint.dialect.error(answer.status, answer.headers, body)

    def _patience(self, exchange: Exchange, candidate: Candidate, *, stream: bool) -> float:
        """Seconds for this attempt: its provider's timeout, and never past the policy's deadline for all attempts.

        A whole answer sends no byte before it is complete, so only a stream can be told to be silent by its first byte.
        """
        provider = candidate.adapter.provider
        own = provider.first_byte_timeout_s if stream else provider.total_timeout_s
        left = candidate.policy.deadline_s - (time.monotonic() - exchange.started)
        return max(0.05, min(own, left))


def _may_try(error: ProviderError | InvalidRequest, failed: Candidate, following: Candidate) -> bool:
    """Whether `following` may be asked after `failed` refused or broke.

    Another model may always (openrouter.md 4.5). Another adapter of the same model only where the request itself was not
    at fault, or was one that just this dialect cannot say.
    """
    if following.model.id != failed.model.id or isinstance(error, InvalidRequest):
        return True
    return error.try_next
