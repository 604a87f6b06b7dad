"""Alerts to a webhook without Prometheus. What is wrong, `gateway_project.conditions` finds; when it is said, `.board` decides.

A thread looks every few seconds and posts `{"text": …}`, which Slack, Mattermost and many others take. Nothing of it is on the
request path.
"""

from __future__ import annotations

import html
import logging
import threading
import time
from collections import deque
from pathlib import Path

import requests

from catalog.discovery import guard
from gateway_project.board import Board
from gateway_project.conditions import Conditions
from gateway_project.errors import redact

log = logging.getLogger("gateway.alerts")

LOOK_EVERY_S = 5.0
SEND_WITHIN_S = 10.0


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
        wrong = self._conditions.look(time.monotonic(), lambda own: self._board.share(own, time.time()))
        self._unsent += self._board.tell(wrong, time.time())
        while self._unsent and self._send(self._unsent[0]):
            self._unsent.popleft()

    def stop(self) -> None:
        self._stopping.set()
        self.join(timeout=SEND_WITHIN_S + 1)

    def _send(self, text: str) -> bool:
        """Whether the webhook took it. What it did not take is sent again in the next round."""
        try:
            with guard.session() as session:
                said = {"text": as_plain_text(redact(text))}
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


def as_plain_text(text: str) -> str:
    """`text` so that nothing in it is a command: parts of it are a provider's, and `<!channel>` wakes everybody.

    Slack asks for these three characters to be escaped. An empty space keeps `@channel` from being one to Mattermost and others.
    """
    return html.escape(text, quote=False).replace("@", "@\u200b")
