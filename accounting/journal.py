"""Segment files: the durable queue between answered requests and the database.

Owns file names, locks, appending, reading and retiring. Knows bytes and lines only: nothing of records or databases.

A process appends to one segment, `<pid>-<ns>.ndjson`, whose exclusive lock it holds. A segment whose lock is free belongs
to a dead process; whoever takes the lock drains it. Locks belong to the open file, so the kernel frees them however the
process ends. A segment is unlinked only once every line of it is in the database.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

BLOCK_BYTES = 1 << 20
PATTERN = "[0-9]*-[0-9]*.ndjson"
REJECTED = "rejected.ndjson"


class Segment:
    """One locked segment file. `drained_*` is what the reader has finished with; the rest is the backlog."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.created_at = time.monotonic()
        self.size_bytes = os.fstat(descriptor).st_size
        self.drained_bytes = 0
        self._descriptor = descriptor
        self._ends_torn = False
        self.lines = self._count_lines()
        self.drained_lines = 0

    @classmethod
    def create(cls, directory: Path) -> Segment:
        """A new, empty, locked segment. Raises `OSError` where the directory cannot be written."""
        while True:
            path = directory / f"{os.getpid()}-{time.time_ns()}.ndjson"
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            # Between these two calls a sibling may take it for an orphan, and unlink it because it is empty.
            if _lock(descriptor, path):
                return cls(path, descriptor)

    @classmethod
    def adopt(cls, path: Path) -> Segment | None:
        """The segment at `path`, if its owner is dead and nobody else has adopted it."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        except FileNotFoundError:
            return None
        return cls(path, descriptor) if _lock(descriptor, path) else None

    @property
    def is_drained(self) -> bool:
        return self.drained_bytes >= self.size_bytes

    def append(self, line: bytes, *, fsync: bool) -> None:
        """Write `line` (which ends in a newline) completely or not at all. Raises `OSError` for the latter."""
        if self._ends_torn:
            line = b"\n" + line
        try:
            written = os.write(self._descriptor, line)
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
            if fsync:
                os.fdatasync(self._descriptor)
        except OSError:
            self._take_back()
            raise
        self.size_bytes += len(line)
        self.lines += 2 if self._ends_torn else 1
        self._ends_torn = False

    def probe(self, size_bytes: int) -> None:
        """Raise the `OSError` that appending `size_bytes` would meet; leave the file as it was."""
        try:
            written = 0
            while written < size_bytes:
                written += os.write(self._descriptor, b" " * (size_bytes - written))
        finally:
            self._take_back()

    def read(self, max_lines: int) -> list[bytes]:
        """The next undrained lines, without newlines: at most `max_lines` and about a megabyte. Empty: none is complete."""
        end = self.size_bytes
        block = b""
        position = self.drained_bytes
        while position < end and b"\n" not in block:
            piece = os.pread(self._descriptor, min(BLOCK_BYTES, end - position), position)
            if not piece:
                break
            block += piece
            position += len(piece)
        return block.split(b"\n", max_lines)[:-1]

    def advance(self, lines: list[bytes]) -> None:
        """Those lines, the first ones that `read` gave, are in the database (or rejected)."""
        self.drained_bytes += sum(map(len, lines)) + len(lines)
        self.drained_lines += len(lines)

    def tail(self) -> bytes:
        """What a dead process left after its last complete line, once `read` gives nothing more."""
        return os.pread(self._descriptor, self.size_bytes - self.drained_bytes, self.drained_bytes)

    def retire(self) -> None:
        """Unlink the file: every line of it is in the database."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Free the lock and leave the file to whoever adopts it. Appending raises `OSError` from now on."""
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)

    def _take_back(self) -> None:
        try:
            os.ftruncate(self._descriptor, self.size_bytes)
        except OSError:
            # What is there of the line stays; a newline before the next one keeps the two apart.
            self.size_bytes = os.fstat(self._descriptor).st_size
            self.lines = self._count_lines()
            self._ends_torn = True

    def _count_lines(self) -> int:
        position = lines = 0
        while position < self.size_bytes:
            block = os.pread(self._descriptor, BLOCK_BYTES, position)
            if not block:
                break
            lines += block.count(b"\n")
            position += len(block)
        return lines


class Journal:
    """The segments of one process: the current one, which grows, and older or adopted ones, which only drain.

    `append`, `probe` and `rotate` may be called from any thread; everything else belongs to the writer's thread.
    """

    def __init__(self, directory: Path, *, fsync: bool) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory = directory
        self.current = Segment.create(directory)
        self.filled: deque[Segment] = deque()
        self._fsync = fsync
        self._appending = threading.Lock()
        self._fsync_directory()

    def append(self, line: bytes) -> None:
        """Write one line completely or not at all. Raises `OSError` for the latter."""
        with self._appending:
            self.current.append(line, fsync=self._fsync)

    def probe(self, size_bytes: int) -> None:
        """Raise the `OSError` that appending `size_bytes` would meet now."""
        with self._appending:
            self.current.probe(size_bytes)

    def rotate(self) -> None:
        """Append to a new segment from now on. Raises `OSError`, and changes nothing, where none can be created."""
        fresh = Segment.create(self.directory)
        self._fsync_directory()
        with self._appending:
            full, self.current = self.current, fresh
        self.filled.append(full)

    def adopt(self) -> list[Segment]:
        """Take over the segments of dead processes; they are drained before the current one."""
        own = {segment.path for segment in self.segments()}
        orphans = [Segment.adopt(path) for path in sorted(self.directory.glob(PATTERN)) if path not in own]
        adopted = [segment for segment in orphans if segment]
        self.filled.extend(adopted)
        return adopted

    def segments(self) -> Iterator[Segment]:
        """In the order in which they are drained."""
        yield from tuple(self.filled)
        yield self.current

    def reject(self, line: bytes) -> None:
        """Set aside a line that cannot become a row (`accounting.readmission` puts it back)."""
        set_aside(self.directory, line)

    def close(self) -> None:
        """Unlink what is drained, leave the rest to whoever starts next."""
        with self._appending:
            for segment in self.segments():
                if segment.is_drained:
                    segment.retire()
                else:
                    segment.close()

    def _fsync_directory(self) -> None:
        if self._fsync:
            descriptor = os.open(self.directory, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def set_aside(directory: Path, line: bytes) -> None:
    """Add a line to those that cannot become rows."""
    descriptor = os.open(directory / REJECTED, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, line + b"\n")
    finally:
        os.close(descriptor)


SCAN_BYTES = 8 << 20


def find(directory: Path, start: bytes) -> bytes | None:
    """The latest line that begins with `start`, in the last 8 MB of any segment, whoever owns it."""
    for path in sorted(directory.glob(PATTERN), key=_modified_at, reverse=True):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - SCAN_BYTES))
            block = b"\n" + file.read(SCAN_BYTES)
            at = block.rfind(b"\n" + start)
            end = block.find(b"\n", at + 1)
            if at >= 0 and end >= 0:
                return block[at + 1 : end]
    return None


def _modified_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _lock(descriptor: int, path: Path) -> bool:
    """Take the exclusive lock of an open segment. False, with the descriptor closed: somebody else has it or had it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return True
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return False
