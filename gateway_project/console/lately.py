"""Where requests went lately: in the last hour by the short sums, and since a moment by the latest requests themselves.

Bounded either way: an hour has thirty short sums for each adapter and key, and of requests at most `COUNTED` are read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import BooleanField, ExpressionWrapper, Q

from accounting import sketch, slots
from accounting.models import RequestLog, SlotUsage
from accounting.models.requests import FAILED

HOUR = timedelta(hours=1)
COUNTED = 2000
_ERROR = Q(is_cancelled=False) & (FAILED | Q(error_type__isnull=False))
"""What the sums count as an error, too: an answer that broke has begun with a status of 200."""


@dataclass(slots=True)
class Hour:
    """What one adapter did in the last hour."""

    requests: int = 0
    errors: int = 0
    ttft: sketch.Sketch = 0

    @property
    def ttft_p95_ms(self) -> float | None:
        return sketch.quantile(sketch.counts(self.ttft), 0.95)


@dataclass(frozen=True, slots=True)
class Landed:
    """Where a model's latest requests were answered, by adapter id, and how many of those failed there.

    `is_all`: none since `since` was left out.
    """

    since: datetime
    counts: Counter[int]
    errors: Counter[int]
    is_all: bool

    @property
    def requests(self) -> int:
        return self.counts.total()

    @property
    def shares(self) -> dict[int, float]:
        """From 0 to 1; empty where there was no request at all."""
        return {adapter_id: count / self.requests for adapter_id, count in self.counts.items()}


def hour(now: datetime, model_id: str | None = None) -> dict[int, Hour]:
    """By adapter id, of one model or of all. One query."""
    chosen = {"grain_s": slots.FINE_S, "start__gt": now - HOUR, "adapter__isnull": False}
    if model_id is not None:
        chosen["model_id"] = model_id
    found: dict[int, Hour] = defaultdict(Hour)
    rows = SlotUsage.objects.filter(**chosen).order_by().values_list("adapter_id", "requests", "errors", "ttft")
    for adapter_id, requests, errors, ttft in rows:
        one = found[adapter_id]
        one.requests += requests
        one.errors += errors
        one.ttft += sketch.unpack(ttft)
    return found


def landed(model_id: str, since: datetime) -> Landed:
    """The model's latest requests since then. One query, answered by an index."""
    rows = RequestLog.objects.filter(model_id=model_id, timestamp__gte=since, adapter__isnull=False)
    latest = rows.annotate(failed=ExpressionWrapper(_ERROR, BooleanField())).order_by("-timestamp")
    counts: Counter[int] = Counter()
    errors: Counter[int] = Counter()
    for adapter_id, failed in latest.values_list("adapter_id", "failed")[:COUNTED]:
        counts[adapter_id] += 1
        errors[adapter_id] += failed
    return Landed(since, counts, errors, counts.total() < COUNTED)
