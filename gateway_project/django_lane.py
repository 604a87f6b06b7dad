"""Django's own lane: admin, account pages, statistics, metrics. Adds to Django's handler what it lacks, an end to bodies.

Django writes a body of any size to a file before it looks at the first byte, for as long as the client cares to send.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from io import BytesIO
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIHandler, ASGIRequest

from completions import envelope
from completions.reply import Reply
from gateway_project import body, browsers, collector, misses
from gateway_project.errors import GatewayError

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class DjangoLane(ASGIHandler):
    """Django's handler behind the same limits as the lean lane: MAX_BODY_MB, BODY_TIMEOUT_S."""

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        announced = dict(scope["headers"]).get(b"content-length", b"")
        limit_bytes = int(settings.MAX_BODY_MB * 1024 * 1024)
        try:
            content = await body.read(receive, announced, limit_bytes=limit_bytes, within_s=settings.BODY_TIMEOUT_S)
        except body.ClientGone:
            return
        except GatewayError as error:
            await _refuse(error, scope, body.lingering(error, receive, send))
            return
        try:
            await super().__call__(scope, _replay(content, receive), send)
        finally:
            collector.page_served()


def _replay(content: bytes, receive: Receive) -> Receive:
    """`receive` as it was before the body was read."""
    pending: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]

    async def again() -> Message:
        return pending.pop() if pending else await receive()

    return again


async def _refuse(error: GatewayError, scope: dict[str, Any], send: Send) -> None:
    """Answer in the place of Django's middleware, which is not asked."""
    reply = Reply.of(envelope.response(error))
    is_of_api = misses.is_of_api(ASGIRequest(scope, BytesIO()))
    told = browsers.in_bytes(browsers.READABLE if is_of_api else browsers.TYPED)
    headers = [*reply.headers, *told, (b"content-length", b"%d" % len(reply.content))]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.content})
