"""How traffic is routed at one moment, model by model: weights, shares, breakers, speeds, engines. For people and `/routing`.

Pure: the shares are the planner's own, asked for a plain request, so that what is shown and what happens cannot disagree.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from catalog.entries import AdapterEntry, Catalogue, ModelEntry
from gateway_project.errors import GatewayError
from routingapp import plan, refusals
from routingapp.ask import Ask
from routingapp.capacity import Capacity
from routingapp.entries import RoutingTable
from routingapp.health import EngineView, Health
from routingapp.measured import Percentiles

_DIGITS = 4


def overview(
    catalogue: Catalogue,
    table: RoutingTable,
    health: Health,
    *,
    now: float,
    capacity: Capacity | None = None,
    only: str | None = None,
) -> list[dict[str, Any]]:
    """Each model with its policy and adapters, as JSON. `now`: seconds of the clock that `health` is told.

    `only`: a name of one model. Raises `ModelNotFound` where there is none of that name.
    """
    models = catalogue.models
    if only is not None:
        found = catalogue.find(only)
        if found is None:
            raise refusals.model_not_found(Ask((only,)), catalogue)
        models = (found,)
    return [
        {
            "model": model.id,
            "policy": asdict(table.policy_of(model.id)),
            "adapters": _adapters(model, catalogue, table, health, now, capacity),
        }
        for model in models
    ]


def engines(catalogue: Catalogue, health: Health, *, now: float) -> dict[str, dict[str, Any]]:
    """What the last probe of each local engine saw, by its provider's slug."""
    local = {
        adapter.provider.slug: adapter.provider.id
        for model in catalogue.models
        for adapter in model.adapters
        if adapter.provider.is_local
    }
    found = {slug: health.engine(provider_id) for slug, provider_id in local.items()}
    return {slug: _engine(seen, now) for slug, seen in sorted(found.items()) if seen is not None}


def standing(
    model: ModelEntry,
    catalogue: Catalogue,
    table: RoutingTable,
    health: Health,
    *,
    now: float,
    capacity: Capacity | None = None,
) -> Mapping[int, Mapping[str, Any]]:
    """What the planner says of each adapter for a plain request now, by adapter id: share and reason, or why it is left out."""
    ask = Ask((model.id,), input_modalities=frozenset(), output_modalities=frozenset())
    try:
        built = plan.build(ask, catalogue, table, health, now=now, dice=random.Random(0), capacity=capacity)
        said = built.describe()
    except GatewayError as error:
        said = error.metadata.get("exclusions", [])
    return {
        each["adapter_id"]: {
            "share": each.get("share", 0.0),
            "rank": each.get("rank"),
            "left_out": each.get("code"),
            "reason": each.get("reason") or each.get("detail"),
        }
        for each in said
    }


def _adapters(
    model: ModelEntry, catalogue: Catalogue, table: RoutingTable, health: Health, now: float, capacity: Capacity | None
) -> list[dict[str, Any]]:
    places = standing(model, catalogue, table, health, now=now, capacity=capacity)
    return [
        {
            "adapter_id": adapter.id,
            "provider": adapter.provider.slug,
            "tag": adapter.tag,
            "upstream_model": adapter.upstream_model,
            "is_local": adapter.provider.is_local,
            "weight": table.weight_of(adapter.id),
            **places.get(adapter.id, {"share": 0.0, "rank": None, "left_out": None, "reason": None}),
            **_health(adapter, health, now),
            **_capacity(adapter, capacity, now),
        }
        for adapter in model.adapters
    ]


def _health(adapter: AdapterEntry, health: Health, now: float) -> dict[str, Any]:
    """What this process has seen of an adapter. Counts and percentiles are those of the last five minutes."""
    view = health.view(adapter.id, now)
    measured = view.measured
    return {
        "breaker": view.state.value,
        "retry_in_s": round(view.retry_in_s, 1),
        "faults_in_a_row": view.faults_in_a_row,
        "in_flight": view.in_flight,
        "calls": measured.calls,
        "faults": measured.faults,
        "ttft_s": _percentiles(measured.ttft_s),
        "latency_s": _percentiles(measured.latency_s),
        "tokens_per_s": _percentiles(measured.throughput_tps),
        "last_error": view.last_error,
        "last_fault_s_ago": _ago(view.last_fault_at, now),
        "last_success_s_ago": _ago(view.last_success_at, now),
    }


def _capacity(adapter: AdapterEntry, capacity: Capacity | None, now: float) -> dict[str, Any]:
    """What this process has counted against the limits of an adapter and its provider, and which keys of it are out."""
    if capacity is None:
        return {}
    standings = [of for scope in capacity.scopes_of(adapter) for of in capacity.limiter.standings(scope, now)]
    out = capacity.pools.out(adapter.provider, now, capacity.revision)
    return {
        "limits": [of._asdict() for of in standings],
        "keys": {"all": len(adapter.provider.api_keys), **{fault.value.replace(" ", "_"): n for fault, n in out.items()}},
    }


def _engine(seen: EngineView, now: float) -> dict[str, Any]:
    return {
        "is_up": seen.is_up,
        "detail": seen.detail,
        "waiting": seen.waiting,
        "running": seen.running,
        "probed_s_ago": _ago(seen.seen_at, now),
    }


def _percentiles(of: Percentiles | None) -> dict[str, float] | None:
    return {name: round(value, _DIGITS) for name, value in asdict(of).items()} if of else None


def _ago(moment: float | None, now: float) -> float | None:
    return None if moment is None else round(max(0.0, now - moment), 1)
