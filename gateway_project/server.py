"""The web server: whether its address is free, and running uvicorn until a signal. Knows nothing of what it serves."""

from __future__ import annotations

import logging
import math
import os
import re
import socket
from typing import Any

import uvicorn
from django.conf import settings

from gateway_project.connection import PatientConnection
from gateway_project.workers import Workers

log = logging.getLogger("gateway.server")

IDLE_S = 75
"""How long a connection without a request is kept. Longer than proxies keep theirs (nginx and AWS load balancers: 60 s), so that
none sends a request into a connection that is just being closed."""
BACKLOG = 4096
"""Connections that wait to be accepted, in a burst or while a service is restarted; as many as Linux allows by default."""
WORKER_START_S = 30
"""How long a new worker may take to start when workers are replaced on SIGHUP, and to answer its parent's pings."""


class AddressUnusable(OSError):
    """Nothing can listen on the address. The message says why, and the cure."""


def check_address(host: str, port: int) -> None:
    """Raise `AddressUnusable` unless `port` is free on `host`."""
    if not 0 < port < 65536:
        raise AddressUnusable(f"Port {port} does not exist; use one from 1 to 65535, e.g. --port 8080.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As uvicorn does, so that connections of the previous run that are still closing are no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError as error:
            raise AddressUnusable(f"Port {port} is for root only; use one above 1023, e.g. --port 8080.") from error
        except socket.gaierror as error:
            raise AddressUnusable(f"{host} is no address of this machine; use e.g. --host 127.0.0.1.") from error
        except OSError as error:
            raise AddressUnusable(
                f"Port {port} on {host} cannot be used: {error.strerror}. Stop what listens there "
                f"(`ss -ltnp 'sport = :{port}'` shows it), or choose another: --port {port + 1}, or set PORT."
            ) from error


def address_of(fd: int) -> tuple[str, int]:
    """Host and port of the listening socket `fd`. Raises `AddressUnusable` when it is none, or not TCP."""
    try:
        with socket.socket(fileno=os.dup(fd)) as inherited:
            name = inherited.getsockname()
    except OSError as error:
        raise AddressUnusable(
            f"Descriptor {fd} is no socket: {error.strerror}. Check ListenStream= in gateway.socket."
        ) from error
    if not isinstance(name, tuple):
        raise AddressUnusable(f"Descriptor {fd} is no TCP socket but {name!r}; use a port in ListenStream=.")
    return str(name[0]), int(name[1])


def url(host: str, port: int) -> str:
    """What to type into a browser on this machine."""
    shown = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host  # noqa: S104
    return f"http://{shown}" if port == 80 else f"http://{shown}:{port}"


def run(host: str, port: int, *, fd: int | None = None, workers: int = 1, reload: bool = False) -> None:
    """Serve until SIGINT or SIGTERM, letting running answers end within SHUTDOWN_GRACE_S; with `fd` on that open socket.

    Raises `KeyboardInterrupt` for a signal that arrives before serving, `SystemExit` when the application does not start.
    """
    if workers > 1:
        supervising = logging.getLogger("uvicorn.error")
        supervising.setLevel(logging.INFO)
        supervising.addFilter(_tell_of_dead_workers)
    module, _, attribute = settings.ASGI_APPLICATION.rpartition(".")
    options: dict[str, Any] = {
        "app": f"{module}:{attribute}",
        "host": host,
        "port": port,
        "fd": fd,
        "backlog": BACKLOG,
        "workers": workers,
        "loop": "uvloop",
        "http": PatientConnection,
        "ws": "none",
        "lifespan": "on",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": bool(settings.FORWARDED_ALLOW_IPS),
        "forwarded_allow_ips": settings.FORWARDED_ALLOW_IPS,
        "timeout_keep_alive": IDLE_S,
        "timeout_graceful_shutdown": math.ceil(settings.SHUTDOWN_GRACE_S),
        "timeout_worker_healthcheck": WORKER_START_S,
        **_reload_options(reload),
    }
    if workers == 1 or reload:
        uvicorn.run(**options)
        return
    config = uvicorn.Config(**options)
    Workers(config, sockets=[config.bind_socket()]).run()


def cut_off(handler: Any) -> None:
    """Cancel the requests of the server whose handler of signals this is. Each tells its caller, is recorded, and ends."""
    serving = getattr(handler, "__self__", None)
    if isinstance(serving, uvicorn.Server):
        for task in serving.server_state.tasks:
            task.cancel()


def _tell_of_dead_workers(record: logging.LogRecord) -> bool:
    """A filter for what uvicorn (0.54) says: a worker's death at INFO, among its greetings and farewells, which stay unsaid."""
    if found := re.fullmatch(r"Child process \[(\d+)\] died", record.getMessage()):
        log.warning("worker %s has died; another one is started in its place", found[1])
    return record.levelno >= logging.WARNING


def _reload_options(reload: bool) -> dict[str, Any]:
    if not reload:
        return {}
    folders = [settings.BASE_DIR / app for app in settings.INSTALLED_APPS]
    return {"reload": True, "reload_dirs": [str(folder) for folder in folders if folder.is_dir()]}
