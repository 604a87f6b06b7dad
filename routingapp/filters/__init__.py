"""Which adapters may serve a request: one small function per rule, in the order in which they are asked.

Pure. A rule first looks at the request and the adapters still there, and says None where it has nothing to object: most
rules cost most requests nothing. Else it gives a check, which says for one adapter why it may not serve, or None.
To add a rule write one such function and add one line to its group below.
"""

from __future__ import annotations

from collections.abc import Sequence

from catalog.entries import AdapterEntry, ModelEntry
from routingapp.ask import Exclusion, Situation
from routingapp.filters import needs, setup, state, wishes
from routingapp.filters.rule import Cause, Filter
from routingapp.preferences import NO_PREFERENCES

_SETUP = (
    Filter("key_models", Cause.KEY, setup.key_models, "allowed_models", "model"),
    Filter("disabled", Cause.CONFIGURATION, setup.disabled, "disabled"),
    Filter("unconfigured", Cause.CONFIGURATION, setup.unconfigured, "unconfigured"),
    Filter("key_providers", Cause.KEY, setup.key_providers, "allowed_providers"),
)
_WISHES = (
    Filter("provider_only", Cause.REQUEST, wishes.only, "allowed_providers", "provider.only"),
    Filter("provider_ignore", Cause.REQUEST, wishes.ignored, "allowed_providers", "provider.ignore"),
    Filter("provider_order", Cause.REQUEST, wishes.not_ordered, "allowed_providers", "provider.order"),
    Filter("data_collection", Cause.REQUEST, wishes.collects_data, "data_policy:training", "provider.data_collection"),
    Filter("zdr", Cause.REQUEST, wishes.retains_data, "data_policy:zdr", "provider.zdr"),
    Filter("quantization", Cause.REQUEST, wishes.quantization, "quantization", "provider.quantizations"),
    Filter("max_price", Cause.REQUEST, wishes.max_price, "max_price", "provider.max_price"),
    Filter(
        "require_parameters", Cause.REQUEST, wishes.require_parameters, "require_parameters", "provider.require_parameters"
    ),
)
_NEEDS = (
    Filter("context_length", Cause.REQUEST, needs.context_length, "context_length", "messages"),
    Filter("max_output", Cause.REQUEST, needs.max_output, "context_length", "max_tokens"),
    Filter("modalities", Cause.REQUEST, needs.modalities, "modalities", "messages"),
)
_PREFERRED = ("tools", "response_format", "structured_outputs", "verbosity")
_PREFERENCES = tuple(
    Filter(f"prefers_{parameter}", Cause.REQUEST, needs.prefer_supporting(parameter), "require_parameters", parameter)
    for parameter in _PREFERRED
)
_STATE = (
    Filter("limit_size", Cause.REQUEST, state.larger_than_limit, "context_length", "max_tokens"),
    Filter("offloaded", Cause.STATE, state.offloaded, "offload"),
    Filter("engine_down", Cause.STATE, state.engine_down, "health"),
    Filter("breaker_open", Cause.STATE, state.breaker_open, "health"),
    Filter("keys_exhausted", Cause.STATE, state.keys_exhausted, "health"),
    Filter("limit", Cause.STATE, state.over_limit, "rate_limit"),
)
FILTERS: tuple[Filter, ...] = (*_SETUP, *_WISHES, *_NEEDS, *_PREFERENCES, *_STATE)
_IN_QUESTION = {
    (has_wishes, has_preferred): (
        *_SETUP,
        *(_WISHES if has_wishes else ()),
        *_NEEDS,
        *(_PREFERENCES if has_preferred else ()),
        *_STATE,
    )
    for has_wishes in (False, True)
    for has_preferred in (False, True)
}
"""The filters that can object to a request, by whether it says `provider` and whether it uses a preferred parameter."""
BY_CODE = {rule.code: rule for rule in FILTERS}


def sift(model: ModelEntry, situation: Situation) -> tuple[Sequence[AdapterEntry], list[Exclusion]]:
    """The adapters of `model` that pass every filter, and each other one with the first reason against it."""
    left: Sequence[AdapterEntry] = model.adapters
    exclusions: list[Exclusion] = []
    ask = situation.ask
    for rule in _IN_QUESTION[ask.preferences is not NO_PREFERENCES, not ask.parameters.isdisjoint(_PREFERRED)]:
        check = rule.prepare(situation, model, left)
        if check is None:
            continue
        details = [check(adapter) for adapter in left]
        if not any(details):
            continue
        exclusions += [
            Exclusion(model.id, adapter.provider.name, adapter.tag, rule.code, detail, adapter.id)
            for adapter, detail in zip(left, details, strict=True)
            if detail
        ]
        left = [adapter for adapter, detail in zip(left, details, strict=True) if not detail]
    return left, exclusions
