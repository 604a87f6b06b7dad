"""Guessing passwords takes long: after a few failures, admin's login waits, for the name and address that failed.

Constant memory: failures are counted in a fixed number of slots, which names share by a hash that nobody outside can compute.
Two that share a slot wait together, which is rare and short. Each process counts for itself, so with several the limits are so
many times higher.
"""

from __future__ import annotations

import secrets
import time
from array import array
from hashlib import blake2b
from typing import Any

from django.contrib.admin.forms import AdminAuthenticationForm
from django.core.exceptions import ValidationError

SLOTS = 8192
FREE_PER_NAME = 5
"""Failures of one name from one address that cost nothing yet."""
FREE_PER_ADDRESS = 30
"""Failures of one address, whatever the names."""
FIRST_WAIT_S = 2.0
LONGEST_WAIT_S = 900.0
"""Each further failure doubles the wait up to this; as long after the last failure, all is forgotten."""


class Throttle:
    """Failures by subject. Times are seconds of one monotonic clock."""

    def __init__(self, slots: int = SLOTS) -> None:
        self._failures = array("L", bytes(slots * array("L").itemsize))
        self._last = array("d", bytes(slots * 8))
        self._key = secrets.token_bytes(16)

    def wait_s(self, subject: str, free: int, now: float) -> float:
        """How long `subject` must not try, 0 if it may now."""
        slot = self._slot(subject)
        beyond = self._failures[slot] - free
        if beyond < 0 or now - self._last[slot] >= LONGEST_WAIT_S:
            return 0.0
        # Past 2 to the 16 the doubling has long met its limit.
        wait = min(FIRST_WAIT_S * float(1 << min(beyond, 16)), LONGEST_WAIT_S)
        return max(0.0, self._last[slot] + wait - now)

    def failed(self, subject: str, now: float) -> None:
        slot = self._slot(subject)
        forgotten = now - self._last[slot] >= LONGEST_WAIT_S
        self._failures[slot] = 1 if forgotten else self._failures[slot] + 1
        self._last[slot] = now

    def succeeded(self, subject: str) -> None:
        self._failures[self._slot(subject)] = 0

    def _slot(self, subject: str) -> int:
        digest = blake2b(subject.encode(errors="replace"), key=self._key, digest_size=8).digest()
        return int.from_bytes(digest, "big") % len(self._failures)


throttle = Throttle()


class ThrottledLoginForm(AdminAuthenticationForm):
    """Admin's login form. A password that comes while its name or address must wait is not even looked at."""

    def clean(self) -> dict[str, Any]:
        address = self.request.META.get("REMOTE_ADDR", "") if self.request else ""
        name = f"{address} {self.cleaned_data.get('username', '').casefold()}"
        now = time.monotonic()
        wait = max(throttle.wait_s(name, FREE_PER_NAME, now), throttle.wait_s(address, FREE_PER_ADDRESS, now))
        if wait:
            raise ValidationError(f"Too many failed attempts; try again in {max(1, round(wait))} s.", code="throttled")
        try:
            cleaned: dict[str, Any] = super().clean()
        except ValidationError:
            # Checking a password takes a while, which is no part of the wait.
            now = time.monotonic()
            throttle.failed(name, now)
            throttle.failed(address, now)
            raise
        throttle.succeeded(name)
        return cleaned
