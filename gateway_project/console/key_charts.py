"""What one key used day by day, as charts on its page. One query of the sums by day."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from django.db.models import Sum
from django.utils.safestring import SafeString

from accounting import slots
from accounting.models import SlotUsage
from gateway_project.console import charts
from gateway_project.console.timeline import Window
from gateway_project.console.words import count, usd

DAYS = 30
SHOWN = 5
"""Models with a colour of their own."""


def drawn(key_id: int, now: datetime) -> list[SafeString]:
    """Requests and spend of the last 30 days by model; nothing for a key that was not used in them."""
    window = Window.until(now, slots.DAY_S, DAYS)
    rows = SlotUsage.objects.filter(grain_s=slots.DAY_S, start__gte=window.start, api_key=key_id).order_by()
    requests: dict[str, list[float]] = defaultdict(lambda: [0.0] * DAYS)
    spend: dict[str, list[float]] = defaultdict(lambda: [0.0] * DAYS)
    for start, model_id, number, cost_usd in rows.values_list("start", "model_id").annotate(
        Sum("requests"), Sum("cost_usd")
    ):
        place = window.place(start)
        requests[model_id or "unknown model"][place] += number
        spend[model_id or "unknown model"][place] += float(cost_usd)
    if not requests:
        return []
    days = [f"{start:%a %d %b}" for start in window.starts()]
    axis = charts.Axis(days, days[0], "today (UTC)")
    order = sorted(requests, key=lambda name: -sum(requests[name]))
    return [
        charts.stacked_bars("Requests, 30 days", axis, _series(order, requests), count),
        charts.stacked_bars("Spend, 30 days", axis, _series(order, spend), usd),
    ]


def _series(order: list[str], values: dict[str, list[float]]) -> list[charts.Series]:
    shown = [charts.Series(name, values[name]) for name in order[:SHOWN]]
    rest = [values[name] for name in order[SHOWN:]]
    if rest:
        shown.append(charts.Series(f"{len(rest)} more", [sum(column) for column in zip(*rest, strict=True)]))
    return shown
