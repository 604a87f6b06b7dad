"""Where the workers of one server share their metrics: memory-mapped files that whichever worker is scraped adds up.

Must be called before anything imports `prometheus_client`, which decides at its import whether values live in memory or in
files. A server of one process keeps them in memory and none of this applies.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import multiprocessing
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

log = logging.getLogger("gateway.metrics")

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_FOLDER = "metrics"

_ADDABLE = ("counter", "histogram", "summary")
"""Kinds of files whose values may be added up, whoever wrote them."""

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
    _hold(folder.with_suffix(".lock"), fcntl.LOCK_SH)
    folder.mkdir(exist_ok=True)
    _hold(_lock_of(folder, os.getpid()), fcntl.LOCK_EX)
    os.environ[VARIABLE] = str(folder)
    return folder


def _hold(path: Path, how: int) -> None:
    """Lock `path` until this process ends."""
    lock = path.open("a")
    fcntl.flock(lock, how)
    _held.append(lock)


def _lock_of(folder: Path, pid: int) -> Path:
    """What a worker holds as long as it lives. Stays where it is, as others may be about to open it."""
    return folder / f"worker-{pid}.lock"


def _remove_if_abandoned(path: Path) -> None:
    """Remove the files of a server whose last process has ended. The lock file stays: removing it would part its holders."""
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        shutil.rmtree(path.with_suffix(""), ignore_errors=True)


@contextlib.contextmanager
def settled(folder: Path) -> Iterator[None]:
    """What dead workers left is cleared up, and stays so until this ends: no file comes or goes while it is read.

    One scrape at a time, over all workers. Blocks: not for the event loop.
    """
    with (folder / "scrape.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        forget_dead(folder)
        try:
            add_up_dead(folder)
        except Exception:  # whatever it is, each file counts as it is
            log.exception("the counters of dead workers could not be added up")
        yield


def add_up_dead(folder: Path) -> None:
    """Make one file of those in which dead workers have counted, of each kind. The caller keeps others from reading.

    Every restart of the workers leaves some, and each scrape reads them all. A worker is dead when the lock is free that it held;
    in a folder of the operator's nobody holds one, and all stays as it is.
    """
    for begun in folder.glob("*.next"):
        _replace_total(begun)
    for left in sorted(file for kind in _ADDABLE for file in folder.glob(f"{kind}_[0-9]*.db")):
        with _without(folder, _pid_of(left)) as is_dead:
            if is_dead:
                _replace_total(_added(left))


@contextlib.contextmanager
def _without(folder: Path, pid: int) -> Iterator[bool]:
    """Whether the worker `pid` has died, by its lock. A new worker that happens to get its id waits until this ends."""
    owner = _lock_of(folder, pid)
    if not owner.exists():
        yield False
        return
    with owner.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _added(left: Path) -> Path:
    """A file, whole from its first moment on, of what all other dead have counted and what is in `left`."""
    from prometheus_client.mmap_dict import MmapedDict

    partial = left.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    sums = MmapedDict(str(partial))  # type: ignore[no-untyped-call]
    for file in (_total_of(left), left):
        values = MmapedDict.read_all_values_from_file(str(file)) if file.exists() else ()  # type: ignore[no-untyped-call]
        for key, value, *_ in values:
            sums.write_value(key, sums.read_value(key)[0] + value, 0.0)  # type: ignore[no-untyped-call]
    sums.close()  # type: ignore[no-untyped-call]
    return partial.rename(left.with_suffix(".next"))


def _replace_total(added: Path) -> None:
    """Let `added` take the place of the file that it was made from and of the total before.

    Its name says which file that is, so that a process killed in between loses or doubles nothing: the next one goes on here.
    """
    added.with_suffix(".db").unlink(missing_ok=True)
    added.rename(_total_of(added))


def _total_of(file: Path) -> Path:
    return file.with_name(f"{file.stem.partition('_')[0]}_dead.db")


def forget_dead(folder: Path) -> list[int]:
    """Drop the gauges of workers that have died, and give their ids. Their counters count on, or else sums would go down."""
    from prometheus_client.multiprocess import mark_process_dead

    dead = []
    for pid in sorted({_pid_of(file) for file in folder.glob("gauge_live*.db")}):
        with _without(folder, pid) as is_dead:
            if is_dead or not (_lock_of(folder, pid).exists() or _is_running(pid)):
                mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
                dead.append(pid)
    return dead


def _is_running(pid: int) -> bool:
    """Whether a process has this id: all that is known in a folder of the operator's, where nobody holds locks."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _pid_of(path: Path) -> int:
    return int(path.stem.rpartition("_")[2])
