"""What every HTTP request gets around its lane: an id, in `X-Request-Id` and in each line logged for it, and a count."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from completions import instruments, metrics, tracing, underway
from completions.exchange import generation_id
from completions.underway import Underway

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]
View = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

UNMATCHED = "unmatched"
_CALLER_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
"""What of a caller's own `X-Request-Id` is taken: nothing that could break a line or a header."""


async def serve(lane: Application, scope: Message, receive: Receive, send: Send, *, is_counted: bool) -> None:
    """Let `lane` answer the request under an id of its own; `is_counted` in the metrics of the API lane."""
    request = _begin(scope)
    token = underway.begin(request)
    status = 0

    async def send_with_id(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            request.overhead_s = request.spent_here_s()
            named = (b"x-request-id", request.request_id.encode())
            message = {**message, "headers": [*message["headers"], named]}
        await send(message)

    if not is_counted:
        try:
            await lane(scope, receive, send_with_id)
        finally:
            underway.end(token)
        return
    instruments.HTTP_IN_FLIGHT.inc()
    try:
        await lane(scope, receive, send_with_id)
    finally:
        instruments.HTTP_IN_FLIGHT.dec()
        # A client that left before anything was sent has seen no status: 499, as in the records.
        metrics.route_ended(request.route or UNMATCHED, scope["method"], status or 499)
        underway.end(token)


def _begin(scope: Message) -> Underway:
    client = scope.get("client")
    request = Underway(generation_id(time.time()), address=client[0] if client else "")
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            request.caller_id = value.decode() if _CALLER_ID.fullmatch(value) else None
        elif name in (b"traceparent", b"tracestate") and tracing.is_on():
            request.trace_headers = {**request.trace_headers, name.decode(): value.decode("latin1")}
    return request


def route(view: View) -> View:
    """Middleware of the lean lane: notes the route's template and when the body was complete."""

    async def answer(http_request: HttpRequest) -> HttpResponseBase:
        request = underway.current()
        if request is None:
            return await view(http_request)
        request.started = time.monotonic()
        try:
            return await view(http_request)
        finally:
            match = http_request.resolver_match
            request.route = template(match.route) if match else None

    return answer


@lru_cache(maxsize=256)
def template(pattern: str) -> str:
    """`/v1/models/{model_id}` of Django's `^(?:api/)?v1/models/<path:model_id>`: one name for both prefixes."""
    plain = pattern.replace("^", "").replace("$", "").replace("(?:api/)?", "").replace("\\Z", "")
    return "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", plain)
