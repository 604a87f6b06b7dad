"""Whether this gateway has an embedded worker: start one where it is wanted, or share the one that is there.

All processes of one VAR_DIR use one worker. Owns that agreement (a lock, an address file) and `EMBEDDED_BASE_URL`. Must not
know how a worker is run (`embedded_process`) nor what the catalogue does with the address.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from django.conf import settings

from gateway_project.embedded_process import Worker, WorkerUnavailable, is_available, is_healthy, start

__all__ = ["VARIABLE", "Worker", "WorkerUnavailable", "is_available", "kept_running", "start", "start_if_wanted"]

VARIABLE = "EMBEDDED_BASE_URL"
POLL_S = 0.02
REVIVE_PAUSE_S = 0.5

logger = logging.getLogger("gateway.embedded")


def is_wanted() -> bool:
    """Whether this process should see to a worker: not switched off, and no other local engine is named."""
    named = os.environ.get("LOCAL_BASE_URL") or os.environ.get(VARIABLE)
    return settings.EMBEDDED_WORKER and not named


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
        if base_url and is_healthy(base_url):
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


@contextmanager
def kept_running() -> Iterator[Callable[[], Worker | None]]:
    """Start the worker, if one is wanted, while the body does other things, and stop it after the body.

    The body calls what it is given to wait until `EMBEDDED_BASE_URL` is set, before anybody reads it.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="embedded") as pool:
        starting = pool.submit(start_if_wanted)
        try:
            yield starting.result
        finally:
            if worker := starting.result():
                worker.stop()


def _start_as_owner(lock: IO[str], timeout_s: float) -> Worker | None:
    try:
        worker = start(timeout_s, port=_previous_port())
    except WorkerUnavailable as error:
        lock.close()
        logger.error("%s", error)
        return None
    worker.on_stop = partial(_retire, worker.base_url, lock)
    os.environ[VARIABLE] = worker.base_url
    _publish(worker.base_url)
    threading.Thread(target=_guard, args=(worker,), name="embedded-guard", daemon=True).start()
    return worker


def _guard(worker: Worker) -> None:
    """Whenever the worker ends by itself (a crash, the out-of-memory killer), start it again at its address."""
    while True:
        code = worker.process.wait()
        if worker.is_stopping:
            return
        logger.error("The embedded worker ended (exit code %d); starting it again in %g s", code, REVIVE_PAUSE_S)
        time.sleep(REVIVE_PAUSE_S)
        if worker.is_stopping:
            return
        try:
            worker.revive()
        except WorkerUnavailable as error:
            logger.error("%s", error)
            return


def _lock_file() -> Path:
    return Path(settings.VAR_DIR) / "embedded.lock"


def _address_file() -> Path:
    return Path(settings.VAR_DIR) / "embedded.json"


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


def _retire(base_url: str, lock: IO[str]) -> None:
    """Take the address back. Does nothing once the lock is given up: the address may be another owner's by now."""
    if lock.closed:
        return
    _address_file().unlink(missing_ok=True)
    lock.close()
    if os.environ.get(VARIABLE) == base_url:
        del os.environ[VARIABLE]


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
