"""Where there is most room now."""

from __future__ import annotations

from collections.abc import Sequence

from catalog.entries import AdapterEntry
from routingapp.ask import Situation
from routingapp.strategies.ranked import Ranked, sorted_by


def least_busy(adapters: Sequence[AdapterEntry], situation: Situation) -> list[Ranked]:
    """By requests in flight per weight, so that an adapter of weight 2 carries twice as many; equal ones by weight."""

    in_flight, weight_of = situation.health.in_flight, situation.table.weight_of

    def load(adapter: AdapterEntry) -> float:
        return in_flight(adapter.id) / (weight_of(adapter.id) or 1.0)

    return sorted_by(load, adapters, situation, "by requests in flight, the fewest first")
