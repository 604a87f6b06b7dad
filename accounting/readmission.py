"""What the ledger's writer refused (`rejected.ndjson`): telling why, and putting it back into the journal once the cause is cured.

A line that is put back and stored already is not stored again, so that nothing here can count a request twice. Works beside
running servers, and without any.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from accounting import lines, rows
from accounting.journal import REJECTED, set_aside

_TAKEN = f"taken-*.{REJECTED}"
"""What a run is putting back, or was when it was killed."""
_UNREADABLE = (ValueError, TypeError, ArithmeticError)


@dataclass(frozen=True, slots=True)
class Refused:
    """A line that was refused. `fault`: why it would be refused again, None if it can be read now."""

    raw: bytes
    name: str
    fault: str | None


def refused(directory: Path) -> list[Refused]:
    """The lines in the journal's `directory` that were refused, in the order in which they were."""
    files = [*sorted(directory.glob(_TAKEN)), *directory.glob(REJECTED)]
    return [_judged(raw) for path in files for raw in path.read_bytes().splitlines() if raw.strip()]


def readmit(directory: Path) -> list[Refused]:
    """Put back those that can be read now, and keep the others where they are; gives all of them.

    A running server adopts what is put back within seconds, or else the next one to start.
    """
    path = directory / REJECTED
    if path.exists():
        # Under another name first: a writer may add to the old one at any time.
        path.rename(directory / f"taken-{time.time_ns()}.{REJECTED}")
    judged = []
    for taken in sorted(directory.glob(_TAKEN)):
        found = [_judged(raw) for raw in taken.read_bytes().splitlines() if raw.strip()]
        _put_back(directory, [one.raw for one in found if one.fault is None])
        for one in found:
            if one.fault is not None:
                set_aside(directory, one.raw)
        taken.unlink()
        judged += found
    return judged


def _judged(raw: bytes) -> Refused:
    try:
        name = str(lines.decode(raw)["request_id"])
    except ValueError:
        name = "a torn line"
    try:
        rows.read(raw)
    except _UNREADABLE as error:
        return Refused(raw, name, str(error))
    return Refused(raw, name, None)


def _put_back(directory: Path, raw_lines: list[bytes]) -> None:
    """As a segment of a process that is dead: complete, or not there."""
    if not raw_lines:
        return
    number = time.time_ns()
    writing = directory / f"readmitting-{number}"
    with writing.open("wb") as file:
        file.write(b"\n".join(raw_lines) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    writing.rename(directory / f"0-{number}.ndjson")
