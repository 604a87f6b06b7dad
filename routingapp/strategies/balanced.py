"""OpenRouter's documented default: stable and cheap, with the traffic spread by price."""

from __future__ import annotations

from collections.abc import Sequence

from catalog.entries import AdapterEntry
from routingapp.ask import Situation
from routingapp.strategies.price import typical_cost
from routingapp.strategies.ranked import Ranked, draw, stacked

OUTAGE_S = 30.0
"""openrouter.md 8.2: prefer adapters with no significant outage in the last 30 seconds."""


def balanced(adapters: Sequence[AdapterEntry], situation: Situation) -> list[Ranked]:
    """Without a fault in the last 30 s first, drawn by 1 / price²; then the others, drawn likewise.

    Free adapters come before all that cost something: 1 / 0² leaves nothing to the rest.
    """
    stable: list[AdapterEntry] = []
    shaken: list[AdapterEntry] = []
    for adapter in adapters:
        has_failed = situation.health.had_fault(adapter.id, situation.now, OUTAGE_S)
        (shaken if has_failed else stable).append(adapter)
    first = _by_price(stable, situation, "no fault in the last 30 s; drawn by 1 / price²")
    return stacked(first, _by_price(shaken, situation, "a fault in the last 30 s")) if shaken else first


def _by_price(adapters: Sequence[AdapterEntry], situation: Situation, reason: str) -> list[Ranked]:
    costs = [float(typical_cost(adapter)) for adapter in adapters]
    cheapest = min(costs, default=0.0)
    if cheapest:
        return draw(adapters, [(cheapest / cost) ** 2 for cost in costs], situation.dice, reason)
    free = [adapter for adapter, cost in zip(adapters, costs, strict=True) if not cost]
    paid = [adapter for adapter, cost in zip(adapters, costs, strict=True) if cost]
    return stacked(
        draw(free, [1.0] * len(free), situation.dice, reason), _by_price(paid, situation, reason) if paid else []
    )
