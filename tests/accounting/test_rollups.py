from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import connections
from django.db.models import QuerySet

from accounting import sketch, slots, store
from accounting.lines import encode
from accounting.models import HourlyError, HourlySketch, HourlySpread, HourlyUsage, SlotUsage, UsageTotal
from accounting.record import Attempt, Record
from accounting.rows import read
from gateway_project.errors import DOMAINS
from tests.accounting.conftest import Database

NewRecord = Callable[..., Record]

TOKENS = (
    "prompt_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "total_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "audio_tokens",
    "image_tokens",
)


def add(database: Database, *records: Record) -> int:
    return store.add([read(encode(record)) for record in records], database.alias)


def hours(database: Database, **filters: Any) -> list[HourlyUsage]:
    return list(HourlyUsage.objects.using(database.alias).filter(**filters).order_by("hour", "model_id"))


def epoch(moment: str) -> float:
    return datetime.fromisoformat(f"{moment}+00:00").timestamp()


def test_a_request_counts_in_the_utc_hour_in_which_it_arrived(database: Database, new_record: NewRecord):
    add(
        database,
        new_record(database, timestamp=epoch("2026-11-20 11:59:59.999999")),
        new_record(database, timestamp=epoch("2026-11-20 12:00")),
        new_record(database, timestamp=epoch("2026-11-20 12:59:59"), latency_ms=600_000),
        new_record(database, timestamp=epoch("2026-11-20 13:00")),
    )
    assert [(row.hour, row.requests) for row in hours(database)] == [
        (datetime(2026, 11, 20, 11, tzinfo=UTC), 1),
        (datetime(2026, 11, 20, 12, tzinfo=UTC), 2),
        (datetime(2026, 11, 20, 13, tzinfo=UTC), 1),
    ]


def test_the_sums_are_those_of_the_rows(database: Database, new_record: NewRecord):
    dice = random.Random(7)
    for _ in range(6):
        add(database, *(random_record(database, new_record, dice) for _ in range(50)))
    usages = hours(database)
    for column in TOKENS:
        assert sum(getattr(usage, column) for usage in usages) == database.rows("api_logs", f"SUM({column})")[0][0]
    (cost,) = database.rows("api_logs", "SUM(cost_usd)")[0]
    assert sum(usage.cost_usd for usage in usages) == pytest.approx(Decimal(str(cost)), abs=Decimal("1e-9"))
    requests, streams, estimated, cancelled = (
        sum(getattr(usage, name) for usage in usages) for name in ("requests", "streams", "estimated", "cancelled")
    )
    assert requests == database.count() == 300
    assert streams == len(database.rows("api_logs", where="stream"))
    assert estimated == len(database.rows("api_logs", where="is_estimated"))
    assert cancelled == len(database.rows("api_logs", where="is_cancelled"))
    assert all(usage.requests == usage.successes + usage.errors + usage.cancelled for usage in usages)
    by_type = dict(
        database.rows("api_logs", "error_type, COUNT(*)", "status_code >= 400 AND NOT is_cancelled GROUP BY error_type")
    )
    counted: Counter[str] = Counter()
    for error in HourlyError.objects.using(database.alias).all():
        counted[error.error_type] += error.n
    assert counted == by_type
    totals = UsageTotal.objects.using(database.alias).all()
    assert sum(total.requests for total in totals) == 300
    assert sum(total.total_tokens for total in totals) == sum(usage.total_tokens for usage in usages)
    assert sum(total.cost_usd for total in totals) == sum(usage.cost_usd for usage in usages)


def random_record(database: Database, new_record: NewRecord, dice: random.Random) -> Record:
    outcome: Mapping[str, Any] = dice.choice(
        [
            {},
            {"is_cancelled": True, "status_code": 499, "error_type": "timeout"},
            {"status_code": 502, "error_type": "provider_unavailable"},
            {"status_code": 429, "error_type": "rate_limit_exceeded"},
        ]
    )
    return new_record(
        database,
        timestamp=1_763_851_000 + dice.random() * 20_000,
        stream=dice.random() < 0.5,
        is_estimated=dice.random() < 0.2,
        api_key_id=dice.choice([None, database.key.pk]),
        cost_usd=str(Decimal(dice.randrange(10**9)).scaleb(-12)),
        **{name: dice.randrange(5000) for name in TOKENS},
        **outcome,
    )


def test_money_is_added_to_the_last_digit(database: Database, new_record: NewRecord):
    for _ in range(40):
        add(database, new_record(database, cost_usd="0.100000000001"), new_record(database, cost_usd="0.000000000001"))
    assert hours(database)[0].cost_usd == Decimal("4.000000000080")
    assert UsageTotal.objects.using(database.alias).get().cost_usd == Decimal("4.000000000080")
    (cost,) = database.rows("usage_hourly", "cost_usd")[0]
    assert cost in (4.00000000008, Decimal("4.000000000080"))


def test_errors_are_counted_by_type_and_unknown_types_as_unmapped(database: Database, new_record: NewRecord):
    add(
        database,
        new_record(database, status_code=502, error_type="timeout"),
        new_record(database, status_code=502, error_type="timeout"),
        new_record(database, status_code=200, error_type="provider_unavailable"),
        new_record(database, status_code=500, error_type="made up"),
        new_record(database, status_code=500, error_type=None),
    )
    (usage,) = hours(database)
    assert (usage.requests, usage.errors, usage.successes) == (5, 5, 0)
    errors = HourlyError.objects.using(database.alias).filter(usage=usage)
    assert dict(errors.values_list("error_type", "n")) == {"timeout": 2, "provider_unavailable": 1, "unmapped": 2}


def test_refusals_are_the_errors_of_callers_and_of_what_operators_have_set(database: Database, new_record: NewRecord):
    for domain in (*DOMAINS, None):
        add(database, new_record(database, status_code=503, error_type="provider_unavailable", error_domain=domain))
    (hour,) = hours(database)
    assert (hour.errors, hour.refusals) == (5, 2)


def test_the_time_of_every_answer_is_summed_whole_or_not(database: Database, new_record: NewRecord):
    add(
        database,
        new_record(database, latency_ms=1000, completion_tokens=50),
        new_record(database, latency_ms=300, completion_tokens=9, is_cancelled=True),
        new_record(database, latency_ms=200, completion_tokens=6, error_type="timeout"),
        new_record(database, latency_ms=7000, completion_tokens=0, status_code=502),
    )
    (hour,) = hours(database)
    assert (hour.latency_ms, hour.completion_tokens) == (1500, 65)


def test_fallbacks_are_requests_of_more_than_one_attempt(database: Database, new_record: NewRecord):
    attempt = Attempt(database.adapter.pk, "Acme", "falcon")
    add(database, new_record(database, attempts=[attempt]), new_record(database, attempts=[attempt, attempt]))
    assert hours(database)[0].fallbacks == 1


def test_percentiles_over_hours_and_keys_are_within_two_percent(database: Database, new_record: NewRecord):
    dice = random.Random(11)
    latencies = [int(dice.lognormvariate(6.5, 0.8)) for _ in range(600)]
    records = [
        new_record(
            database,
            timestamp=1_763_851_000 + 3600 * (index % 3),
            api_key_id=[None, database.key.pk][index % 2],
            latency_ms=latency,
            ttft_ms=latency // 4 if index % 2 else None,
        )
        for index, latency in enumerate(latencies)
    ]
    for start in range(0, 600, 200):
        add(database, *records[start : start + 200])
    add(
        database, new_record(database, status_code=502, latency_ms=1), new_record(database, is_cancelled=True, latency_ms=1)
    )
    sketches = HourlySketch.objects.using(database.alias)
    assert_percentiles(sketches, "latency", latencies)
    assert_percentiles(sketches, "ttft", [latency // 4 for latency in latencies[1::2]])
    assert_percentiles(sketches.filter(usage__api_key=database.key.pk), "latency", latencies[1::2])


def test_processes_that_add_to_the_same_sums_at_once_lose_nothing(postgres_database: Database, new_record: NewRecord):
    def add_batches() -> None:
        for number in range(12):
            now = time.time() - number % 2 * 3600
            add(
                postgres_database, *(new_record(postgres_database, timestamp=now, api_key_id=key) for key in (None, pk) * 3)
            )
        connections[postgres_database.alias].close()

    pk = postgres_database.key.pk
    with ThreadPoolExecutor(4) as writers:
        for writer in [writers.submit(add_batches) for _ in range(4)]:
            writer.result()
    requests = 4 * 12 * 6
    for row in (HourlySketch, HourlySpread):
        for metric in ("latency", "ttft"):
            packed = row._default_manager.using(postgres_database.alias).values_list(metric, flat=True)
            assert sum(sum(sketch.counts(sketch.unpack(one)).values()) for one in packed) == requests
    days = SlotUsage.objects.using(postgres_database.alias).filter(grain_s=slots.DAY_S)
    assert sum(sum(sketch.counts(sketch.unpack(day.ttft)).values()) for day in days) == requests
    assert sum(hour.requests for hour in hours(postgres_database)) == sum(day.requests for day in days) == requests


def assert_percentiles(sketches: QuerySet[HourlySketch], metric: str, values: list[int]) -> None:
    counts = sketch.counts(sum(map(sketch.unpack, sketches.values_list(metric, flat=True))))
    in_order = sorted(values)
    for q in (0.5, 0.95, 0.99):
        assert sketch.quantile(counts, q) == pytest.approx(in_order[int(q * (len(values) - 1))], rel=0.0201)


def test_the_spread_is_the_sketches_of_all_keys_together(database: Database, new_record: NewRecord):
    for index in range(40):
        hour, adapter = (1_763_851_000 + 3600 * (index % 2), database.adapter.pk if index % 3 else None)
        key, ttft_ms = (database.key.pk if index % 5 else None, 40 + index if index % 4 else None)
        ids = {"adapter_id": adapter, "api_key_id": key}
        add(database, new_record(database, timestamp=hour, latency_ms=100 + index % 7 * 50, ttft_ms=ttft_ms, **ids))
    spread = HourlySpread.objects.using(database.alias).values_list(
        "hour", "model_id", "provider", "adapter_id", "latency", "ttft"
    )
    sketches = HourlySketch.objects.using(database.alias).values_list(
        "usage__hour", "usage__model_id", "usage__provider", "usage__adapter_id", "latency", "ttft"
    )
    assert len(sketches) == 8
    assert together(spread) == together(sketches)
    assert len(spread) == len(together(spread)) == 4
    latencies, ttfts = map(sum, zip(*together(spread).values(), strict=True))
    assert (sum(sketch.counts(latencies).values()), sum(sketch.counts(ttfts).values())) == (40, 30)


def together(rows: Iterable[tuple[Any, ...]]) -> dict[tuple[Any, ...], tuple[int, int]]:
    """The two sketches of each hour, model, provider and adapter."""
    found: dict[tuple[Any, ...], tuple[int, int]] = {}
    for *group, latency, ttft in rows:
        before = found.get(tuple(group), (0, 0))
        found[tuple(group)] = (before[0] + sketch.unpack(latency), before[1] + sketch.unpack(ttft))
    return found


def test_names_that_callers_make_up_are_summed_together(database: Database, new_record: NewRecord):
    strangers = [
        new_record(database, model_id=f"made/up-{number}", adapter_id=None, status_code=404, attempts=[])
        for number in range(30)
    ]
    add(database, *strangers, new_record(database, adapter_id=None, status_code=503, attempts=[]))
    assert [(row.model_id, row.adapter_id, row.requests) for row in hours(database)] == [
        ("", None, 30),
        ("acme/falcon", None, 1),
    ]
    totals = UsageTotal.objects.using(database.alias)
    assert totals.get(model=None).requests == 30
    assert totals.get(model=database.model.pk).requests == 1


def test_the_latest_use_is_kept_whatever_the_order(database: Database, new_record: NewRecord):
    late, early = epoch("2026-11-20 12:00:01"), epoch("2026-11-20 12:00")
    add(database, new_record(database, timestamp=late))
    add(database, new_record(database, timestamp=early))
    assert UsageTotal.objects.using(database.alias).get().last_used_at == datetime.fromtimestamp(late, UTC)
