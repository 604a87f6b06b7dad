"""One connection to a provider, with at most one call on it at a time. Owns its socket; what is said on it is `Answer`'s."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import cast

from completions.transport.answer import Answer
from completions.transport.request import Address

IDLE_S = 60.0
"""How long an unused connection is kept, where the provider names no shorter time."""
_ON_THE_WAY_S = 1.0
"""A provider's own limit is taken as this much shorter, so that no request meets the closing of its connection."""


class Connection(asyncio.Protocol):
    """`on_idle` is told when a call has ended and another may follow, `on_lost` when the socket is gone."""

    __slots__ = (
        "_answer",
        "_arrivals",
        "_loop",
        "_on_idle",
        "_on_lost",
        "_transport",
        "address",
        "idle_until",
        "is_paused",
    )

    def __init__(
        self, address: Address, on_idle: Callable[[Connection], None], on_lost: Callable[[Connection], None]
    ) -> None:
        self.address = address
        self.idle_until = 0.0
        self.is_paused = False
        self._on_idle, self._on_lost = on_idle, on_lost
        self._answer: Answer | None = None
        self._arrivals: select.poll | None = None

    def send(self, message: bytes) -> Answer:
        """Begin a call with one write. The answer's head is still to be waited for."""
        self._answer = answer = Answer(self, self._loop)
        self._transport.write(message)
        return answer

    def is_usable(self, now: float) -> bool:
        """Whether an idle connection may take a call at `now`, in seconds of the loop's clock.

        Asks the kernel as well: on a busy loop the provider's goodbye may have arrived without having been read.
        """
        if now >= self.idle_until or self._transport.is_closing():
            return False
        return self._arrivals is None or not self._arrivals.poll(0)

    def call_ended(self, *, is_reusable: bool, keep_alive_s: int | None) -> None:
        """The response has come to its end, of which `is_reusable` and `keep_alive_s` tell as `ResponseParser` does."""
        self._answer = None
        keep_s = IDLE_S if keep_alive_s is None else min(IDLE_S, keep_alive_s - _ON_THE_WAY_S)
        # An answer that came before all of the request was sent (413, say) leaves the rest of it in the way.
        if not is_reusable or keep_s <= 0 or self._transport.is_closing() or self._transport.get_write_buffer_size():
            self.abort()
            return
        self.resume()
        self.idle_until = self._loop.time() + keep_s
        self._on_idle(self)

    def pause(self) -> None:
        if not self.is_paused:
            self.is_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self.is_paused:
            self.is_paused = False
            self._transport.resume_reading()

    def abort(self) -> None:
        """Close the socket at once, whatever is still to be sent or read. A call that is under way is told."""
        self._transport.abort()

    # --- called by the event loop -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._loop = asyncio.get_running_loop()
        opened = transport.get_extra_info("socket")
        if opened is not None:
            self._arrivals = select.poll()
            self._arrivals.register(opened.fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            self.abort()  # Nobody has asked: what follows could only be taken for the next answer.
        else:
            self._answer.received(data)

    def connection_lost(self, error: Exception | None) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.connection_lost(error)
        self._on_lost(self)
