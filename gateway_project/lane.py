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
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIHandler, ASGIRequest, get_script_prefix
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix
from django.utils.module_loading import import_string

from completions import envelope
from gateway_project import body
from gateway_project.errors import GatewayError, InternalError, MethodNotAllowed, NotFound

log = logging.getLogger("gateway.lane")

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
View = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


class ApiLane(ASGIHandler):
    """An ASGI application for asynchronous views that never touch the database."""

    def load_middleware(self, is_async: bool = True) -> None:
        """Chain `settings.API_MIDDLEWARE`: functions that take and give an asynchronous view."""
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        handler: View = self._respond
        for path in reversed(settings.API_MIDDLEWARE):
            handler = import_string(path)(handler)
        self._middleware_chain = handler
        self._max_body_bytes = int(settings.MAX_BODY_MB * 1024 * 1024)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        set_script_prefix(get_script_prefix(scope))
        request = ASGIRequest(scope, io.BytesIO())
        request.is_lean = True  # type: ignore[attr-defined]
        try:
            # Django reads `request.body` from here; the limit has been held already.
            request._body = await body.read(
                receive,
                request.META.get("CONTENT_LENGTH", ""),
                limit_bytes=self._max_body_bytes,
                within_s=settings.BODY_TIMEOUT_S,
            )
        except body.ClientGone:
            return
        except GatewayError as error:
            lingering = body.lingering(receive, send)
            await Conversation(request, receive, lingering).answer(await self._reject(request, error))
            return
        await Conversation(request, receive, send).run(self._middleware_chain)

    async def _respond(self, request: HttpRequest) -> HttpResponseBase:
        """The view's response, or the envelope of what it raised."""
        try:
            response: HttpResponseBase = await self._get_response_async(request)  # type: ignore[attr-defined]
        except Http404:
            return envelope.response(
                NotFound(f"There is nothing at {request.path}; the API's pages are listed at /v1/docs.")
            )
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

    async def _reject(self, request: HttpRequest, error: GatewayError) -> HttpResponseBase:
        """An error found before the view, sent through the middleware so that browsers may read it."""
        handler: View = _always(envelope.response(error))
        for path in reversed(settings.API_MIDDLEWARE):
            handler = import_string(path)(handler)
        return await handler(request)


class Conversation:
    """One request from its whole body to its last byte, with an ear open for the client's leaving."""

    def __init__(self, request: HttpRequest, receive: Receive, send: Send) -> None:
        self._request, self._receive, self._send = request, receive, send
        self._is_gone = False
        self._keepalive = b""
        self._last_sent = 0.0

    async def run(self, view: View) -> None:
        """Answer the request; when the client leaves, cancel whatever is being done for it."""
        answering = asyncio.current_task()
        listening = asyncio.ensure_future(self._listen(answering))
        try:
            await self.answer(await view(self._request))
        except asyncio.CancelledError:
            # Cancelled by the listener: done. By the server's shutdown: its to know.
            if not self._is_gone:
                raise
            if answering is not None:
                answering.uncancel()
        finally:
            listening.cancel()

    async def answer(self, response: HttpResponseBase) -> None:
        """Send `response`, a whole one or a stream."""
        source = getattr(response, "source", None)
        try:
            await self._send({"type": "http.response.start", "status": response.status_code, "headers": _headers(response)})
            if source is None:
                await self._send({"type": "http.response.body", "body": response.content})  # type: ignore[attr-defined]
                return
            self._last_sent = time.monotonic()
            self._keepalive = response.keepalive  # type: ignore[attr-defined]
            async with aclosing(source):
                async for part in source:
                    await self._send({"type": "http.response.body", "body": part, "more_body": True})
                    self._last_sent = time.monotonic()
            self._keepalive = b""
            await self._send({"type": "http.response.body", "body": b""})
        finally:
            self._keepalive = b""
            if source is not None:
                await source.aclose()

    async def _listen(self, answering: asyncio.Task[Any] | None) -> None:
        """Wait for the client to leave, sending a comment whenever a stream has been silent for long."""
        interval = settings.KEEPALIVE_S
        patience = interval
        while True:
            try:
                async with asyncio.timeout(patience):
                    message = await self._receive()
            except TimeoutError:
                silent = time.monotonic() - self._last_sent
                if self._keepalive and silent >= interval:
                    await self._send({"type": "http.response.body", "body": self._keepalive, "more_body": True})
                    self._last_sent = time.monotonic()
                    silent = 0.0
                patience = max(0.01, interval - silent) if self._keepalive else interval
                continue
            if message["type"] == "http.disconnect":
                self._is_gone = True
                if answering is not None:
                    answering.cancel()
                return


def _headers(response: HttpResponseBase) -> list[tuple[bytes, bytes]]:
    headers = [(name.lower().encode("ascii"), value.encode("latin1")) for name, value in response.items()]
    if not response.streaming and "content-length" not in response.headers:
        headers.append((b"content-length", str(len(response.content)).encode()))  # type: ignore[attr-defined]
    return headers


def _always(response: HttpResponseBase) -> View:
    async def view(_: HttpRequest) -> HttpResponseBase:
        return response

    return view
