"""What every HTTP request gets: an id, in `X-Request-Id` and in each line logged for it; and in the API lane a count.

Those of the API that leave no record get their access line here, as the others do from their record.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any

from completions import metrics, telemetry, tracing, underway
from completions.exchange import CLIENT_CLOSED_REQUEST
from completions.underway import Underway, generation_id
from gateway_project import misses

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]

UNMATCHED = "unmatched"
_CALLER_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
"""What of a caller's own `X-Request-Id` is taken: nothing that could break a line or a header."""
_HEALTH = "/health"
"""Supervisors ask there every few seconds: a line each would bury the others."""
_TRACE_HEADERS = (b"traceparent", b"tracestate")


async def named(application: Application, scope: Message, receive: Receive, send: Send) -> None:
    """Let `application` answer the request under an id of its own."""
    request = _begin(scope, dict(scope["headers"]))
    token = underway.begin(request)

    status = CLIENT_CLOSED_REQUEST

    async def send_with_id(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            message = {**message, "headers": [*message["headers"], (b"x-request-id", request.request_id.encode())]}
        await send(message)

    try:
        await application(scope, receive, send_with_id)
    finally:
        path = _path(scope)
        if not request.is_recorded and misses.API.match(path):
            # Account pages: Django's own metrics count their responses.
            telemetry.unrecorded(request, scope["method"], path, status, counts=False)
        underway.end(token)


class Counted:
    """A request of the API lane while it is served: under an id of its own, and counted when it ends."""

    __slots__ = ("_request", "_route", "_scope", "_status", "_token", "headers")

    def __init__(self, scope: Message) -> None:
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self._request = _begin(scope, self.headers)
        self._scope = scope
        self._route = UNMATCHED
        # A client that left before anything was sent has seen no status: 499, as in the records.
        self._status = CLIENT_CLOSED_REQUEST

    def __enter__(self) -> Counted:
        self._token = underway.begin(self._request)
        metrics.totals.in_flight += 1
        return self

    def __exit__(self, *_: object) -> None:
        metrics.totals.in_flight -= 1
        metrics.route_ended(self._route, self._scope["method"], self._status)
        if not self._request.is_recorded and not self._route.startswith(_HEALTH):
            telemetry.unrecorded(self._request, self._scope["method"], _path(self._scope), self._status, counts=True)
        underway.end(self._token)

    def body_is_complete(self) -> None:
        """From now on the time is the gateway's: how long a client takes to send is its own affair."""
        self._request.started = time.monotonic()

    def matched(self, pattern: str) -> None:
        """The view was found by Django's `pattern`."""
        self._route = template(pattern)

    def answered(self, status: int) -> tuple[bytes, bytes]:
        """The response's head is about to be sent. Returns the header that names the request."""
        self._status = status
        self._request.overhead_s = self._request.spent_here_s()
        return b"x-request-id", self._request.request_id.encode()


def _path(scope: Message) -> str:
    """The path below the prefix at which a proxy mounts the gateway."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _begin(scope: Message, headers: Mapping[bytes, bytes]) -> Underway:
    client = scope.get("client")
    request = Underway(generation_id(time.time()), address=client[0] if client else "")
    if (caller_id := headers.get(b"x-request-id")) is not None and _CALLER_ID.fullmatch(caller_id):
        request.caller_id = caller_id.decode()
    if tracing.is_on():
        told = {name: headers[name] for name in _TRACE_HEADERS if name in headers}
        request.trace_headers = {name.decode(): value.decode("latin1") for name, value in told.items()}
    return request


@lru_cache(maxsize=256)
def template(pattern: str) -> str:
    """`/v1/models/{model_id}` of Django's `^(?:api/)?v1/models/<path:model_id>`: one name for both prefixes."""
    plain = pattern.replace("/?", "").replace("^", "").replace("$", "").replace("(?:api/)?", "").replace("\\Z", "")
    return "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", plain)
