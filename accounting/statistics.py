"""What the gateway did, summed by model, provider, adapter, key or hour: counts, tokens, money, percentiles.

`summary` and `series` are for everybody who shows statistics: the API, admin pages, commands, metrics. They read the hourly rollups
only, with a fixed number of queries, so that their cost depends on how many hours, models, adapters and keys there are and not
on how many requests. Hours are UTC hours; the ledger's writer fills them within a second. Must not know HTTP.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import F, IntegerField, Q, Sum, Value

from accounting import sketch
from accounting.models import ApiKey, HourlyError, HourlySketch, HourlySpread, HourlyUsage
from accounting.rollups import COUNTS, Sums
from accounting.savings import Market
from accounting.spending import exact
from catalog.models import Adapter

HOUR = timedelta(hours=1)
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
ANONYMOUS_KEY = "anonymous"
"""In `Scope.key`: the requests that came without a key."""


class GroupBy(enum.StrEnum):
    """What statistics are summed apart by. The values are also the names under which the groups are published."""

    MODEL = "model"
    PROVIDER = "provider"
    ADAPTER = "adapter"
    KEY = "key"
    HOUR = "hour"


_COLUMNS = {
    GroupBy.MODEL: "model_id",
    GroupBy.PROVIDER: "provider",
    GroupBy.ADAPTER: "adapter_id",
    GroupBy.KEY: "api_key_id",
    GroupBy.HOUR: "hour",
}


@dataclass(frozen=True, slots=True)
class Scope:
    """Which requests: those that arrived in whole UTC hours, from `start` and before `end`; of one model, provider, key.

    `model` is a public id, `provider` a slug, `key` the hash of an API key or `ANONYMOUS_KEY`; None means all. What does not
    exist was not used: its statistics are zeros.
    """

    start: datetime
    end: datetime
    model: str | None = None
    provider: str | None = None
    key: str | None = None

    @classmethod
    def last(cls, hours: int, now: datetime, **only: str | None) -> Scope:
        """The present hour and the `hours - 1` before it. `only`: model, provider, key."""
        end = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + HOUR
        return cls(end - hours * HOUR, end, **only)

    def hours(self) -> Iterable[datetime]:
        """When each of its hours begins."""
        return (self.start + number * HOUR for number in range((self.end - self.start) // HOUR))

    def restrict(self, prefix: str = "") -> Q:
        """The condition on `HourlyUsage`, or through `prefix` on what belongs to it."""
        chosen: dict[str, Any] = {"hour__gte": self.start, "hour__lt": self.end}
        if self.model is not None:
            chosen["model_id"] = self.model
        if self.provider is not None:
            chosen["provider"] = self.provider
        if self.key == ANONYMOUS_KEY:
            chosen["api_key__isnull"] = True
        elif self.key is not None:
            chosen["api_key__in"] = ApiKey.objects.filter(hash=self.key).values("pk")
        return Q(**{prefix + name: value for name, value in chosen.items()})


@dataclass(slots=True)
class Figures:
    """What is known of some requests. Latencies and times to the first token are those of successes, in milliseconds.

    `savings_usd` is what local engines saved, see `accounting.savings`.
    """

    sums: Sums = field(default_factory=Sums)
    savings_usd: Decimal = Decimal(0)

    def add(self, other: Figures) -> None:
        self.sums.add(other.sums)
        self.savings_usd += other.savings_usd

    @property
    def latency_ms(self) -> dict[str, float | None]:
        """`p50`, `p95` and `p99` within 2 %, None where nothing succeeded."""
        return _quantiles(self.sums.latency)

    @property
    def ttft_ms(self) -> dict[str, float | None]:
        """As `latency_ms`, of streams."""
        return _quantiles(self.sums.ttft)

    @property
    def success_rate(self) -> float | None:
        """Successes among those that were answered one way or the other: a client that leaves is no failure."""
        answered = self.sums.successes + self.sums.errors
        return self.sums.successes / answered if answered else None

    @property
    def failures(self) -> int:
        """Errors of providers and of the gateway."""
        return self.sums.errors - self.sums.refusals

    @property
    def failure_rate(self) -> float | None:
        """`failures` among the requests that were to be answered: those that were refused do not count."""
        answerable = self.sums.successes + self.failures
        return self.failures / answerable if answerable else None

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens of answers, whole or not, by the time that those took, first token included; None where there was none."""
        return self.sums.completion_tokens * 1000 / self.sums.latency_ms if self.sums.latency_ms else None


@dataclass(frozen=True, slots=True)
class Group:
    """The figures of one model, provider, adapter, key or hour. `labels` tell people and programs which one."""

    labels: Mapping[str, Any]
    figures: Figures


@dataclass(frozen=True, slots=True)
class Summary:
    """All requests of a scope together, and apart: groups with most requests first, hours in their order."""

    scope: Scope
    total: Figures
    groups: tuple[Group, ...]


def summary(scope: Scope, group_by: GroupBy | None = None) -> Summary:
    """The statistics of `scope`. At most six queries, and the catalogue where local engines had a part."""
    apart = _figures(scope, group_by)
    total = Figures()
    for figures in apart.values():
        total.add(figures)
    if group_by is None:
        return Summary(scope, total, ())
    labels = _labels(group_by, apart.keys())
    groups = [Group(labels[value], figures) for value, figures in apart.items()]
    groups.sort(key=(lambda group: group.labels["hour"]) if group_by is GroupBy.HOUR else _by_requests)
    return Summary(scope, total, tuple(groups))


def series(scope: Scope) -> list[tuple[datetime, Figures]]:
    """The statistics of each hour of `scope`, also of those in which nothing happened. For charts; queries as of `summary`."""
    found = _figures(scope, GroupBy.HOUR)
    return [(hour, found.get(hour) or Figures()) for hour in scope.hours()]


def _figures(scope: Scope, group_by: GroupBy | None) -> dict[Any, Figures]:
    """By the value of the column that `group_by` names, or None."""
    found: dict[Any, Figures] = defaultdict(Figures)
    usages = _grouped(HourlyUsage.objects.filter(scope.restrict()), group_by)
    by_adapter = list(usages.values_list("group", "model_id", "adapter_id").annotate(*map(Sum, (*COUNTS, "cost_usd"))))
    market = Market.for_adapters({adapter_id for _, _, adapter_id, *_ in by_adapter} - {None})
    for group, model_id, adapter_id, *counts, cost_usd in by_adapter:
        sums = Sums(**dict(zip(COUNTS, counts, strict=True)), cost_usd=exact(cost_usd))
        found[group].add(Figures(sums, market.saved(model_id, adapter_id, sums)))
    errors = _grouped(HourlyError.objects.filter(scope.restrict("usage__")), group_by, "usage__")
    for group, error_type, n in errors.values_list("group", "error_type").annotate(Sum("n")):
        found[group].sums.error_types[error_type] += n
    for group, latency, ttft in _sketches(scope, group_by):
        sums = found[group].sums
        sums.latency += sketch.unpack(latency)
        sums.ttft += sketch.unpack(ttft)
    return found


def _sketches(scope: Scope, group_by: GroupBy | None) -> Iterable[tuple[Any, bytes, bytes]]:
    """Group, and packed sketches of its latencies and times to the first token; many of each group. One query."""
    if scope.key is None and group_by is not GroupBy.KEY:
        rows = _grouped(HourlySpread.objects.filter(scope.restrict()), group_by)
    else:
        rows = _grouped(HourlySketch.objects.filter(scope.restrict("usage__")), group_by, "usage__")
    return rows.values_list("group", "latency", "ttft").iterator()  # type: ignore[no-any-return]


def _grouped(rows: Any, group_by: GroupBy | None, prefix: str = "") -> Any:
    """`rows` with what they are to be summed apart by as `group`."""
    return rows.order_by().annotate(
        group=F(prefix + _COLUMNS[group_by]) if group_by else Value(None, output_field=IntegerField())
    )


def _quantiles(of: sketch.Sketch) -> dict[str, float | None]:
    counts = sketch.counts(of)
    return {name: sketch.quantile(counts, q) for name, q in QUANTILES.items()}


def _by_requests(group: Group) -> tuple[int, str]:
    return -group.figures.sums.requests, str(group.labels)


def _labels(group_by: GroupBy, values: Iterable[Any]) -> Mapping[Any, Mapping[str, Any]]:
    """How each group is published. At most one query. None stands for what there was none of, or is no more."""
    values = list(values)
    if group_by is GroupBy.KEY:
        keys = ApiKey.objects.filter(pk__in=_present(values)).values_list("hash", "name", "label", "pk")
        return _named(values, ("key", "key_name", "key_label"), keys)
    if group_by is GroupBy.ADAPTER:
        adapters = Adapter.objects.filter(pk__in=_present(values)).values_list("model__public_id", "provider__slug", "pk")
        labels = _named(values, ("model", "provider"), adapters)
        return {pk: {"adapter": pk} | label for pk, label in labels.items()}
    return {value: {group_by.value: None if value == "" else value} for value in values}


def _present(values: list[Any]) -> list[Any]:
    return [value for value in values if value is not None]


def _named(values: list[Any], names: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> dict[Any, dict[str, Any]]:
    """For each primary key in `values`, the columns of its row under `names`. The last column of `rows` is the primary key."""
    found = {pk: dict(zip(names, columns, strict=True)) for *columns, pk in rows}
    return {value: found.get(value) or dict.fromkeys(names) for value in values}
