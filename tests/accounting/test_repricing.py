"""Charging stored requests anew. Each test runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from accounting import repricing, rollups, store
from accounting.lines import encode
from accounting.models import HourlyUsage, PriceCorrection, RequestLog, UsageTotal
from accounting.pricing import cost
from accounting.record import Attempt, Record
from accounting.repricing import Outcome, UnreadablePrice
from accounting.rows import Row, read
from accounting.usage import Usage
from catalog.models import Adapter, AdapterPrice, LanguageModel
from catalog.prices import Prices
from tests import factories
from tests.accounting.conftest import Database

NewRecord = Callable[..., Record]

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
USAGE = Usage(prompt_uncached=1000, cache_read=4000, cache_write_1h=7, prompt_audio=11, completion_text=200, reasoning=50)
OLD = {"prompt": "0.000001", "completion": "0.000002"}
NEW = {"prompt": "0.000003", "completion": "0.000015", "input_cache_read": "0.0000003", "audio": "0.00001"}


def usd(usage: Usage, pricing: dict[str, Any]) -> Decimal:
    return cost(usage, Prices.parse(pricing)).total


@pytest.fixture
def priced(database: Database) -> Iterator[Callable[..., AdapterPrice]]:
    """Adds a price to the database's adapter, in force since the day before noon."""

    def add(pricing: dict[str, Any] | None = NEW, since: datetime = NOON - timedelta(days=1)) -> AdapterPrice:
        prices = AdapterPrice.objects.using(database.alias)
        return prices.create(adapter_id=database.adapter.pk, effective_from=since, pricing=pricing)

    yield add
    LanguageModel.objects.using(database.alias).update(pricing={})
    AdapterPrice.objects.using(database.alias)._raw_delete(database.alias)
    PriceCorrection.objects.using(database.alias).all().delete()


@pytest.fixture
def answered(database: Database, new_record: NewRecord) -> Callable[..., Record]:
    """Stores a request that was charged at the old prices."""

    def add(usage: Usage = USAGE, at: datetime = NOON, charged: dict[str, str] = OLD, **fields: Any) -> Record:
        pk, money = database.adapter.pk, format(usd(usage, charged), "f")
        attempts = [
            Attempt(pk, "Acme", "falcon", status=503),
            Attempt(pk, "Acme", "falcon", status=200, cost_usd=money, usage=usage.classes()),
        ]
        values: dict[str, Any] = {"timestamp": at.timestamp(), "cost_usd": money, "prices": charged, "attempts": attempts}
        record = new_record(database, **values | fields)
        store.add([read(encode(record))], database.alias)
        return record

    return add


def run(database: Database, **options: Any) -> Outcome:
    return repricing.reprice(RequestLog.objects.using(database.alias).all(), "ada", **options)


def total(database: Database, row: Any) -> Decimal:
    return sum((found.cost_usd for found in row.objects.using(database.alias)), Decimal(0))


def the_log(database: Database) -> RequestLog:
    return RequestLog.objects.using(database.alias).get()


def test_a_request_is_charged_at_the_prices_of_its_time(database, priced, answered):
    priced(OLD)
    priced(NEW, since=NOON)
    before, after = answered(at=NOON - timedelta(seconds=1)), answered(at=NOON)

    outcome = run(database)

    costs = dict(RequestLog.objects.using(database.alias).values_list("request_id", "cost_usd"))
    assert costs == {before.request_id: usd(USAGE, OLD), after.request_id: usd(USAGE, NEW)}
    assert (outcome.requests, outcome.corrected) == (2, 1)
    assert (outcome.old_usd, outcome.new_usd) == (usd(USAGE, OLD), usd(USAGE, NEW))


def test_the_sums_follow_by_the_difference(database, priced, answered):
    priced()
    for hours in (0, 0, 1, 30):
        answered(at=NOON + timedelta(hours=hours))
    answered(api_key_id=None)

    run(database)

    expected = 5 * usd(USAGE, NEW)
    assert total(database, HourlyUsage) == total(database, UsageTotal) == total(database, RequestLog) == expected
    assert sum(row.requests for row in HourlyUsage.objects.using(database.alias)) == 5


def test_the_row_and_its_attempt_say_what_was_charged(database, priced, answered):
    priced()
    answered()

    run(database)

    row = the_log(database)
    assert row.prices == NEW
    assert [attempt["cost_usd"] for attempt in row.attempts] == ["0", format(usd(USAGE, NEW), "f")]
    assert row.attempts[1]["usage"] == USAGE.classes()


def test_a_correction_leaves_a_trail(database, priced, answered):
    priced()
    record = answered()

    run(database)

    trail = PriceCorrection.objects.using(database.alias).get()
    assert (trail.request_id, trail.corrected_by, trail.requested_at) == (record.request_id, "ada", NOON)
    assert (trail.old_cost_usd, trail.new_cost_usd) == (usd(USAGE, OLD), usd(USAGE, NEW))
    assert (trail.old_prices, trail.new_prices) == (OLD, NEW)


def test_running_again_changes_nothing(database, priced, answered):
    priced()
    answered()
    run(database)

    again = run(database)

    assert (again.requests, again.corrected) == (1, 0)
    assert PriceCorrection.objects.using(database.alias).count() == 1
    assert total(database, HourlyUsage) == usd(USAGE, NEW)


def test_a_dry_run_computes_and_changes_nothing(database, priced, answered):
    priced()
    answered()

    outcome = run(database, dry_run=True)

    assert outcome.new_usd == usd(USAGE, NEW)
    assert total(database, RequestLog) == total(database, HourlyUsage) == usd(USAGE, OLD)
    assert not PriceCorrection.objects.using(database.alias).exists()


def test_batches_cover_every_request_once(database, priced, answered, monkeypatch):
    monkeypatch.setattr(repricing, "BATCH_ROWS", 2)
    priced()
    for minute in (0, 0, 0, 1, 2):
        answered(at=NOON + timedelta(minutes=minute))

    assert run(database).corrected == 5
    assert total(database, UsageTotal) == 5 * usd(USAGE, NEW)


def test_the_tier_of_the_prompt_is_applied(database, priced, answered):
    tier = {"min_prompt_tokens": 5000, "prompt": "0.000006"}
    priced(NEW | {"overrides": [tier]})
    answered()

    run(database)

    assert USAGE.prompt_tokens > 5000
    assert the_log(database).prices == NEW | {"prompt": "0.000006"}
    assert total(database, RequestLog) == usd(USAGE, NEW | {"prompt": "0.000006"})


def test_an_answer_that_was_free_stays_free(database, priced, new_record):
    priced()
    failed = [Attempt(database.adapter.pk, "Acme", "falcon", status=502, prompt_tokens=1000)]
    record = new_record(database, attempts=failed, cost_usd="0", timestamp=NOON.timestamp())
    store.add([read(encode(record))], database.alias)

    assert run(database).corrected == 0


@pytest.mark.parametrize("has_price", [True, False])
def test_what_was_never_answered_is_counted_as_free_and_not_as_without_a_price(
    database, priced, answered, new_record, has_price
):
    if has_price:
        priced()
    failed = [Attempt(database.adapter.pk, "Acme", "falcon", status=502, prompt_tokens=1000)]
    for attempts in (failed, []):
        record = new_record(database, attempts=attempts, cost_usd="0", timestamp=NOON.timestamp())
        store.add([read(encode(record))], database.alias)
    answered()

    outcome = run(database, dry_run=True)

    assert (outcome.requests, outcome.free) == (3, 2)
    assert (outcome.corrected, outcome.unpriced) == ((1, 0) if has_price else (0, 1))


def test_both_halves_of_a_resumed_answer_are_charged(database, priced, answered):
    priced()
    half = {"prompt_uncached": 10, "completion_text": 1}
    pk = database.adapter.pk
    answered(attempts=[Attempt(pk, "Acme", "falcon", usage=half), Attempt(pk, "Acme", "falcon", usage=half)])

    run(database)

    assert total(database, RequestLog) == 2 * usd(Usage.of(half), NEW)


def test_without_a_price_of_that_time_a_request_stays_as_it_is(database, priced, answered):
    LanguageModel.objects.using(database.alias).update(pricing=NEW)
    priced(NEW, since=NOON + timedelta(seconds=1))
    answered()

    outcome = run(database)

    assert (outcome.corrected, outcome.unpriced) == (0, 1)
    assert total(database, RequestLog) == usd(USAGE, OLD)


def test_the_models_price_is_used_where_that_is_asked_for(database, priced, answered):
    LanguageModel.objects.using(database.alias).update(pricing=NEW)
    priced(None)
    answered()

    assert run(database).corrected == 0
    assert run(database, published=True).corrected == 1
    assert total(database, RequestLog) == usd(USAGE, NEW)


def test_a_price_that_cannot_be_read_stops_it(database, priced, answered):
    priced({"prompt": "cheap"})
    answered()

    with pytest.raises(UnreadablePrice, match="'cheap' is not a price"):
        run(database)


def test_a_batch_whose_sums_are_missing_changes_nothing(database, priced, answered):
    priced()
    answered()
    HourlyUsage.objects.using(database.alias).all().delete()

    with pytest.raises(LookupError, match="has no hourly sums"):
        run(database)

    assert total(database, RequestLog) == usd(USAGE, OLD)
    assert not PriceCorrection.objects.using(database.alias).exists()


def test_the_database_refuses_to_edit_a_price_in_force(database, priced):
    prices = AdapterPrice.objects.using(database.alias)
    price = priced()

    with pytest.raises(IntegrityError, match="never edited"), transaction.atomic(using=database.alias):
        prices.filter(pk=price.pk).update(pricing=OLD)
    prices.filter(pk=price.pk).update(note="why", created_by=None)

    to_come = priced(NEW, since=datetime.now(UTC) + timedelta(hours=1))
    assert prices.filter(pk=to_come.pk).update(pricing=OLD) == 1


@pytest.mark.django_db
class TestCommand:
    def reprice(self, **options: Any) -> str:
        return call_command("reprice", start="2026-11-20", end="2026-11-21", by="ada", **options)

    def stored(self, adapter: Adapter, **fields: Any) -> RequestLog:
        attempt = {"adapter_id": adapter.pk, "usage": {"prompt_uncached": 1_000_000}, "cost_usd": "0"}
        row = factories.request_log(adapter, attempts=[attempt], **fields)
        rollups.add([counted(row)], connection)
        return row

    def test_it_says_what_it_did(self):
        adapter = factories.adapter_price(pricing={"prompt": "0.000001"}).adapter
        self.stored(adapter)
        self.stored(factories.adapter())
        factories.request_log(
            adapter, status_code=502, attempts=[{"adapter_id": adapter.pk, "usage": None, "cost_usd": "0"}]
        )

        assert self.reprice(dry_run=True) == (
            "Of 3 requests 1 would be corrected, from 0 to 1 USD; 1 have no price of that time and stay as they are; "
            "1 had no answer to charge."
        )
        assert "1 were corrected" in self.reprice()
        assert "0 were corrected" in self.reprice()

    @pytest.mark.parametrize("option", ["model", "adapter"])
    def test_it_may_be_narrowed(self, option):
        rows = [self.stored(factories.adapter_price().adapter) for _ in range(2)]
        value = rows[0].model_id if option == "model" else rows[0].adapter_id

        assert self.reprice(**{option: value}).startswith("Of 1 requests 1 were corrected")

    def test_requests_at_other_times_are_left_alone(self):
        adapter = factories.adapter_price().adapter
        self.stored(adapter, timestamp=datetime(2026, 11, 21, tzinfo=UTC))

        assert self.reprice().startswith("Of 0 requests")

    def test_a_time_that_cannot_be_read_is_refused(self):
        with pytest.raises(CommandError, match="is not a time"):
            call_command("reprice", start="yesterday")


def counted(row: RequestLog) -> Row:
    """A stored request as the sums take it."""
    record = Record(
        request_id=row.request_id,
        timestamp=row.timestamp.timestamp(),
        model_id=row.model_id,
        adapter_id=row.adapter_id,
        status_code=row.status_code,
    )
    return read(encode(record))
