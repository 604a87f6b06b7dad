"""Where the workers of one server share their metrics: memory-mapped files that whichever worker is scraped adds up.

Must be called before anything imports `prometheus_client`, which decides at its import whether values live in memory or in
files. A server of one process keeps them in memory and none of this applies.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import shutil
from pathlib import Path
from typing import TextIO

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_FOLDER = "metrics"

_held: list[TextIO] = []
"""Locks of this process. The system lets go of them when it dies, however it dies, also in another PID namespace."""


def share(var_dir: Path) -> Path | None:
    """Share metrics with the other workers of this server; gives the folder, None where this process serves alone.

    A folder of an earlier server is removed, never one that a living process uses. What an operator has set in
    PROMETHEUS_MULTIPROC_DIR is left as it is.
    """
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE])
    server = multiprocessing.parent_process()
    if server is None:
        return None
    folder = var_dir / _FOLDER / f"server-{server.pid}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    for other in folder.parent.glob("server-*.lock"):
        _remove_if_abandoned(other)
    lock = folder.with_suffix(".lock").open("a")
    fcntl.flock(lock, fcntl.LOCK_SH)
    _held.append(lock)
    folder.mkdir(exist_ok=True)
    os.environ[VARIABLE] = str(folder)
    return folder


def _remove_if_abandoned(path: Path) -> None:
    """Remove the files of a server whose last process has ended. The lock file stays: removing it would part its holders."""
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        shutil.rmtree(path.with_suffix(""), ignore_errors=True)


def forget_dead(folder: Path) -> list[int]:
    """Drop the gauges of workers that have died, and give their ids. Their counters stay, or else sums would go down."""
    from prometheus_client.multiprocess import mark_process_dead

    dead = sorted({pid for pid in map(_pid_of, folder.glob("gauge_live*.db")) if not _is_alive(pid)})
    for pid in dead:
        mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
    return dead


def _pid_of(path: Path) -> int:
    return int(path.stem.rpartition("_")[2])


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
