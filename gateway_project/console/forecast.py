"""What a split would do to the requests that really came: each is planned anew by the planner itself, nothing is sent.

The catalogue, the routing table and the requests come in as arguments. All engines are taken to be well, because what a
breaker says now is over before a split is.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from types import MappingProxyType

from accounting.models import RequestLog
from accounting.pricing import cost
from accounting.usage import Usage
from catalog.entries import Catalogue
from completions.schemas import SUPPORTED_PARAMETERS
from gateway_project.console.split import Split
from gateway_project.errors import GatewayError
from routingapp import plan
from routingapp.ask import Ask
from routingapp.entries import OffloadMode, RoutingTable
from routingapp.health import Health

REPLAYED = 200
"""So many of the model's latest requests are planned anew."""
_SAMPLED = ("temperature", "top_p", "max_tokens", "seed")
"""Parameters that have columns of their own; the others are in `parameters`."""
_READ = (
    "prompt_tokens", "completion_tokens", "cache_read_tokens", "reasoning_tokens", "cost_usd", "parameters", *_SAMPLED,
    "api_key_id", "api_key__allowed_models", "api_key__allowed_providers",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Past:
    """One request that came: what routing is to know of it, what it used and what it cost."""

    ask: Ask
    usage: Usage
    cost_usd: Decimal


@dataclass(slots=True)
class Outlook:
    """One adapter under a split. `share` 0 to 1; `cost_usd` of its part; `left_out` counts reasons against it."""

    share: float = 0.0
    cost_usd: Decimal = Decimal(0)
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def reasons(self) -> list[tuple[str, int]]:
        """Why it would be left out, and of how many requests."""
        return self.left_out.most_common()


@dataclass(frozen=True, slots=True)
class Forecast:
    """What would become of `requests` requests. `refused` counts reasons why nobody would serve one."""

    requests: int
    adapters: Mapping[int, Outlook]
    cost_usd: Decimal
    refused: Counter[str]


def past_requests(model_id: str, limit: int = REPLAYED) -> list[Past]:
    """The model's latest requests, without their contents. One query, answered by an index.

    Of preferences (`provider`) and of pictures nothing is kept, so these are planned as text without preferences.
    """
    rows = RequestLog.objects.filter(model_id=model_id).order_by("-timestamp").values(*_READ)[:limit]
    return [_past(model_id, row) for row in rows]


def plain_request(model_id: str) -> Past:
    """A short question, for a model that nobody has asked yet."""
    return Past(Ask(models=(model_id,), prompt_tokens=500), Usage(prompt_uncached=500, completion_text=250), Decimal(0))


def table_with(split: Split, model_id: str, table: RoutingTable) -> RoutingTable:
    """`table` as it would be with `split` in force for the model."""
    is_offloaded = {OffloadMode.ON.value: True, OffloadMode.OFF.value: False}.get(
        split.offload, table.default_policy.is_offloaded
    )
    policy = replace(
        table.policy_of(model_id),
        strategy=split.strategy,
        is_offloaded=is_offloaded,
        local_fraction=split.local_fraction,
    )
    return replace(
        table,
        weights=MappingProxyType({**table.weights, **split.weights}),
        policies=MappingProxyType({**table.policies, model_id: policy}),
    )


def forecast(requests: Sequence[Past], catalogue: Catalogue, table: RoutingTable) -> Forecast:
    """Shares are expectations, not one throw of the dice: each request counts at every adapter it might begin at."""
    adapters: dict[int, Outlook] = defaultdict(Outlook)
    refused: Counter[str] = Counter()
    health, dice = Health(), random.Random(0)
    for past in requests:
        try:
            built = plan.build(past.ask, catalogue, table, health, now=0.0, dice=dice)
        except GatewayError as error:
            refused[error.message] += 1
            for exclusion in error.metadata.get("exclusions", ()):
                if exclusion["adapter_id"] is not None:
                    adapters[exclusion["adapter_id"]].left_out[exclusion["detail"]] += 1
            continue
        for candidate in built.candidates:
            outlook = adapters[candidate.adapter.id]
            outlook.share += candidate.share / len(requests)
            if candidate.share:
                charged = cost(past.usage, candidate.adapter.prices).total
                outlook.cost_usd += charged * Decimal(str(candidate.share))
        for left_out in built.exclusions:
            if left_out.adapter_id is not None:
                adapters[left_out.adapter_id].left_out[left_out.detail] += 1
    total = sum((outlook.cost_usd for outlook in adapters.values()), Decimal(0))
    return Forecast(len(requests), adapters, total, refused)


def expected_ms(found: Forecast, latencies: Mapping[int, float | None]) -> float | None:
    """The median total latencies of the adapters, weighted by their shares; None unless all that get traffic are known."""
    parts = [(outlook.share, latencies.get(pk)) for pk, outlook in found.adapters.items() if outlook.share]
    if not parts or any(latency is None for _, latency in parts):
        return None
    return sum(share * (latency or 0) for share, latency in parts) / sum(share for share, _ in parts)


def _past(model_id: str, row: Mapping[str, object]) -> Past:
    def number(name: str) -> int:
        value = row[name]
        return value if isinstance(value, int) else 0

    def words(name: str) -> frozenset[str]:
        value = row[name]
        return frozenset(map(str, value)) if isinstance(value, list) else frozenset()

    cached = min(number("cache_read_tokens"), number("prompt_tokens"))
    reasoning = min(number("reasoning_tokens"), number("completion_tokens"))
    usage = Usage(
        prompt_uncached=number("prompt_tokens") - cached,
        cache_read=cached,
        completion_text=number("completion_tokens") - reasoning,
        reasoning=reasoning,
    )
    ask = Ask(
        models=(model_id,),
        prompt_tokens=number("prompt_tokens"),
        max_output_tokens=number("max_tokens") or None,
        parameters=frozenset(_used(row)),
        allowed_models=words("api_key__allowed_models"),
        allowed_providers=words("api_key__allowed_providers"),
    )
    cost_usd = row["cost_usd"]
    return Past(ask, usage, cost_usd if isinstance(cost_usd, Decimal) else Decimal(0))


def _used(row: Mapping[str, object]) -> Iterable[str]:
    parameters = row["parameters"]
    if isinstance(parameters, dict):
        yield from SUPPORTED_PARAMETERS & parameters.keys()
    yield from (name for name in _SAMPLED if row[name] is not None)
