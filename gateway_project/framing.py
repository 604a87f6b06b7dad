"""Where one HTTP message ends and the next begins: uvicorn's reading of it, put right where RFC 9110 and 9112 say otherwise.

Owns three things: an `Upgrade` that is offered is ignored, with all that follows read as the request's body; trailers are no
headers; and a client of HTTP/1.0 gets no chunks, which it cannot read. Must not know what is served, nor who may be how slow.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

Application = Callable[[Any, Any, Any], Awaitable[None]]
Send = Callable[[Any], Awaitable[None]]


class FramedConnection(HttpToolsProtocol):
    """A client's connection on which every request is framed by its head alone."""

    # --- Upgrades ---

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offered:
                self._ignore_upgrade(memoryview(data)[offered.args[0] :])
        except httptools.HttpParserError:
            message = "Invalid HTTP request received."
            self.logger.warning(message)
            self.send_400_response(message)

    def _should_upgrade(self) -> bool:
        """Whether uvicorn leaves a request that offers an upgrade alone: always, `_ignore_upgrade` sees to it."""
        return True

    def _ignore_upgrade(self, rest: memoryview) -> None:
        """Begin the request whose head has just ended again, without its offer; `rest` is what follows.

        llhttp takes what follows an offer for another protocol. httptools (0.9) can neither tell it otherwise nor give the
        request's body, and goes on with a new request: what a client sends as content would be obeyed. Java's HttpClient, Ktor
        and `curl --http2` make such offers. RFC 9110 7.8 lets a server ignore them.
        """
        is_offered = True
        while is_offered:
            if self.scope["method"] == "CONNECT":
                self.send_400_response("CONNECT asks for a tunnel, and this server is no proxy.")
                return
            head = self._head_without_offer()
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
            self.parser.feed_data(head)
            try:
                self.parser.feed_data(rest)
                is_offered = False
            except httptools.HttpParserUpgrade as offered:  # by a request that was sent with this one
                rest = rest[offered.args[0] :]

    def _head_without_offer(self) -> bytes:
        scope = self.scope
        lines = [b"%b %b HTTP/%b" % (scope["method"].encode(), self.url, scope["http_version"].encode())]
        lines += [b"%b: %b" % (name, value) for name, value in scope["headers"] if name != b"upgrade"]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    # --- Trailers ---

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        # The parser gives trailers as it gives headers. They go where nobody looks: merged into the head, they could
        # authenticate or name an address behind the back of a proxy (RFC 9110 6.5.1).
        self.headers = []

    # --- Clients of HTTP/1.0 ---

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if cycle.scope["http_version"] < "1.1":
            app = _unchunked(app, cycle)
        super()._start_asgi_task(cycle, app)


def _unchunked(application: Application, cycle: RequestResponseCycle) -> Application:
    """`application`, whose answers of unknown length end with the connection (RFC 9112 6.1), which uvicorn closes anyway."""

    async def answer(scope: Any, receive: Any, send: Send) -> None:
        async def send_plain(message: Mapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                cycle.chunked_encoding = False
            else:  # What uvicorn would count down from an announced length.
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await application(scope, receive, send_plain)

    return answer
