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
from contextlib import aclosing, suppress
from functools import lru_cache
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIRequest, get_script_prefix
from django.http import Http404, HttpRequest
from django.urls import ResolverMatch, get_resolver, set_script_prefix

from completions import envelope, runtime, sse
from completions.live import EventSource
from completions.reply import Headers, Reply
from gateway_project import body, browsers, misses, observed
from gateway_project.connection import WHOLE
from gateway_project.errors import GatewayError, InternalError

log = logging.getLogger("gateway.lane")

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
SendWhole = Callable[[int, Headers, bytes], bool]

LISTEN_AFTER_S = 0.05
"""What is answered sooner, such as a refusal, is spared the task that listens for its client's leaving."""
_READABLE = browsers.in_bytes(browsers.READABLE)


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
            whole = scope.get("extensions", {}).get(WHOLE)
            try:
                content = whole["receive"](self._max_body_bytes) if whole else None
                if content is None:
                    content = await body.read(
                        receive,
                        counted.headers.get(b"content-length", b""),
                        limit_bytes=self._max_body_bytes,
                        within_s=self._body_timeout_s,
                    )
            except body.ClientGone:
                _match(scope, counted)
                return
            except GatewayError as error:
                _match(scope, counted)
                refusing = Conversation(receive, body.lingering(error, receive, send), counted)
                await refusing.answer(Reply.of(envelope.response(error)))
                return
            counted.body_is_complete()
            await Conversation(receive, send, counted, whole and whole["send"]).run(_request(scope, content))


def _request(scope: Message, content: bytes) -> ASGIRequest:
    request = ASGIRequest(scope, io.BytesIO())
    request.is_lean = True  # type: ignore[attr-defined]
    request._body = content  # Where Django looks for it; the limits have been held already.
    return request


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


def _match(scope: Message, counted: observed.Counted) -> None:
    """Find the route of a request that ends before it is asked for, so that it is counted there."""
    with suppress(Http404):
        counted.matched(resolve(_request(scope, b"").path_info).route)


async def respond(request: HttpRequest, counted: observed.Counted) -> Reply:
    """The view's reply, or the envelope of what it raised."""
    if request.method == "OPTIONS" and (preflight := browsers.preflight(request)):
        return Reply.of(preflight)
    try:
        match = request.resolver_match = resolve(request.path_info)
        counted.matched(match.route)
        response = await match.func(request, *match.args, **match.kwargs)
        if isinstance(response, Reply):
            return response
        if response.status_code == 405:
            response = envelope.response(misses.not_allowed(request, response))
    except Http404:
        response = envelope.response(misses.nothing_at(request))
    except GatewayError as error:
        response = envelope.response(error)
    except Exception:  # a bug of ours, in a view or in what it calls: the caller is told in the envelope as well
        log.exception("%s %s failed", request.method, request.path)
        response = envelope.response(InternalError("Internal error; the gateway's log has more."))
    return Reply.of(response)


class Conversation:
    """One request from its whole body to its last byte, with an ear open for the client's leaving."""

    __slots__ = ("_counted", "_is_gone", "_last_sent", "_listening", "_receive", "_send", "_send_whole")

    def __init__(
        self, receive: Receive, send: Send, counted: observed.Counted, send_whole: SendWhole | None = None
    ) -> None:
        self._receive, self._send, self._counted, self._send_whole = receive, send, counted, send_whole
        self._is_gone = False
        self._last_sent = 0.0
        self._listening: asyncio.Task[None] | None = None

    async def run(self, request: HttpRequest) -> None:
        """Answer `request`; when the client leaves, cancel whatever is being done for it."""
        answering = asyncio.current_task()
        assert answering is not None
        begins = asyncio.get_running_loop().call_later(LISTEN_AFTER_S, self._begin_to_listen, answering)
        try:
            await self.answer(await respond(request, self._counted))
        except asyncio.CancelledError:
            # Cancelled by the listener: done. By the server's shutdown: its to know.
            if not self._is_gone:
                raise
            answering.uncancel()
        finally:
            begins.cancel()
            if self._listening is not None:
                self._listening.cancel()
                self._listening = None  # It holds this conversation, and would be held by it.

    async def answer(self, reply: Reply) -> None:
        """Send `reply`, whole or as it comes."""
        headers = [*reply.headers, *_READABLE, self._counted.answered(reply.status)]
        if reply.events is not None:
            await self._stream(reply.events, reply, headers)
            return
        headers.append((b"content-length", b"%d" % len(reply.content)))
        if self._send_whole is None or not self._send_whole(reply.status, headers, reply.content):
            await self._send({"type": "http.response.start", "status": reply.status, "headers": headers})
            await self._send({"type": "http.response.body", "body": reply.content})

    async def _stream(self, events: EventSource, reply: Reply, headers: Headers) -> None:
        """Send each part as it comes, and comments in between."""
        async with aclosing(events):
            await self._send({"type": "http.response.start", "status": reply.status, "headers": headers})
            self._last_sent = time.monotonic()
            keeping = asyncio.get_running_loop().create_task(self._keep_alive())
            is_sending = False
            try:
                async for part in events:
                    is_sending = True
                    await self._send({"type": "http.response.body", "body": part, "more_body": True})
                    is_sending = False
                    self._last_sent = time.monotonic()
            except asyncio.CancelledError:
                if is_sending or self._is_gone or runtime.is_ready():
                    raise  # Closing the events records it; whoever does not read would keep that waiting.
                # By the server, which ends. The events have said so; their body is still to be ended as a whole one.
                log.info("a stream was cut off by the shutdown, at the end of SHUTDOWN_GRACE_S or by a second Ctrl-C")
            finally:
                keeping.cancel()
            await self._send({"type": "http.response.body", "body": b""})

    async def _keep_alive(self) -> None:
        """Send a comment whenever the stream has been silent for long."""
        interval = settings.KEEPALIVE_S
        while True:
            silent = time.monotonic() - self._last_sent
            if silent >= interval:
                await self._send({"type": "http.response.body", "body": sse.COMMENT, "more_body": True})
                self._last_sent = time.monotonic()
                silent = 0.0
            await asyncio.sleep(max(0.01, interval - silent))

    def _begin_to_listen(self, answering: asyncio.Task[Any]) -> None:
        self._listening = asyncio.get_running_loop().create_task(self._listen(answering))

    async def _listen(self, answering: asyncio.Task[Any]) -> None:
        """Wait for the client to leave."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._is_gone = True
        answering.cancel()
