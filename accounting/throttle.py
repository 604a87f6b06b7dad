"""Counting refused keys by the caller's address, so that guessing and broken clients are slowed down. Pure, of bounded memory."""

from __future__ import annotations

import ipaddress

WINDOW_S = 60.0
MAX_ADDRESSES = 4096


def neighbourhood(address: str) -> str:
    """What counts as one caller: an IPv4 address, or the /64 that one IPv6 customer has; anything else as it is."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, 64), strict=False))


class Throttle:
    """At most `limit` refusals per address within a minute; after them every further one is to be told to wait.

    Only failures are counted and only failures are throttled: behind one address (an office, a proxy) there may be many
    callers, and a good key must not be locked out by somebody else's bad one.
    """

    def __init__(self, limit: int, max_addresses: int = MAX_ADDRESSES) -> None:
        self.limit = limit
        self._max_addresses = max_addresses
        self._failures: dict[str, tuple[float, int]] = {}

    def failed(self, address: str, now: float) -> float:
        """Count one failure. Gives the seconds for which this address is to wait, 0 while it is within the limit."""
        address = neighbourhood(address)
        # Taken out and put back in: the dict's order is that of the last failure.
        began, count = self._failures.pop(address, (now, 0))
        if not 0 <= now - began < WINDOW_S:
            began, count = now, 0
        if len(self._failures) >= self._max_addresses:
            del self._failures[next(iter(self._failures))]
        self._failures[address] = (began, count + 1)
        return max(1.0, began + WINDOW_S - now) if count >= self.limit else 0.0

    def __len__(self) -> int:
        return len(self._failures)
