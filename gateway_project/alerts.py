"""Alerts to a webhook without Prometheus. What is wrong, `gateway_project.conditions` finds.

A thread looks every few seconds and posts `{"text": …}`, which Slack, Mattermost and many others take. Nothing of it is on the
request path. The workers of one server share a file, so that each thing is said once: when it
begins, once an hour while it lasts, and when it is over.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import requests

from catalog.discovery import guard
from gateway_project.conditions import Conditions
from gateway_project.errors import redact

log = logging.getLogger("gateway.alerts")

LOOK_EVERY_S = 5.0
REPEAT_S = 3600.0
SEND_WITHIN_S = 10.0
FORGOTTEN_S = 60.0
"""What a worker has not confirmed for this long is no longer its opinion: it may have died."""


@dataclass(slots=True)
class Board:
    """What the workers of this server hold to be wrong, in one file under a lock. `told` says what is to be sent now."""

    path: Path
    pid: int = field(default_factory=os.getpid)

    def tell(self, wrong: Mapping[str, str], now: float) -> list[str]:
        """Note what is wrong for this worker at `now` (epoch seconds); gives the messages that it has to send."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            entries = self._read(file.read())
            messages = self._update(entries, wrong, now)
            file.truncate(0)
            file.write(orjson.dumps(entries))
        return messages

    def _read(self, content: bytes) -> dict[str, dict[str, Any]]:
        try:
            entries: dict[str, dict[str, Any]] = orjson.loads(content) if content else {}
        except orjson.JSONDecodeError as error:
            log.warning("%s cannot be read and is begun anew: %s", self.path, error)
            return {}
        return entries

    def _update(self, entries: dict[str, dict[str, Any]], wrong: Mapping[str, str], now: float) -> list[str]:
        messages, me = [], str(self.pid)
        for key, text in wrong.items():
            entry = entries.setdefault(key, {"text": text, "sent_at": None, "seen": {}})
            entry["seen"][me] = now
            entry["text"] = text
            if entry["sent_at"] is None or now - entry["sent_at"] >= REPEAT_S:
                entry["sent_at"] = now
                messages.append(f":warning: {text}")
        for key, entry in list(entries.items()):
            if key not in wrong:
                entry["seen"].pop(me, None)
            entry["seen"] = {pid: at for pid, at in entry["seen"].items() if now - at < FORGOTTEN_S}
            if not entry["seen"]:
                del entries[key]
                messages.append(f":white_check_mark: over: {entry['text']}")
        return messages


class Alerter(threading.Thread):
    """Looks every `every_s` seconds and posts to `url` what is new, lasts, or is over."""

    def __init__(self, url: str, board: Path, every_s: float = LOOK_EVERY_S) -> None:
        super().__init__(name="alerts", daemon=True)
        self._url = url
        self._board = Board(board)
        self._every_s = every_s
        self._conditions = Conditions()
        self._stopping = threading.Event()
        self._unsent: deque[str] = deque(maxlen=100)
        self._is_failing = False

    def run(self) -> None:
        while not self._stopping.wait(self._every_s):
            try:
                self.look()
            except Exception:  # one look that fails must not be the last
                log.exception("alerts could not be looked for")

    def look(self) -> None:
        """One round: find, note, send."""
        self._unsent += self._board.tell(self._conditions.look(time.monotonic()), time.time())
        while self._unsent and self._send(self._unsent[0]):
            self._unsent.popleft()

    def stop(self) -> None:
        self._stopping.set()
        self.join(timeout=SEND_WITHIN_S + 1)

    def _send(self, text: str) -> bool:
        """Whether the webhook took it. What it did not take is sent again in the next round."""
        try:
            with guard.session() as session:
                said = {"text": redact(text)}
                answer = session.post(self._url, json=said, timeout=SEND_WITHIN_S, allow_redirects=False)
                answer.raise_for_status()
        except (requests.RequestException, guard.ForbiddenAddress) as error:
            if not self._is_failing:
                # The address is a secret: whoever knows it may post. The error's text would show it.
                response = getattr(error, "response", None)
                status = type(error).__name__ if response is None else response.status_code
                log.warning("the alert webhook does not take messages: %s", status)
            self._is_failing = True
            return False
        self._is_failing = False
        return True
