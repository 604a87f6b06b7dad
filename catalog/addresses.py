"""Which addresses are never connected to, whatever a provider's row says or its name resolves to: those of clouds' metadata.

There any program on the machine is handed the machine's credentials. Other private addresses are providers like all others, as a
local engine is. Pure; `completions.transport` and `catalog.discovery` hold to it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    )
)
"""Of AWS over IPv6 (of machines, and of EKS' pods), Google over IPv6, Alibaba, Azure (WireServer) and Oracle; everybody else's is
link-local, 169.254.169.254 (their manuals, read 2026-11)."""

_HOLD_IPV4 = tuple(
    (ipaddress.IPv6Network(network), shift)
    for network, shift in (
        ("64:ff9b::/96", 0),
        ("64:ff9b:1::/48", 0),
        ("2002::/16", 80),
        ("::/96", 0),
        ("::ffff:0:0/96", 0),
        ("::ffff:0:0:0/96", 0),
    )
)
"""Networks whose addresses hold one of IPv4, so many bits from their end: NAT64 (RFC 6052, 8215), 6to4 (RFC 3056), those compatible
with and mapped to IPv4 (RFC 4291), translated (RFC 2765). Where something routes them, they lead to that IPv4 address."""


def is_forbidden(address: str) -> bool:
    """Whether nothing may be sent to this IP address."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    return any(one.is_link_local or one in _METADATA for one in (ip, *_held(ip)))


def _held(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> Iterator[ipaddress.IPv4Address]:
    """The IPv4 addresses inside of `ip`."""
    if ip.version == 6:
        for network, shift in _HOLD_IPV4:
            if ip in network:
                yield ipaddress.IPv4Address(int(ip) >> shift & 0xFFFF_FFFF)
