"""What keys have spent: today, this week, this month and ever, in UTC, and what their limits leave them.

Reads hourly sums and lifetime totals, never request logs: a fixed number of queries however many keys and requests there are. It
is as fresh as the ledger's writer, normally a second. Must not know how any of it is published.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from django.db.models import Max, Q, Sum

from accounting.models import ApiKey, HourlyUsage, UsageTotal
from accounting.periods import FOREVER, period

ZERO = Decimal(0)
SCALE = Decimal("1e-12")
"""The columns' own. SQLite sums decimals as floating point, whose last digits are noise."""


@dataclass(frozen=True, slots=True)
class Spending:
    """USD spent by one key, or by all of them. `last_used_at` is None for what was never used.

    `free_today`: requests that were answered today at no charge.
    """

    daily: Decimal = ZERO
    weekly: Decimal = ZERO
    monthly: Decimal = ZERO
    total: Decimal = ZERO
    last_used_at: datetime | None = None
    free_today: int = 0

    def within(self, limit_reset: str) -> Decimal:
        """What counts against a limit that is reset so often (`ApiKey.Reset`)."""
        return {"daily": self.daily, "weekly": self.weekly, "monthly": self.monthly}.get(limit_reset, self.total)


NOTHING = Spending()


def of_keys(pks: Collection[int], now: datetime) -> Mapping[int, Spending]:
    """The spending of those keys by their primary keys, `NOTHING` for keys that were never used. Two queries."""
    if not pks:
        return {}
    day, week, month = _began("daily", now), _began("weekly", now), _began("monthly", now)
    windows = {
        pk: (daily, weekly, monthly, free)
        for pk, daily, weekly, monthly, free in HourlyUsage.objects.filter(api_key__in=pks, hour__gte=min(week, month))
        .values_list("api_key_id")
        .annotate(
            daily=Sum("cost_usd", filter=Q(hour__gte=day), default=ZERO),
            weekly=Sum("cost_usd", filter=Q(hour__gte=week), default=ZERO),
            monthly=Sum("cost_usd", filter=Q(hour__gte=month), default=ZERO),
            # An hour of one model at one adapter that has cost nothing: the adapter is free.
            free=Sum("successes", filter=Q(hour__gte=day, cost_usd=0), default=0),
        )
    }
    totals = {
        pk: (ever, last_used_at)
        for pk, ever, last_used_at in UsageTotal.objects.filter(api_key__in=pks)
        .values_list("api_key_id")
        .annotate(Sum("cost_usd"), Max("last_used_at"))
    }
    spent = {}
    for pk, (ever, last_used_at) in totals.items():
        daily, weekly, monthly, free = windows.get(pk, (ZERO, ZERO, ZERO, 0))
        spent[pk] = Spending(exact(daily), exact(weekly), exact(monthly), exact(ever), last_used_at, free)
    return {pk: spent.get(pk, NOTHING) for pk in pks}


def total() -> Decimal:
    """What all requests have cost, with and without a key, in USD."""
    return exact(UsageTotal.objects.aggregate(sum=Sum("cost_usd", default=ZERO))["sum"])


def remaining(key: ApiKey, spent: Spending) -> Decimal | None:
    """What `key` may still spend before its limit is reset, never below 0; None where it has no limit."""
    if key.limit_usd is None:
        return None
    return max(ZERO, key.limit_usd - spent.within(key.limit_reset))


def resets_at(key: ApiKey, now: datetime) -> datetime | None:
    """When what counts against the limit of `key` is 0 again; None for what is never reset."""
    end = period(key.limit_reset, now.timestamp()).end
    return None if end == FOREVER else datetime.fromtimestamp(end, UTC)


def _began(limit_reset: str, now: datetime) -> datetime:
    return datetime.fromtimestamp(period(limit_reset, now.timestamp()).start, UTC)


def exact(amount: Decimal) -> Decimal:
    """`amount` to the scale of the columns that it is a sum of."""
    return amount.quantize(SCALE)
