"""Whether this gateway has an embedded worker: start one where it is wanted, or share the one that is there.

All processes of one VAR_DIR use one worker. Owns who of them runs it, and `EMBEDDED_BASE_URL`. Must not know how a worker is
run (`embedded_process`), where the processes meet (`embedded_place`) nor what the catalogue does with the address.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import IO

from django.conf import settings

from gateway_project.embedded_place import Place, is_free, port_of
from gateway_project.embedded_process import Worker, WorkerUnavailable, is_available, is_healthy, start

__all__ = [
    "VARIABLE",
    "Sharer",
    "Worker",
    "WorkerUnavailable",
    "find_running",
    "is_available",
    "kept_running",
    "start",
    "start_if_wanted",
]

VARIABLE = "EMBEDDED_BASE_URL"
POLL_S = 0.02
ABSENCE = (
    f"no embedded worker is running ({VARIABLE} is not set); `manage.py serve` runs one, unless LOCAL_BASE_URL is set or "
    "EMBEDDED_WORKER is off"
)
REVIVE_PAUSE_S = 0.5
TURN_POLL_S = 0.25
"""How often a sharer looks whether the owner is gone: opening a file, some 20 us."""
PORT_WITHIN_S = 5.0
"""How long the worker of an owner that was killed may take to leave its port."""
NEW_TRY_PAUSE_S = 10.0

logger = logging.getLogger("gateway.embedded")


def is_wanted() -> bool:
    """Whether this process should see to a worker: not switched off, and no other local engine is named."""
    named = os.environ.get("LOCAL_BASE_URL") or os.environ.get(VARIABLE)
    return settings.EMBEDDED_WORKER and not named


def start_if_wanted(timeout_s: float = 10.0) -> Worker | Sharer | None:
    """See to it that `EMBEDDED_BASE_URL` names a worker, if one is wanted and installed. Never raises for the lack of one.

    Of all processes that share VAR_DIR the first starts a worker and gets it back; the others find its address, and take
    over when the first has ended. What is returned is to be stopped at the end. A failure is logged, and the gateway serves
    on with its other providers.
    """
    if not (is_wanted() and is_available()):
        return None
    place = Place.configured()
    deadline = time.monotonic() + timeout_s
    while True:
        lock = place.acquire()
        if lock is not None:
            # The processes that shared an owner that has ended still call its port, and find the new worker there.
            port = port_of(place.published())
            if not is_free(port):
                place.withdraw()
                port = 0
            return _start_as_owner(place, lock, port, timeout_s)
        base_url = place.published()
        if base_url and is_healthy(base_url):
            os.environ[VARIABLE] = base_url
            return Sharer(place, base_url)
        if time.monotonic() > deadline:
            logger.error(
                "No embedded worker: the process that holds %s has none that answers. Give this gateway its own VAR_DIR, "
                "or set LOCAL_BASE_URL.",
                place.lock_file,
            )
            return None
        time.sleep(POLL_S)


def find_running() -> str | None:
    """The address of the worker that a gateway of this VAR_DIR runs now, for a process that only asks; else None."""
    if not is_wanted():
        return None
    base_url = Place.configured().published()
    return base_url if base_url and is_healthy(base_url) else None


@contextmanager
def kept_running() -> Iterator[Callable[[], Worker | Sharer | None]]:
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


class Sharer:
    """Uses another process's worker, and runs one at the same address as soon as that process has ended.

    An owner that is stopping still has a worker that answers, so whoever starts meanwhile would be left without.
    """

    def __init__(self, place: Place, base_url: str) -> None:
        self._place, self._base_url = place, base_url
        self._worker: Worker | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._wait_for_turn, name="embedded-sharer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop waiting, and the worker if it has come to that. Does nothing the second time."""
        self._stopping.set()
        self._thread.join()
        if self._worker is not None:
            self._worker.stop()
        _forget(self._base_url)

    def _wait_for_turn(self) -> None:
        pause_s = TURN_POLL_S
        while not self._stopping.wait(pause_s):
            pause_s = TURN_POLL_S
            if (lock := self._place.acquire()) is None:
                continue
            logger.warning("The process that ran the embedded worker has ended; this one takes over at %s", self._base_url)
            self._wait_for_port()
            if self._stopping.is_set():
                lock.close()
                return
            self._worker = _start_as_owner(self._place, lock, port_of(self._base_url))
            if self._worker is not None:
                return
            pause_s = NEW_TRY_PAUSE_S

    def _wait_for_port(self) -> None:
        deadline = time.monotonic() + PORT_WITHIN_S
        while not is_free(port_of(self._base_url)) and time.monotonic() < deadline:
            if self._stopping.wait(POLL_S):
                return


def _start_as_owner(place: Place, lock: IO[str], port: int, timeout_s: float = 10.0) -> Worker | None:
    try:
        worker = start(timeout_s, port=port)
    except WorkerUnavailable as error:
        lock.close()
        logger.error("%s", error)
        return None
    worker.on_stop = partial(_retire, worker.base_url, lock)
    os.environ[VARIABLE] = worker.base_url
    place.publish(worker.base_url)
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


def _retire(base_url: str, lock: IO[str]) -> None:
    """Let another process have its turn. Does nothing once the lock is given up."""
    if lock.closed:
        return
    lock.close()
    _forget(base_url)


def _forget(base_url: str) -> None:
    if os.environ.get(VARIABLE) == base_url:
        del os.environ[VARIABLE]
