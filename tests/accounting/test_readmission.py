from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import call_command

from accounting import readmission, writer
from accounting.ledger import Ledger
from accounting.lines import encode
from accounting.record import Record
from tests.accounting.conftest import Database, orphan, wait_for

NewRecord = Callable[..., Record]
StartLedger = Callable[[Database], Ledger]
TORN = b'{"request_id":"gen-1-torn","timest'


@pytest.fixture
def run(journal_dir: Path, settings) -> Callable[..., list[str]]:
    settings.JOURNAL_DIR = journal_dir

    def call(*arguments: str) -> list[str]:
        out = io.StringIO()
        call_command("readmitlogs", *arguments, stdout=out)
        return out.getvalue().splitlines()

    return call


def test_what_can_be_stored_now_is_stored_once_and_the_rest_stays(
    database: Database, journal_dir: Path, start_ledger: StartLedger, new_record: NewRecord, run, monkeypatch
):
    monkeypatch.setattr(writer, "ADOPT_EVERY_S", 0.05)
    records = [new_record(database) for _ in range(2)]
    ledger = start_ledger(database)
    ledger.settle(records[0])
    orphan(journal_dir, *map(encode, records), TORN + b"\n", name="rejected.ndjson")
    *listed, summary = run()
    assert [line.split()[0] for line in listed[:2]] == [record.request_id for record in records]
    assert listed[2].startswith("a torn line  ")
    assert summary == "2 request logs were put back into the journal; 1 cannot be read and stay."
    assert (journal_dir / "rejected.ndjson").read_bytes() == TORN + b"\n"
    wait_for(lambda: database.count() == 2)
    assert ledger.flush(5)
    assert database.rows("usage_hourly", "SUM(requests)")[0][0] == 2


def test_a_dry_run_only_lists(sqlite_database: Database, journal_dir: Path, new_record: NewRecord, run):
    record = new_record(sqlite_database)
    orphan(journal_dir, encode(record), name="rejected.ndjson")
    assert run("--dry-run") == [
        f"{record.request_id}  can be read",
        "1 request logs would be put back into the journal; 0 cannot be read and stay.",
    ]
    assert [path.name for path in journal_dir.iterdir()] == ["rejected.ndjson"]


def test_what_an_interrupted_run_had_taken_is_put_back_by_the_next(
    sqlite_database: Database, journal_dir: Path, new_record: NewRecord, run
):
    record = new_record(sqlite_database)
    orphan(journal_dir, encode(record), name="taken-1.rejected.ndjson")
    assert run()[-1].startswith("1 request logs were put back")
    (segment,) = journal_dir.iterdir()
    assert segment.read_bytes() == encode(record)


def test_nothing_refused_is_nothing_to_do(journal_dir: Path, run):
    assert run() == ["0 request logs were put back into the journal; 0 cannot be read and stay."]
    assert readmission.refused(journal_dir) == []
