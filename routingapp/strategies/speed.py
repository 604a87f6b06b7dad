"""By what was measured in the last five minutes: the first token soonest, or most tokens per second."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from catalog.entries import AdapterEntry
from routingapp.ask import Situation
from routingapp.measured import Measured
from routingapp.strategies.ranked import Ranked, in_order, shuffled, stacked

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

    return in_order(sorted(shuffled(adapters, situation), key=key), "by reliability, then tokens per second")


def _by(
    seconds: Callable[[Measured], float | None], reason: str, adapters: Sequence[AdapterEntry], situation: Situation
) -> list[Ranked]:
    """Ascending by `seconds`. One request at a time explores an adapter that nothing is known of, unless it fails just now.

    More would send a whole burst to an adapter that may be the slowest; fewer would never learn that it is the fastest.
    """
    health, now = situation.health, situation.now
    known: list[tuple[float, AdapterEntry]] = []
    explored: list[AdapterEntry] = []
    unknown: list[AdapterEntry] = []
    for adapter in shuffled(adapters, situation):
        value = seconds(health.measured(adapter.id, now))
        if value is not None:
            known.append((value, adapter))
        elif not explored and not health.in_flight(adapter.id) and not health.had_fault(adapter.id, now, RECENT_FAULT_S):
            explored.append(adapter)
        else:
            unknown.append(adapter)
    known.sort(key=lambda pair: pair[0])
    return stacked(
        in_order(explored, "not measured yet: explored by one request at a time"),
        in_order((adapter for _, adapter in known), f"{reason}, the fastest first"),
        in_order(unknown, "not measured yet"),
    )
