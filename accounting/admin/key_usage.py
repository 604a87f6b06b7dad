"""What keys have used today, this week, this month and ever, in UTC, and how much of their budgets that is.

From hourly sums and lifetime totals: two queries for any number of keys.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.db.models import Max, Q, Sum
from django.http import HttpRequest
from django.utils import timezone

from accounting import spending
from accounting.models import ApiKey, HourlyUsage, UsageTotal
from accounting.periods import period

WINDOWS = {"daily": "today", "weekly": "this week", "monthly": "this month", "": "ever"}
"""How each stretch of time is called, by the reset of a limit that counts it."""
_MEASURES = ("requests", "total_tokens", "cost_usd")
NEARLY_SPENT = 0.8


@dataclass(frozen=True, slots=True)
class Used:
    """What one key used in one stretch of time."""

    requests: int = 0
    tokens: int = 0
    usd: Decimal = spending.ZERO


@dataclass(frozen=True, slots=True)
class KeyUsage:
    """What one key used, by the keys of `WINDOWS`. `last_used_at` is None for one that never was."""

    windows: Mapping[str, Used] = field(default_factory=lambda: dict.fromkeys(WINDOWS, Used()))
    last_used_at: datetime | None = None

    @property
    def named(self) -> list[tuple[str, Used]]:
        return [(words, self.windows[reset]) for reset, words in WINDOWS.items()]

    def of_period(self, key: ApiKey) -> Used:
        """Of the period of the key's limit; of the month for keys whose limit is never reset, or that have none."""
        return self.windows[key.limit_reset or "monthly"]


@dataclass(frozen=True, slots=True)
class Budget:
    """How much of a key's limit is spent. `resets_at` is None for one that is never reset."""

    spent: Decimal
    limit: Decimal
    resets_at: datetime | None

    @property
    def share(self) -> float:
        """Of the limit, from 0 to 1, also where more than the limit was spent."""
        return min(1.0, float(self.spent / self.limit)) if self.limit else 1.0

    @property
    def state(self) -> str:
        """ "bad" where it is spent, "near" where it nearly is."""
        return "bad" if self.share >= 1 else "near" if self.share >= NEARLY_SPENT else ""


def of_keys(pks: Collection[int], now: datetime) -> dict[int, KeyUsage]:
    """By primary key, for each of `pks`."""
    starts = {reset: datetime.fromtimestamp(period(reset, now.timestamp()).start, UTC) for reset in WINDOWS if reset}
    sums = {
        f"{reset}_{name}": Sum(name, filter=Q(hour__gte=start)) for reset, start in starts.items() for name in _MEASURES
    }
    hours = HourlyUsage.objects.filter(api_key__in=pks, hour__gte=min(starts.values())).order_by()
    within = {pk: amounts for pk, *amounts in hours.values_list("api_key_id").annotate(**sums)}
    totals = UsageTotal.objects.filter(api_key__in=pks).order_by().values_list("api_key_id")
    found = {}
    for pk, last_used_at, *ever in totals.annotate(Max("last_used_at"), *map(Sum, _MEASURES)):
        amounts = within.get(pk, [None] * len(sums))
        windows = {reset: _used(amounts[3 * place : 3 * place + 3]) for place, reset in enumerate(starts)}
        found[pk] = KeyUsage({**windows, "": _used(ever)}, last_used_at)
    return {pk: found.get(pk) or KeyUsage() for pk in pks}


def budget(key: ApiKey, usage: KeyUsage, now: datetime) -> Budget | None:
    """The key's budget in the present period; None where it has no limit."""
    if key.limit_usd is None:
        return None
    return Budget(usage.windows[key.limit_reset].usd, key.limit_usd, spending.resets_at(key, now))


class KeyList(ChangeList):
    """The list of keys. Each of a page's keys knows its `usage`."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        shown = list(self.result_list)
        used = of_keys([key.pk for key in shown], timezone.now())
        for key in shown:
            key.usage = used[key.pk]
        self.result_list: Any = shown


def _used(amounts: list[Any]) -> Used:
    requests, tokens, usd = amounts
    return Used(requests or 0, tokens or 0, spending.exact(usd or spending.ZERO))
