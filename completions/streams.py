"""Streamed answers from the provider's side: opening one up to its first content, and reading on to its end.

Knows when a stream counts as begun, finished or broken; what is made of its chunks is the relay's business.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from accounting.record import Attempt
from completions import relay
from completions.dialects.base import Chunk, Completion, StreamDecoder
from completions.resume import Replay
from completions.upstream import Answer, Endpoint
from gateway_project.errors import ProviderError, ProviderUnavailable
from routingapp.plan import Candidate

AFTER_FINISH_S = 2.0
"""How long a stream may still send usage after its finish reason, before it is taken for ended."""


@dataclass(slots=True)
class OpenStream:
    """A stream whose first content has arrived: `held` is all of it so far.

    `replay` is there where the stream repeats what another one had said: `held` and what follows then are only what is new.
    """

    candidate: Candidate
    attempt: Attempt
    answer: Answer
    decoder: StreamDecoder
    held: list[Chunk]
    replay: Replay | None = None

    def read(self, data: bytes) -> list[Chunk]:
        """The chunks that `data`, or b"" at the end, completes."""
        chunks = self.decoder.feed(data) if data else self.decoder.flush()
        return self.replay.feed(chunks) if self.replay else chunks


async def first_content(opened: OpenStream, endpoint: Endpoint, deadline: float) -> None:
    """Read into `held` until something has been said, at the latest until `deadline` (monotonic seconds).

    Raises `ProviderError` if the stream ends, fails or stays silent before. Until this returns, another candidate may
    answer instead. A provider that answers a request for a stream with a whole answer is taken at its word.
    """
    answer, decoder = opened.answer, opened.decoder
    if answer.headers.get("content-type", "").startswith("application/json"):
        completion = endpoint.dialect.decode(await answer.read_all(until(deadline)), endpoint.adapter)
        decoder.is_finished = True
        opened.held = [_as_chunk(completion)]
        return
    while True:
        data = await answer.read(until(deadline))
        chunks = opened.read(data)
        opened.held += chunks
        if any(map(relay.has_content, chunks)):
            return
        if decoder.failure is not None:
            raise decoder.failure
        if not data:
            if decoder.is_finished and _is_answer(opened):
                return
            raise ProviderUnavailable("Provider ended the stream without an answer", upstream_status=answer.status)


def _is_answer(opened: OpenStream) -> bool:
    """Whether a stream that ended without new content is an answer: tokens were counted, or only the end was missing."""
    counted = any(chunk.usage and chunk.usage.completion_tokens for chunk in opened.held)
    return counted or (opened.replay is not None and opened.replay.is_caught_up)


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
        yield opened.read(data)
        if decoder.failure is not None:
            raise decoder.failure
        if not data:
            break
    if not decoder.is_finished:
        raise ProviderUnavailable("Provider broke the stream off before its end")


def until(deadline: float) -> float:
    """Seconds left, at least a sliver, so that a passed deadline reads as a timeout."""
    return max(0.001, deadline - time.monotonic())


def _as_chunk(completion: Completion) -> Chunk:
    """A whole answer, from a provider that does not stream, as the one chunk of a stream."""
    if not relay.is_answer(completion):
        raise ProviderUnavailable("Provider sent an empty answer")
    choices = [{**{k: v for k, v in c.items() if k != "message"}, "delta": c["message"]} for c in completion.choices]
    return Chunk(choices, completion.usage, completion.upstream_id, completion.extra)
