"""The only way to write a request log: `settle` makes a record durable at once, the writer brings it to the database.

One ledger per process, started once. `settle` costs one append to the journal; it needs no database, and a response may end
only after it. What the database does not have yet is found by `recent` and `find`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS

from accounting import journal, lines
from accounting.journal import Journal
from accounting.record import Record
from accounting.writer import Writer
from gateway_project.errors import LedgerUnavailable

logger = logging.getLogger("gateway.ledger")

RING_RECORDS = 1000
RING_BYTES = 32 << 20
PROBE_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class LedgerStatus:
    """What health and metrics say about the ledger of this process. Times are epoch seconds, totals since its start.

    `torn_lines_total` counts lines that a dying process left incomplete, `adopted_total` lines taken over from dead
    processes, `lost_total` records that could be written neither to the journal nor to the database.
    """

    backlog_lines: int
    backlog_bytes: int
    oldest_unwritten_age_s: float
    last_commit_at: float | None
    last_error: str | None
    torn_lines_total: int
    adopted_total: int
    lost_total: int
    is_database_available: bool


class Ledger:
    """The journal of one process, its writer, and the records it settled last."""

    def __init__(self, directory: Path, *, using: str = DEFAULT_DB_ALIAS, fsync: bool = False) -> None:
        self._directory = directory
        self._journal = Journal(directory, fsync=fsync)
        self._writer = Writer(self._journal, using)
        self._ring: OrderedDict[str, tuple[Record, int]] = OrderedDict()
        self._ring_bytes = 0
        self._lost: set[str] = set()
        self._failure: OSError | None = None
        self._failed_bytes = 0
        self._probed_at = 0.0
        self._settling = threading.Lock()

    def start(self) -> None:
        self._writer.adopt()
        self._writer.start()

    def stop(self, timeout_s: float) -> bool:
        """See the module's `stop`."""
        if self._writer.ident is None:
            self._journal.close()
            return True
        return self._writer.stop(timeout_s)

    def settle(self, record: Record) -> None:
        """See the module's `settle`."""
        if record.is_settled:
            return
        line = lines.encode(record)
        with self._settling:
            if record.is_settled:
                return
            try:
                self._journal.append(line)
            except OSError as error:
                self._lost.add(record.request_id)
                self._failed_bytes = len(line)
                self._failed(error)
                logger.error("%s could not be recorded: %s", record.request_id, error)
                raise _unavailable(error) from error
            self._failure = None
            self._lost.discard(record.request_id)
            record.mark_settled()
            self._remember(record, len(line))

    def check_writable(self) -> None:
        """See the module's `check_writable`."""
        failure = self._failure
        if failure is None:
            return
        if time.monotonic() - self._probed_at >= PROBE_EVERY_S:
            try:
                self._journal.probe(self._failed_bytes)
            except OSError as error:
                self._failed(error)
            else:
                self._failure = None
                return
        raise _unavailable(failure)

    def recent(self, request_id: str) -> Record | None:
        """See the module's `recent`."""
        found = self._ring.get(request_id)
        return found[0] if found else None

    def find(self, request_id: str) -> Record | None:
        """See the module's `find`."""
        record = self.recent(request_id)
        if record is None:
            line = journal.find(self._directory, lines.start(request_id))
            record = Record.of(lines.decode(line)) if line else None
        return record

    def flush(self, timeout_s: float) -> bool:
        """See the module's `flush`."""
        deadline = time.monotonic() + timeout_s
        while self.status().backlog_lines:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def status(self) -> LedgerStatus:
        """See the module's `status`."""
        writer = self._writer
        segments = list(self._journal.segments())
        oldest = writer.oldest_unwritten_at
        return LedgerStatus(
            backlog_lines=sum(segment.lines - segment.drained_lines for segment in segments),
            backlog_bytes=sum(segment.size_bytes - segment.drained_bytes for segment in segments),
            oldest_unwritten_age_s=max(0.0, time.time() - oldest) if oldest is not None else 0.0,
            last_commit_at=writer.last_commit_at,
            last_error=writer.last_error,
            torn_lines_total=writer.torn_lines_total,
            adopted_total=writer.adopted_total,
            lost_total=writer.lost_total + len(self._lost),
            is_database_available=writer.is_database_available,
        )

    def _failed(self, error: OSError) -> None:
        self._failure = error
        self._probed_at = time.monotonic()

    def _remember(self, record: Record, size_bytes: int) -> None:
        self._ring[record.request_id] = (record, size_bytes)
        self._ring_bytes += size_bytes
        while len(self._ring) > RING_RECORDS or (self._ring_bytes > RING_BYTES and len(self._ring) > 1):
            self._ring_bytes -= self._ring.popitem(last=False)[1][1]


def _unavailable(error: OSError) -> LedgerUnavailable:
    return LedgerUnavailable(
        f"Requests cannot be recorded ({error.strerror or error}), so none are served; try again in a moment",
        headers={"Retry-After": "1"},
    )


_ledger: Ledger | None = None


def start() -> None:
    """Open the journal in `settings.JOURNAL_DIR`, adopt what dead processes left there, begin to write. Once per process.

    Raises `OSError` where the directory cannot be written.
    """
    global _ledger
    if _ledger is None:
        _ledger = Ledger(Path(settings.JOURNAL_DIR), fsync=settings.JOURNAL_FSYNC)
        _ledger.start()


def stop(timeout_s: float) -> bool:
    """Write what is left, for at most `timeout_s`, and close. False: lines stay in the journal for the next start."""
    global _ledger
    stopping, _ledger = _ledger, None
    return stopping.stop(timeout_s) if stopping else True


def settle(record: Record) -> None:
    """Make `record` durable, exactly once however often it is called. From then on the record must not change.

    Raises `LedgerUnavailable` where the journal cannot be written; the record is then not settled.
    """
    _running().settle(record)


def check_writable() -> None:
    """Raise `LedgerUnavailable` if the last append failed and nothing shows that the next would not. Cheap."""
    _running().check_writable()


def status() -> LedgerStatus:
    """What the ledger of this process is doing. Cheap; reads no file and no database."""
    return _running().status()


def recent(request_id: str) -> Record | None:
    """The record of that request if this process settled it lately. Reads no file."""
    return _running().recent(request_id)


def find(request_id: str) -> Record | None:
    """The record of that request if any process on this machine settled it lately. Reads the ends of all journal files.

    Ask the database too: what has been written there is soon forgotten here.
    """
    return _running().find(request_id)


def flush(timeout_s: float) -> bool:
    """Wait until everything settled so far is in the database. False: it is not, after `timeout_s`."""
    return _running().flush(timeout_s)


def _running() -> Ledger:
    if _ledger is None:
        raise LedgerUnavailable("The gateway is starting or stopping; try again in a moment", headers={"Retry-After": "1"})
    return _ledger
