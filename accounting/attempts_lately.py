"""What became of the latest attempts at each adapter, read from request logs: hourly sums count requests, not attempts.

Bounded: at most `LATEST` rows are read, whatever the traffic, so what is told is of the latest requests alone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from accounting.models import RequestLog

LATEST = 2000


@dataclass(slots=True)
class Tried:
    """Attempts at one adapter. `faults` by error type; the gateway's own giving up is none. `refused_at`: the latest time
    at which the provider refused our key."""

    attempts: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    refused_at: datetime | None = None


def by_adapter(since: datetime, *, model: str | None = None, latest: int = LATEST) -> tuple[dict[int, Tried], int]:
    """What became of attempts by adapter id, and how many requests were looked at. One query."""
    logs = RequestLog.objects.filter(timestamp__gte=since)
    if model is not None:
        logs = logs.filter(model_id=model)
    rows = logs.order_by("-timestamp", "-id").values_list("timestamp", "attempts")[:latest]
    found: dict[int, Tried] = {}
    for moment, attempts in rows:
        for attempt in attempts:
            tried = found.setdefault(attempt["adapter_id"], Tried())
            tried.attempts += 1
            if kind := attempt.get("error_type"):
                tried.faults[kind] += 1
            if kind == "authentication":
                tried.refused_at = max(moment, tried.refused_at or moment)
    return found, len(rows)
