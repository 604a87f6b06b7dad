"""Which addresses are never connected to, whatever a provider's row says or its name resolves to: those of clouds' metadata.

There any program on the machine is handed the machine's credentials. Other private addresses are providers like all others, as a
local engine is. Standard library only.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from typing import Any

log = logging.getLogger("gateway.addresses")

_METADATA = frozenset(map(ipaddress.ip_address, ("fd00:ec2::254", "100.100.100.200")))
"""Of AWS over IPv6 and of Alibaba; everybody else's is link-local, 169.254.169.254 (their manuals, read 2026-11)."""


def is_forbidden(address: str) -> bool:
    """Whether nothing may be sent to this IP address."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return ip.is_link_local or ip in _METADATA


def open_socket(found: tuple[int, int, int, str, tuple[Any, ...]]) -> socket.socket:
    """A socket to connect with to one of `getaddrinfo`'s finds. Raises `PermissionError`."""
    family, kind, protocol, _, address = found
    if is_forbidden(address[0]):
        log.warning("no connection to %s: it is link-local or a cloud's metadata, and no provider is there", address[0])
        raise PermissionError(f"{address[0]} is never connected to")
    return socket.socket(family, kind, protocol)
