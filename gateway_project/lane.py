"""The lean lane: how requests for `/v1` reach their views without Django's thread hops (design.md section 3).

Django's own `ASGIHandler` starts a thread pool per request and runs signals and middleware in it, for the sake of database
connections. Nothing served here touches the database, so this lane resolves and calls the asynchronous view directly. It owns
reading the body within its limit, turning exceptions into the error envelope, cancelling when the client leaves, and the
keep-alive comments of quiet streams.
"""

from __future__ import annotations

import asyncio
import io
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import lru_cache
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIRequest, get_script_prefix
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.urls import ResolverMatch, get_resolver, set_script_prefix

from completions import envelope
from gateway_project import body, browsers, observed
from gateway_project.errors import GatewayError, InternalError, MethodNotAllowed, NotFound

log = logging.getLogger("gateway.lane")

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_READABLE = [(name.lower().encode(), value.encode()) for name, value in browsers.READABLE.items()]


class ApiLane:
    """An ASGI application for asynchronous views that never touch the database."""

    def __init__(self) -> None:
        self._max_body_bytes = int(settings.MAX_BODY_MB * 1024 * 1024)
        self._body_timeout_s = settings.BODY_TIMEOUT_S
        self._is_below_root = bool(settings.FORCE_SCRIPT_NAME)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        with observed.Counted(scope) as counted:
            if self._is_below_root or scope.get("root_path"):
                set_script_prefix(get_script_prefix(scope))
            request = ASGIRequest(scope, io.BytesIO())
            request.is_lean = True  # type: ignore[attr-defined]
            conversation = Conversation(request, receive, send, counted)
            try:
                # Django reads `request.body` from here; the limit has been held already.
                request._body = await body.read(
                    receive,
                    request.META.get("CONTENT_LENGTH", ""),
                    limit_bytes=self._max_body_bytes,
                    within_s=self._body_timeout_s,
                )
            except body.ClientGone:
                return
            except GatewayError as error:
                conversation.send = body.lingering(receive, send)
                await conversation.answer(envelope.response(error))
                return
            counted.body_is_complete()
            await conversation.run()


@lru_cache(maxsize=128)
def resolve(path: str) -> ResolverMatch:
    """The view of `path`, remembered: resolving costs as much as planning a route. Raises `Http404`."""
    match = get_resolver().resolve(path)
    if not iscoroutinefunction(match.func):
        raise ImproperlyConfigured(
            f"The view of {path} is synchronous: it cannot be served by the event loop. Make it `async def`, or name its path "
            "in gateway_project.asgi.DJANGO_PAGES."
        )
    return match


async def respond(request: HttpRequest, counted: observed.Counted) -> HttpResponseBase:
    """The view's response, or the envelope of what it raised."""
    if request.method == "OPTIONS" and (preflight := browsers.preflight(request)):
        return preflight
    try:
        match = request.resolver_match = resolve(request.path_info)
        counted.matched(match.route)
        response: HttpResponseBase = await match.func(request, *match.args, **match.kwargs)
    except Http404:
        return envelope.response(NotFound(f"There is nothing at {request.path}; the API's pages are listed at /v1/docs."))
    except GatewayError as error:
        return envelope.response(error)
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        return envelope.response(InternalError("Internal error; the gateway's log has more."))
    if response.status_code == 405:
        allowed = response.headers.get("Allow", "")
        message = f"{request.method} is not allowed here; use {allowed}"
        return envelope.response(MethodNotAllowed(message, headers={"Allow": allowed}))
    return response


class Conversation:
    """One request from its whole body to its last byte, with an ear open for the client's leaving."""

    __slots__ = ("_counted", "_is_gone", "_last_sent", "_receive", "_request", "send")

    def __init__(self, request: HttpRequest, receive: Receive, send: Send, counted: observed.Counted) -> None:
        self._request, self._receive, self.send, self._counted = request, receive, send, counted
        self._is_gone = False
        self._last_sent = 0.0

    async def run(self) -> None:
        """Answer the request; when the client leaves, cancel whatever is being done for it."""
        answering = asyncio.current_task()
        assert answering is not None
        listening = asyncio.get_running_loop().create_task(self._listen(answering))
        try:
            await self.answer(await respond(self._request, self._counted))
        except asyncio.CancelledError:
            # Cancelled by the listener: done. By the server's shutdown: its to know.
            if not self._is_gone:
                raise
            answering.uncancel()
        finally:
            listening.cancel()

    async def answer(self, response: HttpResponseBase) -> None:
        """Send `response`, a whole one or a stream."""
        source = getattr(response, "source", None)
        headers = [(name.lower().encode("ascii"), value.encode("latin1")) for name, value in response.items()]
        headers += _READABLE
        headers.append(self._counted.answered(response.status_code))
        if source is not None:
            await self._stream(source, response, headers)
            return
        content = response.content  # type: ignore[attr-defined]
        headers.append((b"content-length", b"%d" % len(content)))
        await self.send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        await self.send({"type": "http.response.body", "body": content})

    async def _stream(self, source: Any, response: HttpResponseBase, headers: list[tuple[bytes, bytes]]) -> None:
        """Send each part as it comes, and comments in between."""
        async with aclosing(source):
            await self.send({"type": "http.response.start", "status": response.status_code, "headers": headers})
            self._last_sent = time.monotonic()
            keeping = asyncio.get_running_loop().create_task(self._keep_alive(response.keepalive))  # type: ignore[attr-defined]
            try:
                async for part in source:
                    await self.send({"type": "http.response.body", "body": part, "more_body": True})
                    self._last_sent = time.monotonic()
            finally:
                keeping.cancel()
            await self.send({"type": "http.response.body", "body": b""})

    async def _keep_alive(self, comment: bytes) -> None:
        """Send `comment` whenever the stream has been silent for long."""
        interval = settings.KEEPALIVE_S
        while True:
            silent = time.monotonic() - self._last_sent
            if silent >= interval:
                await self.send({"type": "http.response.body", "body": comment, "more_body": True})
                self._last_sent = time.monotonic()
                silent = 0.0
            await asyncio.sleep(max(0.01, interval - silent))

    async def _listen(self, answering: asyncio.Task[Any]) -> None:
        """Wait for the client to leave."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._is_gone = True
        answering.cancel()
