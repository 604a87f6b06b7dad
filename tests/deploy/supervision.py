"""A gateway under a supervisor that does what systemd does: holds the listening socket, hears notifications, names the pid.

And hands on no ignored signal: tests may run under nohup, whose wish the gateway respects.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.live import Gateway, until

SHIM = """
import os, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)
os.dup2(int(sys.argv[1]), 3)
pid = str(os.getpid())
os.environ.update(LISTEN_FDS="1", LISTEN_PID=pid, SYSTEMD_EXEC_PID=pid)
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


class Served(Gateway):
    """`manage.py serve`, as production runs it."""

    def command(self) -> list[str]:
        return [sys.executable, "manage.py", "serve", "--host", "127.0.0.1", "--port", str(self.port), *self._options]

    def wait_for_the_end(self) -> int:
        """The exit code of a process that ends by itself."""
        assert self._process is not None
        return self._process.wait(20)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)


class Supervised(Served):
    """As `gateway.service` with `gateway.socket` runs it; `states` collects what the supervisor is told."""

    def __init__(self, directory: Path, seed: Mapping[str, Any], environment: Mapping[str, str], **more: Any) -> None:
        super().__init__(directory, seed, environment, **more)
        self._told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._told.bind(str(directory / "notify"))
        self._told.setblocking(False)
        self._listening = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self.environment["NOTIFY_SOCKET"] = str(directory / "notify")
        self.passed_fds = (self._listening.fileno(),)
        self.states: list[str] = []

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        self._listening.close()
        self._told.close()

    def command(self) -> list[str]:
        return [sys.executable, "-c", SHIM, str(self._listening.fileno()), "manage.py", "serve", *self._options]

    def heard(self, state: str) -> bool:
        """Whether `state` has been told since the start."""
        while True:
            try:
                self.states += self._told.recv(4096).decode().splitlines()
            except BlockingIOError:
                return state in self.states

    def wait_for(self, state: str, within_s: float = 5) -> None:
        until(lambda: self.heard(state), f"the supervisor is told {state}", within_s)


def workers_of(pid: int) -> set[int]:
    """Server processes below `pid`; multiprocessing's resource tracker is none."""
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        found = {int(child) for child in file.read().split()}
    servers = set()
    for child in found:
        try:
            with open(f"/proc/{child}/cmdline") as file:
                if "spawn_main" in file.read():
                    servers.add(child)
        except FileNotFoundError:
            continue
    return servers
