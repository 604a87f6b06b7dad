"""The index of admin: figures, charts and the state of providers over a period, from hourly sums and this process's health.

Its queries do not depend on how many requests, models or keys there are. Owns what is shown; how a chart is drawn is
`charts`, what is summed is `accounting.statistics`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from accounting import statistics
from accounting.statistics import Figures, GroupBy, Scope, Summary
from catalog.environment import lookup
from catalog.loader import provider_entry
from catalog.models import LanguageModel, Provider
from gateway_project.console import charts, process, refused_keys, timeline
from gateway_project.console.process import ProcessView
from gateway_project.console.words import count, duration, percent, usd

HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Period:
    """A choice of the dashboard: so many UTC hours back from the end of the present one, in steps of whole hours."""

    name: str
    label: str
    hours: int
    step: timedelta
    moment: str


PERIODS = (
    Period("1h", "This hour", 1, HOUR, "%H:%M"),
    Period("24h", "24 hours", 24, HOUR, "%a %H:%M"),
    Period("7d", "7 days", 168, 6 * HOUR, "%a %d %b, %H:%M"),
    Period("30d", "30 days", 720, 24 * HOUR, "%a %d %b"),
)
GROUPINGS = {GroupBy.MODEL: "model", GroupBy.ADAPTER: "adapter", GroupBy.KEY: "key"}


@dataclass(frozen=True, slots=True)
class Card:
    """One figure. `state` is "", "good" or "bad"; `note` a line below it."""

    title: str
    figure: str
    note: str = ""
    state: str = ""


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
    scope = Scope.last(period.hours, now)
    grouped, by_provider = statistics.summary(scope, group_by), statistics.summary(scope, GroupBy.PROVIDER)
    here = process.look()
    return {
        "periods": PERIODS,
        "period": period,
        "groupings": GROUPINGS,
        "group_by": group_by,
        "cards": cards(grouped.total, here),
        "refused_keys": refused_keys.lately(now),
        "charts": drawn(period, scope, group_by, grouped) if period.hours > 1 else (),
        "ranking": ranking(group_by, grouped),
        "provider_lines": provider_lines(by_provider, here),
        "process": here,
        "is_new": not grouped.total.sums.requests,
        "model_ids": list(LanguageModel.objects.filter(is_enabled=True).values_list("public_id", flat=True)),
    }


def cards(total: Figures, here: ProcessView | None) -> list[Card]:
    """The figures at the top."""
    sums = total.sums
    failed = 1 - total.success_rate if total.success_rate is not None else None
    cards = [
        Card(
            "Requests", count(sums.requests), f"{count(sums.streams)} streamed, {count(sums.cancelled)} left by the caller"
        ),
        Card("Error rate", percent(failed), _errors(total), "bad" if failed and failed > 0.05 else ""),
        Card("Spend", usd(sums.cost_usd), f"{count(sums.fallbacks)} needed a second attempt"),
        Card("Tokens", count(sums.total_tokens), f"{count(sums.prompt_tokens)} in, {count(sums.completion_tokens)} out"),
        Card("Saved by local serving", usd(total.savings_usd), "against the cheapest hosted price"),
        Card("First token, p95", duration(total.ttft_ms["p95"]), f"median {duration(total.ttft_ms['p50'])}"),
    ]
    return cards + (_of_process(here) if here else [])


def _errors(total: Figures) -> str:
    worst = total.sums.error_types.most_common(1)
    return f"mostly {worst[0][0]}" if worst else "no errors"


def _of_process(here: ProcessView) -> list[Card]:
    paused = [f"{one.adapter.model_id} at {one.adapter.provider.name}" for one in here.paused]
    cards = [
        Card("Open breakers", str(len(paused)), "; ".join(paused[:2]) or "every adapter may be called",
             "bad" if paused else "good"),
    ]  # fmt: skip
    if (journal := here.journal) is not None:
        is_late = journal.oldest_unwritten_age_s > 30 or journal.lost_total > 0
        told = f"{journal.lost_total} lost" if journal.lost_total else f"{here.in_flight} requests under way"
        cards.append(Card("Journal backlog", count(journal.backlog_lines), told, "bad" if is_late else "good"))
    return cards


def drawn(period: Period, scope: Scope, group_by: GroupBy, grouped: Summary) -> list[SafeString]:
    """The charts of a period."""
    found = timeline.of(scope, period.step, group_by, grouped.groups)
    starts = [step.start for step in found.steps]
    axis = charts.Axis([format(start, period.moment) for start in starts], _moment(starts, 0, period), "now (UTC)")

    def of(measure: str) -> list[charts.Series]:
        return [charts.Series(course.label, course.values[measure]) for course in found.courses]

    failed = [_failed(step.figures) for step in found.steps]
    first_token = [step.figures.ttft_ms["p95"] for step in found.steps]
    total = grouped.total
    return [
        charts.stacked_bars("Requests", axis, of("requests"), count),
        charts.stacked_bars("Spend", axis, of("cost_usd"), usd),
        charts.stacked_bars("Tokens", axis, of("total_tokens"), count),
        charts.line("First token, p95", axis, charts.Series("p95", first_token), duration, duration(total.ttft_ms["p95"])),
        charts.line("Error rate", axis, charts.Series("errors", failed), percent, percent(_failed(total))),
    ]


def _failed(figures: Figures) -> float | None:
    return None if figures.success_rate is None else 1 - figures.success_rate


def _moment(starts: Sequence[datetime], place: int, period: Period) -> str:
    return format(starts[place], period.moment) if starts else ""


def ranking(group_by: GroupBy, grouped: Summary) -> list[dict[str, Any]]:
    """The ten groups with most requests, as a table."""
    most = max((group.figures.sums.requests for group in grouped.groups), default=0) or 1
    return [
        {
            "label": timeline.label_of(group_by, group),
            "share": round(group.figures.sums.requests / most * 100),
            "requests": count(group.figures.sums.requests),
            "failed": percent(_failed(group.figures)),
            "tokens": count(group.figures.sums.total_tokens),
            "cost": usd(group.figures.sums.cost_usd),
            "first_token": duration(group.figures.ttft_ms["p95"]),
        }
        for group in grouped.groups[:10]
    ]


def provider_lines(by_provider: Summary, here: ProcessView | None) -> list[ProviderLine]:
    """Every provider that has an adapter, those that cannot be used last."""
    figures = {group.labels["provider"]: group.figures for group in by_provider.groups}
    used = Provider.objects.annotate(adapters_count=Count("adapters")).filter(adapters_count__gt=0)
    lines = [ProviderLine(row, *_state(row, here), figures.get(row.slug, Figures())) for row in used]
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
