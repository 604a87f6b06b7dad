"""Reading a request's body within a size and a time, for both lanes. Owns the two limits; knows nothing of what is in it.

Without them one client could fill the memory (or Django's spool file the disk), or hold a request open for ever by sending a
byte now and then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from completions import runtime
from gateway_project.errors import GatewayError, PayloadTooLarge, RequestTimedOut, ShuttingDown

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

CLOSE = {"Connection": "close"}
"""What is left of such a body is not read: the connection cannot carry another request."""


_TOO_SLOW = "the body is not complete in time"

LINGER_S = 2.0
"""How long the rest of a refused body is read and dropped. A socket that is closed with unread bytes is reset, and its client (or
nginx, which sends the whole body first and then says 502) never reads the refusal."""


class ClientGone(Exception):
    """The client left before its request was complete."""


async def read(receive: Receive, announced: bytes, *, limit_bytes: int, within_s: float) -> bytes:
    """The whole body. `announced` is the value of Content-Length, or empty.

    Raises `PayloadTooLarge` as soon as it is known to be, `RequestTimedOut` when the body has not arrived `within_s` seconds,
    `ShuttingDown` when the server ends before, and `ClientGone` if it never completes.
    """
    if announced.isdigit() and int(announced) > limit_bytes:
        raise _too_large(int(announced), limit_bytes)
    reading = asyncio.current_task()
    assert reading is not None
    # What `asyncio.timeout` does, at a fifth of its cost: almost every body has arrived before it is asked for.
    alarm = asyncio.get_running_loop().call_later(within_s, reading.cancel, _TOO_SLOW)
    try:
        return await _collect(receive, limit_bytes)
    except asyncio.CancelledError as cancelled:
        if cancelled.args == (_TOO_SLOW,) and not reading.uncancel():
            raise RequestTimedOut(
                f"The request body was not complete within {within_s:g} s (BODY_TIMEOUT_S). Send it faster, or URLs for media.",
                headers=CLOSE,
            ) from None
        if runtime.is_ready():
            raise
        raise ShuttingDown(
            "The gateway is shutting down, and the request body was not complete in time; send it again.",
            headers={**CLOSE, "Retry-After": "1"},
        ) from None
    finally:
        alarm.cancel()


def lingering(refusal: GatewayError, receive: Receive, send: Send) -> Send:
    """`send` for `refusal`, given before the whole body was read: it arrives at once, the connection is closed later."""
    if isinstance(refusal, ShuttingDown):
        return send  # The server does not wait for those who go on sending.

    async def send_and_linger(message: Message) -> None:
        if message["type"] != "http.response.body" or message.get("more_body"):
            await send(message)
            return
        await send({**message, "more_body": True})
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                await _drop(receive)
        await send({"type": "http.response.body", "body": b""})

    return send_and_linger


async def _drop(receive: Receive) -> None:
    is_more = True
    while is_more:
        message = await receive()
        is_more = message["type"] == "http.request" and message.get("more_body", False)


async def _collect(receive: Receive, limit_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit_bytes:
            raise _too_large(size, limit_bytes)
        if not message.get("more_body", False):
            return b"".join((*parts, part)) if parts else part
        parts.append(part)


def _too_large(size: int, limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"The request body has {size} bytes or more; at most {limit} are taken (MAX_BODY_MB). Send less, or URLs for media.",
        headers=CLOSE,
    )
