"""What other processes' hints do to this one's state, and which of them count here.

Another machine may reach another engine behind the same row, or send another key under the same name: `http://localhost:8000` is
each machine's own, and a key that is being replaced has two values for a while. So each hint of an adapter or a key carries a mark
of the address and the keys it was learned with, and counts only where that is the same. Knows nothing of how hints travel.
"""

from __future__ import annotations

import functools
import ipaddress
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from django.utils.crypto import salted_hmac

from completions.hint_lines import Hint, Told
from completions.upstream import Endpoint
from routingapp.breaker import Paused
from routingapp.capacity import Capacity
from routingapp.health import Health
from routingapp.keypool import KeyOut
from routingapp.stickiness import IDLE_S, Pinned, Stickiness

REMEMBERED_S = 600.0
"""What is older says nothing any more: no key rests, no provider is left alone and no pin is kept for longer."""
assert REMEMBERED_S >= IDLE_S

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Hearsay:
    """The state of one process that hints are about. `endpoints`: those of the snapshot in force, by adapter id."""

    health: Health
    capacity: Capacity
    stickiness: Stickiness
    endpoints: Callable[[], Mapping[int, Endpoint]]

    def tell_by(self, tell: Callable[[Hint], None]) -> None:
        """From now on call `tell` with what this process learns."""
        self.health.tell = self.capacity.pools.tell = self.stickiness.tell = tell

    def mark(self, hint: Hint) -> str | None:
        """For which address and keys `hint` holds: the same in each process that has the same. None where it holds for nobody."""
        if isinstance(hint, Pinned):
            return ""
        if isinstance(hint, KeyOut):
            return self._mark_of_key(hint)
        endpoint = self.endpoints().get(hint.adapter_id)
        return mark(endpoint, range(1 + len(endpoint.spare_headers))) if endpoint is not None else None

    def hear(self, told: Told, age_s: float, now: float) -> None:
        """Take in a hint that is `age_s` seconds old. `now`: seconds of the clock that the state is told."""
        hint = told.hint
        if age_s > REMEMBERED_S:
            return
        if isinstance(hint, Pinned):
            self.stickiness.hear(hint, now - age_s, now)
        elif self.mark(hint) != told.mark:
            return
        elif isinstance(hint, KeyOut):
            if hint.rest_s > age_s:
                self.capacity.pools.hear(replace(hint, rest_s=hint.rest_s - age_s), now, self.capacity.revision)
        elif isinstance(hint, Paused):
            if hint.pause_s > age_s:
                self.health.hear(replace(hint, pause_s=hint.pause_s - age_s), now)
        else:
            self.health.hear(hint, now)

    def _mark_of_key(self, hint: KeyOut) -> str | None:
        for endpoint in self.endpoints().values():
            provider = endpoint.adapter.provider
            if provider.id == hint.provider_id:
                references = provider.api_keys
                return mark(endpoint, [references.index(hint.reference)]) if hint.reference in references else None
        return None


def mark(endpoint: Endpoint, keys: range | list[int]) -> str:
    """Stands for the address of `endpoint` and the keys at those positions, without showing either."""
    base_url = endpoint.adapter.provider.base_url
    parts = [base_url, machine() if is_loopback(base_url) else ""]
    for key in keys:
        parts += (f"{name}: {value}" for name, value in sorted(endpoint.headers_of(key).items()))
    return salted_hmac("completions.hearsay", "\n".join(parts), algorithm="sha256").hexdigest()[:24]


def is_loopback(base_url: str) -> bool:
    """Whether `base_url` means another engine on each machine."""
    host = urlsplit(base_url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@functools.cache
def machine() -> str:
    """What tells this machine, or container, from others: processes that are given the same share a loopback address."""
    boot_id = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
    return f"{socket.gethostname()} {boot_id}"
