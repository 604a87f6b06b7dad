"""What operators have set up, and what the caller's key may use."""

from __future__ import annotations

from collections.abc import Sequence

from catalog.entries import AdapterEntry, ModelEntry
from routingapp.ask import Situation
from routingapp.filters.rule import Check, matches_any


def disabled(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    for each in adapters:
        if not each.is_enabled:
            return lambda adapter: None if adapter.is_enabled else "switched off by the operator"
    return None


def unconfigured(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    for each in adapters:
        if each.unconfigured or each.provider.unconfigured:
            return lambda adapter: adapter.unconfigured or adapter.provider.unconfigured
    return None


def key_models(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    allowed = situation.ask.allowed_models
    if not allowed or model.id in allowed or model.canonical_slug in allowed or not allowed.isdisjoint(model.aliases):
        return None
    return lambda adapter: f"this key may not use the model {model.id}"


def key_providers(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    allowed = situation.ask.allowed_providers
    if not allowed:
        return None
    names = tuple(name.casefold() for name in allowed)
    return lambda adapter: None if matches_any(names, adapter) else "this key may not use this provider"
