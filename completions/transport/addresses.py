"""Sockets to providers, and never to the addresses that `catalog.addresses` forbids, whatever a name resolves to."""

from __future__ import annotations

import logging
import socket
from typing import Any

from catalog.addresses import is_forbidden

log = logging.getLogger("gateway.addresses")


def open_socket(found: tuple[int, int, int, str, tuple[Any, ...]]) -> socket.socket:
    """A socket to connect with to one of `getaddrinfo`'s finds. Raises `PermissionError`."""
    family, kind, protocol, _, address = found
    if is_forbidden(address[0]):
        log.warning("no connection to %s: it is link-local or a cloud's metadata, and no provider is there", address[0])
        raise PermissionError(f"{address[0]} is never connected to")
    return socket.socket(family, kind, protocol)
