"""What the caller prefers in `provider` (openrouter.md 1.3)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from catalog.entries import AdapterEntry, ModelEntry
from routingapp.ask import Situation
from routingapp.filters.rule import Check, matches_any


def only(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    names = situation.ask.preferences.only
    return (lambda adapter: None if matches_any(names, adapter) else "not named in provider.only") if names else None


def ignored(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    names = situation.ask.preferences.ignore
    return (lambda adapter: "named in provider.ignore" if matches_any(names, adapter) else None) if names else None


def not_ordered(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    preferences = situation.ask.preferences
    if not preferences.order or preferences.allow_fallbacks:
        return None
    return lambda adapter: (
        None
        if matches_any(preferences.order, adapter)
        else "not named in provider.order, and provider.allow_fallbacks is false"
    )


def collects_data(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    if not situation.ask.preferences.denies_data_collection:
        return None
    return lambda adapter: (
        "may store prompts or train on them, and provider.data_collection is deny"
        if adapter.provider.collects_data and not adapter.provider.is_local
        else None
    )


def retains_data(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    if not situation.ask.preferences.wants_zero_data_retention:
        return None
    return lambda adapter: (
        "not known to keep nothing of a request, and provider.zdr is true"
        if not adapter.provider.has_zero_data_retention and not adapter.provider.is_local
        else None
    )


def quantization(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    wanted = situation.ask.preferences.quantizations
    if not wanted:
        return None
    return lambda adapter: (
        None
        if (adapter.quantization or "unknown") in wanted
        else f"serves {adapter.quantization or 'unknown'}, not one of provider.quantizations ({', '.join(sorted(wanted))})"
    )


def max_price(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    limits = situation.ask.preferences.max_price
    if not limits:
        return None

    def check(adapter: AdapterEntry) -> str | None:
        for key, limit in limits:
            price = adapter.prices.get(key)
            if price > limit:
                unit, factor = ("per million tokens", 1_000_000) if key in ("prompt", "completion") else ("each", 1)
                return (
                    f"{key} costs {_plain(price * factor)} USD {unit}, more than provider.max_price.{key} "
                    f"({_plain(limit * factor)})"
                )
        return None

    return check


def require_parameters(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    wanted = situation.ask.parameters
    if not situation.ask.preferences.require_parameters or not wanted:
        return None

    def check(adapter: AdapterEntry) -> str | None:
        missing = sorted(wanted - adapter.supported_parameters)
        return f"does not support {', '.join(missing)}, and provider.require_parameters is true" if missing else None

    return check


def _plain(amount: Decimal) -> str:
    return f"{amount.normalize():f}"
