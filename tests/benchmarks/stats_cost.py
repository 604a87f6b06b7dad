"""What statistics cost, in milliseconds: `python -m tests.benchmarks.stats_cost sqlite|postgres [requests [keys]]`.

Rollups of that many requests (default 1,000,000) in 24 hours, over four models with two adapters each and one key, in a database
of their own. Wall time, the best of seven runs. The budget of `/stats` is 50 ms. What counts is how many hours, adapters and keys
there are; ten times the requests cost the same.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import django
from django.core.management import call_command

from tests.benchmarks.log_scale import database, say, timed

HOURS, MODELS, ADAPTERS = 24, 4, 2
RUNS = 7
NOW = datetime(2026, 11, 20, 23, 59, tzinfo=UTC)


def fill(requests: int, callers: int) -> int:
    """One hourly row for each hour, model, adapter and key; gives the number of rows that sketches are in."""
    from django.db import connection, transaction

    from accounting import rollups, sketch
    from accounting.groups import Group
    from accounting.models import ApiKey, HourlySketch, HourlySpread
    from tests import factories

    dice = random.Random(1)
    providers = [factories.provider(is_local=not number) for number in range(ADAPTERS)]
    models = [factories.language_model(pricing={"prompt": "0.000001", "completion": "0.000002"}) for _ in range(MODELS)]
    adapters = [factories.adapter(model, provider) for model in models for provider in providers]
    keys: list[ApiKey] = [factories.api_key() for _ in range(callers)]
    each = requests // (HOURS * len(adapters) * len(keys))
    with transaction.atomic():
        for hour in range(HOURS):
            began = NOW.replace(hour=hour, minute=0).timestamp()
            for adapter in adapters:
                groups = {}
                for key in keys:
                    sums = rollups.Sums(
                        requests=each, successes=each, prompt_tokens=900 * each, completion_tokens=100 * each
                    )
                    sums.provider = adapter.provider.slug
                    sums.latency = sum(sketch.of(int(dice.lognormvariate(7.5, 0.8))) for _ in range(each))
                    sums.ttft = sum(sketch.of(int(dice.lognormvariate(5.5, 0.6))) for _ in range(each))
                    sums.latency_ms = each * 2000
                    groups[Group(int(began), adapter.model.public_id, adapter.pk, key.pk)] = sums
                rollups.add_sums(groups, connection)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return HourlySketch.objects.count() + HourlySpread.objects.count()


def main() -> None:
    from accounting import account, statistics
    from accounting.statistics import GroupBy, Scope

    vendor = sys.argv[1]
    requests, callers = (*map(int, sys.argv[2:]), *(1_000_000, 1)[len(sys.argv) - 2 :])
    with database(vendor):
        call_command("migrate", verbosity=0)
        sketches = fill(requests, callers)
        hourly = HOURS * MODELS * ADAPTERS * callers
        say("load average", " ".join(f"{load:.1f}" for load in os.getloadavg()))
        say(f"{requests} requests on {vendor}", f"{hourly} hourly rows, {sketches} rows of sketches")
        scope = Scope.last(24, NOW)
        for group_by in (None, *GroupBy):
            told(f"summary by {group_by}" if group_by else "summary", partial(statistics.summary, scope, group_by))
        told("summary of a key", lambda: statistics.summary(replace(scope, key=a_key())))
        told("summary of an hour", lambda: statistics.summary(Scope.last(1, NOW)))
        told("list of keys", lambda: account.page(offset=0, include_disabled=False, include_expired=False))


def a_key() -> str:
    from accounting.models import ApiKey

    return ApiKey.objects.values_list("hash", flat=True)[0]


def told(name: str, one: Callable[[], object]) -> None:
    """The shortest of some runs, after one that does not count."""
    one()
    began = time.process_time()
    best = min(timed(one) for _ in range(RUNS))
    cpu = (time.process_time() - began) * 1000 / RUNS
    say(name, f"{best:7.1f} ms, of this process's CPU {cpu:.1f}")


if __name__ == "__main__":
    # The engine is part of what connections are made from, so it is chosen before Django starts.
    if sys.argv[1:2] not in (["sqlite"], ["postgres"]):
        sys.exit("usage: python -m tests.benchmarks.stats_cost sqlite|postgres [requests [keys]]")
    django.setup()
    main()
