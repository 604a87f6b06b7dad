"""What the console's dashboard costs: `python -m tests.benchmarks.dashboard_cost sqlite|postgres [rows]`.

That many requests (default 1,000,000) of the last 30 days, over eight models with two adapters each and five keys, one in fifty
failed: rows of `api_logs`, and the sums of such requests that charts read, in a database of its own. Wall time of
the whole page through Django's test client, the best of five and the first. The budget is 300 ms for every period and grouping.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import django
from django.core.management import call_command

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")

from tests.benchmarks.log_scale import DAYS, RUNS, database, fill, say, timed

if TYPE_CHECKING:
    from accounting.rows import Row

ADAPTERS = 2


def traffic(rows: int, until: float) -> Iterator[list[Row]]:
    """Journal lines, one list for each hour of the period, the last one ending at `until` (epoch seconds)."""
    from accounting.models import ApiKey
    from catalog.models import LanguageModel
    from tests import factories

    dice = random.Random(1)
    LanguageModel.objects.update(pricing={"prompt": "0.0000003", "completion": "0.0000009"})
    models = list(LanguageModel.objects.order_by("pk"))
    providers = [factories.provider(is_local=not number) for number in range(ADAPTERS)]
    adapters = [factories.adapter(model, provider, weight=1) for model in models for provider in providers]
    keys = list(ApiKey.objects.values_list("pk", flat=True))
    hours = DAYS * 24
    for hour in range(hours):
        began = until - (hours - hour) * 3600
        yield [
            row(dice, began + dice.random() * 3600, dice.choice(adapters), dice.choice(keys)) for _ in range(rows // hours)
        ]


def row(dice: random.Random, timestamp: float, adapter: Any, key: int) -> Row:
    """A request as `accounting.rollups` reads it."""
    from accounting.lines import write
    from accounting.rows import read

    is_failed = dice.random() < 0.02
    line = {
        "request_id": "gen-1", "timestamp": timestamp, "model_id": adapter.model.public_id, "provider": adapter.provider.slug,
        "adapter_id": adapter.pk, "api_key_id": key, "status_code": 502 if is_failed else 200,
        "error_type": "provider_unavailable" if is_failed else None, "error_domain": "provider" if is_failed else None,
        "is_cancelled": False, "is_estimated": False, "stream": True,
        "latency_ms": int(dice.lognormvariate(7.5, 0.8)), "ttft_ms": int(dice.lognormvariate(5.5, 0.6)),
        "prompt_tokens": 900, "completion_tokens": 100, "total_tokens": 1000, "reasoning_tokens": 0, "cache_read_tokens": 0,
        "cache_write_tokens": 0, "audio_tokens": 0, "image_tokens": 0, "cost_usd": "0.000123", "attempts": [{}],
    }  # fmt: skip
    return read(write(line))


def sum_up(rows: int) -> None:
    """Slots of the whole time, and hours of the last two days: no chart reads older ones."""
    from django.db import connection, transaction

    from accounting import rollups, slots
    from accounting.groups import Named

    hours = list(traffic(rows, time.time()))
    for began in range(0, len(hours), 24):
        day = hours[began : began + 24]
        lines = [one for hour in day for one in hour]
        groups = rollups.summed(lines)
        with transaction.atomic():
            with connection.cursor() as cursor:
                named = Named.of(groups, cursor)
            slots.add(lines, groups, named, connection)
            for hour in day if began >= len(hours) - 48 else ():
                rollups.add(hour, connection)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def pages() -> None:
    from django.contrib.auth import get_user_model
    from django.test import Client
    from django.urls import reverse

    from gateway_project.console.dashboard import GROUPINGS, PERIODS

    reverse("admin:index")  # imports all views, as a server does before it is ready
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("ada"))
    for period in PERIODS:
        for group_by in GROUPINGS:

            def page(query: str = f"?period={period.name}&by={group_by.value}") -> None:
                assert client.get(f"/admin/{query}").status_code == 200

            first = timed(page)
            began = time.process_time()
            best = min(timed(page) for _ in range(RUNS))
            cpu = (time.process_time() - began) * 1000 / RUNS
            say(
                f"dashboard: {period.name} by {group_by.value}",
                f"{best:7.1f} ms, first {first:.1f}, CPU of this process {cpu:.1f}",
            )


def main() -> None:
    vendor = sys.argv[1]
    rows = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    with database(vendor):
        from django.db import connection

        from accounting.models import HourlySketch, HourlySpread, HourlyUsage, SlotUsage

        call_command("migrate", verbosity=0)
        say(f"{rows} rows on {vendor}", f"{timed(lambda: fill(rows)) / 1000:7.1f} s to fill")
        say("their sums", f"{timed(lambda: sum_up(rows)) / 1000:7.1f} s")
        for table in (HourlyUsage, HourlySketch, HourlySpread, SlotUsage):
            say(f"rows of {table._meta.db_table}", f"{table.objects.count():7}")
        pages()
        say("load average", " ".join(f"{load:.1f}" for load in os.getloadavg()))
        connection.close()


if __name__ == "__main__":
    # The engine is part of what connections are made from, so it is chosen before Django starts.
    if sys.argv[1:2] not in (["sqlite"], ["postgres"]):
        sys.exit("usage: python -m tests.benchmarks.dashboard_cost sqlite|postgres [rows]")
    django.setup()
    main()
