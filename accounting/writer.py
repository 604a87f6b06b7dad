"""The thread that moves journal lines into the database: batches, retries, rotation, adoption of dead processes' segments.

It never gives up on a database and never lets one bad line hold up the rest. It owns its database connection and the
reading side of the journal. Knows nothing of requests that are still running.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from django.db import DataError, Error, IntegrityError, connections

from accounting import rows, store
from accounting.journal import BLOCK_BYTES, Journal, Segment
from accounting.lines import decode

logger = logging.getLogger("gateway.ledger")

BATCH_LINES = 1000
PAUSE_S = 0.2
BUSY_LINES = 20
BUSY_PAUSE_S = 0.8
"""After a batch of so many lines the next one waits longer: most of what a small batch costs does not depend on its size."""
ADOPT_EVERY_S = 5.0
ROTATE_BYTES = 16 << 20
ROTATE_AFTER_S = 60.0
LONGEST_BACKOFF_S = 5.0
YIELD_EVERY_LINES = 25
"""After so many the interpreter lock is offered to the thread that serves requests: it would take 5 ms to ask for it."""

POISON = (DataError, IntegrityError, ValueError, TypeError, ArithmeticError, RecursionError)
"""What one unacceptable line raises. Everything else is the database's trouble, and is waited out."""


class Writer(threading.Thread):
    """Drains `journal` into the database `using` until `stop`. What it saw last is in its public attributes."""

    def __init__(self, journal: Journal, using: str) -> None:
        super().__init__(name="ledger-writer", daemon=True)
        self.last_commit_at: float | None = None
        self.last_error: str | None = None
        self.is_database_available = True
        self.oldest_unwritten_at: float | None = None
        self.torn_lines_total = 0
        self.adopted_total = 0
        self.lost_total = 0
        self._journal = journal
        self._using = using
        self._stopping = threading.Event()
        self._deadline = float("inf")
        self._backoff_s = 0.0
        self._adopted_at = float("-inf")

    def stop(self, timeout_s: float) -> bool:
        """Write what is left, for at most `timeout_s`, and end. False: lines stay in the journal for the next start."""
        self._deadline = time.monotonic() + timeout_s
        self._stopping.set()
        self.join(timeout_s)
        return not self.is_alive() and not self._has_backlog()

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._stopping.wait(self._turn())
            while self._has_backlog() and time.monotonic() < self._deadline:
                self._turn()
                if self.last_error:
                    time.sleep(PAUSE_S)
        finally:
            connections[self._using].close()
            self._journal.close()

    def _has_backlog(self) -> bool:
        return any(not segment.is_drained for segment in self._journal.segments())

    def _turn(self) -> float:
        """Write one batch; how long to wait before the next, in seconds."""
        try:
            if time.monotonic() - self._adopted_at > ADOPT_EVERY_S:
                self.adopt()
            self._rotate()
            lines, is_full = self._write_batch()
        except Exception as error:  # noqa: BLE001  the journal holds everything; only a living thread ever empties it
            self._retry_later(error)
            return max(PAUSE_S, self._backoff_s)
        if self.last_error:
            logger.info("request logs are written again")
        self._backoff_s = 0.0
        self.last_error = None
        if is_full:
            return 0
        return BUSY_PAUSE_S if lines >= BUSY_LINES else PAUSE_S

    def _retry_later(self, error: Exception) -> None:
        if isinstance(error, Error):
            self.is_database_available = False
        self.last_error = f"{type(error).__name__}: {error}".strip()
        level = logging.WARNING if self._backoff_s < LONGEST_BACKOFF_S else logging.DEBUG
        logger.log(level, "request logs wait in the journal: %s", self.last_error)
        self._backoff_s = min(max(PAUSE_S, 2 * self._backoff_s), LONGEST_BACKOFF_S)
        # Whatever happened to the connection, the next attempt starts on a fresh one.
        connections[self._using].close()

    def _write_batch(self) -> tuple[int, bool]:
        """Write the oldest lines of the journal, retire segments that have none left.

        How many that were, and whether they are as many as a batch holds, so that more is probably waiting.
        """
        for segment in list(self._journal.segments()):
            lines = segment.read(BATCH_LINES)
            if lines:
                self._write(segment, lines)
                return len(lines), len(lines) == BATCH_LINES or sum(map(len, lines)) > BLOCK_BYTES // 2
            if segment is not self._journal.current:
                self._retire(segment)
        self.oldest_unwritten_at = None
        return 0, False

    def _write(self, segment: Segment, raw_lines: list[bytes]) -> None:
        """Write lines that follow each other; on one that the database refuses, find it by halves and set it aside."""
        try:
            self._store(raw_lines)
        except POISON as error:
            if len(raw_lines) > 1:
                half = len(raw_lines) // 2
                self._write(segment, raw_lines[:half])
                self._write(segment, raw_lines[half:])
                return
            if not self._store_again(raw_lines):
                self._reject(raw_lines[0], error)
        segment.advance(raw_lines)

    def _store(self, raw_lines: Sequence[bytes]) -> None:
        batch: list[rows.Row] = []
        for number, raw in enumerate(raw_lines, start=1):
            batch.append(rows.read(raw))
            if number == 1:
                self.oldest_unwritten_at = batch[0].timestamp + batch[0].latency_ms / 1000
            if number % YIELD_EVERY_LINES == 0:
                time.sleep(0)
        store.add(batch, self._using)
        self.is_database_available = True
        self.last_commit_at = time.time()

    def _store_again(self, raw_lines: Sequence[bytes]) -> bool:
        """Whether a refused line is taken now: what it named may have been deleted between two statements."""
        try:
            self._store(raw_lines)
        except POISON:
            return False
        return True

    def _reject(self, raw: bytes, error: Exception) -> None:
        self._journal.reject(raw)
        try:
            name = decode(raw)["request_id"]
        except ValueError:
            self.torn_lines_total += 1
            name = "a torn line"
        else:
            self.lost_total += 1
        logger.error("%s cannot be stored and is now in rejected.ndjson: %s", name, error)

    def _retire(self, segment: Segment) -> None:
        tail = segment.tail().strip()
        if tail:
            self._reject(tail, ValueError("the process ended in the middle of it"))
        self._journal.filled.remove(segment)
        segment.retire()

    def _rotate(self) -> None:
        current = self._journal.current
        # A young file keeps short what has to be gone through again after a crash; there is no hurry while nothing drains.
        is_old = time.monotonic() - current.created_at > ROTATE_AFTER_S and self.last_error is None
        if current.size_bytes > ROTATE_BYTES or (is_old and current.size_bytes):
            self._journal.rotate()

    def adopt(self) -> None:
        """Take over what dead processes left. Before `start` anybody may call it, from then on only this thread."""
        self._adopted_at = time.monotonic()
        for segment in self._journal.adopt():
            self.adopted_total += segment.lines
            logger.info("adopted %d request logs of a process that ended: %s", segment.lines, segment.path.name)
