"""The most that a request may cost, before anybody knows what it will use. Pure, and cheap enough for every request.

Rates are kept as floating-point nano-dollars per token and the sum is rounded up: what a request does cost is computed exactly,
by `accounting.pricing`, when it is over.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import NamedTuple

from accounting.budgets import NANO
from catalog.prices import Prices

MAX_KNOWN = 10_000
MOST_SEARCHES = 10
"""How many web searches are reserved for a request that asks for them. Providers set no bound of their own; few need more."""
_NOISE = 1e-6
_INPUT = {"audio": "audio", "image": "image_token"}
_OUTPUT = {"audio": "audio_output", "image": "image_output"}
_PLAIN: frozenset[str] = frozenset()


class Rates(NamedTuple):
    """Nano-dollars per prompt token, per token of the answer, and per request."""

    prompt: float
    completion: float
    request: float

    def cost(self, prompt_tokens: int, completion_tokens: int) -> int:
        """The cost in nano-dollars, rounded up."""
        return math.ceil(prompt_tokens * self.prompt + completion_tokens * self.completion + self.request - _NOISE)


_known: dict[tuple[int, frozenset[str]], tuple[Prices, Rates]] = {}


def extras(inputs: Collection[str], outputs: Collection[str], *, may_search: bool) -> frozenset[str]:
    """Which prices a request may be charged besides those of text, by the modalities that it sends and asks for."""
    media = {_INPUT.get(kind) for kind in inputs} | {_OUTPUT.get(kind) for kind in outputs}
    found = frozenset(key for key in media if key)
    return found | {"web_search"} if may_search else found


def rates(prices: Prices, prompt_tokens: int, extras: frozenset[str] = _PLAIN) -> Rates:
    """The dearest way in which a prompt of so many tokens and its answer may be charged at `prices`."""
    if prices.overrides:
        return _dearest(prices.of(prompt_tokens), extras)
    key = (id(prices), extras)
    known = _known.get(key)
    if known is None or known[0] is not prices:
        if len(_known) >= MAX_KNOWN:
            _known.clear()
        # The prices are kept with their rates, so that no other object can be given the same id meanwhile.
        known = _known[key] = (prices, _dearest(prices.known, extras))
    return known[1]


def _dearest(known: Mapping[str, Decimal], extras: frozenset[str]) -> Rates:
    """A prompt may be written into the provider's cache or be all audio, an answer be all reasoning or all images."""
    prompt = max(
        _price(known, key) for key in {"prompt", "input_cache_write", "input_cache_write_1h"} | extras & {*_INPUT.values()}
    )
    completion = max(_price(known, key) for key in {"completion", "internal_reasoning"} | extras & {*_OUTPUT.values()})
    request = _price(known, "request")
    if "web_search" in extras:
        request += MOST_SEARCHES * _price(known, "web_search")
    return Rates(float(prompt * NANO), float(completion * NANO), float(request * NANO))


def _price(known: Mapping[str, Decimal], key: str) -> Decimal:
    return known.get(key, Decimal(0))
