"""What local engines saved: the price of their tokens at the cheapest hosted provider of the same model.

Owns the comparison. It takes the prices that the catalogue has now, which may differ from those of the time, and without their
conditions: of sums nobody can tell which request was long.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from accounting.pricing import cost
from accounting.rollups import Sums
from accounting.usage import Usage
from catalog import environment, loader
from catalog.entries import Catalogue, Prices
from catalog.models import Adapter


@dataclass(frozen=True, slots=True)
class Market:
    """Which adapters are local (by id), and what hosted adapters ask (by the model's public id)."""

    local: frozenset[int] = frozenset()
    hosted: Mapping[str, list[Prices]] = field(default_factory=dict)

    @classmethod
    def of(cls, catalogue: Catalogue, local: frozenset[int]) -> Market:
        """What `catalogue` says. A hosted adapter whose price nobody has written down must not pass for free."""
        return cls(
            local,
            {
                model.id: [
                    adapter.prices
                    for adapter in model.adapters
                    if adapter.is_enabled and not adapter.provider.is_local and adapter.prices.known
                ]
                for model in catalogue.models
            },
        )

    @classmethod
    def for_adapters(cls, pks: Collection[int]) -> Market:
        """What is needed to judge the adapters with those ids: one query, and the catalogue only if one of them is local."""
        found = Adapter.objects.filter(pk__in=pks, provider__is_local=True).values_list("pk", flat=True)
        local = frozenset(found)
        return cls.of(loader.load(environment.lookup), local) if local else cls()

    def saved(self, model_id: str, adapter_id: int | None, sums: Sums) -> Decimal:
        """USD that these requests would have cost more elsewhere; 0 for hosted ones and where there is no elsewhere.

        Negative where the local engine's own price is above the market's.
        """
        offers = self.hosted.get(model_id)
        if adapter_id not in self.local or not offers:
            return Decimal(0)
        return min(_cost(sums, prices) for prices in offers) - sums.cost_usd


def _cost(sums: Sums, prices: Prices) -> Decimal:
    usage = Usage(
        prompt_uncached=max(0, sums.prompt_tokens - sums.cache_read_tokens - sums.cache_write_tokens),
        cache_read=sums.cache_read_tokens,
        cache_write=sums.cache_write_tokens,
        completion_text=max(0, sums.completion_tokens - sums.reasoning_tokens - sums.image_tokens),
        reasoning=sums.reasoning_tokens,
        completion_image=sums.image_tokens,
    )
    # `cost` charges one request; these are as many as succeeded.
    return cost(usage, Prices(prices.known)).total + (sums.successes - 1) * prices.get("request")
