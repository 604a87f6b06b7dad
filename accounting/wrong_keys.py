"""Wrong keys and tokens, counted by the caller's address on every page that takes one: one count for all of them."""

from __future__ import annotations

import math
import threading
import time

from django.conf import settings
from django.http import HttpRequest

from accounting.throttle import Throttle
from gateway_project.errors import TooManyWrongKeys, Unauthenticated

_throttle = Throttle(settings.FAILED_AUTH_LIMIT)
_lock = threading.Lock()
"""Account pages run in threads."""


def count(request: HttpRequest, error: Unauthenticated) -> None:
    """Count a key of `request` that was refused with `error`. Good keys are always let in.

    Raises `TooManyWrongKeys` where its address has sent too many within a minute.
    """
    if not settings.RATE_LIMIT_ENABLED:
        return
    with _lock:
        wait_s = _throttle.failed(request.META.get("REMOTE_ADDR", ""), time.monotonic())
    if wait_s:
        raise TooManyWrongKeys(
            f"Too many wrong API keys from this address: more than {_throttle.limit} within a minute. The last one: "
            f"{error.message}",
            headers={"Retry-After": str(math.ceil(wait_s))},
            metadata={"limit_source": "openrouter_admission_control", "limit": _throttle.limit},
        ) from error
