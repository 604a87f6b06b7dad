"""What limits, keys and budgets cost a request, without Redis: `python -m tests.benchmarks.limits_cost`.

Everything from letting a request in to giving back what it held, beside a request that nothing limits.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from decimal import Decimal
from types import MappingProxyType

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
django.setup()

# ruff: noqa: E402  rows are imported below, which need Django
from accounting.credentials import ANONYMOUS, KeyEntry, KeyRing
from accounting.record import Attempt
from catalog.limits import Limits
from completions.admission import Gate
from completions.exchange import ClientHeaders, Exchange
from completions.snapshot import Snapshot
from routingapp.ask import Ask
from routingapp.entries import RoutingTable
from tests.routingapp.world import adapter, model, provider, serve

TIMES = 5_000
ROUNDS = 5
MANY = Limits(rpm=10**9, tpm=10**12, rpd=10**9, tpd=10**12, concurrency=1000)
KEY = KeyEntry(
    1, "hash", "ci", "sk-or-v1-0e6...1c9", limit_usd=Decimal(10**6), limit_reset="daily", rpm_limit=10**9,
    tpm_limit=10**9, max_concurrency=1000,
)  # fmt: skip


async def seconds(limits: Limits, key: KeyEntry, keys: tuple[str, ...]) -> float:
    """The CPU time of one request's bookkeeping, the best of some rounds."""
    served = adapter(provider("acme", 1, limits=limits, api_keys=keys), 1, limits=limits)
    world = serve("acme")
    world.catalogue = type(world.catalogue).of([model(served)])
    plan = world.plan("acme/falcon")
    snapshot = Snapshot(world.catalogue, RoutingTable(MappingProxyType({})), KeyRing())
    gate = Gate()
    exchange = Exchange.begin(key, snapshot, ClientHeaders())
    exchange.ask = Ask(("acme/falcon",), prompt_tokens=100, max_output_tokens=100)
    attempt = Attempt(1, "acme", "falcon")
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(TIMES):
            await gate.admit(exchange, plan)
            seat = await gate.seat(exchange, plan.candidates[0])
            assert exchange.visit is not None
            exchange.visit.sit(attempt, seat)
            exchange.visit.key_of(attempt)
            exchange.visit.end(150, "0.0003")
        best = min(best, time.process_time() - began)
    return best / TIMES


def main() -> None:
    for name, limits, key, keys in (
        ("nothing is limited", Limits(), ANONYMOUS, ("${ACME_KEY}",)),
        ("a provider's rpm and tpm", Limits(rpm=10**9, tpm=10**12), ANONYMOUS, ("${ACME_KEY}",)),
        ("a pool of three keys", Limits(), ANONYMOUS, ("${A}", "${B}", "${C}")),
        ("a key with limits and a budget", Limits(), KEY, ("${ACME_KEY}",)),
        ("all of it, everywhere", MANY, KEY, ("${A}", "${B}", "${C}")),
    ):
        sys.stdout.write(f"{name:34} {asyncio.run(seconds(limits, key, keys)) * 1e6:6.1f} us\n")


if __name__ == "__main__":
    main()
