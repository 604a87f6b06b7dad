from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import orjson
import pytest
from django.db import connections, transaction
from django.db.models import ProtectedError

from accounting import ledger as ledger_module
from accounting import store, writer
from accounting.ledger import Ledger
from accounting.lines import decode, encode
from accounting.models import ApiKey, HourlyUsage, RequestLog, UsageTotal
from accounting.record import Attempt, Record
from catalog.models import Adapter, LanguageModel
from gateway_project.errors import LedgerUnavailable
from tests.accounting.conftest import Database
from tests.postgres import Postgres

StartLedger = Callable[[Database], Ledger]
NewRecord = Callable[..., Record]


def wait_for(condition: Callable[[], object], timeout_s: float = 5) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def journal_lines(directory: Path) -> list[bytes]:
    return [line for path in directory.glob("[0-9]*.ndjson") for line in path.read_bytes().splitlines()]


def orphan(directory: Path, *lines: bytes, name: str = "1-1.ndjson") -> None:
    """What a dead process leaves behind."""
    directory.mkdir(exist_ok=True)
    (directory / name).write_bytes(b"".join(lines))


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


def test_a_replayed_segment_counts_nothing_twice(
    database: Database, journal_dir: Path, start_ledger: StartLedger, new_record: NewRecord
):
    records = [new_record(database) for _ in range(7)]
    store.add([store.fit(decode(encode(record))) for record in records[:4]], database.alias)
    # As if the process had died between the commit and retiring the segment; and one line is there twice.
    orphan(journal_dir, *map(encode, records), encode(records[6]))
    ledger = start_ledger(database)
    assert ledger.flush(5)
    assert database.count() == 7
    assert HourlyUsage.objects.using(database.alias).get().requests == 7
    assert UsageTotal.objects.using(database.alias).get().requests == 7
    assert ledger.status().adopted_total == 8
    wait_for(lambda: not (journal_dir / "1-1.ndjson").exists())


CHILD = """
    import os, sys, time
    import django
    django.setup()
    from pathlib import Path
    from accounting.ledger import Ledger
    from accounting.record import Record
    ledger = Ledger(Path(sys.argv[1]))
    ledger.start()
    name, number = sys.argv[2], 0
    while True:
        number += 1
        record = Record(f"gen-{name}-{number}", time.time(), model_id="acme/falcon", status_code=200)
        ledger.settle(record)
        os.write(1, f"{record.request_id}\\n".encode())
"""


def spawn(script: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        stdout=subprocess.PIPE,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "gateway_project.settings", **environment},
    )


def kill_after_first_line(child: subprocess.Popen[bytes], seconds: float) -> list[str]:
    """The lines that `child` printed until it was killed, `seconds` after its first one."""
    assert child.stdout
    lines = [child.stdout.readline()]
    time.sleep(seconds)
    child.kill()
    lines += child.stdout.readlines()
    child.wait()
    return [line.decode().strip() for line in lines]


def test_what_two_processes_settled_survives_kill_9_exactly_once(
    sqlite_database: Database, journal_dir: Path, start_ledger: StartLedger
):
    path = connections[sqlite_database.alias].settings_dict["NAME"]
    children = [spawn(CHILD, str(journal_dir), name, SQLITE_DB_PATH=path) for name in ("a", "b")]
    settled = [request_id for child in children for request_id in kill_after_first_line(child, 0.3)]
    ledger = start_ledger(sqlite_database)
    assert ledger.flush(20)
    stored = [request_id for (request_id,) in sqlite_database.rows("api_logs", "request_id")]
    assert len(settled) > 200
    assert set(settled) <= set(stored)
    # At most the one line of each child that was written and not reported any more.
    assert len(stored) - len(settled) <= 2
    assert sum(row.requests for row in HourlyUsage.objects.using(sqlite_database.alias).all()) == len(stored)
    assert sum(row.requests for row in UsageTotal.objects.using(sqlite_database.alias).all()) == len(stored)


def test_a_sibling_that_dies_is_adopted_while_this_process_runs(
    sqlite_database: Database, journal_dir: Path, start_ledger: StartLedger, new_record: NewRecord, monkeypatch
):
    monkeypatch.setattr(writer, "ADOPT_EVERY_S", 0.05)
    ledger = start_ledger(sqlite_database)
    sibling = Ledger(journal_dir, using=sqlite_database.alias)
    sibling.settle(new_record(sqlite_database))
    time.sleep(0.4)
    assert sqlite_database.count() == 0, "a living process's segment was taken"
    sibling._journal.current.close()  # what the kernel does for a dead process
    wait_for(lambda: sqlite_database.count() == 1)
    assert ledger.status().adopted_total == 1


def test_a_torn_last_line_is_counted_and_set_aside(
    sqlite_database: Database, journal_dir: Path, start_ledger: StartLedger, new_record: NewRecord
):
    whole, torn = encode(new_record(sqlite_database)), encode(new_record(sqlite_database))[:99]
    orphan(journal_dir, whole, torn)
    orphan(journal_dir, b"\x00\xff garbage in the middle\n", encode(new_record(sqlite_database)), name="1-2.ndjson")
    ledger = start_ledger(sqlite_database)
    wait_for(lambda: ledger.status().torn_lines_total == 2)
    assert ledger.flush(5)
    assert sqlite_database.count() == 2
    assert ledger.status().lost_total == 0
    assert sorted((journal_dir / "rejected.ndjson").read_bytes().splitlines()) == sorted(
        [torn, b"\x00\xff garbage in the middle"]
    )


FULL_DISK = """
    import resource, sys
    import django
    django.setup()
    from pathlib import Path
    from accounting import ledger as module
    from accounting.record import Record
    from gateway_project.errors import LedgerUnavailable
    module.PROBE_EVERY_S = 0
    ledger = module.Ledger(Path(sys.argv[1]))
    def settle(name, **fields):
        try:
            ledger.settle(Record(name, 1763851000.0, model_id="acme/falcon", status_code=200, **fields))
            return "settled"
        except LedgerUnavailable:
            return "refused"
    def writable():
        try:
            ledger.check_writable()
            return "writable"
        except LedgerUnavailable:
            return "full"
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
    print(settle("gen-1"), writable(), settle("gen-2", prompt="x" * 9000), writable())
    print(settle("gen-2", prompt="x" * 9000), ledger.status().lost_total)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(writable(), settle("gen-3"), ledger.status().lost_total)
    print(settle("gen-2"), ledger.status().lost_total)
"""


def test_a_full_disk_refuses_and_the_next_line_is_whole(journal_dir: Path):
    child = spawn(FULL_DISK, str(journal_dir))
    output, _ = child.communicate(timeout=20)
    assert output.decode().splitlines() == [
        "settled writable refused full",
        "refused 1",
        "writable settled 1",
        "settled 0",
    ]
    assert [orjson.loads(line)["request_id"] for line in journal_lines(journal_dir)] == ["gen-1", "gen-3", "gen-2"]


def test_a_settle_after_the_end_is_refused(sqlite_database: Database, journal_dir: Path, new_record: NewRecord):
    ledger = Ledger(journal_dir, using=sqlite_database.alias)
    ledger.start()
    assert ledger.stop(5)
    with pytest.raises(LedgerUnavailable):
        ledger.settle(new_record(sqlite_database))
    assert list(journal_dir.iterdir()) == []


def test_a_locked_database_only_makes_the_journal_grow(
    sqlite_database: Database, start_ledger: StartLedger, new_record: NewRecord
):
    ledger = start_ledger(sqlite_database)
    blocker = sqlite3.connect(connections[sqlite_database.alias].settings_dict["NAME"], isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    for _ in range(20):
        ledger.settle(new_record(sqlite_database, timestamp=time.time() - 60, latency_ms=0))
    wait_for(lambda: not ledger.status().is_database_available)
    status = ledger.status()
    assert status.backlog_lines == 20
    assert status.backlog_bytes > 2000
    assert 59 < status.oldest_unwritten_age_s < 75
    assert "locked" in str(status.last_error)
    ledger.check_writable()
    blocker.execute("ROLLBACK")
    blocker.close()
    assert ledger.flush(8)
    assert sqlite_database.count() == 20
    wait_for(lambda: ledger.status().oldest_unwritten_age_s == 0)
    assert ledger.status().is_database_available
    assert ledger.status().last_error is None


def test_a_postgresql_that_comes_back_gets_everything(
    postgres: Postgres, postgres_database: Database, start_ledger: StartLedger, new_record: NewRecord, monkeypatch
):
    monkeypatch.setattr(writer, "LONGEST_BACKOFF_S", 0.3)
    ledger = start_ledger(postgres_database)
    ledger.settle(new_record(postgres_database))
    assert ledger.flush(5)
    connections[postgres_database.alias].close()
    postgres.stop()
    try:
        for _ in range(5):
            ledger.settle(new_record(postgres_database))
        wait_for(lambda: not ledger.status().is_database_available)
        assert ledger.status().backlog_lines == 5
    finally:
        postgres.start()
    assert ledger.flush(10)
    assert postgres_database.count() == 6
    assert UsageTotal.objects.using(postgres_database.alias).get().requests == 6


def test_what_a_stop_cannot_write_is_written_by_the_next_start(
    sqlite_database: Database, start_ledger: StartLedger, new_record: NewRecord, journal_dir: Path
):
    blocker = sqlite3.connect(connections[sqlite_database.alias].settings_dict["NAME"], isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    ledger = start_ledger(sqlite_database)
    ledger.settle(new_record(sqlite_database))
    assert not ledger.stop(0.2)
    wait_for(lambda: not ledger._writer.is_alive())
    blocker.close()
    assert len(journal_lines(journal_dir)) == 1
    successor = start_ledger(sqlite_database)
    wait_for(lambda: sqlite_database.count() == 1)
    assert successor.stop(5)
    assert list(journal_dir.iterdir()) == []


def test_one_poisonous_line_does_not_hold_up_the_rest(
    database: Database, journal_dir: Path, start_ledger: StartLedger, new_record: NewRecord
):
    records = [new_record(database) for _ in range(9)]
    setattr(records[3], "status_code", None)  # noqa: B010  the column refuses NULL
    records[5].timestamp = 1e18  # no calendar has that year
    orphan(journal_dir, *map(encode, records))
    ledger = start_ledger(database)
    assert ledger.flush(5)
    assert database.count() == 7
    assert ledger.status().lost_total == 2
    assert sum(row.requests for row in HourlyUsage.objects.using(database.alias).all()) == 7
    rejected = (journal_dir / "rejected.ndjson").read_bytes().splitlines()
    assert [orjson.loads(line)["request_id"] for line in rejected] == [records[3].request_id, records[5].request_id]


def test_a_rejected_line_is_stored_once_its_file_is_renamed(
    sqlite_database: Database, journal_dir: Path, start_ledger: StartLedger, new_record: NewRecord
):
    orphan(journal_dir, encode(new_record(sqlite_database)), name="rejected.ndjson")
    (journal_dir / "rejected.ndjson").rename(journal_dir / "0-0.ndjson")
    assert start_ledger(sqlite_database).flush(5)
    wait_for(lambda: sqlite_database.count() == 1)


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


def test_a_name_deleted_before_its_row_was_written_does_not_block(
    database: Database, start_ledger: StartLedger, new_record: NewRecord
):
    ledger = start_ledger(database)
    record = new_record(database, adapter_id=999_999, api_key_id=888_888)
    ledger.settle(record)
    assert ledger.flush(5)
    row = RequestLog.objects.using(database.alias).get()
    assert (row.adapter_id, row.api_key_id) == (999_999, 888_888)
    total = UsageTotal.objects.using(database.alias).get()
    assert (total.model_id, total.adapter_id, total.api_key_id) == (database.model.pk, None, None)


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


def test_a_row_that_another_process_stores_meanwhile_is_not_counted_again(
    postgres_database: Database, journal_dir: Path, start_ledger: StartLedger, new_record: NewRecord
):
    record = new_record(postgres_database)
    with transaction.atomic(using=postgres_database.alias):
        store.add([store.fit(decode(encode(record)))], postgres_database.alias)
        orphan(journal_dir, encode(record))
        ledger = start_ledger(postgres_database)
        time.sleep(0.5)  # the writer has looked, found nothing, and waits for this transaction to end
        assert ledger.status().backlog_lines == 1
    assert ledger.flush(5)
    assert HourlyUsage.objects.using(postgres_database.alias).get().requests == 1
    assert UsageTotal.objects.using(postgres_database.alias).get().requests == 1


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
