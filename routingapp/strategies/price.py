"""The cheapest first."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from catalog.entries import AdapterEntry
from catalog.prices import Prices
from routingapp.ask import Situation
from routingapp.strategies.ranked import Ranked, sorted_by

TYPICAL_PROMPT_TOKENS = 750
TYPICAL_COMPLETION_TOKENS = 250


MAX_COSTS = 10_000

_costs: dict[int, tuple[Prices, Decimal]] = {}
"""What was computed already, by the identity of prices. Each keeps its prices, so that no others get their identity."""


def typical_cost(adapter: AdapterEntry) -> Decimal:
    """USD for a request of 750 tokens in and 250 out: one number by which prices compare."""
    prices = adapter.prices
    found = _costs.get(id(prices))
    if found is not None:
        return found[1]
    cost = (
        TYPICAL_PROMPT_TOKENS * prices.get("prompt")
        + TYPICAL_COMPLETION_TOKENS * prices.get("completion")
        + prices.get("request")
    )
    if len(_costs) >= MAX_COSTS:
        _costs.clear()  # Those of catalogues that are no longer in force.
    _costs[id(prices)] = prices, cost
    return cost


def price(adapters: Sequence[AdapterEntry], situation: Situation) -> list[Ranked]:
    """By the cost of a typical request; equal ones by weight."""
    return sorted_by(typical_cost, adapters, situation, "by price, the cheapest first")
