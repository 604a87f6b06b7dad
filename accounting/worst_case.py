"""The most that a request may cost, before anybody knows what it will use. Pure, and cheap enough for every request.

Rates are kept as floating-point nano-dollars per token and the sum is rounded up: what a request does cost is computed exactly,
by `accounting.pricing`, when it is over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from accounting.budgets import NANO
from catalog.prices import Prices

MAX_KNOWN = 10_000
_NOISE = 1e-6


class Rates(NamedTuple):
    """Nano-dollars per prompt token, per token of the answer, and per request."""

    prompt: float
    completion: float
    request: float

    def cost(self, prompt_tokens: int, completion_tokens: int) -> int:
        """The cost in nano-dollars, rounded up."""
        return math.ceil(prompt_tokens * self.prompt + completion_tokens * self.completion + self.request - _NOISE)


_known: dict[int, tuple[Prices, Rates]] = {}


def rates(prices: Prices, prompt_tokens: int) -> Rates:
    """The dearest way in which a prompt of so many tokens and its answer may be charged at `prices`."""
    if prices.overrides:
        return _dearest(prices.of(prompt_tokens))
    known = _known.get(id(prices))
    if known is None or known[0] is not prices:
        if len(_known) >= MAX_KNOWN:
            _known.clear()
        # The prices are kept with their rates, so that no other object can be given the same id meanwhile.
        known = _known[id(prices)] = (prices, _dearest(prices.known))
    return known[1]


def _dearest(known: Mapping[str, Decimal]) -> Rates:
    """A prompt may be written into the provider's cache, an answer be all reasoning."""
    zero = Decimal(0)
    prompt = max(known.get(key, zero) for key in ("prompt", "input_cache_write", "input_cache_write_1h"))
    completion = max(known.get(key, zero) for key in ("completion", "internal_reasoning"))
    return Rates(float(prompt * NANO), float(completion * NANO), float(known.get("request", zero) * NANO))
