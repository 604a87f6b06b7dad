"""Streamed answers from the provider's side: opening one up to its first content, and reading on to its end.

Knows when a stream counts as begun, finished or broken; what is made of its chunks is the relay's business.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from completions import relay
from completions.dialects.base import Chunk, Completion, StreamDecoder
from completions.upstream import Answer, Endpoint
from gateway_project.errors import GatewayError, ProviderError, ProviderUnavailable
from routingapp.plan import Candidate

AFTER_FINISH_S = 2.0
"""How long a stream may still send usage after its finish reason, before it is taken for ended."""


@dataclass(slots=True)
class OpenStream:
    """A stream whose first content has arrived: `held` is all of it so far."""

    candidate: Candidate
    answer: Answer
    decoder: StreamDecoder
    held: list[Chunk]


async def first_content(candidate: Candidate, endpoint: Endpoint, answer: Answer, deadline: float) -> OpenStream:
    """Read until something has been said, at the latest until `deadline` (monotonic seconds).

    Raises `ProviderError` if the stream ends, fails or stays silent before. Until this returns, another candidate may
    answer instead. A provider that answers a request for a stream with a whole answer is taken at its word.
    """
    decoder = endpoint.dialect.decoder(candidate.adapter)
    if answer.headers.get("content-type", "").startswith("application/json"):
        completion = endpoint.dialect.decode(await answer.read_all(until(deadline)), candidate.adapter)
        decoder.is_finished = True
        return OpenStream(candidate, answer, decoder, [_as_chunk(completion)])
    held: list[Chunk] = []
    while True:
        data = await answer.read(until(deadline))
        chunks = decoder.feed(data) if data else decoder.flush()
        held += chunks
        if any(map(relay.has_content, chunks)):
            return OpenStream(candidate, answer, decoder, held)
        if decoder.failure is not None:
            raise decoder.failure
        if not data:
            if decoder.is_finished and any(chunk.usage and chunk.usage.completion_tokens for chunk in held):
                return OpenStream(candidate, answer, decoder, held)
            raise ProviderUnavailable("Provider ended the stream without an answer", upstream_status=answer.status)


async def remaining(opened: OpenStream) -> AsyncIterator[list[Chunk]]:
    """The chunks after the first content. Raises `ProviderError` if the stream breaks before its finish reason."""
    answer, decoder = opened.answer, opened.decoder
    if decoder.failure is not None:
        raise decoder.failure
    provider = opened.candidate.adapter.provider
    deadline = time.monotonic() + provider.total_timeout_s
    while not decoder.is_done:
        patience = AFTER_FINISH_S if decoder.is_finished else min(provider.idle_timeout_s, until(deadline))
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


async def abandon(opening: asyncio.Future[OpenStream]) -> None:
    """End the opening of a stream nobody waits for any more, and the stream if it is open."""
    opening.cancel()
    try:
        opened = await opening
    except (asyncio.CancelledError, GatewayError):
        return
    await opened.answer.aclose()


def until(deadline: float) -> float:
    """Seconds left, at least a sliver, so that a passed deadline reads as a timeout."""
    return max(0.001, deadline - time.monotonic())


def _as_chunk(completion: Completion) -> Chunk:
    """A whole answer, from a provider that does not stream, as the one chunk of a stream."""
    if not relay.is_answer(completion):
        raise ProviderUnavailable("Provider sent an empty answer")
    choices = [{**{k: v for k, v in c.items() if k != "message"}, "delta": c["message"]} for c in completion.choices]
    return Chunk(choices, completion.usage, completion.upstream_id, completion.extra)
