from __future__ import annotations

import csv
import io
import os
import signal
import subprocess
import sys
import tracemalloc
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import orjson
import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils import timezone

from accounting import export, moments, retention
from accounting.models import HourlySketch, HourlySpread, HourlyUsage, RequestLog
from accounting.record import COLUMNS
from tests import factories
from tests.accounting.conftest import Database
from tests.factories import NOON


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command(*arguments, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def days_ago(days: float) -> datetime:
    return timezone.now() - timedelta(days=days)


@pytest.mark.django_db
class TestViewlogs:
    def test_it_prints_the_latest_last(self):
        for minute in range(5):
            factories.request_log(request_id=f"gen-{minute}", timestamp=NOON + timedelta(minutes=minute))
        lines = run("viewlogs", "--limit", "3").splitlines()
        assert [line.split()[-1] for line in lines] == ["gen-2", "gen-3", "gen-4"]

    def test_it_says_what_happened_in_one_line(self):
        factories.request_log(
            request_id="gen-1",
            status_code=502,
            error_type="timeout",
            error="Provider did\nnot answer",
            cost_usd=Decimal("0.000120000000"),
            ttft_ms=7,
            is_cancelled=True,
            is_estimated=True,
        )
        assert run("viewlogs") == (
            "2026-11-20 12:00:00  502~  acme/model  at Acme  10+5 tokens (estimated)  120 ms (first token 7 ms)  $0.00012  "
            "gen-1  timeout: Provider did not answer\n"
        )

    @pytest.mark.parametrize(
        ("status", "expected"),
        [("failed", {400, 429, 503}), ("ok", {200}), ("4xx", {400, 429}), ("429", {429}), ("5xx", {503})],
    )
    def test_it_filters_by_status(self, status: str, expected: set[int]):
        for code in (200, 400, 429, 503):
            factories.request_log(status_code=code)
        assert {int(line.split()[2]) for line in run("viewlogs", "--status", status).splitlines()} == expected

    def test_it_filters_by_model_and_time(self):
        factories.request_log(request_id="gen-old", model_id="acme/falcon", timestamp=days_ago(2))
        factories.request_log(request_id="gen-new", model_id="acme/falcon", timestamp=days_ago(0.5))
        factories.request_log(request_id="gen-other", model_id="acme/eagle", timestamp=days_ago(0.5))
        (line,) = run("viewlogs", "--model", "acme/falcon", "--since", "1d").splitlines()
        assert line.endswith("gen-new")

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("--status", "6xx"), "'6xx' is not a status; use e.g. 429"),
            (("--since", "yesterday"), "'yesterday' is not a time; use e.g. 15m"),
            (("--limit", "-1"), "--limit -1 is below 0"),
        ],
    )
    def test_it_refuses_what_it_does_not_understand(self, arguments: tuple[str, ...], words: str):
        with pytest.raises(CommandError, match=words):
            run("viewlogs", *arguments)


def test_viewlogs_follows_until_it_is_interrupted(sqlite_database: Database):
    path = connections[sqlite_database.alias].settings_dict["NAME"]
    logs = RequestLog.objects.using(sqlite_database.alias)
    common = {"timestamp": NOON, "model_id": "acme/falcon", "status_code": 200}
    for number in range(3):
        logs.create(request_id=f"gen-{number}", **common)
    child = subprocess.Popen(
        [sys.executable, "manage.py", "viewlogs", "--follow", "--limit", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "SQLITE_DB_PATH": str(path)},
        # A test run in the background of a shell inherits, and hands on, an ignored SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert child.stdout
    first = [child.stdout.readline().split()[-1] for _ in range(2)]
    logs.create(request_id="gen-new", **common)
    assert [*first, child.stdout.readline().split()[-1]] == [b"gen-1", b"gen-2", b"gen-new"]
    child.send_signal(signal.SIGINT)
    assert child.communicate(timeout=10) == (b"", b"")
    assert child.returncode == 0


@pytest.mark.django_db
class TestPrunelogs:
    def test_it_deletes_old_rows_in_batches_and_says_how_far_it_is(self, monkeypatch):
        monkeypatch.setattr(retention, "BATCH_ROWS", 2)
        for days in (40, 35, 31, 30.5, 31.5, 29, 1):
            factories.request_log(timestamp=days_ago(days))
        out, err = io.StringIO(), io.StringIO()
        call_command("prunelogs", "--days", "30", stdout=out, stderr=err)
        assert err.getvalue() == "deleted 2 so far\ndeleted 4 so far\ndeleted 5 so far\n"
        assert out.getvalue() == "5 request logs were deleted, 0 more were stripped of their content.\n"
        assert RequestLog.objects.count() == 2

    def test_it_forgets_content_and_keeps_the_row(self, monkeypatch):
        monkeypatch.setattr(retention, "BATCH_ROWS", 2)
        for days in (20, 15, 12, 11, 10.5, 3):
            factories.request_log(timestamp=days_ago(days), prompt="secret", response="answer", prompt_hash="abc")
        factories.request_log(timestamp=days_ago(13))
        output = run("prunelogs", "--days", "14", "--content-days", "10")
        assert output == "2 request logs were deleted, 3 more were stripped of their content.\n"
        kept = RequestLog.objects.order_by("timestamp").values_list("prompt", "response", "prompt_hash")
        stripped = [(None, None, "abc")] * 3
        assert list(kept) == [(None, None, None), *stripped, ("secret", "answer", "abc")]

    def test_a_dry_run_counts_the_same_and_changes_nothing(self):
        for days in (20, 12, 3):
            factories.request_log(timestamp=days_ago(days), prompt="secret")
        output = run("prunelogs", "--days", "14", "--content-days", "10", "--dry-run")
        assert output == "1 request logs would be deleted, 1 more would be stripped of their content.\n"
        assert RequestLog.objects.exclude(prompt=None).count() == 3

    def test_statistics_stay(self):
        hour = days_ago(50).replace(minute=0, second=0, microsecond=0)
        HourlyUsage.objects.create(hour=hour, model_id="acme/model", requests=1)
        factories.request_log(timestamp=days_ago(50))
        run("prunelogs", "--days", "30")
        assert HourlyUsage.objects.get().requests == 1

    def test_percentiles_go_in_batches_when_nobody_can_ask_for_them(self, monkeypatch):
        monkeypatch.setattr(retention, "BATCH_ROWS", 2)
        for number, days in enumerate((900, 400, 380, 370, 300, 2)):
            hour = days_ago(days).replace(minute=0, second=0, microsecond=0)
            usage = HourlyUsage.objects.create(hour=hour, model_id=f"acme/model-{number}", requests=1)
            HourlySketch.objects.create(usage=usage, latency=b"", ttft=b"")
            HourlySpread.objects.create(hour=hour, model_id=f"acme/model-{number}", latency=b"", ttft=b"")
        run("prunelogs", "--days", "30", "--dry-run")
        assert HourlySketch.objects.count() == 6
        run("prunelogs", "--days", "600")
        assert HourlySketch.objects.count() == HourlySpread.objects.count() == 5
        run("prunelogs", "--days", "30")
        assert list(HourlySketch.objects.values_list("usage__model_id", flat=True)) == ["acme/model-4", "acme/model-5"]
        assert HourlySpread.objects.count() == 2
        assert HourlyUsage.objects.count() == 6

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [((), "nothing to do; give --days"), (("--days", "0"), "--days 0 would"), (("--content-days", "-1"), "at least 1")],
    )
    def test_it_refuses_to_guess(self, arguments: tuple[str, ...], words: str):
        with pytest.raises(CommandError, match=words):
            run("prunelogs", *arguments)


@pytest.mark.django_db
class TestExportlogs:
    def test_ndjson_has_every_column_of_every_row_in_the_window_once(self, monkeypatch):
        monkeypatch.setattr(export, "PAGE_ROWS", 3)
        # Many at the same moment: a page must be able to end between them.
        for number in range(8):
            factories.request_log(request_id=f"gen-{number}", timestamp=NOON, prices={"prompt": "0.1"})
        factories.request_log(request_id="gen-before", timestamp=NOON - timedelta(microseconds=1))
        factories.request_log(request_id="gen-end", timestamp=NOON + timedelta(hours=1))
        output = run("exportlogs", "--from", "2026-11-20T12:00", "--to", "2026-11-20T13:00")
        exported = [orjson.loads(line) for line in output.splitlines()]
        assert [row["request_id"] for row in exported] == [f"gen-{number}" for number in range(8)]
        assert set(exported[0]) == set(COLUMNS)
        assert exported[0]["timestamp"] == "2026-11-20T12:00:00Z"
        assert exported[0]["prices"] == {"prompt": "0.1"}
        assert exported[0]["cost_usd"] == "0.000000000000"

    def test_csv_keeps_commas_quotes_and_newlines(self):
        factories.request_log(error='a "quoted",\nbroken line', prices={"prompt": "0.1"}, timestamp=NOON)
        header, row = csv.reader(io.StringIO(run("exportlogs", "--format", "csv")))
        exported = dict(zip(header, row, strict=True))
        assert header == list(COLUMNS)
        assert exported["error"] == 'a "quoted",\nbroken line'
        assert exported["prices"] == '{"prompt":"0.1"}'
        assert exported["timestamp"] == "2026-11-20T12:00:00Z"

    def test_its_memory_does_not_grow_with_the_table(self, monkeypatch):
        monkeypatch.setattr(export, "PAGE_ROWS", 20)
        RequestLog.objects.bulk_create(
            RequestLog(request_id=f"gen-{number}", timestamp=NOON, model_id="m", status_code=200, prompt="x" * 20_000)
            for number in range(400)
        )
        tracemalloc.start()
        count = sum(1 for _ in export.ndjson(None, None))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == 400
        assert peak < 4_000_000  # the rows are 8 MB

    def test_it_refuses_a_window_that_ends_before_it_begins(self):
        with pytest.raises(CommandError, match="swap them"):
            run("exportlogs", "--from", "2026-11-20", "--to", "2026-11-19")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("15m", NOON - timedelta(minutes=15)),
        ("2w", NOON - timedelta(weeks=2)),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T12:30:05+01:00", datetime(2026, 11, 1, 11, 30, 5, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_as_people_write_it(text: str, expected: datetime):
    assert moments.parse(text, NOON) == expected
