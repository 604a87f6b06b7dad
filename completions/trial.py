"""One request through the real pipeline without a server: what `manage.py trymodel` does. Owns no rules of its own.

The request is planned, sent, relayed, charged and recorded as a caller's would be; nobody's key is asked for, because who may
run commands here is the operator.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import orjson
from django.conf import settings

from accounting import ledger
from accounting.credentials import ANONYMOUS
from accounting.record import Record
from completions import bodies, intake, runtime, schemas, snapshot, sse
from completions.exchange import ClientHeaders, Exchange
from gateway_project.errors import ProviderError, ProviderUnavailable

Say = Callable[[str], object]
"""Takes pieces of the answer as they come."""


def run(body: dict[str, Any], say: Say) -> Record:
    """Ask what `body`, a chat request, asks, and `say` the answer. Gives the request's record, which is in the ledger.

    Raises `GatewayError` where the request is refused or fails, `OSError` where the journal cannot be written.
    """
    loaded = snapshot.load()
    ledger.start()
    try:
        return asyncio.run(_ask(body, Exchange.begin(ANONYMOUS, loaded, ClientHeaders(app_title="trymodel")), say))
    finally:
        ledger.stop(settings.SHUTDOWN_GRACE_S)


async def _ask(body: dict[str, Any], exchange: Exchange, say: Say) -> Record:
    intake.accept(exchange, bodies.checked(schemas.ChatRequest, body), body, log_content=settings.LOG_CONTENT)
    pipeline = runtime.start().pipeline
    try:
        if body.get("stream"):
            decoder = sse.SSEDecoder()
            async for part in await pipeline.stream(exchange):
                for _, data in decoder.feed(part):
                    if data != b"[DONE]":
                        _say_event(orjson.loads(data), say)
        else:
            for choice in (await pipeline.complete(exchange))["choices"]:
                _say(choice["message"], say)
    finally:
        await runtime.stop()
    return exchange.record


def _say_event(event: dict[str, Any], say: Say) -> None:
    if error := event.get("error"):
        raise ProviderUnavailable(f"The stream broke off: {error['message']}")
    for choice in event["choices"]:
        _say(choice["delta"], say)


def _say(said: dict[str, Any], say: Say) -> None:
    """The answer's text as it is; what is not text, as JSON."""
    for key in ("reasoning", "content", "refusal"):
        if said.get(key):
            say(said[key])
    for key in ("tool_calls", "images", "audio"):
        if said.get(key):
            say(orjson.dumps({key: said[key]}).decode())


def plan_of(record: Record) -> Iterator[str]:
    """Who might have answered, in order, and why; then who was left out, and why; then who was asked."""
    for place in record.plan or ():
        rank = f"{place['rank']}." if place["rank"] else "- "
        yield f"{rank} {place['model']} at {place['tag']}: {place['reason']}"
    for attempt in record.attempts:
        what = attempt.error or f"{attempt.status} in {attempt.latency_ms} ms"
        yield f"-> {attempt.provider} as {attempt.upstream_model}: {what}"


def explain(error: Exception) -> str:
    """`error` in a sentence, with the provider's own words where there are some."""
    raw = error.raw if isinstance(error, ProviderError) else ""
    return f"{error}" + (f"\n{raw}" if raw and raw not in str(error) else "")
