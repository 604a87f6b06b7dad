"""The index of admin: figures, charts and the state of providers over a period, from sums and this process's health.

Its queries do not depend on how many requests, models or keys there are. Owns what is shown; how a chart is drawn is
`charts`, what is summed is `timeline`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from accounting import slots
from accounting.models import FAULTY, RequestLog
from accounting.savings import Market
from accounting.statistics import Figures, GroupBy
from catalog.environment import lookup
from catalog.loader import provider_entry
from catalog.models import Adapter, LanguageModel, Provider
from gateway_project.console import charts, process, refused_keys, timeline
from gateway_project.console.process import ProcessView
from gateway_project.console.timeline import HOUR_S, Course, Timeline, Window
from gateway_project.console.words import count, duration, percent, usd

REQUESTS = "admin:accounting_requestlog_changelist"
LATEST_FAILURES = 200
"""So many failed requests are looked at to say what most of them were."""


@dataclass(frozen=True, slots=True)
class Period:
    """A choice of the dashboard: `steps` bars of `grain_s` seconds, the last of which is going on. `moment`: how a bar is dated."""

    name: str
    label: str
    grain_s: int
    steps: int
    moment: str


PERIODS = (
    Period("1h", "1 hour", slots.FINE_S, 30, "%H:%M"),
    Period("24h", "24 hours", HOUR_S, 24, "%a %H:%M"),
    Period("7d", "7 days", slots.QUARTER_S, 28, "%a %d %b, %H:%M"),
    Period("30d", "30 days", slots.DAY_S, 30, "%a %d %b"),
)
GROUPINGS = {GroupBy.MODEL: "model", GroupBy.ADAPTER: "adapter", GroupBy.KEY: "key"}
_FILTERS = {GroupBy.MODEL: "model_id", GroupBy.ADAPTER: "adapter", GroupBy.KEY: "api_key"}
"""The filter of the list of requests that shows a group's."""


@dataclass(frozen=True, slots=True)
class Card:
    """One figure. `state` is "", "good" or "bad"; `note` a line below it; `address` where more of it is told."""

    title: str
    figure: str
    note: str = ""
    state: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class ProviderLine:
    """One provider: whether it can be used, and what it did."""

    provider: Provider
    state: str
    told: str
    figures: Figures


def context(request: HttpRequest) -> dict[str, Any]:
    """Everything that the index shows beside the list of apps."""
    period = next((one for one in PERIODS if one.name == request.GET.get("period")), PERIODS[1])
    group_by = next((one for one in GROUPINGS if one.value == request.GET.get("by")), GroupBy.MODEL)
    now = timezone.now()
    window = Window.until(now, period.grain_s, period.steps)
    found = timeline.of(window, group_by, _market())
    here = process.look()
    return {
        "periods": PERIODS,
        "period": period,
        "groupings": GROUPINGS,
        "group_by": group_by,
        "cards": cards(found.total, here, window.start),
        "refused_keys": refused_keys.lately(now),
        "charts": drawn(period, window, found),
        "ranking": ranking(group_by, found.courses, window.start),
        "provider_lines": provider_lines(found.by_provider, here),
        "process": here,
        "is_new": not found.total.sums.requests,
        "model_ids": list(LanguageModel.objects.filter(is_enabled=True).values_list("public_id", flat=True)),
    }


def _market() -> Market:
    local = frozenset(Adapter.objects.filter(provider__is_local=True).values_list("pk", flat=True))
    return Market.of(process.catalogue(), local) if local else Market()


def cards(total: Figures, here: ProcessView | None, since: datetime) -> list[Card]:
    """The figures at the top."""
    sums, failed = total.sums, total.failure_rate
    listed = _requests(since)
    cards = [
        Card(
            "Requests", count(sums.requests), f"{count(sums.streams)} streamed, {count(sums.cancelled)} left by the caller",
            address=listed,
        ),
        Card("Failures of providers and gateway", percent(failed), _failures(total, since),
             "bad" if failed and failed > 0.05 else "",
             _requests(since, outcome="failed", error_domain="provider,gateway")),
        Card("Spend", usd(sums.cost_usd), f"{count(sums.fallbacks)} needed a second attempt"),
        Card("Tokens", count(sums.total_tokens), f"{count(sums.prompt_tokens)} in, {count(sums.completion_tokens)} out"),
        Card("Saved by local serving", usd(total.savings_usd), "against the cheapest hosted price"),
        Card("First token, p95", duration(total.ttft_ms["p95"]), f"median {duration(total.ttft_ms['p50'])}"),
    ]  # fmt: skip
    return cards + (_of_process(here) if here else [])


def _requests(since: datetime, **filters: Any) -> str:
    """The address of the list of the requests that arrived since then."""
    return f"{reverse(REQUESTS)}?{urlencode({'from': f'{since:%Y-%m-%dT%H:%M}'} | filters)}"


def _failures(total: Figures, since: datetime) -> str:
    """What most failures were, and how many requests were refused."""
    told = "no failures"
    if total.failures:
        told = f"{count(total.failures)} failed{_mostly(since)}"
    refused = total.sums.refusals
    return f"{told}; {count(refused)} refused, not counted" if refused else told


def _mostly(since: datetime) -> str:
    latest = RequestLog.objects.filter(FAULTY, timestamp__gte=since).order_by("-timestamp")
    worst = Counter(latest.values_list("error_type", flat=True)[:LATEST_FAILURES]).most_common(1)
    return f", mostly {worst[0][0]}" if worst else ""


def _of_process(here: ProcessView) -> list[Card]:
    paused = [f"{one.adapter.model_id} at {one.adapter.provider.name}" for one in here.paused]
    cards = [
        Card("Open breakers", str(len(paused)), "; ".join(paused[:2]) or "every adapter may be called",
             "bad" if paused else "good"),
    ]  # fmt: skip
    if (journal := here.journal) is not None:
        is_late = journal.oldest_unwritten_age_s > 30 or journal.lost_total > 0
        told = (
            f"{journal.lost_total} lost"
            if journal.lost_total
            else f"{here.in_flight} request{'s'[: here.in_flight != 1]} under way"
        )
        cards.append(Card("Journal backlog", count(journal.backlog_lines), told, "bad" if is_late else "good"))
    return cards


def drawn(period: Period, window: Window, found: Timeline) -> list[SafeString]:
    """The charts of a period."""
    moments = [format(start, period.moment) for start in window.starts()]
    axis = charts.Axis(moments, moments[0], "now (UTC)")
    total = found.total

    def of(measure: str) -> list[charts.Series]:
        return [charts.Series(label, values) for label, values in found.drawn(measure)]

    first_token = charts.Series("p95", [step.ttft_p95_ms for step in found.steps])
    failures = charts.Series("failures", [step.failure_rate for step in found.steps])
    return [
        charts.stacked_bars("Requests", axis, of("requests"), count),
        charts.stacked_bars("Spend", axis, of("cost_usd"), usd),
        charts.stacked_bars("Tokens", axis, of("total_tokens"), count),
        charts.line("First token, p95", axis, first_token, duration, duration(total.ttft_ms["p95"])),
        charts.line("Failures of providers and gateway", axis, failures, percent, percent(total.failure_rate)),
    ]


def ranking(group_by: GroupBy, courses: Sequence[Course], since: datetime) -> list[dict[str, Any]]:
    """The ten groups with most requests, as a table. `address`: their requests; none for those without a name."""
    most = max((course.figures.sums.requests for course in courses), default=0) or 1
    return [
        {
            "label": course.label,
            "address": _requests(since, **{_FILTERS[group_by]: course.value}) if course.value else "",
            "share": round(course.figures.sums.requests / most * 100),
            "requests": count(course.figures.sums.requests),
            "failed": percent(course.figures.failure_rate),
            "refused": count(course.figures.sums.refusals),
            "tokens": count(course.figures.sums.total_tokens),
            "cost": usd(course.figures.sums.cost_usd),
            "first_token": duration(course.figures.ttft_ms["p95"]),
        }
        for course in courses[:10]
    ]


def provider_lines(by_provider: Mapping[str, Figures], here: ProcessView | None) -> list[ProviderLine]:
    """Every provider that has an adapter, those that cannot be used last."""
    used = Provider.objects.annotate(adapters_count=Count("adapters")).filter(adapters_count__gt=0)
    lines = [ProviderLine(row, *_state(row, here), by_provider.get(row.slug, Figures())) for row in used]
    order = {"bad": 0, "good": 1, "": 2}
    return sorted(lines, key=lambda line: (order[line.state], line.provider.slug))


def _state(row: Provider, here: ProcessView | None) -> tuple[str, str]:
    """A state and what to say of it."""
    if not row.is_enabled:
        return "", "switched off"
    if reason := provider_entry(row, lookup).unconfigured:
        return "", f"unconfigured: {reason}"
    if here is not None:
        engine = here.engines.get(row.pk)
        if engine is not None and not engine.is_up:
            return "bad", f"engine down: {engine.detail}"
        paused = [one for one in here.paused if one.adapter.provider.id == row.pk]
        if paused:
            return "bad", f"{len(paused)} of its adapters paused after faults: {paused[0].view.last_error}"
    return "good", "configured"
