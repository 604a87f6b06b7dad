"""One client's connection, with an end to its patience: uvicorn's own has none for slow requests or readers that stopped reading.

Owns three limits: how long and how large a request's head may be, and how long a client may leave bytes unread. What they cost
is nothing per event: timers run only while a client keeps the gateway waiting. Bodies have limits of their own (`body`). Owns
also how a kept connection ends at a shutdown without losing the request that may be under way to it. Must not know what is served.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any

import orjson
from django.conf import settings
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from completions.underway import generation_id
from gateway_project.errors import GatewayError, InvalidRequest, RequestTimedOut
from gateway_project.framing import FramedConnection

access = logging.getLogger("gateway.access")

CLOSE = (b"connection", b"close")
LINGER_S = 0.5
"""How long an idle connection is kept at a shutdown: longer than a request is under way that was sent before its client could know.

uvicorn (0.54) closes idle connections at once, and a client that just then sends its next request is answered with a reset.
"""
HEAD_LIMIT_BYTES = 64 * 1024
"""Request line and headers, or trailers. One read of the socket may exceed it before it is noticed (asyncio reads 256 KiB)."""


WHOLE = "gateway.whole"
"""An extension of ASGI for what is whole, of which `scope["extensions"][WHOLE]` has two functions.

`receive(limit_bytes)` gives the body if all of it is there and not too large, else None; ASGI's `receive` then has no more of it.
`send(status, headers, content)` sends a whole answer by one write, where that can be, and gives whether it was. By messages
either takes coroutines, and an answer two writes to the socket.
"""


class HeadTooLarge(InvalidRequest):
    status = 431


class PatientConnection(FramedConnection):
    """What uvicorn makes for every connection (`server.run`)."""

    _deadline: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _unparsed_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._extensions = {WHOLE: {"receive": self._take, "send": self._answer}}
        self._expect_head()
        if CLOSE in self.server_state.default_headers:
            self.shutdown()  # accepted while the server went through those it had

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_complete()
        self._can_write()
        super().connection_lost(exc)

    # --- What is whole ---

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._serving = cycle  # One at a time: uvicorn starts a pipelined request when the one before is answered.
        super()._start_asgi_task(cycle, app)

    def _take(self, limit_bytes: int) -> bytes | None:
        """Do what the cycle's `receive` does for the one message of a usual request; leave any other one to it."""
        cycle = self._serving
        if cycle.more_body or len(cycle.body) > limit_bytes or cycle.disconnected or cycle.waiting_for_100_continue:
            return None
        content, cycle.body = bytes(cycle.body), bytearray()
        cycle.message_event.clear()  # From now on it tells of the client's leaving.
        self.flow.resume_reading()
        return content

    def _answer(self, status: int, headers: Sequence[tuple[bytes, bytes]], content: bytes) -> bool:
        """Do what the cycle's `send` does for the two messages of a usual answer; leave any other one to it."""
        cycle = self._serving
        if cycle.response_started or cycle.disconnected or self.flow.write_paused or not cycle.keep_alive:
            return False
        lines = [STATUS_LINE[status]]
        for name, value in (*cycle.default_headers, *headers):
            if name == b"connection":
                return False
            lines += (name, b": ", value, b"\r\n")
        head = b"".join(lines)
        if cycle.scope["method"] == "HEAD" or head.count(b"\n") != len(lines) // 4 + 1:
            return False  # A line break in a header is for uvicorn to refuse.
        cycle.waiting_for_100_continue = False
        cycle.response_started = cycle.response_complete = True
        self.transport.write(b"%b\r\n%b" % (head, content))
        cycle.message_event.set()
        cycle.on_response()
        return True

    # --- The server's end ---

    def shutdown(self) -> None:
        """Close after the next answer, which says so, or when none is asked for soon."""
        state = self.server_state
        if CLOSE not in state.default_headers:
            state.default_headers = [*state.default_headers, CLOSE]
        self.timeout_keep_alive = LINGER_S  # type: ignore[assignment]  # seconds for `call_later`, whole only in uvicorn's options
        if self.cycle is not None and not self.cycle.response_complete:
            if not self.cycle.response_started:
                self.cycle.keep_alive = False
            # else its head has promised to keep the connection, and it is kept for one more request.
        elif not self._unparsed_bytes:
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(LINGER_S, self.timeout_keep_alive_handler)

    # --- Slow and endless heads ---

    def data_received(self, data: bytes) -> None:
        self._unparsed_bytes += len(data)
        super().data_received(data)
        if not self._unparsed_bytes or self.transport.is_closing():
            return  # Most requests: the head came whole.
        if self._unparsed_bytes > HEAD_LIMIT_BYTES:
            limit_kib = HEAD_LIMIT_BYTES // 1024
            self._refuse(HeadTooLarge(f"Request line and headers exceed {limit_kib} KiB; send fewer or shorter ones."))
        elif self._deadline is None and (self.cycle is None or self.cycle.response_complete):
            self._expect_head()  # the next request of a kept connection, from its first bytes on

    def on_message_begin(self) -> None:
        self._unparsed_bytes = 1  # at least; not none, which would be a connection never used
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._unparsed_bytes = 0
        self._head_is_complete()
        super().on_headers_complete()
        # The connection's, and not this request's: what a request refers to must not refer to it.
        self.scope["extensions"] = self._extensions  # type: ignore[typeddict-item]

    def on_body(self, body: bytes) -> None:
        self._unparsed_bytes = 0
        super().on_body(body)

    def _expect_head(self) -> None:
        self._deadline = self.loop.call_later(settings.HEAD_TIMEOUT_S, self._on_slow_head)

    def _head_is_complete(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _on_slow_head(self) -> None:
        self._deadline = None
        if self._unparsed_bytes:
            seconds = f"{settings.HEAD_TIMEOUT_S:g} s (HEAD_TIMEOUT_S)"
            self._refuse(RequestTimedOut(f"The request's headers were not complete within {seconds}."))
        else:
            self.transport.close()  # a connection that was never used

    # --- Readers that stopped reading ---

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(settings.SEND_TIMEOUT_S, self._on_stalled_reader)

    def resume_writing(self) -> None:
        self._can_write()
        super().resume_writing()

    def _can_write(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _on_stalled_reader(self) -> None:
        """To the request this is a client that has left: it is cancelled, and what it cost is recorded."""
        self._stalled = None
        self.transport.abort()

    # --- Refusals without a request ---

    def send_400_response(self, msg: str) -> None:
        self._refuse(InvalidRequest(f"{msg} It is not HTTP/1.1 as this server reads it."))

    def _refuse(self, error: GatewayError) -> None:
        """Answer as all errors are answered, and hang up; into the middle of another answer nothing is written."""
        from completions import metrics  # needs Django, before which a worker loads this module

        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            self.transport.close()
            return
        request_id = generation_id(time.time())
        content = orjson.dumps({"error": error.body()})
        self.transport.write(
            STATUS_LINE[error.status]
            + b"content-type: application/json\r\nx-content-type-options: nosniff\r\nconnection: close\r\n"
            + b"x-request-id: %b\r\ncontent-length: %d\r\n\r\n" % (request_id.encode(), len(content))
            + content
        )
        self.transport.close()
        fields = {
            "request_id": request_id,
            "status": error.status,
            "error_type": error.error_type,
            "error_domain": error.domain,
        }
        metrics.refused(error.domain, error.error_type)
        client = {"client": self.client[0]} if self.client else {}
        access.info("refused before it was a request", extra={"fields": fields | client})
