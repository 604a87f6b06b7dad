"""When the present day, week or month began and ends, in UTC. Pure.

`limit_reset` is that of a key: daily, weekly (Mondays), monthly, or "" for what is never reset.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

FOREVER = float("inf")


class Period(NamedTuple):
    """`start` and `end` in epoch seconds; 0 and infinity for what is never reset."""

    start: float
    end: float


def period(limit_reset: str, now: float) -> Period:
    """The period around `now` (epoch seconds). Raises `ValueError` for a reset that does not exist."""
    if not limit_reset:
        return Period(0.0, FOREVER)
    midnight = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if limit_reset == "daily":
        start, end = midnight, midnight + timedelta(days=1)
    elif limit_reset == "weekly":
        start = midnight - timedelta(days=midnight.weekday())
        end = start + timedelta(days=7)
    elif limit_reset == "monthly":
        start = midnight.replace(day=1)
        end = (start + timedelta(days=32)).replace(day=1)
    else:
        raise ValueError(f"{limit_reset!r} is no reset; use daily, weekly, monthly or nothing")
    return Period(start.timestamp(), end.timestamp())
