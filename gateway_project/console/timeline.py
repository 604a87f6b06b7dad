"""How the requests, tokens and money of a period spread over time and over models, adapters or keys. Sums only, never requests.

Each period is read in the sums whose length is that of its chart's steps: hours, or the slots of `accounting.slots`. Five queries
at most, of a few thousand rows whatever the number of requests.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import F, QuerySet, Sum

from accounting import sketch, slots
from accounting.models import ApiKey, HourlySketch, HourlySpread, HourlyUsage, SlotUsage
from accounting.rollups import Sums
from accounting.savings import Market
from accounting.spending import exact
from accounting.statistics import Figures, GroupBy
from catalog.models import Adapter

HOUR_S = 3600
SHOWN = 5
"""Groups with a colour of their own; the rest together are "others"."""
MEASURES = ("requests", "total_tokens", "cost_usd")
_COLUMNS = {GroupBy.MODEL: "model_id", GroupBy.ADAPTER: "adapter_id", GroupBy.KEY: "api_key_id"}
_NOBODY = {GroupBy.MODEL: "unknown model", GroupBy.ADAPTER: "no adapter", GroupBy.KEY: "without a key"}


@dataclass(frozen=True, slots=True)
class Window:
    """`steps` stretches of `grain_s` seconds one after the other, from `start`. The last one holds the present moment."""

    start: datetime
    grain_s: int
    steps: int

    @classmethod
    def until(cls, now: datetime, grain_s: int, steps: int) -> Window:
        last = int(now.timestamp()) // grain_s * grain_s
        return cls(datetime.fromtimestamp(last - (steps - 1) * grain_s, UTC), grain_s, steps)

    def starts(self) -> list[datetime]:
        """When each of its steps begins."""
        return [self.start + timedelta(seconds=self.grain_s * place) for place in range(self.steps)]

    def place(self, start: datetime) -> int:
        """The number of the step that begins then. What another process's clock puts into the future belongs to the last."""
        return min(int((start - self.start).total_seconds()) // self.grain_s, self.steps - 1)


@dataclass(slots=True)
class Step:
    """One moment of a chart: how many failed of those that could be answered, and its sketch of times to the first token."""

    answerable: int = 0
    failures: int = 0
    ttft: sketch.Sketch = 0

    @property
    def failure_rate(self) -> float | None:
        return self.failures / self.answerable if self.answerable else None

    @property
    def ttft_p95_ms(self) -> float | None:
        return sketch.quantile(sketch.counts(self.ttft), 0.95)


@dataclass(slots=True)
class Course:
    """One group: its figures, and over time its requests, tokens and USD of each step. `value` is the group's column."""

    value: Any
    label: str
    figures: Figures
    values: dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class Timeline:
    """`courses`: all groups, those with most requests first. `by_provider`: figures by slug."""

    steps: Sequence[Step]
    courses: Sequence[Course]
    total: Figures
    by_provider: dict[str, Figures]

    def drawn(self, measure: str) -> list[tuple[str, list[float]]]:
        """Labels and values of the groups with a colour of their own, and of the rest together."""
        shown = [(course.label, course.values[measure]) for course in self.courses[:SHOWN]]
        rest = [course.values[measure] for course in self.courses[SHOWN:]]
        if rest:
            shown.append((f"{len(rest)} more", [sum(values) for values in zip(*rest, strict=True)]))
        return shown


@dataclass(frozen=True, slots=True)
class _Source:
    """Where sums of one length are: rows, the name of their beginning, sketches, and how those name the row they belong to."""

    usages: QuerySet[Any]
    start: str
    sketches: QuerySet[Any]
    prefix: str = ""


def of(window: Window, group_by: GroupBy, market: Market) -> Timeline:
    """The timeline of `window`, apart by `group_by`. `market` tells what local engines saved."""
    source, column = _source(window, group_by), _COLUMNS[group_by]
    groups, by_provider = _totals(source, column, market)
    steps = [Step() for _ in range(window.steps)]
    values: dict[Any, dict[str, list[float]]] = defaultdict(lambda: {name: [0.0] * window.steps for name in MEASURES})
    _course(source, column, window, steps, values)
    _spread(source, column, window, steps, groups)
    total = Figures()
    for figures in groups.values():
        total.add(figures)
    ordered = sorted(groups.items(), key=lambda item: (-item[1].sums.requests, str(item[0])))
    labels = _labels(group_by, [value for value, _ in ordered])
    courses = [Course(value, labels[value], figures, values[value]) for value, figures in ordered]
    return Timeline(steps, courses, total, by_provider)


def _source(window: Window, group_by: GroupBy) -> _Source:
    if window.grain_s != HOUR_S:
        slots_of_window = SlotUsage.objects.filter(grain_s=window.grain_s, start__gte=window.start)
        return _Source(slots_of_window, "start", slots_of_window)
    usages = HourlyUsage.objects.filter(hour__gte=window.start)
    if group_by is GroupBy.KEY:
        return _Source(usages, "hour", HourlySketch.objects.filter(usage__hour__gte=window.start), "usage__")
    # Of all keys together, which are far fewer.
    return _Source(usages, "hour", HourlySpread.objects.filter(hour__gte=window.start))


def _totals(source: _Source, column: str, market: Market) -> tuple[dict[Any, Figures], dict[str, Figures]]:
    groups: dict[Any, Figures] = defaultdict(Figures)
    by_provider: dict[str, Figures] = defaultdict(Figures)
    names = (*slots.COUNTS, "cost_usd")
    rows = source.usages.order_by().annotate(group=F(column)).values_list("group", "model_id", "provider", "adapter_id")
    for group, model_id, provider, adapter_id, *counts, cost_usd in rows.annotate(*map(Sum, names)):
        sums = Sums(**dict(zip(slots.COUNTS, counts, strict=True)), cost_usd=exact(cost_usd))
        figures = Figures(sums, market.saved(model_id, adapter_id, sums))
        groups[group].add(figures)
        by_provider[provider].add(figures)
    return dict(groups), dict(by_provider)


def _course(
    source: _Source, column: str, window: Window, steps: Sequence[Step], values: dict[Any, dict[str, list[float]]]
) -> None:
    rows = source.usages.order_by().annotate(group=F(column)).values_list(source.start, "group")
    names = ("successes", "errors", "refusals", *MEASURES)
    for start, group, successes, errors, refusals, *measured in rows.annotate(*map(Sum, names)):
        place = window.place(start)
        failures = errors - refusals
        steps[place].answerable += successes + failures
        steps[place].failures += failures
        for name, amount in zip(MEASURES, measured, strict=True):
            values[group][name][place] += float(amount)


def _spread(source: _Source, column: str, window: Window, steps: Sequence[Step], groups: dict[Any, Figures]) -> None:
    start, group = source.prefix + source.start, source.prefix + column
    for began, value, packed in source.sketches.order_by().values_list(start, group, "ttft"):
        ttft = sketch.unpack(packed)
        steps[window.place(began)].ttft += ttft
        if value in groups:  # a group that began since its sums were read is in the next look
            groups[value].sums.ttft += ttft


def _labels(group_by: GroupBy, values: Iterable[Any]) -> dict[Any, str]:
    """How people call each group. At most one query."""
    values = list(values)
    known: dict[Any, str] = {}
    if group_by is GroupBy.MODEL:
        known = {value: value for value in values if value}
    elif group_by is GroupBy.KEY:
        known = dict(ApiKey.objects.filter(pk__in=[pk for pk in values if pk]).values_list("pk", "name"))
    else:
        adapters = Adapter.objects.filter(pk__in=[pk for pk in values if pk])
        named = adapters.values_list("pk", "model__public_id", "provider__name")
        known = {pk: f"{model} at {provider}" for pk, model, provider in named}
    return {value: known.get(value, _NOBODY[group_by]) for value in values}
