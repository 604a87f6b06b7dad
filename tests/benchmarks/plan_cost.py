"""What planning one request costs, in microseconds: `python -m tests.benchmarks.plan_cost`.

CPU time, the best of forty runs of 500 plans each, for one model with five adapters. The budget of the default strategy is
30 us on one core.
"""

from __future__ import annotations

import sys
import time
import timeit
from collections.abc import Callable

from catalog.entries import Prices
from routingapp import plan
from routingapp.ask import Ask
from routingapp.entries import PolicyEntry, RoutingTable
from routingapp.preferences import parse
from routingapp.strategies import REGISTRY
from tests.routingapp.world import NOW, World, serve

PLANS = 500
RUNS = 40
SLUGS = ("a_local", "b", "c", "d", "e")


def world() -> World:
    prices = [Prices.parse({"prompt": f"0.00000{n}", "completion": f"0.0000{3 * n:02}"}) for n in range(1, 6)]
    served = serve(*SLUGS, **{slug: {"prices": price} for slug, price in zip(SLUGS, prices, strict=True)})
    served.weights = {1: 5, 2: 3, 3: 1, 4: 0.5, 5: 0.5}
    for adapter_id in served.weights:
        for _ in range(200):
            served.health.started(adapter_id, NOW)
            served.health.succeeded(adapter_id, NOW, 0.1 * adapter_id, 2.0, 100 * adapter_id)
    return served


def microseconds(served: World, ask: Ask, policy: PolicyEntry) -> float:
    table = RoutingTable(served.weights, {}, policy)

    def one() -> None:
        plan.build(ask, served.catalogue, table, served.health, now=NOW, dice=served.dice)

    return _best(one)


def _best(one: Callable[[], None]) -> float:
    return min(timeit.repeat(one, timer=time.process_time, number=PLANS, repeat=RUNS)) / PLANS * 1e6


def main() -> None:
    served = world()
    ask = Ask(("acme/falcon",), prompt_tokens=500, max_output_tokens=200, parameters=frozenset({"temperature"}))
    for strategy in REGISTRY:
        sys.stdout.write(f"{strategy:<12} {microseconds(served, ask, PolicyEntry(strategy=strategy)):6.1f} us\n")
    wishes = {"ignore": ["e"], "max_price": {"prompt": "9"}, "order": ["c", "b"], "data_collection": "allow"}
    sys.stdout.write(
        f"{'order':<12} {microseconds(served, ask._replace(preferences=parse(wishes)), PolicyEntry()):6.1f} us\n"
    )
    sys.stdout.write(f"{'parse':<12} {_best(lambda: parse(wishes) and None):6.1f} us (the provider object itself)\n")


if __name__ == "__main__":
    main()
