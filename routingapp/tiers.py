"""Groups of adapters that are tried one after the other, before a strategy orders each group within. Pure.

First what the caller's `provider.order` names, then the others; weight 0 stands by behind every weight, and what misses the
caller's preferred speed stands behind what meets it. Nothing is left out here, only put back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from catalog.entries import AdapterEntry
from routingapp.ask import Situation
from routingapp.filters.rule import matches
from routingapp.measured import Percentiles


class Tier(NamedTuple):
    """Adapters of equal standing. `reason` says why they stand here; None: the strategy says it."""

    adapters: Sequence[AdapterEntry]
    reason: str | None = None


_REASONS = {
    (False, False): None,
    (False, True): "put back: slower than the caller prefers",
    (True, False): "stands by: weight 0",
    (True, True): "stands by: weight 0, and slower than the caller prefers",
}


def tiers_of(adapters: Sequence[AdapterEntry], situation: Situation) -> list[Tier]:
    """Every adapter in exactly one tier, the first tier first; no tier is empty."""
    tiers: list[Tier] = []
    order = situation.ask.preferences.order
    if order:
        adapters = _take_ordered(adapters, order, tiers)
        if not adapters:
            return tiers
    preferences = situation.ask.preferences
    if not preferences.preferred_min_throughput and not preferences.preferred_max_latency:
        weight_of = situation.table.weight_of
        if 0 not in [weight_of(adapter.id) for adapter in adapters]:
            return [*tiers, Tier(adapters)]
    groups: dict[tuple[bool, bool], list[AdapterEntry]] = {standing: [] for standing in _REASONS}
    for adapter in adapters:
        groups[not situation.table.weight_of(adapter.id), _is_slow(adapter, situation)].append(adapter)
    tiers.extend(Tier(group, _REASONS[standing]) for standing, group in groups.items() if group)
    return tiers


def _take_ordered(adapters: Sequence[AdapterEntry], order: Sequence[str], tiers: list[Tier]) -> list[AdapterEntry]:
    """One tier for each name in `order` that matches something; the adapters that no name matches are returned."""
    left = list(adapters)
    for place, name in enumerate(order, start=1):
        named = [adapter for adapter in left if matches(name, adapter)]
        if named:
            tiers.append(Tier(named, f"number {place} in provider.order"))
            left = [adapter for adapter in left if adapter not in named]
    return left


def _is_slow(adapter: AdapterEntry, situation: Situation) -> bool:
    """Whether the last five minutes miss what the caller prefers. What was not measured is not held against an adapter."""
    preferences = situation.ask.preferences
    if not preferences.preferred_min_throughput and not preferences.preferred_max_latency:
        return False
    measured = situation.health.measured(adapter.id, situation.now)
    return _misses(measured.throughput_tps, preferences.preferred_min_throughput, at_least=True) or _misses(
        measured.ttft_s, preferences.preferred_max_latency, at_least=False
    )


def _misses(measured: Percentiles | None, limits: Sequence[tuple[str, float]], *, at_least: bool) -> bool:
    if measured is None:
        return False
    for percentile, limit in limits:
        value: float = getattr(measured, percentile)
        if value < limit if at_least else value > limit:
            return True
    return False
