"""Sums by slot: they say what the hours say, in stretches of other lengths, and are gone when no chart shows them."""

from __future__ import annotations

import time
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.db.models import F, Sum

from accounting import rollups, sketch, slots
from accounting.groups import Group
from accounting.lines import write
from accounting.models import HourlyUsage, SlotUsage
from accounting.rows import Row, read
from tests import factories

pytestmark = pytest.mark.django_db
NOW = int(time.time())


def line(adapter: Any, at: float = NOW, key: Any = None, **fields: Any) -> Row:
    columns = {
        "request_id": "gen-1-slots",
        "timestamp": at, "model_id": adapter.model.public_id, "provider": adapter.provider.slug, "adapter_id": adapter.pk,
        "api_key_id": key.pk if key else None, "status_code": 200, "error_type": None, "is_cancelled": False,
        "is_estimated": False, "stream": True, "latency_ms": 900, "ttft_ms": 200, "prompt_tokens": 100,
        "completion_tokens": 50, "total_tokens": 150, "reasoning_tokens": 0, "cache_read_tokens": 0, "cache_write_tokens": 0,
        "audio_tokens": 0, "image_tokens": 0, "cost_usd": "0.01", "attempts": [{}],
    } | fields  # fmt: skip
    return read(write(columns))


def add(*rows: Row) -> None:
    slots.add(rows, *rollups.add(rows, connection), connection)


def sums(grain_s: int) -> list[tuple[int, int, int, Decimal]]:
    """Beginning (epoch seconds), requests, errors and cost of each slot of that length."""
    rows = SlotUsage.objects.filter(grain_s=grain_s).order_by("start", "pk")
    return [(int(row.start.timestamp()), row.requests, row.errors, row.cost_usd) for row in rows]


@pytest.mark.parametrize("grain_s", slots.KEPT_S)
def test_a_request_counts_in_the_slot_in_which_it_arrived(grain_s):
    adapter = factories.adapter()
    add(line(adapter), line(adapter, status_code=502, error_type="provider_unavailable", cost_usd="0"))
    assert sums(grain_s) == [(NOW // grain_s * grain_s, 2, 1, Decimal("0.01"))]


def test_a_batch_over_several_slots_is_parted():
    adapter = factories.adapter()
    start = NOW // slots.FINE_S * slots.FINE_S
    add(line(adapter, start - 1), line(adapter, start), line(adapter, start + 1))
    assert [(at, requests) for at, requests, *_ in sums(slots.FINE_S)] == [(start - slots.FINE_S, 1), (start, 2)]
    assert sum(requests for _, requests, *_ in sums(slots.DAY_S)) == 3


def test_later_batches_are_added():
    adapter, key = factories.adapter(), factories.api_key()
    for _ in range(3):
        add(line(adapter, key=key))
    add(line(adapter))
    assert sorted(requests for _, requests, *_ in sums(slots.QUARTER_S)) == [1, 3]


def test_slots_and_hours_agree():
    adapters, keys = [factories.adapter() for _ in range(2)], [factories.api_key(), None]
    add(*(line(adapters[n % 2], NOW - n * 1777, keys[n % 3 == 0]) for n in range(60)))
    names = [*slots.COUNTS, "cost_usd"]
    of_hours = HourlyUsage.objects.aggregate(*map(Sum, names))
    for grain_s in (slots.QUARTER_S, slots.DAY_S):
        assert SlotUsage.objects.filter(grain_s=grain_s).aggregate(*map(Sum, names)) == of_hours


def test_percentiles_are_within_two_per_cent():
    adapter = factories.adapter()
    values = [7 * n + 3 for n in range(400)]
    for part in (values[:150], values[150:]):
        add(*(line(adapter, ttft_ms=value) for value in part))
    counts = sketch.counts(sketch.unpack(SlotUsage.objects.get(grain_s=slots.DAY_S).ttft))
    assert sum(counts.values()) == len(values)
    for q in (0.5, 0.95, 0.99):
        assert sketch.quantile(counts, q) == pytest.approx(values[int(q * (len(values) - 1))], rel=0.0201)


def test_names_that_callers_made_up_are_summed_together():
    adapter = factories.adapter()
    start = NOW // slots.FINE_S * slots.FINE_S
    made_up = [line(adapter, start - n * slots.FINE_S, adapter_id=None, model_id=f"no/such-{n}") for n in range(2)]
    add(*made_up)
    assert {row.model_id for row in SlotUsage.objects.all()} == {""}


def test_what_no_chart_shows_any_more_is_not_kept():
    adapter = factories.adapter()
    add(line(adapter, NOW - slots.KEPT_S[slots.FINE_S] - slots.FINE_S))
    assert not sums(slots.FINE_S)
    add(line(adapter))
    SlotUsage.objects.update(start=F("start") - timedelta(days=100))
    add(line(adapter))
    assert [at for at, *_ in sums(slots.FINE_S)] == [NOW // slots.FINE_S * slots.FINE_S]
    assert SlotUsage.objects.count() == len(slots.KEPT_S)


def test_a_corrected_cost_is_corrected_where_hours_are_summed():
    adapter, key = factories.adapter(), factories.api_key()
    add(line(adapter, key=key), line(adapter))
    group = Group.of(NOW, adapter.model.public_id, adapter.pk, key.pk)
    rollups.add_cost({group: Decimal("0.5")}, connection)
    slots.add_cost({group: Decimal("0.5")}, connection)
    for grain_s in (slots.QUARTER_S, slots.DAY_S):
        assert sorted(cost for *_, cost in sums(grain_s)) == [Decimal("0.01"), Decimal("0.51")]
