"""Sums by hour: how a batch of request logs is added to `HourlyUsage` and `UsageTotal`, and how percentiles are read back.

A batch is summed in memory first, so that its cost in SQL grows with its distinct models, adapters and keys and not with
its requests. The same statements run on SQLite and PostgreSQL. Nothing here knows of journals, or opens a transaction:
adding exactly once is up to the caller, who adds only rows that are new, in the transaction that inserts them.
"""

from __future__ import annotations

import operator
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.models import QuerySet, Sum

from accounting import sketch
from accounting.groups import Group, Named
from accounting.models import HourlyBucket, HourlyError, HourlySpread, HourlyUsage, UsageTotal
from gateway_project.errors import ERROR_TYPES


@dataclass(slots=True)
class Sums:
    """The sums of one group. Its integers are the counting columns of `HourlyUsage`."""

    requests: int = 0
    successes: int = 0
    errors: int = 0
    cancelled: int = 0
    fallbacks: int = 0
    estimated: int = 0
    streams: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    total_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    audio_tokens: int = 0
    image_tokens: int = 0
    latency_ms: int = 0
    cost_usd: Decimal = Decimal(0)
    provider: str = ""
    last_used_at: float = 0
    error_types: Counter[str] = field(default_factory=Counter)
    latency: Counter[int] = field(default_factory=Counter)
    ttft: Counter[int] = field(default_factory=Counter)

    def count(self, line: Mapping[str, Any]) -> None:
        """Add one request, a line as `accounting.store.fit` gives it."""
        self.requests += 1
        self.fallbacks += len(line["attempts"]) > 1
        self.estimated += line["is_estimated"]
        self.streams += line["stream"]
        self.prompt_tokens += line["prompt_tokens"]
        self.completion_tokens += line["completion_tokens"]
        self.total_tokens += line["total_tokens"]
        self.reasoning_tokens += line["reasoning_tokens"]
        self.cache_read_tokens += line["cache_read_tokens"]
        self.cache_write_tokens += line["cache_write_tokens"]
        self.audio_tokens += line["audio_tokens"]
        self.image_tokens += line["image_tokens"]
        self.cost_usd += Decimal(line["cost_usd"])
        self.provider = line["provider"]
        self.last_used_at = max(self.last_used_at, line["timestamp"])
        if line["is_cancelled"]:
            self.cancelled += 1
        elif line["status_code"] >= 400 or line["error_type"]:
            self.errors += 1
            self.error_types[line["error_type"] if line["error_type"] in ERROR_TYPES else "unmapped"] += 1
        else:
            self._count_success(line["latency_ms"], line["ttft_ms"])

    def add(self, other: Sums) -> None:
        """Add the sums of another group."""
        for name in (*COUNTS, "cost_usd"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.provider = other.provider
        self.last_used_at = max(self.last_used_at, other.last_used_at)
        self.error_types.update(other.error_types)
        self.latency.update(other.latency)
        self.ttft.update(other.ttft)

    def _count_success(self, latency_ms: int, ttft_ms: int | None) -> None:
        self.successes += 1
        self.latency_ms += latency_ms
        self.latency[sketch.bucket(latency_ms)] += 1
        if ttft_ms is not None:
            self.ttft[sketch.bucket(ttft_ms)] += 1


def summed(lines: Iterable[Mapping[str, Any]]) -> dict[Group, Sums]:
    """The sums of a batch. Pure."""
    groups: dict[Group, Sums] = {}
    for line in lines:
        group = Group.of(line["timestamp"], line["model_id"], line["adapter_id"], line["api_key_id"])
        sums = groups.get(group)
        if sums is None:
            sums = groups[group] = Sums()
        sums.count(line)
    return groups


def add(lines: Iterable[Mapping[str, Any]], connection: BaseDatabaseWrapper) -> tuple[dict[Group, Sums], Named]:
    """Add a batch to the hourly rows and the lifetime totals; returns its sums by group, and what of them exists.

    Call it inside the transaction that inserts the batch.
    """
    groups = summed(lines)
    with connection.cursor() as cursor:
        named = Named.of(groups, cursor)
        existing: dict[Group, Sums] = {}
        for group, sums in groups.items():
            existing.setdefault(named.existing(group), Sums()).add(sums)
        # Sorted, so that two processes lock the rows they share in the same order and neither waits for the other.
        for group, sums in sorted(existing.items(), key=operator.itemgetter(0)):
            _add_hour(group, sums, connection, cursor)
        _add_spread(existing, connection, cursor)
        totals = [(named.total(group), sums) for group, sums in existing.items()]
        for pks, sums in sorted(totals, key=operator.itemgetter(0)):
            amounts = (sums.requests, sums.total_tokens, sums.cost_usd, _moment(sums.last_used_at, connection))
            cursor.execute(_UPSERT_TOTAL, [*(pk or None for pk in pks), *amounts])
    return existing, named


def add_cost(differences: Mapping[Group, Decimal], connection: BaseDatabaseWrapper) -> None:
    """Add USD to groups whose requests are counted already. Call it inside the transaction that changes their cost.

    Raises `LookupError` for a group that has no sums: then what the rows say and what is summed have parted before.
    """
    with connection.cursor() as cursor:
        named = Named.of(differences, cursor)
        hours: dict[Group, Decimal] = defaultdict(Decimal)
        totals: dict[tuple[int, int, int], Decimal] = defaultdict(Decimal)
        for group, usd in differences.items():
            group = named.existing(group)
            hours[group] += usd
            totals[named.total(group)] += usd
        # In the order of `add`, so that neither waits for the other.
        for group, usd in sorted(hours.items()):
            cursor.execute(_ADD_TO_HOUR, [usd, _moment(group.hour, connection), *group[1:]])
            if not cursor.rowcount:
                raise LookupError(f"{group} has no hourly sums, so its cost cannot be corrected; was it ever summed?")
        for pks, usd in sorted(totals.items()):
            cursor.execute(_ADD_TO_TOTAL, [usd, *pks])


def quantiles(usages: QuerySet[HourlyUsage], metric: HourlyBucket.Metric, qs: Sequence[float]) -> list[float | None]:
    """The quantiles `qs` (0 to 1) of a metric over those hourly rows, in milliseconds; None where nothing was counted.

    Within `sketch.RELATIVE_ERROR` of the true ones. One query, whatever the number of requests.
    """
    buckets = HourlyBucket.objects.using(usages.db).filter(usage__in=usages.order_by().values("pk"), metric=metric)
    counts = dict(buckets.values_list("bucket").annotate(Sum("n")))
    return [sketch.quantile(counts, q) for q in qs]


def _add_hour(group: Group, sums: Sums, connection: BaseDatabaseWrapper, cursor: CursorWrapper) -> None:
    key = [_moment(group.hour, connection), group.model_id, group.adapter_id or None, group.api_key_id or None]
    cursor.execute(_UPSERT_HOUR, [*key, sums.provider, sums.cost_usd, *_counts_of(sums)])
    usage_id = cursor.fetchone()[0]
    if sums.error_types:
        cursor.executemany(_UPSERT_ERROR, [(usage_id, name, n) for name, n in sorted(sums.error_types.items())])
    metrics = ((HourlyBucket.Metric.LATENCY.value, sums.latency), (HourlyBucket.Metric.TTFT.value, sums.ttft))
    buckets = [(usage_id, metric, number, n) for metric, counts in metrics for number, n in sorted(counts.items())]
    if buckets:
        cursor.executemany(_UPSERT_BUCKET, buckets)


def _add_spread(groups: Mapping[Group, Sums], connection: BaseDatabaseWrapper, cursor: CursorWrapper) -> None:
    """Add the sketches of all keys together."""
    counts: dict[tuple[int, str, str, int, int], list[int]] = defaultdict(lambda: [0, 0])
    for group, sums in groups.items():
        for column, sketched in enumerate((sums.latency, sums.ttft)):
            for number, n in sketched.items():
                counts[group.hour, group.model_id, sums.provider, group.adapter_id, number][column] += n
    rows = [
        (_moment(hour, connection), model_id, provider, adapter_id or None, number, *both)
        for (hour, model_id, provider, adapter_id, number), both in sorted(counts.items())
    ]
    if rows:
        cursor.executemany(_UPSERT_SPREAD, rows)


def _moment(timestamp: float, connection: BaseDatabaseWrapper) -> Any:
    return connection.ops.adapt_datetimefield_value(datetime.fromtimestamp(timestamp, UTC))


def _upsert(table: str, key: Sequence[str], counted: Sequence[str], *, target: str = "", latest: str = "") -> str:
    columns = [*key, *counted]
    increments = [f"{name} = {table}.{name} + excluded.{name}" for name in counted if name != "cost_usd"]
    if "cost_usd" in counted:
        # SQLite adds decimals as floating point; rounding to the column's scale keeps that from ever adding up.
        increments.append(f"cost_usd = ROUND({table}.cost_usd + excluded.cost_usd, 12)")
    if latest:
        columns.append(latest)
        later = f"excluded.{latest} > {table}.{latest}"
        increments.append(f"{latest} = CASE WHEN {later} THEN excluded.{latest} ELSE {table}.{latest} END")
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))}) "  # noqa: S608
        f"ON CONFLICT ({target or ', '.join(key)}) DO UPDATE SET {', '.join(increments)}"
    )


COUNTS = tuple(column.name for column in fields(Sums) if column.type == "int")
"""The counting columns of `HourlyUsage`."""

_counts_of = operator.attrgetter(*COUNTS)

_UPSERT_HOUR = (
    _upsert(
        HourlyUsage._meta.db_table,
        ("hour", "model_id", "adapter_id", "api_key_id", "provider"),
        ("cost_usd", *COUNTS),
        target="hour, model_id, COALESCE(adapter_id, 0), COALESCE(api_key_id, 0)",
    )
    + " RETURNING id"
)
_UPSERT_ERROR = _upsert(HourlyError._meta.db_table, ("usage_id", "error_type"), ("n",))
_UPSERT_BUCKET = _upsert(HourlyBucket._meta.db_table, ("usage_id", "metric", "bucket"), ("n",))
_UPSERT_SPREAD = _upsert(
    HourlySpread._meta.db_table,
    ("hour", "model_id", "provider", "adapter_id", "bucket"),
    ("latency", "ttft"),
    target="hour, model_id, provider, COALESCE(adapter_id, 0), bucket",
)
_UPSERT_TOTAL = _upsert(
    UsageTotal._meta.db_table,
    ("model_id", "adapter_id", "api_key_id"),
    ("requests", "total_tokens", "cost_usd"),
    target="COALESCE(model_id, 0), COALESCE(adapter_id, 0), COALESCE(api_key_id, 0)",
    latest="last_used_at",
)

# Rounded as in `_upsert`.
_ADD_TO_HOUR = (
    f"UPDATE {HourlyUsage._meta.db_table} SET cost_usd = ROUND(cost_usd + %s, 12) "  # noqa: S608
    "WHERE hour = %s AND model_id = %s AND COALESCE(adapter_id, 0) = %s AND COALESCE(api_key_id, 0) = %s"
)
_ADD_TO_TOTAL = (
    f"UPDATE {UsageTotal._meta.db_table} SET cost_usd = ROUND(cost_usd + %s, 12) "  # noqa: S608
    "WHERE COALESCE(model_id, 0) = %s AND COALESCE(adapter_id, 0) = %s AND COALESCE(api_key_id, 0) = %s"
)
