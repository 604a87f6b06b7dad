"""The default: the split that operators set with weights."""

from __future__ import annotations

from collections.abc import Sequence

from catalog.entries import AdapterEntry
from routingapp.ask import Situation
from routingapp.strategies.ranked import Ranked, draw

REASON = "drawn by weight"


def weighted(adapters: Sequence[AdapterEntry], situation: Situation) -> list[Ranked]:
    """By weight, normalised over the adapters that are left.

    With a `local_fraction` in the policy, local engines together get that fraction and hosted adapters the rest, each
    group split by its weights; where only one group is left, it gets everything.
    """
    weight_of = situation.table.weight_of
    weights = [weight_of(adapter.id) for adapter in adapters]
    fraction = situation.policy.local_fraction
    if fraction is not None:
        weights = _with_local_fraction(adapters, weights, fraction)
    return draw(adapters, weights, situation.dice, REASON)


def _with_local_fraction(adapters: Sequence[AdapterEntry], weights: list[float], fraction: float) -> list[float]:
    local = sum(weight for adapter, weight in zip(adapters, weights, strict=True) if adapter.provider.is_local)
    hosted = sum(weight for adapter, weight in zip(adapters, weights, strict=True) if not adapter.provider.is_local)
    if not local or not hosted:
        return weights
    return [
        weight / local * fraction if adapter.provider.is_local else weight / hosted * (1 - fraction)
        for adapter, weight in zip(adapters, weights, strict=True)
    ]
