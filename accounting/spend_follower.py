"""Brings what keys have spent from the database to their budgets, every second: the request path itself asks no database."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime

from django.db import DatabaseError, close_old_connections, connection

from accounting import spending
from accounting.budgets import Budgets, Spent, nano_up
from accounting.models import ApiKey
from accounting.periods import period

log = logging.getLogger("gateway.budgets")

POLL_S = 1.0


def read(now: float) -> Mapping[int, Spent]:
    """What each key with a limit has spent in its present period, by key id. `now` in epoch seconds. Three queries at most."""
    resets = dict(
        ApiKey.objects.filter(limit_usd__isnull=False, is_disabled=False).order_by().values_list("pk", "limit_reset")
    )
    spent = spending.of_keys(resets, datetime.fromtimestamp(now, UTC))
    return {pk: Spent(period(reset, now).start, nano_up(spent[pk].within(reset))) for pk, reset in resets.items()}


class SpendFollower(threading.Thread):
    """Keeps `budgets` up to date. A database that is away leaves them as they are, growing by what is settled here."""

    def __init__(self, budgets: Budgets, poll_s: float = POLL_S) -> None:
        super().__init__(name="spend-follower", daemon=True)
        self._budgets = budgets
        self._poll_s = poll_s
        self._stopping = threading.Event()
        self._is_failing = False

    def refresh(self) -> None:
        """Read once. Call it before the first request, so that no budget starts from nothing."""
        try:
            self._budgets.learn(read(time.time()))
            self._is_failing = False
        except DatabaseError as error:
            if not self._is_failing:
                log.warning("what keys have spent cannot be read; budgets go on from what is known: %s", error)
            self._is_failing = True
            close_old_connections()

    def run(self) -> None:
        while not self._stopping.wait(self._poll_s):
            self.refresh()
        connection.close()

    def stop(self) -> None:
        self._stopping.set()
        self.join(timeout=5)
