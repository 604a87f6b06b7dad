"""What migrations make of the rows that are there."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.db.migrations.executor import MigrationExecutor

from accounting import sketch
from accounting.models import HourlySketch, HourlySpread, SlotUsage
from tests.accounting.conftest import connect, disconnect, sqlite
from tests.postgres import Postgres

HOUR = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "postgres"])
def empty(request: pytest.FixtureRequest, tmp_path: Path, django_db_blocker: Any) -> Iterator[str]:
    """The alias of a database without tables."""
    if request.param == "sqlite":
        settings = sqlite(tmp_path / "empty.db")
    else:
        server: Postgres = request.getfixturevalue("postgres")
        settings = server.create_database("migrating")
    connect("migrating", settings)
    with django_db_blocker.unblock():
        yield "migrating"
        disconnect("migrating")


def migrate(using: str, name: str) -> Any:
    """Migrate accounting as far as `name`; gives the models of that time."""
    executor = MigrationExecutor(connections[using])
    executor.migrate([("accounting", name)])
    return executor.loader.project_state([("accounting", name)]).apps


def test_buckets_become_sketches(empty: str):
    apps = migrate(empty, "0007_hourly_attempts")
    usages, buckets = (apps.get_model("accounting", name).objects.using(empty) for name in ("HourlyUsage", "HourlyBucket"))
    latencies = {None: [3, 40, 41, 40_000], 7: [0, 40]}
    for key, values in latencies.items():
        usage = usages.create(hour=HOUR, model_id="acme/falcon", provider="acme", adapter_id=1, api_key_id=key)
        for value in values:
            bucket, _ = buckets.get_or_create(usage=usage, metric="latency", bucket=sketch.bucket(value))
            buckets.filter(usage=usage, metric="latency", bucket=bucket.bucket).update(n=bucket.n + 1)
    buckets.create(usage=usage, metric="ttft", bucket=5, n=2)
    usages.create(hour=HOUR, model_id="acme/falcon", provider="acme", adapter_id=2)
    slots, of_slots = (apps.get_model("accounting", name).objects.using(empty) for name in ("SlotUsage", "SlotBucket"))
    for number in range(3):
        slot = slots.create(grain_s=120, start=HOUR + timedelta(seconds=120 * number), model_id="acme/falcon")
        for bucket in range(number):
            of_slots.create(slot=slot, bucket=4 * bucket + 2, n=number)

    migrate(empty, "0009_drop_buckets")

    kept = {row.usage.api_key_id: row for row in HourlySketch.objects.using(empty).select_related("usage")}
    expected = {key: sum(map(sketch.of, values)) for key, values in latencies.items()}
    assert {key: sketch.unpack(row.latency) for key, row in kept.items()} == expected
    assert {key: sketch.counts(sketch.unpack(row.ttft)) for key, row in kept.items()} == {None: {}, 7: {5: 2}}
    (spread,) = HourlySpread.objects.using(empty)
    assert (spread.hour, spread.model_id, spread.provider, spread.adapter_id) == (HOUR, "acme/falcon", "acme", 1)
    assert sketch.unpack(spread.latency) == sum(expected.values())
    assert sketch.counts(sketch.unpack(spread.ttft)) == {5: 2}
    of_slot = [sketch.counts(sketch.unpack(slot.ttft)) for slot in SlotUsage.objects.using(empty).order_by("start")]
    assert of_slot == [{}, {2: 1}, {2: 2, 6: 2}]


def test_packing_in_the_migration_is_packing():
    packed = importlib.import_module("accounting.migrations.0008_sketches").packed
    for values in ([], [0], [5, 5, 90], [0, 3_600_000]):
        whole = sum(map(sketch.of, values))
        assert packed(sketch.counts(whole)) == sketch.pack(whole)
