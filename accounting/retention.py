"""How old request logs go: in small batches, so that neither memory nor a lock grows with the table.

Hourly sums of requests and lifetime totals stay. They are small, and what they say remains true. Those of attempts go with the
requests that they explain, and percentiles when nobody can ask for them any more.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from accounting.models import HourlyAttempt, HourlySketch, HourlySpread, RequestLog

BATCH_ROWS = 1000
PERCENTILE_DAYS = 366
"""How far back `/stats` can be asked."""

Progress = Callable[[int], None]


def delete_logs(before: datetime, progress: Progress) -> int:
    """Delete requests that arrived before that time; tell `progress` the number so far; return the number in all."""
    deleted = 0
    logs = RequestLog.objects.between(None, before).order_by("timestamp", "pk")
    page = list(logs.values_list("timestamp", "pk")[:BATCH_ROWS])
    while page:
        deleted += RequestLog.objects.filter(pk__in=[pk for _, pk in page]).delete()[0]
        progress(deleted)
        # From where the last page ended: at the beginning PostgreSQL keeps what was deleted until it is vacuumed.
        page = list(logs.after(*page[-1]).values_list("timestamp", "pk")[:BATCH_ROWS])
    return deleted


def delete_attempts(before: datetime) -> int:
    """Delete the sums of attempts of hours that ended before that time; return how many rows that were.

    At once: an hour has a few for each adapter.
    """
    return HourlyAttempt.objects.filter(hour__lte=before - timedelta(hours=1)).delete()[0]


def delete_percentiles(before: datetime, progress: Progress) -> int:
    """Forget the percentiles of hours before that time, and keep what is counted; as `delete_logs` otherwise."""
    deleted = 0
    for rows in (HourlySketch.objects.filter(usage__hour__lt=before), HourlySpread.objects.filter(hour__lt=before)):
        last = 0
        while page := list(rows.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:BATCH_ROWS]):
            deleted += rows.model.objects.filter(pk__in=page).delete()[0]
            progress(deleted)
            last = page[-1]
    return deleted


def delete_content(before: datetime, progress: Progress) -> int:
    """Forget prompts and answers of requests before that time, and keep the rest; as `delete_logs` otherwise."""
    cleared = 0
    logs = RequestLog.objects.between(None, before).order_by("timestamp", "pk")
    page = list(logs.values_list("timestamp", "pk")[:BATCH_ROWS])
    while page:
        with_content = RequestLog.objects.filter(pk__in=[pk for _, pk in page]).with_content()
        changed = with_content.update(prompt=None, response=None)
        if changed:
            cleared += changed
            progress(cleared)
        page = list(logs.after(*page[-1]).values_list("timestamp", "pk")[:BATCH_ROWS])
    return cleared
