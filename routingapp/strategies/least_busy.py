"""Where there is most room now."""

from __future__ import annotations

from collections.abc import Sequence

from catalog.entries import AdapterEntry
from routingapp.ask import Situation
from routingapp.strategies.ranked import Ranked, sorted_by


def least_busy(adapters: Sequence[AdapterEntry], situation: Situation) -> list[Ranked]:
    """By requests in flight per weight, so that an adapter of weight 2 carries twice as many; equal ones by weight."""

    def load(adapter: AdapterEntry) -> float:
        return situation.health.in_flight(adapter.id) / (situation.table.weight_of(adapter.id) or 1.0)

    return sorted_by(load, adapters, situation, "by requests in flight, the fewest first")
