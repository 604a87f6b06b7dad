"""Sums by hour: how a batch of request logs is added to `HourlyUsage`, what belongs to it, and `UsageTotal`.

A batch is summed in memory first, so that its cost in SQL grows with its distinct models, adapters and keys and not with
its requests. The same statements run on SQLite and PostgreSQL. Nothing here knows of journals, or opens a transaction:
adding exactly once is up to the caller, who adds only rows that are new, in the transaction that inserts them.
"""

from __future__ import annotations

import operator
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import TypeVar

import msgspec
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from accounting import sketch, statements
from accounting.groups import Group, Named
from accounting.models import HourlyError, HourlySketch, HourlySpread, HourlyUsage, UsageTotal
from accounting.rows import Row
from accounting.upserts import Upsert, epoch_s, moment
from gateway_project.errors import ERROR_TYPES, REFUSAL_DOMAINS

Key = TypeVar("Key", bound=Hashable)

_attempts = msgspec.json.Decoder(list[msgspec.Raw])


@dataclass(slots=True)
class Sums:
    """The sums of one group. Its integers, but for the two sketches, are the counting columns of `HourlyUsage`."""

    requests: int = 0
    successes: int = 0
    errors: int = 0
    refusals: int = 0
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
    latency: sketch.Sketch = 0
    ttft: sketch.Sketch = 0

    def count(self, row: Row) -> None:
        """Add one request."""
        self.requests += 1
        self.fallbacks += len(_attempts.decode(row.attempts)) > 1
        self.estimated += row.is_estimated
        self.streams += row.stream
        self.prompt_tokens += row.prompt_tokens
        self.completion_tokens += row.completion_tokens
        self.total_tokens += row.total_tokens
        self.reasoning_tokens += row.reasoning_tokens
        self.cache_read_tokens += row.cache_read_tokens
        self.cache_write_tokens += row.cache_write_tokens
        self.audio_tokens += row.audio_tokens
        self.image_tokens += row.image_tokens
        self.cost_usd += Decimal(row.cost_usd)
        self.provider = row.provider
        self.last_used_at = max(self.last_used_at, row.timestamp)
        if row.completion_tokens:
            self.latency_ms += row.latency_ms
        if row.is_cancelled:
            self.cancelled += 1
        elif row.status_code >= 400 or row.error_type:
            self.errors += 1
            self.refusals += row.error_domain in REFUSAL_DOMAINS
            self.error_types[row.error_type if row.error_type in ERROR_TYPES else "unmapped"] += 1
        else:
            self._count_success(row.latency_ms, row.ttft_ms)

    def add(self, other: Sums) -> None:
        """Add the sums of another group."""
        for name in (*COUNTS, "cost_usd", "latency", "ttft"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.provider = other.provider
        self.last_used_at = max(self.last_used_at, other.last_used_at)
        self.error_types.update(other.error_types)

    def _count_success(self, latency_ms: int, ttft_ms: int | None) -> None:
        self.successes += 1
        self.latency += sketch.of(latency_ms)
        if ttft_ms is not None:
            self.ttft += sketch.of(ttft_ms)


def lay(onto: dict[Key, Sums], key: Key, sums: Sums) -> None:
    """Add `sums` to what `onto` has under `key`, and leave it as it is: it may be laid elsewhere too."""
    before = onto.get(key)
    if before is None:
        onto[key] = sums
        return
    together = onto[key] = Sums()
    together.add(before)
    together.add(sums)


def summed(rows: Iterable[Row]) -> dict[Group, Sums]:
    """The sums of a batch. Pure. Raises `ValueError` or `ArithmeticError` for a cost that is no amount."""
    groups: dict[Group, Sums] = {}
    for row in rows:
        group = Group.of(row.timestamp, row.model_id, row.adapter_id, row.api_key_id)
        sums = groups.get(group)
        if sums is None:
            sums = groups[group] = Sums()
        sums.count(row)
    if not all(sums.cost_usd.is_finite() for sums in groups.values()):
        raise ValueError("the cost of a request is no amount")
    return groups


def add(rows: Iterable[Row], connection: BaseDatabaseWrapper) -> tuple[dict[Group, Sums], Named]:
    """Add a batch to the hourly rows and the lifetime totals; returns its sums by group, and what of them exists.

    Call it inside the transaction that inserts the batch.
    """
    return add_sums(summed(rows), connection)


def add_sums(groups: Mapping[Group, Sums], connection: BaseDatabaseWrapper) -> tuple[dict[Group, Sums], Named]:
    """As `add`, for a batch that is summed already."""
    existing: dict[Group, Sums] = {}
    with connection.cursor() as cursor:
        named = Named.of(groups, cursor)
        for group, sums in groups.items():
            lay(existing, named.existing(group), sums)
        # Sorted, so that two processes lock the rows they share in the same order and neither waits for the other.
        in_order = dict(sorted(existing.items(), key=operator.itemgetter(0)))
        _add_hours(in_order, connection.vendor, cursor)
        _add_spread(in_order, connection.vendor, cursor)
        _add_totals(in_order, named, connection.vendor, cursor)
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
            cursor.execute(_ADD_TO_HOUR, [usd, moment(group.hour, connection.vendor), *group[1:]])
            if not cursor.rowcount:
                raise LookupError(f"{group} has no hourly sums, so its cost cannot be corrected; was it ever summed?")
        for pks, usd in sorted(totals.items()):
            cursor.execute(_ADD_TO_TOTAL, [usd, *pks])


def _add_hours(groups: Mapping[Group, Sums], vendor: str, cursor: CursorWrapper) -> None:
    rows = [
        (
            moment(hour, vendor),
            model_id,
            adapter_id or None,
            key_id or None,
            sums.provider,
            sums.cost_usd,
            *_counts_of(sums),
        )
        for (hour, model_id, adapter_id, key_id), sums in groups.items()
    ]
    by_usage = {
        usage_id: groups[Group(epoch_s(hour), model_id, adapter_id or 0, key_id or 0)]
        for usage_id, hour, model_id, adapter_id, key_id in _HOURS.run(rows, cursor)
    }
    errors = [(pk, name, n) for pk, sums in sorted(by_usage.items()) for name, n in sorted(sums.error_types.items())]
    _ERRORS.run(errors, cursor)
    _add_sketches(by_usage, cursor)


def _add_sketches(by_usage: Mapping[int, Sums], cursor: CursorWrapper) -> None:
    """Add the sketches of hourly rows, whose locks keep everybody else away between reading and writing."""
    added = {usage_id: sums for usage_id, sums in by_usage.items() if sums.latency}
    if not added:
        return
    listed = statements.padded(added)
    marks = ", ".join(["%s"] * len(listed))
    cursor.execute(f"SELECT usage_id, latency, ttft FROM {_SKETCHES} WHERE usage_id IN ({marks})", listed)  # noqa: S608
    kept = {usage_id: packed for usage_id, *packed in cursor.fetchall()}
    rows = [(usage_id, *_packed(sums, kept.get(usage_id, _NOTHING))) for usage_id, sums in added.items()]
    cursor.executemany(_REPLACE_SKETCH, rows)


def _add_spread(groups: Mapping[Group, Sums], vendor: str, cursor: CursorWrapper) -> None:
    """Add the sketches of all keys together."""
    together: dict[tuple[int, str, str, int], Sums] = {}
    for group, sums in groups.items():
        if sums.latency:
            lay(together, (group.hour, group.model_id, sums.provider, group.adapter_id), sums)
    rows = [
        (moment(hour, vendor), model_id, provider, adapter_id or None, *_NOTHING)
        for hour, model_id, provider, adapter_id in sorted(together)
    ]
    updates = []
    for pk, latency, ttft, hour, model_id, provider, adapter_id in _SPREAD.run(rows, cursor):
        sums = together[epoch_s(hour), model_id, provider, adapter_id or 0]
        updates.append((*_packed(sums, (latency, ttft)), pk))
    if updates:
        cursor.executemany(_UPDATE_SPREAD, updates)


def _add_totals(groups: Mapping[Group, Sums], named: Named, vendor: str, cursor: CursorWrapper) -> None:
    totals: dict[tuple[int, int, int], Sums] = {}
    for group, sums in groups.items():
        lay(totals, named.total(group), sums)
    rows = [
        (*(pk or None for pk in pks), sums.requests, sums.total_tokens, sums.cost_usd, moment(sums.last_used_at, vendor))
        for pks, sums in sorted(totals.items(), key=operator.itemgetter(0))
    ]
    _TOTALS.run(rows, cursor)


def _packed(sums: Sums, kept: Sequence[bytes | memoryview]) -> tuple[bytes, bytes]:
    """The sketches of `sums` and what is kept already, together."""
    latency, ttft = map(sketch.unpack, kept)
    return sketch.pack(latency + sums.latency), sketch.pack(ttft + sums.ttft)


COUNTS = tuple(column.name for column in fields(Sums) if column.type == "int")
"""The counting columns of `HourlyUsage`."""

_counts_of = operator.attrgetter(*COUNTS)

_NOTHING = (sketch.pack(0), sketch.pack(0))
_KEY = ("hour", "model_id", "adapter_id", "api_key_id")
_HOURS = Upsert(
    HourlyUsage._meta.db_table,
    "hour, model_id, COALESCE(adapter_id, 0), COALESCE(api_key_id, 0)",
    found_by=(*_KEY, "provider"),
    added=("cost_usd", *COUNTS),
    returning=("id", *_KEY),
)
_ERRORS = Upsert(HourlyError._meta.db_table, "usage_id, error_type", ("usage_id", "error_type"), ("n",))
_TOTALS = Upsert(
    UsageTotal._meta.db_table,
    "COALESCE(model_id, 0), COALESCE(adapter_id, 0), COALESCE(api_key_id, 0)",
    found_by=("model_id", "adapter_id", "api_key_id"),
    added=("requests", "total_tokens", "cost_usd"),
    latest=("last_used_at",),
)
_SPREAD_KEY = ("hour", "model_id", "provider", "adapter_id")
_SPREAD = Upsert(
    HourlySpread._meta.db_table,
    "hour, model_id, provider, COALESCE(adapter_id, 0)",
    found_by=_SPREAD_KEY,
    added=(),
    kept=("latency", "ttft"),
    returning=("id", "latency", "ttft", *_SPREAD_KEY),
)
_UPDATE_SPREAD = f"UPDATE {HourlySpread._meta.db_table} SET latency = %s, ttft = %s WHERE id = %s"  # noqa: S608
_SKETCHES = HourlySketch._meta.db_table
_REPLACE_SKETCH = (
    f"INSERT INTO {_SKETCHES} (usage_id, latency, ttft) VALUES (%s, %s, %s) "  # noqa: S608
    "ON CONFLICT (usage_id) DO UPDATE SET latency = excluded.latency, ttft = excluded.ttft"
)

# Rounded as in `Upsert`.
_ADD_TO_HOUR = (
    f"UPDATE {HourlyUsage._meta.db_table} SET cost_usd = ROUND(cost_usd + %s, 12) "  # noqa: S608
    "WHERE hour = %s AND model_id = %s AND COALESCE(adapter_id, 0) = %s AND COALESCE(api_key_id, 0) = %s"
)
_ADD_TO_TOTAL = (
    f"UPDATE {UsageTotal._meta.db_table} SET cost_usd = ROUND(cost_usd + %s, 12) "  # noqa: S608
    "WHERE COALESCE(model_id, 0) = %s AND COALESCE(adapter_id, 0) = %s AND COALESCE(api_key_id, 0) = %s"
)
