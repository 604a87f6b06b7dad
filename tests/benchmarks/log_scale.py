"""What a large `api_logs` costs: `python -m tests.benchmarks.log_scale sqlite|postgres [rows]`.

That many requests (default 1,000,000) of the last 30 days, eight models and five keys, one in fifty failed, in a database
of its own. Wall time: of pages the best of five, and the first; of pruning each tenth by itself, because it must not slow
down. PostgreSQL runs as in the tests, without fsync. `stats_cost` has the figures of statistics.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")

DAYS, MODELS, KEYS = 30, 8, 5
RUNS = 5
EXPORTED_ROWS = 200_000
PRUNED_TENTHS = 4
NOW = datetime.now(UTC).replace(microsecond=0)
_SERIES = {
    "sqlite": "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {rows}) SELECT n FROM s)",
    "postgresql": "generate_series(1, {rows})",
}
_TIMES = {
    "sqlite": "strftime('%%Y-%%m-%%d %%H:%%M:%%f', {start} + n * {step}, 'unixepoch') || '000'",
    "postgresql": "to_timestamp({start} + n * {step})",
}


@contextmanager
def database(vendor: str) -> Iterator[None]:
    """A fresh one under Django's default alias."""
    from django.db import connections

    from tests import postgres

    if vendor == "sqlite":
        with TemporaryDirectory() as directory:
            settings.DATABASES["default"]["NAME"] = str(Path(directory) / "scale.db")
            yield
    else:
        with postgres.running() as server:
            settings.DATABASES["default"].update(server.create_database("scale"), OPTIONS={})
            del connections["default"]
            yield


def fill(rows: int) -> None:
    """One row as the ledger writes it, then copies that differ in id, time, model, key and status."""
    from django.db import connection

    from accounting import store
    from accounting.lines import encode
    from accounting.models import RequestLog
    from accounting.record import Attempt, Record
    from accounting.rows import read
    from tests import factories

    keys = [factories.api_key().pk for _ in range(KEYS)]
    models = [factories.language_model(public_id=f"scale/{number}") for number in range(MODELS)]
    adapter = factories.adapter(models[0])
    plan = [
        {"adapter": number, "provider": f"provider-{number}", "rank": number, "why": "in order of price"}
        for number in range(6)
    ]
    first = Record(
        request_id="gen-0", timestamp=NOW.timestamp() - DAYS * 86400, model_id="scale/0", requested_model="scale/0",
        provider="acme", adapter_id=adapter.pk, api_key_id=keys[0], status_code=200, latency_ms=812, ttft_ms=120,
        prompt_tokens=900, completion_tokens=100, total_tokens=1000, cost_usd="0.000123", prices={"prompt": "0.000001"},
        attempts=[Attempt(adapter.pk, "acme", "falcon", status=200)], plan=plan, user_agent="OpenAI/Python 3.54.0",
    )  # fmt: skip
    store.add([read(encode(first))], "default")
    step = DAYS * 86400 / (rows + 1)
    changed = {
        "request_id": "'gen-' || n",
        "timestamp": _TIMES[connection.vendor].format(start=first.timestamp, step=step),
        "model_id": f"'scale/' || (n % {MODELS})".replace("%", "%%"),
        "api_key_id": f"{keys[0]} + n % {KEYS}".replace("%", "%%"),
        "status_code": "CASE WHEN n % 50 = 0 THEN 502 ELSE 200 END".replace("%", "%%"),
    }
    names = [field.column for field in RequestLog._meta.concrete_fields if field.column != "id"]
    values = ", ".join(changed.get(name, f"first.{name}") for name in names)
    series = _SERIES[connection.vendor].format(rows=rows - 1)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO api_logs ({', '.join(names)}) SELECT {values} FROM api_logs AS first, {series} AS series(n) "
            if connection.vendor == "postgresql"
            else f"INSERT INTO api_logs ({', '.join(names)}) SELECT {values} FROM {series}, api_logs AS first",
            [],
        )
        cursor.execute("ANALYZE")


def timed(one: Callable[[], Any]) -> float:
    """Its wall time in milliseconds."""
    started = time.perf_counter()
    one()
    return (time.perf_counter() - started) * 1000


def say(name: str, told: str) -> None:
    sys.stdout.write(f"{name:<34} {told}\n")
    sys.stdout.flush()


def pages(rows: int) -> None:
    from django.contrib.auth import get_user_model
    from django.test import Client
    from django.urls import reverse

    from accounting.admin.paging import MAX_PAGE

    reverse("admin:index")  # imports all views, as a server does before it is ready
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("ada"))
    week = NOW - timedelta(days=7)
    queries = {
        "first page": "",
        "the last page there is": f"?p={min(rows // 50, MAX_PAGE)}",
        "failed": "?outcome=failed",
        "a status that none has": "?status=404",
        "slower than all": "?slower=100000",
        "a session that none has": "?session=no-such",
        "fell back (none)": "?fallback=yes",
        "one provider, one model, costly": "?provider=acme&model_id=scale%2F3&costlier=1",
        "one model": "?model_id=scale%2F3",
        "one key": "?api_key=1",
        "a model that has no rows": "?model_id=no%2Fsuch",
        "one model, one key, failed": "?model_id=scale%2F0&api_key=1&outcome=failed",
        "a model, no key (none)": "?model_id=scale%2F1&api_key=none",
        "failed, a status that none has": "?outcome=failed&status=404",
        "a week of long ago": f"?until={week:%Y-%m-%d}",
        "one request id": "?q=gen-77777",
    }
    for name, query in queries.items():

        def page(query: str = query) -> None:
            response = client.get(f"/admin/accounting/requestlog/{query}")
            assert response.status_code == 200, (response.status_code, query)

        first = timed(page)
        began = time.process_time()
        best = min(timed(page) for _ in range(RUNS))
        cpu = (time.process_time() - began) * 1000 / RUNS
        say(f"admin: {name}", f"{best:7.1f} ms, first {first:.1f}, of this process's CPU {cpu:.1f}")


def exporting(rows: int) -> None:
    from accounting import export

    sum(1 for _ in islice(export.ndjson(None, None), 1000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    took = timed(lambda: sum(len(line) for line in islice(export.ndjson(None, None), rows)))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    say("export", f"{rows / took:7.1f} rows/ms, peak memory +{grown:.1f} MB over {rows} rows")


def pruning() -> None:
    from accounting import retention

    for tenth in range(1, PRUNED_TENTHS + 1):
        counted: list[int] = []
        before = NOW - timedelta(days=DAYS - tenth * DAYS / 10)
        took = timed(partial(retention.delete_logs, before, counted.append))
        say(f"prune tenth {tenth}", f"{counted[-1] / took:7.1f} rows/ms, {took / 1000:.1f} s for {counted[-1]} rows")


def main() -> None:
    vendor = sys.argv[1]
    rows = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    with database(vendor):
        from django.db import connection

        call_command("migrate", verbosity=0)
        say("load average", " ".join(f"{load:.1f}" for load in os.getloadavg()))
        say(f"{rows} rows on {vendor}", f"{timed(lambda: fill(rows)) / 1000:7.1f} s to fill")
        exporting(min(EXPORTED_ROWS, rows // 5))
        pages(rows)
        pruning()
        say("load average", " ".join(f"{load:.1f}" for load in os.getloadavg()))
        connection.close()


if __name__ == "__main__":
    # The engine is part of what connections are made from, so it is chosen before Django starts.
    if sys.argv[1:2] not in (["sqlite"], ["postgres"]):
        sys.exit("usage: python -m tests.benchmarks.log_scale sqlite|postgres [rows]")
    django.setup()
    main()
