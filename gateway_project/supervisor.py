"""What systemd is told and asked: readiness, liveness, the socket it holds. Without systemd all of it does nothing.

Protocols: sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3), systemd.exec(5) for SYSTEMD_EXEC_PID. Knows nothing of what
is supervised.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import socket
from collections.abc import Mapping

log = logging.getLogger("gateway.supervisor")

FIRST_INHERITED_FD = 3
BEATS_PER_LIMIT = 3
BEFORE_SYSTEMD = 0.9
"""The process's own timer is the first to go off: only it says where the threads stood."""


def notify(state: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Send `state` (e.g. `READY=1`) to the supervisor; whether there is one. A supervisor that is away is logged, not raised."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]  # Linux's abstract namespace
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.sendto(state.encode(), address)
    except OSError as error:
        log.error("the supervisor at NOTIFY_SOCKET was not told %s: %s", state, error)
        return False
    return True


def ready() -> None:
    """This process serves. Of several workers the first one makes the whole service ready."""
    notify("READY=1\nSTATUS=Serving")


def stopping(environment: Mapping[str, str] = os.environ) -> None:
    """The service ends. Said by its main process only: a worker that is being replaced is not the end of the service."""
    if environment.get("SYSTEMD_EXEC_PID") == str(os.getpid()):
        notify("STOPPING=1\nSTATUS=Finishing running answers", environment)


def inherited_socket(environment: Mapping[str, str] = os.environ) -> int | None:
    """The descriptor of the listening socket that systemd holds for this process (gateway.socket), or None.

    Raises `UnusableSockets` where there are several: one is served.
    """
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return None
    count = int(environment.get("LISTEN_FDS", "0"))
    if count > 1:
        raise UnusableSockets(f"LISTEN_FDS={count}: one socket is served; keep one ListenStream= in gateway.socket")
    return FIRST_INHERITED_FD if count else None


def watchdog_limit_s(environment: Mapping[str, str] = os.environ) -> float | None:
    """How long the event loop may stand still (WATCHDOG_USEC, which WatchdogSec= of the unit sets), or None for ever."""
    raw = environment.get("WATCHDOG_USEC", "")
    return int(raw) / 1_000_000 if raw.isdigit() and int(raw) else None


class UnusableSockets(OSError):
    """systemd passes sockets that cannot be served. The message says why, and the cure."""


class Heartbeat:
    """Beats from inside the event loop. A loop that stands still longer than the limit ends its own process.

    systemd watches the service as a whole, where the beats of healthy workers would hide a stuck one. So each process also arms a
    timer of its own (`faulthandler`, a thread in C that needs no interpreter lock): it prints where every thread stands and ends
    the process, and systemd, or uvicorn's parent process, starts another.
    """

    def __init__(self, limit_s: float | None) -> None:
        self._limit_s = limit_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to beat in the running loop. Does nothing without a limit."""
        if self._limit_s is not None:
            self._task = asyncio.create_task(self._beat(self._limit_s), name="heartbeat")

    async def stop(self) -> None:
        """Disarm. What follows may take its time: TimeoutStopSec= bounds it."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait([self._task])
        self._task = None
        faulthandler.cancel_dump_traceback_later()

    async def _beat(self, limit_s: float) -> None:
        while True:
            faulthandler.dump_traceback_later(limit_s * BEFORE_SYSTEMD, exit=True)
            notify("WATCHDOG=1")
            await asyncio.sleep(limit_s / BEATS_PER_LIMIT)
