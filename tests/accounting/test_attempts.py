"""Hourly sums of attempts: they say what the rows say, whatever happened on the way to the database."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from django.core.management import call_command
from django.db import connections
from django.utils import timezone

from accounting import attempts, store
from accounting.attempts import Sums, Tried
from accounting.lines import encode, write
from accounting.models import HourlyAttempt, RequestLog
from accounting.record import Attempt, Record
from accounting.rows import Row, read
from tests.accounting.conftest import Database

NewRecord = Callable[..., Record]
OUTCOMES: tuple[dict[str, Any], ...] = (
    {"status": 200},
    {"status": 503, "error_type": "provider_overloaded", "error": "busy"},
    {"status": 401, "error_type": "authentication", "error": "no"},
    {"error": "given up by the gateway"},
    {"error_type": "of a version to come", "error": "what?"},
)


def add(database: Database, *records: Record) -> int:
    return store.add([read(encode(record)) for record in records], database.alias)


def row(**columns: Any) -> Row:
    return read(write({"request_id": "gen-1", **columns}))


def tried(adapter_id: int, **fields: Any) -> Attempt:
    return Attempt(adapter_id, "acme", "falcon", **fields)


def hours(database: Database) -> list[HourlyAttempt]:
    return list(HourlyAttempt.objects.using(database.alias).order_by("hour", "adapter_id", "outcome"))


def test_what_followed_what_is_counted():
    line = {
        "timestamp": 7200.5,
        "attempts": [
            {"adapter_id": 1, "error_type": "timeout", "error": "silent"},
            {"adapter_id": 1, "error_type": "timeout", "error": "silent"},
            {"adapter_id": 2, "error_type": None, "error": "given up by the gateway"},
            {"adapter_id": 1, "error_type": None, "error": None},
        ],
    }
    assert attempts.summed([row(**line)]) == {
        (7200, 1, "timeout"): Sums(2, retries=1, last_at=7200.5),
        (7200, 2, "given_up"): Sums(1, fallbacks=1, last_at=7200.5),
        (7200, 1, "answered"): Sums(1, fallbacks=1, last_at=7200.5),
    }


def test_the_sums_are_those_of_the_rows_also_where_a_batch_comes_twice(database: Database, new_record: NewRecord):
    dice = random.Random(3)
    batch: list[Record] = []
    for _ in range(4):
        batch = [
            new_record(
                database,
                timestamp=1_763_850_000 + dice.random() * 7200,
                attempts=[tried(dice.randint(1, 3), **dice.choice(OUTCOMES)) for _ in range(dice.randint(0, 4))],
            )
            for _ in range(60)
        ]
        assert add(database, *batch) == 60
    assert add(database, *batch) == 0, "a segment is gone through again after a crash"

    expected: Counter[tuple[datetime, int, str]] = Counter()
    for arrived, made in RequestLog.objects.using(database.alias).values_list("timestamp", "attempts"):
        hour = arrived.replace(minute=0, second=0, microsecond=0)
        for attempt in made:
            kind = attempt["error_type"] or ("given_up" if attempt["error"] else "answered")
            expected[hour, attempt["adapter_id"], "unmapped" if "version" in kind else kind] += 1
    assert {(row.hour, row.adapter_id, row.outcome): row.n for row in hours(database)} == expected


def test_the_latest_of_each_outcome_is_known_whatever_comes_first(database: Database, new_record: NewRecord):
    pk = database.adapter.pk
    for second in (30, 50, 10):
        refused = [tried(pk, error_type="authentication", error="no")]
        add(database, new_record(database, timestamp=1_763_848_800.0 + second, attempts=refused))
    (row,) = hours(database)
    assert (row.n, row.last_at) == (3, datetime.fromtimestamp(1_763_848_850, UTC))


def test_nothing_is_stored_of_a_batch_whose_attempts_cannot_be_read(database: Database, new_record: NewRecord):
    rows = [read(encode(new_record(database))) for _ in range(2)]
    rows[1].attempts = msgspec.Raw(b'["what is this?"]')
    with pytest.raises(ValueError, match="Expected `object`, got `str`"):
        store.add(rows, database.alias)
    assert (database.count(), hours(database)) == (0, [])


@pytest.mark.django_db
class TestReading:
    def test_a_rate_of_success_leaves_out_what_nobody_decided(self):
        assert Tried().success_rate is None
        assert Tried(attempts=5, answered=3, given_up=1).success_rate == 0.75

    def test_only_the_hours_asked_for_are_summed(self):
        made = [{"adapter_id": 1}, {"adapter_id": 2}]
        attempts.add([row(timestamp=3600.0 * hour + 1, attempts=made) for hour in (1, 2, 3)], connections["default"])
        since = datetime.fromtimestamp(2 * 3600 + 1800, UTC)
        assert {pk: of.attempts for pk, of in attempts.by_adapter(since).items()} == {1: 2, 2: 2}
        until = datetime.fromtimestamp(3 * 3600, UTC)
        assert attempts.by_adapter(since, until)[2] == Tried(attempts=1, answered=1, fallbacks=1)
        assert attempts.counted_since() == datetime.fromtimestamp(3600, UTC)

    def test_the_sums_of_whole_hours_go_with_their_request_logs(self):
        now = timezone.now().timestamp()
        rows = [row(timestamp=now - 86_400 * days, attempts=[{"adapter_id": 1}]) for days in (0, 9, 30)]
        attempts.add(rows, connections["default"])
        call_command("prunelogs", "--days", "10", "--dry-run", verbosity=0)
        assert HourlyAttempt.objects.count() == 3
        call_command("prunelogs", "--days", "10", verbosity=0)
        assert HourlyAttempt.objects.count() == 2
