"""The error for a request that nothing may serve: what kind, and why, adapter by adapter.

Pure. 404 where the request (or the set-up of the model) rules everything out, 503 where it would have been served at
another moment, 429 where it only has to wait for limits (the gateway's, or those that providers have told by a 429), 403
where the key may not use the model; each with OpenRouter's `availability` (openrouter.md 4.3). 400 where the request is larger
than everybody's context or longest answer, and nothing else is in its way: clients that shorten their history wait for that.

Clients send a 503 again by themselves, so it is told only where that may help.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from catalog.entries import AdapterEntry, Catalogue, ModelEntry
from gateway_project.errors import (
    GatewayError,
    InvalidRequest,
    MaxTokensTooLarge,
    ModelNotFound,
    NoCandidates,
    NoEndpoints,
    PermissionDenied,
    PromptTooLong,
    ProviderRateLimited,
)
from routingapp import limit_refusals
from routingapp.ask import Ask, Exclusion
from routingapp.capacity import Capacity
from routingapp.filters import BY_CODE
from routingapp.filters.rule import Cause
from routingapp.health import Health

UNKNOWN_MODEL = "model_not_found"
_OF_PROVIDERS = frozenset({"engine_down", "breaker_open", "keys_exhausted"})
"""States that providers have brought about. The others (hard offload, limits) are what the operator has decided."""
_SHOWN = 5
"""So many reasons are spelt out in the message; the metadata has all of them."""


def model_not_found(ask: Ask, catalogue: Catalogue) -> ModelNotFound:
    """For a request none of whose models is known here."""
    names = ", ".join(name[:200] for name in ask.models) or "an empty name"
    close = list(dict.fromkeys(match for name in ask.models for match in catalogue.close_to(name)))[:3]
    cure = f"Did you mean {' or '.join(close)}?" if close else "GET /v1/models lists every model."
    return ModelNotFound(
        f"{names} {'are not models' if len(ask.models) > 1 else 'is not a model'} of this gateway. {cure}",
        metadata={"close_matches": close},
        availability={"code": UNKNOWN_MODEL, "retryable": False, "requested_models": list(ask.models)},
    )


def nothing_left(
    ask: Ask,
    models: Sequence[ModelEntry],
    exclusions: Sequence[Exclusion],
    health: Health,
    now: float,
    capacity: Capacity | None = None,
) -> GatewayError:
    """For a request whose models are known, and every adapter of which is excluded."""
    known = [exclusion for exclusion in exclusions if exclusion.code != UNKNOWN_MODEL]
    names = ", ".join(model.id for model in models)
    metadata: dict[str, Any] = {
        "exclusions": [asdict(exclusion) for exclusion in exclusions],
        "available_providers": sorted({adapter.provider.slug for model in models for adapter in model.adapters}),
    }
    preferences = ask.preferences
    if preferences.only or preferences.order:
        metadata["requested_providers"] = list(preferences.only or preferences.order)
    passing = [exclusion for exclusion in known if BY_CODE[exclusion.code].cause is Cause.STATE]
    limited = limit_refusals.of_exclusions(ask, models, passing or known, now, capacity)
    if limited is not None:
        limited.metadata |= metadata
        return limited
    if passing:
        returns = _returns(ask, models, passing, health, now, capacity)
        waits = [each.in_s for each in returns if each.in_s is not None]
        if returns and all(each.is_rate_limited for each in returns):
            return _rate_limited(names, ask, known, metadata, min(waits))
        error = _unavailable(names, ask, known, metadata, waits)
        if _OF_PROVIDERS.isdisjoint(exclusion.code for exclusion in passing):
            error.domain = "policy"
        return error
    set_up = [exclusion for exclusion in known if BY_CODE[exclusion.code].cause is not Cause.CONFIGURATION]
    if not set_up:
        return _nothing_set_up(names, ask, known, metadata)
    too_large = _too_large(ask, models, set_up, metadata)
    if too_large is not None:
        return too_large
    if all(exclusion.code == "key_models" for exclusion in known):
        return PermissionDenied(
            f"This key may not use {names}. Ask its owner to allow the model, or name another one.",
            metadata=metadata,
            availability=_availability("constraint_filtered", ask, known),
        )
    return NoEndpoints(
        f"No endpoints found for {names} that may serve this request: {_reasons(known)}",
        metadata=metadata,
        availability=_availability(_code(known), ask, known),
    )


def _nothing_set_up(names: str, ask: Ask, known: Sequence[Exclusion], metadata: dict[str, Any]) -> NoEndpoints:
    """Only the operator can change that: a caller that asks again gets it again."""
    reasons = _reasons(known) if known else "it has no adapter"
    return NoEndpoints(
        f"No endpoints found for {names}: no route to it is set up on this gateway. {reasons}",
        metadata=metadata,
        availability=_availability("no_endpoints", ask, known),
    )


def _too_large(
    ask: Ask, models: Sequence[ModelEntry], exclusions: Sequence[Exclusion], metadata: dict[str, Any]
) -> InvalidRequest | None:
    """For a request whose size alone is in the way, in the words that clients look for; None for any other.

    `exclusions` are those of adapters that are set up.
    """
    codes = {exclusion.code for exclusion in exclusions}
    ids = {exclusion.adapter_id for exclusion in exclusions}
    adapters = [adapter for model in models for adapter in model.adapters if adapter.id in ids]
    if codes == {"context_length"}:
        longest = max(adapter.context_length for adapter in adapters)
        return PromptTooLong(
            f"This endpoint's maximum context length is {longest} tokens. However, you requested about {ask.prompt_tokens} tokens. "
            f"Shorten the messages, or ask a model with a larger context. {_reasons(exclusions)}",
            metadata=metadata,
        )
    if codes == {"max_output"}:
        longest = max(adapter.max_output_length or 0 for adapter in adapters)
        return MaxTokensTooLarge(
            f"max_tokens is {ask.max_output_tokens}, more than the {longest} tokens that can be answered with at most. Lower it, "
            f"or leave it out. {_reasons(exclusions)}",
            metadata=metadata,
        )
    return None


def _unavailable(
    names: str, ask: Ask, exclusions: Sequence[Exclusion], metadata: dict[str, Any], waits: Sequence[float]
) -> NoCandidates:
    availability = _availability("temporarily_unavailable", ask, exclusions, retryable=True)
    headers = {}
    if waits:
        retry_after = max(1, math.ceil(min(waits)))
        availability["retry_after"] = retry_after
        headers["Retry-After"] = str(retry_after)
    return NoCandidates(
        f"{names} cannot be served right now: {_reasons(exclusions)}",
        metadata=metadata,
        headers=headers,
        availability=availability,
    )


def _rate_limited(
    names: str, ask: Ask, exclusions: Sequence[Exclusion], metadata: dict[str, Any], wait_s: float
) -> ProviderRateLimited:
    retry_after = max(1, math.ceil(wait_s))
    error = ProviderRateLimited(
        f"{names} is rate limited. Try again in {retry_after} s. {_reasons(exclusions)}",
        retry_after_s=retry_after,
    )
    error.metadata |= metadata
    error.availability = _availability("temporarily_unavailable", ask, exclusions, retryable=True)
    error.availability["retry_after"] = retry_after
    return error


@dataclass(frozen=True, slots=True)
class _Return:
    """When an adapter comes back by itself, in seconds from now, None where nobody knows.

    `is_rate_limited`: nothing but a limit keeps it away, the provider's (told by a 429) or the gateway's.
    """

    in_s: float | None
    is_rate_limited: bool = False


def _returns(
    ask: Ask,
    models: Sequence[ModelEntry],
    passing: Sequence[Exclusion],
    health: Health,
    now: float,
    capacity: Capacity | None,
) -> list[_Return]:
    """The return of every adapter that is excluded only for the moment."""
    codes = {exclusion.adapter_id: exclusion.code for exclusion in passing}
    adapters = [adapter for model in models for adapter in model.adapters if adapter.id in codes]
    return [_return(codes[adapter.id], ask, adapter, health, now, capacity) for adapter in adapters]


def _return(code: str, ask: Ask, adapter: AdapterEntry, health: Health, now: float, capacity: Capacity | None) -> _Return:
    if code == "breaker_open":
        view = health.view(adapter.id, now)
        return _Return(view.retry_in_s, view.is_rate_limited)
    if code == "keys_exhausted" and capacity is not None:
        return _Return(capacity.keys_back_in_s(adapter, now), capacity.is_rate_limited(adapter, now))
    if code == "limit" and capacity is not None and (refusal := capacity.refusal(ask, adapter, now)) is not None:
        return _Return(refusal.wait_s, is_rate_limited=True)
    return _Return(None)


def _code(exclusions: Iterable[Exclusion]) -> str:
    words = {BY_CODE[exclusion.code].excluded_by for exclusion in exclusions}
    if any(word.startswith("data_policy") for word in words):
        return "privacy_restricted"
    return "constraint_filtered"


def _availability(code: str, ask: Ask, exclusions: Sequence[Exclusion], *, retryable: bool = False) -> dict[str, Any]:
    rules = [BY_CODE[exclusion.code] for exclusion in exclusions]
    availability: dict[str, Any] = {
        "code": code,
        "retryable": retryable,
        "requested_models": list(ask.models),
        "affected_providers": sorted({exclusion.provider for exclusion in exclusions}),
        "excluded_by": sorted({rule.excluded_by for rule in rules}),
        "fallback_models": [],
    }
    for exclusion, rule in zip(exclusions, rules, strict=True):
        if rule.field is not None:
            availability["constraint"] = {"field": rule.field, "detail": exclusion.detail}
            break
    return availability


def _reasons(exclusions: Sequence[Exclusion]) -> str:
    shown = "; ".join(f"{exclusion.tag}: {exclusion.detail}" for exclusion in exclusions[:_SHOWN])
    more = len(exclusions) - _SHOWN
    return f"{shown}; and {more} more" if more > 0 else shown
