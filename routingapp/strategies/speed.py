"""By what was measured in the last five minutes: the first token soonest, or most tokens per second."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from catalog.entries import AdapterEntry
from routingapp.ask import Situation
from routingapp.measured import Measured
from routingapp.strategies.ranked import Ranked, draw_by_weight, in_order, sorted_by, stacked

RECENT_FAULT_S = 30.0
"""An adapter that has just failed is not tried out for its speed."""


def latency(adapters: Sequence[AdapterEntry], situation: Situation) -> list[Ranked]:
    """By the median time to the first token."""
    return _by(
        lambda measured: measured.ttft_s.p50 if measured.ttft_s else None, "by time to first token", adapters, situation
    )


def throughput(adapters: Sequence[AdapterEntry], situation: Situation) -> list[Ranked]:
    """By the median of tokens per second."""

    def seconds_per_token(measured: Measured) -> float | None:
        return 1 / measured.throughput_tps.p50 if measured.throughput_tps else None

    return _by(seconds_per_token, "by tokens per second", adapters, situation)


def exacto(adapters: Sequence[AdapterEntry], situation: Situation) -> list[Ranked]:
    """The most reliable first: the smallest share of faults in whole percent, then most tokens per second."""

    def key(adapter: AdapterEntry) -> tuple[int, float]:
        measured = situation.health.measured(adapter.id, situation.now)
        faults = round(100 * measured.faults / measured.calls) if measured.calls else 0
        return faults, -(measured.throughput_tps.p50 if measured.throughput_tps else 0.0)

    return sorted_by(key, adapters, situation, "by reliability, then tokens per second")


def _by(
    seconds: Callable[[Measured], float | None], reason: str, adapters: Sequence[AdapterEntry], situation: Situation
) -> list[Ranked]:
    """Ascending by `seconds`. One request at a time explores an adapter that nothing is known of, unless it fails just now.

    More would send a whole burst to an adapter that may be the slowest; fewer would never learn that it is the fastest.
    """
    health, now = situation.health, situation.now
    values = {adapter.id: seconds(health.measured(adapter.id, now)) for adapter in adapters}
    measured = [adapter for adapter in adapters if values[adapter.id] is not None]
    fastest = sorted_by(lambda adapter: values[adapter.id], measured, situation, f"{reason}, the fastest first")
    if len(measured) == len(adapters):
        return fastest
    explored: list[AdapterEntry] = []
    unknown: list[AdapterEntry] = []
    for adapter, _, _ in draw_by_weight([a for a in adapters if values[a.id] is None], situation, reason):
        if not explored and not health.in_flight(adapter.id) and not health.had_fault(adapter.id, now, RECENT_FAULT_S):
            explored.append(adapter)
        else:
            unknown.append(adapter)
    return stacked(
        in_order(explored, "not measured yet: explored by one request at a time"),
        fastest,
        in_order(unknown, "not measured yet"),
    )
