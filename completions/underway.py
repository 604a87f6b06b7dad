"""The HTTP request under way in this task: its id, and how long it has waited for providers.

Kept in a context variable, so that log lines, the exchange and the transport find it without being handed it. Knows nothing of
Django: whoever configures logging imports it before Django is ready.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from contextvars import ContextVar, Token

from msgspec import Struct, field

# Seeded from the system's randomness in each process. Ids are names, not secrets, so no system call for each.
_dice = random.Random()


def generation_id(now: float) -> str:
    """`gen-<unix seconds>-<20 letters and digits>`. 80 random bits a second: ids of a clock collided in earlier gateways."""
    return f"gen-{int(now)}-{_dice.getrandbits(80):020x}"


class Underway(Struct):
    """One HTTP request. `started` is monotonic seconds, after its body was read; `caller_id` what the caller calls it.

    `address` is where it came from: of a proxy, unless that proxy is one of those that are believed.
    `trace_headers` are the caller's `traceparent` and `tracestate`; `route` is a template of `urls.py`, never a path.
    `is_recorded`: a record is kept of it, which is counted and logged when it ends. `refusal` is the domain and type of the error
    that it was answered with.
    """

    request_id: str
    caller_id: str | None = None
    address: str = ""
    trace_headers: Mapping[str, str] = field(default_factory=dict)
    route: str | None = None
    started: float = field(default_factory=time.monotonic)
    overhead_s: float | None = None
    is_recorded: bool = False
    refusal: tuple[str, str] | None = None
    _waiting: int = 0
    _waiting_since: float = 0.0
    _waited_s: float = 0.0

    def wait_begins(self) -> None:
        """Something is awaited from a provider. Waits may overlap, as those of hedged attempts do."""
        if not self._waiting:
            self._waiting_since = time.monotonic()
        self._waiting += 1

    def wait_ends(self) -> None:
        self._waiting -= 1
        if not self._waiting:
            self._waited_s += time.monotonic() - self._waiting_since

    def spent_here_s(self) -> float:
        """Seconds since the start in which no provider was waited for."""
        now = time.monotonic()
        waiting_s = now - self._waiting_since if self._waiting else 0.0
        return max(0.0, now - self.started - self._waited_s - waiting_s)

    def claim_id(self) -> str | None:
        """The id for the one generation of this request; None for any further one, which needs an id of its own."""
        if self.is_recorded:
            return None
        self.is_recorded = True
        return self.request_id


_current: ContextVar[Underway | None] = ContextVar("underway", default=None)


def current() -> Underway | None:
    """The request under way in this task, None outside of requests."""
    return _current.get()


def refused(domain: str, error_type: str) -> None:
    """The request under way, if there is one, is answered with an error."""
    if (request := _current.get()) is not None:
        request.refusal = (domain, error_type)


def begin(request: Underway) -> Token[Underway | None]:
    """From now on `request` is under way in this task and in those it starts. End it with `end`."""
    return _current.set(request)


def end(token: Token[Underway | None]) -> None:
    _current.reset(token)
