"""One call of one candidate: a whole answer, or a stream with its first content. Knows nothing of other candidates.

A call has two halves. First the request is put into the provider's words, which may turn out not to be possible; what is given
back then sends it, for one attempt. So a provider that cannot be told something is known before there is an attempt.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from accounting.record import Attempt
from completions import relay, streams
from completions.dialects.base import Completion, Encoded
from completions.exchange import Exchange
from completions.resume import Replay
from completions.streams import OpenStream, until
from completions.upstream import MAX_ERROR_BYTES, Answer, Endpoint, Upstream
from gateway_project.errors import ProviderUnavailable
from routingapp.plan import Candidate

ERROR_BODY_S = 10.0
"""How long an upstream's error text is waited for."""

Result = TypeVar("Result")
Sending = Callable[[Attempt], Awaitable[Result]]
"""Sends what has been put together, as this attempt. Raises `ProviderError`."""


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls candidates over `upstream`. Each raises `InvalidRequest` for what a provider cannot be told: nothing is sent then."""

    upstream: Upstream

    def complete(self, exchange: Exchange, candidate: Candidate) -> Sending[Completion]:
        endpoint = exchange.snapshot.endpoints[candidate.adapter.id]
        request = endpoint.dialect.encode(exchange.chat, endpoint.adapter, stream=False)
        return partial(self._complete, exchange, candidate, endpoint, request)

    async def _complete(
        self, exchange: Exchange, candidate: Candidate, endpoint: Endpoint, request: Encoded, attempt: Attempt
    ) -> Completion:
        deadline = time.monotonic() + self._patience(exchange, candidate, candidate.adapter.provider.total_timeout_s)
        answer = await self._send(endpoint, request, deadline, stream=False, key=exchange.key_of(attempt))
        try:
            body = await answer.read_all(until(deadline))
        finally:
            await answer.aclose()
        completion = endpoint.dialect.decode(body, candidate.adapter)
        if not relay.is_answer(completion):
            raise ProviderUnavailable("Provider sent an empty answer", upstream_status=answer.status)
        return completion

    def stream(
        self,
        exchange: Exchange,
        candidate: Candidate,
        *,
        chat: Mapping[str, Any] | None = None,
        replay: Replay | None = None,
    ) -> Sending[OpenStream]:
        """A stream with its first content. `chat` replaces the request, and `replay` filters, where an answer is resumed."""
        endpoint = exchange.snapshot.endpoints[candidate.adapter.id]
        request = endpoint.dialect.encode(chat or exchange.chat, endpoint.adapter, stream=True)
        return partial(self._stream, exchange, candidate, endpoint, request, replay)

    async def _stream(
        self,
        exchange: Exchange,
        candidate: Candidate,
        endpoint: Endpoint,
        request: Encoded,
        replay: Replay | None,
        attempt: Attempt,
    ) -> OpenStream:
        patience = candidate.adapter.provider.first_byte_timeout_s
        if exchange.answering is None:
            patience = self._patience(exchange, candidate, patience)
        deadline = time.monotonic() + patience
        answer = await self._send(endpoint, request, deadline, stream=True, key=exchange.key_of(attempt))
        opened = OpenStream(candidate, attempt, answer, endpoint.dialect.decoder(candidate.adapter), [], replay)
        try:
            await streams.first_content(opened, endpoint, deadline)
        except BaseException:
            await answer.aclose()
            raise
        exchange.said_first(attempt)
        return opened

    async def _send(self, endpoint: Endpoint, request: Encoded, deadline: float, *, stream: bool, key: int) -> Answer:
        """The head of a good answer. Raises the error that a bad one stands for."""
        answer = await self.upstream.send(endpoint, request, stream=stream, within_s=until(deadline), key=key)
        if answer.status < 300:
            return answer
        try:
            body = await answer.read_all(min(ERROR_BODY_S, until(deadline)), MAX_ERROR_BYTES)
        finally:
            await answer.aclose()
        raise endpoint.dialect.error(answer.status, answer.headers, body)

    def _patience(self, exchange: Exchange, candidate: Candidate, timeout_s: float) -> float:
        """Seconds for this attempt: its provider's timeout, and never past the policy's deadline for all attempts.

        A whole answer sends no byte before it is complete, so only a stream can be told to be silent by its first byte.
        """
        left = candidate.policy.deadline_s - (time.monotonic() - exchange.started)
        return max(0.05, min(timeout_s, left))
