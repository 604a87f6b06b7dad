"""Connections to Redis that nobody waits for long: made without retries, and ended although a cancellation may get lost."""

from __future__ import annotations

import asyncio
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

ANSWER_WITHIN_S = 0.25
"""After this long without an answer a connection is given up."""
RETRY_EVERY_S = 0.5
"""How often a Redis that is away is tried again."""


def connect(url: str, *, answer_within_s: float = ANSWER_WITHIN_S, decode_responses: bool = False) -> Redis:
    """A client of the Redis at `url` that connects with its first command. Raises `ValueError` for what is no URL of a Redis."""
    return Redis.from_url(
        url,
        socket_timeout=answer_within_s,
        socket_connect_timeout=max(ANSWER_WITHIN_S, answer_within_s),
        retry=Retry(NoBackoff(), 0),
        decode_responses=decode_responses,
    )


async def end(task: asyncio.Task[Any] | None) -> None:
    """Cancel a task that talks to Redis, and wait until it is over."""
    while task is not None and not task.done():
        # More than once, as libraries below may lose a cancellation that arrives with an answer.
        task.cancel()
        await asyncio.wait((task,), timeout=ANSWER_WITHIN_S)
