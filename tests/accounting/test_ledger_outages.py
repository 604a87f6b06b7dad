"""What the ledger does when processes die, disks fill and databases go away."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from django.db import connections, transaction

from accounting import store, writer
from accounting.ledger import Ledger
from accounting.lines import encode
from accounting.models import HourlyUsage, RequestLog, UsageTotal
from accounting.record import Record
from accounting.rows import read
from gateway_project.errors import LedgerUnavailable
from tests.accounting.conftest import Database, journal_lines, orphan, wait_for
from tests.postgres import Postgres

StartLedger = Callable[[Database], Ledger]
NewRecord = Callable[..., Record]


def test_a_replayed_segment_counts_nothing_twice(
    database: Database, journal_dir: Path, start_ledger: StartLedger, new_record: NewRecord
):
    records = [new_record(database) for _ in range(7)]
    store.add([read(encode(record)) for record in records[:4]], database.alias)
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


def test_a_row_that_another_process_stores_meanwhile_is_not_counted_again(
    postgres_database: Database, journal_dir: Path, start_ledger: StartLedger, new_record: NewRecord
):
    record = new_record(postgres_database)
    with transaction.atomic(using=postgres_database.alias):
        store.add([read(encode(record))], postgres_database.alias)
        orphan(journal_dir, encode(record))
        ledger = start_ledger(postgres_database)
        time.sleep(0.5)  # the writer has looked, found nothing, and waits for this transaction to end
        assert ledger.status().backlog_lines == 1
    assert ledger.flush(5)
    assert HourlyUsage.objects.using(postgres_database.alias).get().requests == 1
    assert UsageTotal.objects.using(postgres_database.alias).get().requests == 1
