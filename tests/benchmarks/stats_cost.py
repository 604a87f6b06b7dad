"""What statistics cost, in milliseconds: `python -m tests.benchmarks.stats_cost [requests [keys]]`.

Rollups of that many requests (default 1,000,000) in 24 hours, over four models with two adapters each and one key, in a SQLite
file of its own. Wall time, the best of seven runs. The budget of `/stats` is 50 ms. What counts is how many buckets the sketches
of the hours fill: more keys have more of them, ten times the requests hardly more.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import django
from django.conf import settings
from django.core.management import call_command

HOURS, MODELS, ADAPTERS = 24, 4, 2
RUNS = 7
NOW = datetime(2026, 11, 20, 23, 59, tzinfo=UTC)


def fill(requests: int, callers: int) -> int:
    """One hourly row for each hour, model, adapter and key; gives the number of sketch buckets."""
    from django.db import connection, transaction

    from accounting import rollups, sketch
    from accounting.groups import Group
    from accounting.models import ApiKey
    from tests import factories

    dice = random.Random(1)
    providers = [factories.provider(is_local=not number) for number in range(ADAPTERS)]
    models = [factories.language_model(pricing={"prompt": "0.000001", "completion": "0.000002"}) for _ in range(MODELS)]
    adapters = [factories.adapter(model, provider) for model in models for provider in providers]
    keys: list[ApiKey] = [factories.api_key() for _ in range(callers)]
    each = requests // (HOURS * len(adapters) * len(keys))
    buckets = 0
    with transaction.atomic(), connection.cursor() as cursor:
        for hour in range(HOURS):
            began = NOW.replace(hour=hour, minute=0).timestamp()
            for adapter in adapters:
                for key in keys:
                    sums = rollups.Sums(
                        requests=each, successes=each, prompt_tokens=900 * each, completion_tokens=100 * each
                    )
                    sums.provider = adapter.provider.slug
                    sums.latency = Counter(sketch.bucket(int(dice.lognormvariate(7.5, 0.8))) for _ in range(each))
                    sums.ttft = Counter(sketch.bucket(int(dice.lognormvariate(5.5, 0.6))) for _ in range(each))
                    sums.latency_ms = each * 2000
                    buckets += len(sums.latency) + len(sums.ttft)
                    group = Group(int(began), adapter.model.public_id, adapter.pk, key.pk)
                    rollups._add_hour(group, sums, connection, cursor)
                    rollups._add_spread({group: sums}, connection, cursor)
    return buckets


def best(one: Callable[[], object]) -> float:
    """The shortest of some runs, in milliseconds."""
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        one()
        times.append(time.perf_counter() - started)
    return min(times) * 1000


def main() -> None:
    from accounting import account, statistics
    from accounting.statistics import GroupBy, Scope

    requests, callers = (*map(int, sys.argv[1:]), *(1_000_000, 1)[len(sys.argv) - 1 :])
    with TemporaryDirectory() as directory:
        settings.DATABASES["default"]["NAME"] = str(Path(directory) / "stats.db")
        call_command("migrate", verbosity=0)
        buckets = fill(requests, callers)
        sys.stdout.write(f"{requests} requests, {HOURS * MODELS * ADAPTERS * callers} hourly rows, {buckets} buckets\n")
        scope = Scope.last(24, NOW)
        for group_by in (None, *GroupBy):
            name = f"summary by {group_by}" if group_by else "summary"
            sys.stdout.write(f"{name:<20} {best(partial(statistics.summary, scope, group_by)):7.1f} ms\n")
        one_hour = Scope.last(1, NOW)
        sys.stdout.write(f"{'summary of an hour':<20} {best(lambda: statistics.summary(one_hour)):7.1f} ms\n")
        page = best(lambda: account.page(offset=0, include_disabled=False, include_expired=False))
        sys.stdout.write(f"{'list of keys':<20} {page:7.1f} ms\n")


if __name__ == "__main__":
    django.setup()
    main()
