"""New connections: names are looked up and remembered, several addresses raced, TLS shaken hands on."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

import aiohappyeyeballs
from aiohappyeyeballs import AddrInfoType

from completions.transport.addresses import open_socket
from completions.transport.connection import Connection
from completions.transport.request import Address

NAMES_KEPT_S = 300.0
_NEXT_ADDRESS_S = 0.25
"""How long an address is tried before the next one is tried beside it (RFC 8305 recommends this)."""
_PROBES = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 20, "TCP_KEEPCNT": 6}
"""Long answers are silent for minutes, in which NATs forget connections (AWS after 350 s) and peers die unnoticed."""


class Dialer(Protocol):
    """How a pool gets connections; tests have their own."""

    async def connect(self, address: Address, make: Callable[[], Connection]) -> Connection:
        """What `make` makes, connected. Raises `OSError`. Has no deadline of its own: it is cancelled."""


class Internet:
    """Connects over TCP, with TLS where the scheme is https. `tls` defaults to the system's certificates."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._names: dict[Address, tuple[float, list[AddrInfoType]]] = {}
        self._asking: dict[Address, asyncio.Task[list[AddrInfoType]]] = {}

    async def connect(self, address: Address, make: Callable[[], Connection]) -> Connection:
        infos = await self._addresses(address)
        try:
            opened = await aiohappyeyeballs.start_connection(
                infos, happy_eyeballs_delay=_NEXT_ADDRESS_S, socket_factory=open_socket
            )
        except BaseException:
            self._names.pop(address, None)  # The provider may have moved.
            raise
        try:
            _configure(opened)
            is_tls = address.scheme == "https"
            _, connection = await asyncio.get_running_loop().create_connection(
                make,
                sock=opened,
                ssl=(self._tls or _system_tls()) if is_tls else None,
                server_hostname=address.host if is_tls else None,
            )
        except BaseException:
            opened.close()
            raise
        return connection

    async def _addresses(self, address: Address) -> list[AddrInfoType]:
        """The addresses behind a name: remembered, or asked for once by all who want to know."""
        if (info := _literal(address)) is not None:
            return [info]
        kept = self._names.get(address)
        if kept is not None and asyncio.get_running_loop().time() < kept[0]:
            return kept[1]
        asking = self._asking.get(address)
        if asking is None:
            asking = self._asking[address] = asyncio.create_task(self._ask(address))
        # Whoever gives up must not take the answer from the others, nor whoever forgets the name before they have read it.
        return await asyncio.shield(asking)

    async def _ask(self, address: Address) -> list[AddrInfoType]:
        try:
            infos = await _look_up(address)
            self._names[address] = (asyncio.get_running_loop().time() + NAMES_KEPT_S, infos)
            return infos
        finally:
            del self._asking[address]


async def _look_up(address: Address) -> list[AddrInfoType]:
    """What the system's resolver says, asked in a thread of the loop."""
    return list(await asyncio.get_running_loop().getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM))


def _literal(address: Address) -> AddrInfoType | None:
    """An IP address as it is, None for a name."""
    try:
        version = ipaddress.ip_address(address.host).version
    except ValueError:
        return None
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    return (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address.host, address.port))


def _configure(opened: socket.socket) -> None:
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _PROBES.items():
        if hasattr(socket, option):  # Not every system has them all.
            opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


@functools.cache
def _system_tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
