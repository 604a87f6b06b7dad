"""How requests, tokens and money of a period spread over time and over models, adapters or keys. Hourly sums only.

`accounting.statistics` knows the totals of each group and of each hour; this adds the two together for the groups with most
requests, in one query whose answer has at most `SHOWN` rows for each hour.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, Sum

from accounting.models import HourlyUsage
from accounting.statistics import Figures, Group, GroupBy, Scope, series

SHOWN = 5
"""Groups with a colour of their own; the rest together are "others"."""
MEASURES = ("requests", "total_tokens", "cost_usd")
_COLUMNS = {GroupBy.MODEL: "model_id", GroupBy.ADAPTER: "adapter_id", GroupBy.KEY: "api_key__hash"}
_NOBODY = {GroupBy.MODEL: "unknown model", GroupBy.ADAPTER: "no adapter", GroupBy.KEY: "without a key"}


@dataclass(frozen=True, slots=True)
class Step:
    """One bar of a chart: the figures of everything that began in it."""

    start: datetime
    figures: Figures


@dataclass(slots=True)
class Course:
    """One group over time: for each step its requests, tokens and USD, by measure."""

    label: str
    values: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Timeline:
    """`courses`: the groups with most requests, then "others" if there are any."""

    steps: Sequence[Step]
    courses: Sequence[Course]


def of(scope: Scope, step: timedelta, group_by: GroupBy, groups: Sequence[Group]) -> Timeline:
    """The timeline of `scope` in steps of whole hours. `groups`: its groups with most requests first, as `summary` gives them."""
    steps = _steps(scope, step)
    shown = groups[:SHOWN]
    sums = _sums(scope, step, group_by, [_value(group_by, group) for group in shown])
    courses = []
    for group in shown:
        found = sums[_value(group_by, group)]
        courses.append(Course(label_of(group_by, group), {name: _row(found, name, len(steps)) for name in MEASURES}))
    if len(groups) > SHOWN:
        courses.append(Course(f"{len(groups) - SHOWN} more", {name: _rest(steps, courses, name) for name in MEASURES}))
    return Timeline(steps, courses)


def label_of(group_by: GroupBy, group: Group) -> str:
    """How people call the group."""
    labels = group.labels
    if group_by is GroupBy.ADAPTER:
        return f"{labels['model']} at {labels['provider']}" if labels.get("model") else _NOBODY[group_by]
    name = labels["key_name"] if group_by is GroupBy.KEY else labels["model"]
    return str(name) if name else _NOBODY[group_by]


def _steps(scope: Scope, step: timedelta) -> list[Step]:
    steps: list[Step] = []
    for hour, figures in series(scope):
        if not steps or hour - steps[-1].start >= step:
            steps.append(Step(hour, Figures()))
        steps[-1].figures.add(figures)
    return steps


def _value(group_by: GroupBy, group: Group) -> Any:
    if group_by is GroupBy.MODEL:
        return group.labels["model"] or ""
    return group.labels["adapter" if group_by is GroupBy.ADAPTER else "key"]


def _sums(
    scope: Scope, step: timedelta, group_by: GroupBy, values: Sequence[Any]
) -> Mapping[Any, Mapping[str, Mapping[int, float]]]:
    """By group, measure and number of the step."""
    column = _COLUMNS[group_by]
    chosen = Q(**{f"{column}__in": [value for value in values if value is not None]})
    if None in values:
        chosen |= Q(**{f"{column}__isnull": True})
    rows = HourlyUsage.objects.filter(scope.restrict()).filter(chosen).order_by().values_list(column, "hour")
    sums: dict[Any, dict[str, dict[int, float]]] = defaultdict(lambda: {name: defaultdict(float) for name in MEASURES})
    for value, hour, *measured in rows.annotate(*map(Sum, MEASURES)):
        for name, amount in zip(MEASURES, measured, strict=True):
            sums[value][name][(hour - scope.start) // step] += float(amount)
    return sums


def _row(found: Mapping[str, Mapping[int, float]], name: str, length: int) -> list[float]:
    return [found[name].get(place, 0.0) for place in range(length)]


def _rest(steps: Sequence[Step], courses: Sequence[Course], name: str) -> list[float]:
    """What is left of each step once the shown groups are taken away; float noise must not look like traffic."""
    totals = [float(getattr(step.figures.sums, name)) for step in steps]
    left = [total - sum(course.values[name][place] for course in courses) for place, total in enumerate(totals)]
    return [value if value > 1e-9 else 0.0 for value in left]
