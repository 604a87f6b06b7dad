"""The strategies by name. A strategy puts adapters in order; which adapters may be used at all is decided before it.

Each is one pure function, `rank(adapters, situation) -> list[Ranked]`, that gives every adapter back, once. To add one,
write the function, add a line to `REGISTRY`, and make a migration: the name becomes a choice in admin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from catalog.entries import AdapterEntry
from routingapp.ask import Situation
from routingapp.strategies.balanced import balanced
from routingapp.strategies.least_busy import least_busy
from routingapp.strategies.local_first import local_first
from routingapp.strategies.price import price
from routingapp.strategies.ranked import Ranked
from routingapp.strategies.speed import exacto, latency, throughput
from routingapp.strategies.weighted import weighted

Rank = Callable[[Sequence[AdapterEntry], Situation], list[Ranked]]


class Strategy(NamedTuple):
    """`sentence` is what operators read in admin; `rank` does it."""

    sentence: str
    rank: Rank


REGISTRY: Mapping[str, Strategy] = MappingProxyType(
    {
        "weighted": Strategy("Each adapter gets its weight's share of the traffic; the others stand by.", weighted),
        "local_first": Strategy("Local engines first while they keep up, then hosted adapters by weight.", local_first),
        "price": Strategy("The cheapest first.", price),
        "latency": Strategy("The shortest time to the first token first, as measured in the last five minutes.", latency),
        "throughput": Strategy("The most tokens per second first, as measured in the last five minutes.", throughput),
        "exacto": Strategy("The fewest faults first, then the most tokens per second.", exacto),
        "balanced": Strategy("No fault in the last 30 s, then drawn by 1/price², as OpenRouter does.", balanced),
        "least_busy": Strategy("The fewest requests in flight for its weight first.", least_busy),
    }
)
STRATEGIES = {name: strategy.sentence for name, strategy in REGISTRY.items()}
"""Every strategy's sentence by its name."""
