"""What a strategy says of an adapter, and the ways of ordering that strategies share. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from math import inf, log
from typing import Any, NamedTuple

from catalog.entries import AdapterEntry
from routingapp.ask import Situation


class Ranked(NamedTuple):
    """An adapter in its place. `share`: how often it would be first, 0 to 1. `reason`: why it is here, for people."""

    adapter: AdapterEntry
    share: float
    reason: str


def draw(adapters: Sequence[AdapterEntry], weights: Sequence[float], dice: random.Random, reason: str) -> list[Ranked]:
    """All adapters in a random order: the first by the weights' shares, the next by the shares of the rest, and so on.

    Sampling without replacement by exponential keys (Efraimidis and Spirakis, "Weighted random sampling with a
    reservoir", 2006). Weights are at least 0. Those of weight 0 come last, as they stand; where all are 0, so do all.
    """
    total = sum(weights)
    if not total or len(adapters) == 1:
        return in_order(adapters, reason)
    keyed = [(-log(1.0 - dice.random()) / weight if weight else inf, place) for place, weight in enumerate(weights)]
    keyed.sort()
    return [Ranked(adapters[place], weights[place] / total, reason) for _, place in keyed]


def draw_by_weight(adapters: Sequence[AdapterEntry], situation: Situation, reason: str) -> list[Ranked]:
    """All adapters, drawn by the weights that operators have set."""
    weight_of = situation.table.weight_of
    return draw(adapters, [weight_of(adapter.id) for adapter in adapters], situation.dice, reason)


def sorted_by(
    key: Callable[[AdapterEntry], Any], adapters: Sequence[AdapterEntry], situation: Situation, reason: str
) -> list[Ranked]:
    """Ascending by `key`; equals in the order of a draw by weight, so that the best ones share the traffic by weight."""
    weight_of, throw = situation.table.weight_of, situation.dice.random
    keyed: list[tuple[Any, float, int, float]] = []
    for place, adapter in enumerate(adapters):
        weight = weight_of(adapter.id)
        keyed.append((key(adapter), -log(1.0 - throw()) / weight if weight else inf, place, weight))
    keyed.sort()
    best = keyed[0][0] if keyed else None
    leading = sum([weight for value, _, _, weight in keyed if value == best])
    if not leading:
        return in_order([adapters[place] for _, _, place, _ in keyed], reason)
    return [
        Ranked(adapters[place], weight / leading if value == best else 0.0, reason) for value, _, place, weight in keyed
    ]


def in_order(adapters: Iterable[AdapterEntry], reason: str) -> list[Ranked]:
    """The adapters as they stand: all traffic begins at the first."""
    return [Ranked(adapter, 0.0 if place else 1.0, reason) for place, adapter in enumerate(adapters)]


def stacked(*groups: list[Ranked]) -> list[Ranked]:
    """The groups one behind the other: only the first that has anything begins requests."""
    ordered: list[Ranked] = []
    for group in groups:
        ordered += [Ranked(adapter, 0.0, reason) for adapter, _, reason in group] if ordered else group
    return ordered
