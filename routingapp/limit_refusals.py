"""The errors for requests that limits do not let through, with the numbers a client needs to come back in time. Pure.

Headers as OpenRouter's (openrouter.md 4.4): the reset in epoch milliseconds, and all of them once more in the metadata.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from catalog.entries import ModelEntry
from gateway_project.errors import CallerError, InvalidRequest, RateLimited
from routingapp.ask import Ask, Exclusion
from routingapp.capacity import Capacity
from routingapp.limits import Refusal

_CONFIGURED_OUT = frozenset({"disabled", "unconfigured"})
_SOURCES = {"key": "openrouter_key_limit"}


def error_of(refusal: Refusal, epoch: float) -> CallerError:
    """429 where `refusal` will pass, 400 where it never will. `epoch`: the time of day, in epoch seconds."""
    source = _SOURCES.get(refusal.scope.kind, "openrouter_admission_control")
    metadata: dict[str, Any] = {
        "limit_source": source,
        "scope": refusal.scope.kind,
        "limit": refusal.limit,
        "used": refusal.used,
        "needed": refusal.needed,
    }
    if refusal.wait_s is None:
        error = InvalidRequest(f"Too large: {refusal}. Send a shorter prompt or a smaller max_tokens.", metadata=metadata)
        error.error_type = "token_limit_exceeded"
        return error
    wait_s = max(1, math.ceil(refusal.wait_s))
    headers = {
        "X-RateLimit-Limit": str(refusal.limit),
        "X-RateLimit-Remaining": str(refusal.remaining),
        "X-RateLimit-Reset": str(int((epoch + refusal.wait_s) * 1000)),
    }
    return RateLimited(
        f"Rate limit exceeded: {refusal}. Try again in {wait_s} s.",
        metadata=metadata | {"headers": headers},
        headers={"Retry-After": str(wait_s), **headers},
    )


def of_exclusions(
    ask: Ask, models: Sequence[ModelEntry], exclusions: Sequence[Exclusion], now: float, capacity: Capacity | None
) -> CallerError | None:
    """The error for a request that only limits keep from every adapter that is set up: that of the shortest wait."""
    codes = {exclusion.adapter_id: exclusion.code for exclusion in exclusions if exclusion.code not in _CONFIGURED_OUT}
    if capacity is None or not codes or not set(codes.values()) <= {"limit", "limit_size"}:
        return None
    refusals = [
        refusal
        for model in models
        for adapter in model.adapters
        if adapter.id in codes and (refusal := capacity.refusal(ask, adapter, now)) is not None
    ]
    if not refusals:
        return None
    shortest = min(refusals, key=lambda refusal: math.inf if refusal.wait_s is None else refusal.wait_s)
    error = error_of(shortest, capacity.epoch())
    error.availability = {
        "code": "capacity_exhausted" if shortest.wait_s is not None else "constraint_filtered",
        "retryable": shortest.wait_s is not None,
        "requested_models": list(ask.models),
        "affected_providers": sorted({exclusion.provider for exclusion in exclusions}),
        "excluded_by": ["rate_limit"],
        "fallback_models": [],
    }
    if shortest.wait_s is not None:
        error.availability["retry_after"] = max(1, math.ceil(shortest.wait_s))
    return error
