"""What became of attempts, adapter by adapter: hourly sums, written with the request logs and read for people.

A request that falls back has attempts at several adapters, and hourly usage shows it at the last one only. Nothing here opens a
transaction: adding exactly once is up to the caller, who adds only rows that are new, in the transaction that inserts them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Max, Sum

from accounting.groups import HOUR_S
from accounting.models import HourlyAttempt
from accounting.rows import Row
from accounting.upserts import Upsert, moment
from gateway_project.errors import ERROR_TYPES

ANSWERED = "answered"
GIVEN_UP = "given_up"
"""Ended by us: its race was lost, or its client had left. Nobody's fault. Every other outcome is a type of error."""
REFUSED = "authentication"


class _Attempt(msgspec.Struct):
    """What is counted of one: columns of `accounting.record.Attempt`."""

    adapter_id: int
    error_type: str | None = None
    error: Any = None


_attempts = msgspec.json.Decoder(list[_Attempt])


@dataclass(slots=True)
class Sums:
    """Attempts at one adapter with one outcome, in one hour. `last_at`: epoch seconds."""

    n: int = 0
    retries: int = 0
    fallbacks: int = 0
    last_at: float = 0.0


@dataclass(slots=True)
class Tried:
    """Attempts at an adapter. `faults` by error type. `refused_at`: the latest time at which the provider refused our key.

    `retries` followed an attempt of the same request at the same adapter, `fallbacks` one at another adapter.
    """

    attempts: int = 0
    answered: int = 0
    given_up: int = 0
    retries: int = 0
    fallbacks: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    refused_at: datetime | None = None

    @property
    def success_rate(self) -> float | None:
        """Answers among those attempts that had a result; None where none had."""
        decided = self.attempts - self.given_up
        return self.answered / decided if decided else None

    def add(self, other: Tried) -> None:
        for name in ("attempts", "answered", "given_up", "retries", "fallbacks"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.faults.update(other.faults)
        moments = [moment for moment in (self.refused_at, other.refused_at) if moment]
        self.refused_at = max(moments, default=None)


def summed(rows: Iterable[Row]) -> dict[tuple[int, int, str], Sums]:
    """The attempts of a batch by hour (epoch seconds), adapter and outcome. Pure.

    Raises `ValueError` for a row whose attempts are none.
    """
    found: dict[tuple[int, int, str], Sums] = {}
    for row in rows:
        timestamp = row.timestamp
        hour = int(timestamp // HOUR_S) * HOUR_S
        before: int | None = None
        for attempt in _attempts.decode(row.attempts):
            adapter_id = attempt.adapter_id
            key = (hour, adapter_id, _outcome(attempt))
            sums = found.get(key)
            if sums is None:
                sums = found[key] = Sums()
            sums.n += 1
            if before is not None:
                sums.retries += before == adapter_id
                sums.fallbacks += before != adapter_id
            if timestamp > sums.last_at:
                sums.last_at = timestamp
            before = adapter_id
    return found


def add(rows: Iterable[Row], connection: BaseDatabaseWrapper) -> None:
    """Add a batch to the hourly rows. Call it inside the transaction that inserts the batch."""
    # Sorted, so that two processes lock the rows they share in the same order and neither waits for the other.
    vendor = connection.vendor
    upserts = [
        (moment(hour, vendor), adapter_id, outcome, of.n, of.retries, of.fallbacks, moment(of.last_at, vendor))
        for (hour, adapter_id, outcome), of in sorted(summed(rows).items(), key=lambda item: item[0])
    ]
    if upserts:
        with connection.cursor() as cursor:
            _UPSERT.run(upserts, cursor)


def by_adapter(start: datetime, end: datetime | None = None) -> dict[int, Tried]:
    """What became of attempts by adapter id, for requests of the UTC hours from that of `start` and before `end`. One query."""
    hours = HourlyAttempt.objects.filter(hour__gte=start.astimezone(UTC).replace(minute=0, second=0, microsecond=0))
    if end is not None:
        hours = hours.filter(hour__lt=end)
    sums = hours.values_list("adapter_id", "outcome").annotate(Sum("n"), Sum("retries"), Sum("fallbacks"), Max("last_at"))
    found: dict[int, Tried] = {}
    for adapter_id, outcome, n, retries, fallbacks, last_at in sums:
        is_fault = outcome not in (ANSWERED, GIVEN_UP)
        found.setdefault(adapter_id, Tried()).add(
            Tried(
                attempts=n,
                answered=n if outcome == ANSWERED else 0,
                given_up=n if outcome == GIVEN_UP else 0,
                retries=retries,
                fallbacks=fallbacks,
                faults=Counter({outcome: n} if is_fault else {}),
                refused_at=last_at if outcome == REFUSED else None,
            )
        )
    return found


def counted_since() -> datetime | None:
    """The first hour that there are sums of; earlier ones were deleted with their request logs. None: there are none yet."""
    return HourlyAttempt.objects.order_by("hour").values_list("hour", flat=True).first()


def _outcome(attempt: _Attempt) -> str:
    if attempt.error_type:
        return attempt.error_type if attempt.error_type in ERROR_TYPES else "unmapped"
    return GIVEN_UP if attempt.error else ANSWERED


_UPSERT = Upsert(
    HourlyAttempt._meta.db_table,
    "hour, adapter_id, outcome",
    found_by=("hour", "adapter_id", "outcome"),
    added=("n", "retries", "fallbacks"),
    latest=("last_at",),
)
