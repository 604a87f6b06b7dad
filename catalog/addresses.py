"""Which addresses are never connected to, whatever a provider's row says or its name resolves to: those of clouds' metadata.

There any program on the machine is handed the machine's credentials. Other private addresses are providers like all others, as a
local engine is. Pure; `completions.transport` and `catalog.discovery` hold to it.
"""

from __future__ import annotations

import ipaddress

_METADATA = frozenset(map(ipaddress.ip_address, ("fd00:ec2::254", "100.100.100.200")))
"""Of AWS over IPv6 and of Alibaba; everybody else's is link-local, 169.254.169.254 (their manuals, read 2026-11)."""


def is_forbidden(address: str) -> bool:
    """Whether nothing may be sent to this IP address."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return ip.is_link_local or ip in _METADATA
