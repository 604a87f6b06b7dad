from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from django.db.models import ProtectedError

from accounting import ledger as ledger_module
from accounting import writer
from accounting.ledger import Ledger
from accounting.lines import REPLACEMENT, decode
from accounting.models import ApiKey, HourlyUsage, RequestLog, UsageTotal
from accounting.record import Attempt, Record
from catalog.models import Adapter, LanguageModel
from gateway_project.errors import LedgerUnavailable
from tests.accounting.conftest import Database, journal_lines, wait_for

StartLedger = Callable[[Database], Ledger]
NewRecord = Callable[..., Record]


def test_a_settled_record_becomes_a_row_with_every_field(
    database: Database, start_ledger: StartLedger, new_record: NewRecord
):
    record = new_record(
        database,
        stream=True,
        is_estimated=True,
        temperature=0.5,
        seed=-(1 << 40),
        metadata={"tags": ["ä", "\u2028"]},
        plan=[{"adapter": 1}],
        prompt="hello",
    )
    ledger = start_ledger(database)
    ledger.settle(record)
    assert ledger.flush(5)
    row = RequestLog.objects.using(database.alias).get(request_id=record.request_id)
    assert row.timestamp == datetime(2025, 11, 22, 22, 36, 40, 250000, UTC)
    assert (row.model_id, row.adapter_id, row.api_key_id) == ("acme/falcon", database.adapter.pk, database.key.pk)
    assert (row.stream, row.is_estimated, row.is_cancelled) == (True, True, False)
    assert row.cost_usd == Decimal("0.000123000001")
    assert (row.temperature, row.seed, row.top_p) == (0.5, -(1 << 40), None)
    assert row.metadata == {"tags": ["ä", "\u2028"]}
    assert row.plan == [{"adapter": 1}]
    assert row.attempts[0]["upstream_model"] == "falcon"
    assert row.prices == {"prompt": "0.000001"}
    assert row.prompt == "hello"


def test_a_record_is_settled_once_however_often_it_is_asked(
    sqlite_database: Database, journal_dir: Path, new_record: NewRecord
):
    ledger = Ledger(journal_dir, using=sqlite_database.alias)
    record = new_record(sqlite_database)
    for _ in range(3):
        ledger.settle(record)
    assert len(journal_lines(journal_dir)) == 1
    assert record.is_settled


def test_the_line_is_on_disk_when_settle_returns(sqlite_database: Database, journal_dir: Path, new_record: NewRecord):
    ledger = Ledger(journal_dir, using=sqlite_database.alias, fsync=True)
    record = new_record(sqlite_database)
    ledger.settle(record)
    (line,) = journal_lines(journal_dir)
    assert Record.of(decode(line)) == record


def test_hostile_text_and_numbers_are_stored_in_what_form_the_columns_hold(
    database: Database, start_ledger: StartLedger, new_record: NewRecord
):
    record = new_record(
        database,
        user_agent="a\x00b" + "x" * 1000,
        app_title="lone \ud800 surrogate",
        metadata={"k\x00": ["\x00", {"deep": "\ud800"}]},
        seed=1 << 70,
        max_tokens=-(1 << 70),
        prompt_tokens=-5,
        latency_ms=1 << 40,
        error="e" * 100_000,
    )
    ledger = start_ledger(database)
    ledger.settle(record)
    assert ledger.flush(5)
    row = RequestLog.objects.using(database.alias).get()
    assert row.user_agent.startswith("a\ufffdbxxx")
    assert len(row.user_agent) == 300
    assert row.app_title == "lone ? surrogate"
    assert row.metadata == {"k\ufffd": ["\ufffd", {"deep": "?"}]}
    assert (row.seed, row.max_tokens) == ((1 << 63) - 1, -(1 << 63))
    assert (row.prompt_tokens, row.latency_ms) == (0, (1 << 31) - 1)
    assert row.error == "e" * 100_000
    assert ledger.status().lost_total == 0


@pytest.mark.parametrize(("levels", "leaf"), [(700, "\x00"), (1020, "plain"), (5000, "\ud800")])
def test_what_is_nested_beyond_reason_holds_up_nothing(
    levels: int, leaf: str, sqlite_database: Database, start_ledger: StartLedger, new_record: NewRecord
):
    nested: object = leaf
    for _ in range(levels):
        nested = [nested]
    ledger = start_ledger(sqlite_database)
    ledger.settle(new_record(sqlite_database, metadata={"nested": nested, "flat": 1}))
    ledger.settle(new_record(sqlite_database))
    assert ledger.flush(5)
    first, second = RequestLog.objects.using(sqlite_database.alias).order_by("id")
    assert first.metadata is not None
    assert first.metadata["flat"] == 1
    assert REPLACEMENT in str(first.metadata["nested"])
    assert second.metadata is None
    assert ledger.status().lost_total == 0


@pytest.mark.parametrize("row", [LanguageModel, Adapter, ApiKey])
def test_what_request_logs_name_cannot_be_deleted(
    database: Database, start_ledger: StartLedger, new_record: NewRecord, row: type[LanguageModel | Adapter | ApiKey]
):
    ledger = start_ledger(database)
    ledger.settle(new_record(database))
    assert ledger.flush(5)
    with pytest.raises(ProtectedError):
        row.objects.using(database.alias).get().delete()


def test_a_key_that_only_ever_failed_cannot_be_deleted_either(
    sqlite_database: Database, start_ledger: StartLedger, new_record: NewRecord
):
    ledger = start_ledger(sqlite_database)
    ledger.settle(new_record(sqlite_database, adapter_id=None, model_id="no/such", status_code=404, attempts=[]))
    assert ledger.flush(5)
    with pytest.raises(ProtectedError):
        ApiKey.objects.using(sqlite_database.alias).get().delete()


def test_two_ledgers_write_the_same_sums_at_once(database: Database, start_ledger: StartLedger, new_record: NewRecord):
    ledgers = [start_ledger(database), start_ledger(database)]

    def settle(ledger: Ledger) -> None:
        for number in range(150):
            ledger.settle(new_record(database, latency_ms=number))
            time.sleep(0.002)

    threads = [threading.Thread(target=settle, args=[ledger]) for ledger in ledgers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(ledger.flush(10) for ledger in ledgers)
    assert database.count() == 300
    assert HourlyUsage.objects.using(database.alias).get().requests == 300
    assert UsageTotal.objects.using(database.alias).get().cost_usd == 300 * Decimal("0.000123000001")


def test_a_record_is_found_before_it_is_written(sqlite_database: Database, journal_dir: Path, new_record: NewRecord):
    ledger, sibling = (Ledger(journal_dir, using=sqlite_database.alias) for _ in range(2))
    record = new_record(sqlite_database, prompt='"request_id":"gen-fake"')
    ledger.settle(record)
    assert ledger.recent(record.request_id) is record
    assert sibling.recent(record.request_id) is None
    found = sibling.find(record.request_id)
    assert found == record
    assert found.attempts == [Attempt(sqlite_database.adapter.pk, "Acme", "falcon", status=200)]
    assert sibling.find("gen-fake") is None


def test_the_memory_of_recent_records_is_bounded(
    sqlite_database: Database, journal_dir: Path, new_record: NewRecord, monkeypatch
):
    monkeypatch.setattr(ledger_module, "RING_RECORDS", 3)
    monkeypatch.setattr(ledger_module, "RING_BYTES", 10_000)
    ledger = Ledger(journal_dir, using=sqlite_database.alias)
    small = [new_record(sqlite_database) for _ in range(4)]
    for record in small:
        ledger.settle(record)
    assert [bool(ledger.recent(record.request_id)) for record in small] == [False, True, True, True]
    large = new_record(sqlite_database, prompt="x" * 20_000)
    ledger.settle(large)
    assert [bool(ledger.recent(record.request_id)) for record in [*small, large]] == [False] * 4 + [True]


def test_a_full_segment_is_retired_while_requests_go_on(
    sqlite_database: Database, journal_dir: Path, start_ledger: StartLedger, new_record: NewRecord, monkeypatch
):
    monkeypatch.setattr(writer, "ROTATE_BYTES", 5000)
    ledger = start_ledger(sqlite_database)
    first = ledger._journal.current.path
    for _ in range(60):
        ledger.settle(new_record(sqlite_database))
        time.sleep(0.01)
    assert ledger.flush(5)
    wait_for(lambda: not first.exists())
    assert sqlite_database.count() == 60
    assert len(list(journal_dir.glob("*.ndjson"))) <= 2


def test_the_process_wide_ledger_refuses_before_its_start(new_record: NewRecord, sqlite_database: Database):
    with pytest.raises(LedgerUnavailable, match="starting or stopping"):
        ledger_module.settle(new_record(sqlite_database))


def test_the_process_wide_ledger_starts_once_and_stops(settings, sqlite_database: Database, tmp_path: Path):
    settings.JOURNAL_DIR = tmp_path / "journal"
    ledger_module.start()
    ledger_module.start()
    assert len(list(settings.JOURNAL_DIR.iterdir())) == 1
    assert ledger_module.status().backlog_lines == 0
    assert ledger_module.find("gen-none") is None
    ledger_module.check_writable()
    assert ledger_module.stop(5)
    assert list(settings.JOURNAL_DIR.iterdir()) == []
