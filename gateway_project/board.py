"""What the workers of one server hold to be wrong and the figures they judge by, in one file under a lock.

Owns what is said when: each thing once by all workers together, and nothing that comes and goes by itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from gateway_project import conditions
from gateway_project.figures import Figures

log = logging.getLogger("gateway.alerts")

LASTS_S = 60.0
"""How long something must have been wrong before it is said, and well before it is said to be over.

Longer than the pauses that providers ask for and breakers make, which fallbacks bridge without a caller's noticing: a provider that
answers every other request with 429 would otherwise be a message every few seconds. Short enough for whoever has to act.
"""
REPEAT_S = 3600.0
FORGOTTEN_S = 60.0
"""What a worker has not confirmed for this long is no longer its opinion, nor are its figures: it may have died."""


class Entry(msgspec.Struct):
    """One thing that is wrong. Epoch seconds: `since` when, when each worker has `seen` it last, when it was last said, since
    when no worker sees it any more."""

    text: str
    since: float
    seen: dict[str, float] = {}
    said_at: float | None = None
    clear_since: float | None = None


class Sheet(msgspec.Struct):
    """The content of the file: what is wrong, and each worker's figures with the time of which they are."""

    entries: dict[str, Entry] = {}
    figures: dict[str, tuple[float, Figures]] = {}


@dataclass(slots=True)
class Board:
    """The file. `pid` is the worker that looks at it."""

    path: Path
    pid: int = field(default_factory=os.getpid)

    def share(self, own: Figures, now: float) -> list[Figures]:
        """Note this worker's figures at `now` (epoch seconds); gives those of all workers."""
        with self._locked() as sheet:
            sheet.figures[str(self.pid)] = (now, own)
            sheet.figures = {pid: (at, one) for pid, (at, one) in sheet.figures.items() if now - at < FORGOTTEN_S}
            return [one for _, one in sheet.figures.values()]

    def tell(self, wrong: Mapping[str, str], now: float) -> list[str]:
        """Note what is wrong for this worker at `now` (epoch seconds); gives the messages that it has to send."""
        with self._locked() as sheet:
            self._withdraw(sheet.entries, wrong, now)
            return self._begun(sheet.entries, wrong, now) + _ended(sheet.entries, now)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[Sheet]:
        """The sheet, for this worker alone; what is changed in it is kept."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            sheet = self._read(file.read())
            yield sheet
            file.truncate(0)
            file.write(msgspec.json.encode(sheet))

    def _read(self, content: bytes) -> Sheet:
        try:
            return msgspec.json.decode(content, type=Sheet) if content else Sheet()
        except msgspec.MsgspecError as error:
            log.warning("%s cannot be read and is begun anew: %s", self.path, error)
            return Sheet()

    def _withdraw(self, entries: dict[str, Entry], wrong: Mapping[str, str], now: float) -> None:
        """Take back what this worker does not see any more, and what the dead saw. Of what was never said nothing is left."""
        me = str(self.pid)
        for key, entry in list(entries.items()):
            entry.seen = {
                pid: at for pid, at in entry.seen.items() if now - at < FORGOTTEN_S and (pid != me or key in wrong)
            }
            if not entry.seen and entry.said_at is None:
                del entries[key]

    def _begun(self, entries: dict[str, Entry], wrong: Mapping[str, str], now: float) -> list[str]:
        messages = []
        for key, text in wrong.items():
            entry = entries.setdefault(key, Entry(text, now))
            entry.text, entry.seen[str(self.pid)], entry.clear_since = text, now, None
            if entry.said_at is None:
                is_due = conditions.is_said_at_once(key) or now - entry.since >= LASTS_S
            else:
                is_due = now - entry.said_at >= REPEAT_S
            if is_due:
                entry.said_at = now
                messages.append(f":warning: {text}")
        return messages


def _ended(entries: dict[str, Entry], now: float) -> list[str]:
    messages = []
    for key, entry in list(entries.items()):
        if entry.seen:
            continue
        if entry.clear_since is None:
            entry.clear_since = now
        elif now - entry.clear_since >= LASTS_S:
            del entries[key]
            messages.append(f":white_check_mark: over: {entry.text}")
    return messages
