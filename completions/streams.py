"""Streamed answers from the provider's side: opening one up to its first content, and reading on to its end.

Knows when a stream counts as begun, finished or broken; what is made of its chunks is the relay's business.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from accounting.record import Attempt
from completions import relay
from completions.dialects.base import Chunk, Completion, StreamDecoder
from completions.resume import Replay
from completions.upstream import Answer, Endpoint
from gateway_project.errors import GatewayError, ProviderError, ProviderTimeout, ProviderUnavailable
from routingapp.plan import Candidate

log = logging.getLogger("gateway.completions")

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
    patience = float("inf")
    if opened.replay is not None:
        # Its new content comes only after all that is known: until then it has the time that an answer in full flow has.
        provider = opened.candidate.adapter.provider
        patience, deadline = provider.idle_timeout_s, time.monotonic() + provider.total_timeout_s
    if answer.headers.get("content-type", "").startswith("application/json"):
        completion = endpoint.dialect.decode(await answer.read_all(until(deadline)), endpoint.adapter)
        decoder.is_finished = True
        whole = [_as_chunk(completion)]
        opened.held = opened.replay.feed(whole) if opened.replay else whole
        return
    while True:
        data = await _read(answer, min(patience, until(deadline)), deadline)
        chunks = opened.read(data)
        opened.held += chunks
        if any(map(relay.has_content, chunks)):
            return
        if decoder.failure is not None:
            raise decoder.failure
        if not data or decoder.is_done:
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
    if decoder.failure is not None and not decoder.is_finished:
        raise decoder.failure
    provider = opened.candidate.adapter.provider
    in_all = deadline = time.monotonic() + provider.total_timeout_s
    while not decoder.is_done:
        if not decoder.is_finished:
            deadline = in_all
        elif deadline == in_all:
            deadline = min(in_all, time.monotonic() + AFTER_FINISH_S)
        try:
            data = await _read(answer, min(provider.idle_timeout_s, until(deadline)), deadline)
            chunks = opened.read(data)
        except ProviderError:
            if decoder.is_finished:
                return  # All has been said; only the connection's end was missing.
            raise
        yield chunks
        if decoder.failure is not None and not decoder.is_finished:
            raise decoder.failure
        if not data:
            break
    if not decoder.is_finished:
        raise ProviderUnavailable("Provider broke the stream off before its end")
    # After the end mark only the connection's own end is missing, which most engines send on its own.
    answer.expect_end()


async def _read(answer: Answer, within_s: float, deadline: float) -> bytes:
    """The next bytes. Raises `ProviderTimeout` past `deadline`, also where bytes are always there and no wait ever ends."""
    if time.monotonic() >= deadline:
        raise ProviderTimeout("Provider kept sending past the time that it had")
    return await answer.read(within_s)


def until(deadline: float) -> float:
    """Seconds left, at least a sliver, so that a passed deadline reads as a timeout."""
    return max(0.001, deadline - time.monotonic())


def _as_chunk(completion: Completion) -> Chunk:
    """A whole answer, from a provider that does not stream, as the one chunk of a stream."""
    if not relay.is_answer(completion):
        raise ProviderUnavailable("Provider sent an empty answer")
    choices = [{**{k: v for k, v in c.items() if k != "message"}, "delta": c["message"]} for c in completion.choices]
    for choice in choices:
        for index, call in enumerate(choice["delta"].get("tool_calls") or ()):
            call.setdefault("index", index)
    return Chunk(choices, completion.usage, completion.upstream_id, completion.extra)


async def give_up(opening: asyncio.Future[OpenStream]) -> OpenStream | None:
    """End the opening of a stream. Gives the stream where it is open all the same: it is the caller's to close.

    Whatever the opening fails with ends here, a bug of ours in the log: who gives up on it has something else to say.
    """
    opening.cancel()
    await asyncio.wait((opening,))
    if opening.cancelled():
        return None
    error = opening.exception()
    if error is None:
        return opening.result()
    if not isinstance(error, GatewayError):
        log.error("a stream that nobody waits for any more failed", exc_info=error)
    return None
