"""Where `requests` may go: straight to its address, and to none that `catalog.addresses` forbids, whatever a name resolves to.

Everything that calls out by `requests` does it through a `session` of this module: lists of models, alerts, OTLP.
"""

from __future__ import annotations

import socket
from typing import Any

from requests import Session
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from catalog.addresses import is_forbidden


class ForbiddenAddress(Exception):
    """Nothing was sent: the host is, or resolves to, `address`. No `OSError`, lest urllib3 take it for a broken connection."""

    def __init__(self, address: str) -> None:
        super().__init__(f"{address} is never connected to")
        self.address = address


class _Guarded(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        """Looked at twice: before anything is sent at all, and once it is known which of the name's addresses it has become."""
        for address in _resolved(self.host, self.port):
            _refuse(address)
        connected = super()._new_conn()
        try:
            _refuse(connected.getpeername()[0])
        except ForbiddenAddress:
            connected.close()
            raise
        return connected


class _GuardedTLS(_Guarded, HTTPSConnection):
    """The same below TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Guarded


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _GuardedTLS


class _GuardedAdapter(HTTPAdapter):
    """Requests through it may raise `ForbiddenAddress`."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}


def session() -> Session:
    """A session without the environment's proxies and logins, which would see whom it calls; guarded, see `ForbiddenAddress`."""
    made = Session()
    made.trust_env = False
    for scheme in ("http://", "https://"):
        made.mount(scheme, _GuardedAdapter())
    return made


def _resolved(host: str, port: int) -> list[str]:
    """Every address of `host`; none where it has none, which whoever connects will say better."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [str(address[0]) for *_, address in found]


def _refuse(address: str) -> None:
    if is_forbidden(address):
        raise ForbiddenAddress(address)
