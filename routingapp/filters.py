"""Which adapters may serve a request: one small function per rule, in the order in which they are asked.

Pure. A rule first looks at the request and the adapters still there, and says None where it has nothing to object: most
rules cost most requests nothing. Else it gives a check, which says for one adapter why it may not serve, or None.
To add a rule (a limit, an exhausted key pool) write one such function and add one line to `FILTERS`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from catalog.entries import AdapterEntry, ModelEntry
from routingapp.ask import Exclusion, Situation

Check = Callable[[AdapterEntry], str | None]
Prepare = Callable[[Situation, ModelEntry, Sequence[AdapterEntry]], Check | None]


class Cause(enum.Enum):
    """Whose doing an exclusion is: it decides between 403, 404 and 503 once nothing is left."""

    CONFIGURATION = "configuration"
    KEY = "key"
    REQUEST = "request"
    STATE = "state"


@dataclass(frozen=True, slots=True)
class Filter:
    """A rule. `excluded_by` is OpenRouter's word for it (openrouter.md 4.3), `field` what the caller would change."""

    code: str
    cause: Cause
    prepare: Prepare
    excluded_by: str
    field: str | None = None


def sift(
    model: ModelEntry, situation: Situation, filters: Sequence[Filter]
) -> tuple[Sequence[AdapterEntry], list[Exclusion]]:
    """The adapters of `model` that pass every filter, and each other one with the first reason against it."""
    left: Sequence[AdapterEntry] = model.adapters
    exclusions: list[Exclusion] = []
    for rule in filters:
        check = rule.prepare(situation, model, left)
        if check is None:
            continue
        passed = []
        for adapter in left:
            detail = check(adapter)
            if detail is None:
                passed.append(adapter)
            else:
                exclusions.append(Exclusion(model.id, adapter.provider.name, adapter.tag, rule.code, detail, adapter.id))
        left = passed
    return left, exclusions


def matches(name: str, adapter: AdapterEntry) -> bool:
    """Whether a casefolded `name` names this adapter: its provider's slug or display name, or exactly its tag."""
    provider = adapter.provider
    return name == provider.slug.casefold() or name == adapter.tag.casefold() or name == provider.name.casefold()


def matches_any(names: Sequence[str], adapter: AdapterEntry) -> bool:
    return any(matches(name, adapter) for name in names)


# --- What operators have set up -----------------------------------------------------------------------------------------


def _disabled(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    return lambda adapter: None if adapter.is_enabled else "switched off by the operator"


def _unconfigured(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    return lambda adapter: adapter.unconfigured or adapter.provider.unconfigured


# --- What the key may use -----------------------------------------------------------------------------------------------


def _key_models(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    allowed = situation.ask.allowed_models
    if not allowed or model.id in allowed or model.canonical_slug in allowed or not allowed.isdisjoint(model.aliases):
        return None
    return lambda adapter: f"this key may not use the model {model.id}"


def _key_providers(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    allowed = situation.ask.allowed_providers
    if not allowed:
        return None
    names = tuple(name.casefold() for name in allowed)
    return lambda adapter: None if matches_any(names, adapter) else "this key may not use this provider"


# --- What the caller prefers --------------------------------------------------------------------------------------------


def _only(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    names = situation.ask.preferences.only
    return (lambda adapter: None if matches_any(names, adapter) else "not named in provider.only") if names else None


def _ignored(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    names = situation.ask.preferences.ignore
    return (lambda adapter: "named in provider.ignore" if matches_any(names, adapter) else None) if names else None


def _not_ordered(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    preferences = situation.ask.preferences
    if not preferences.order or preferences.allow_fallbacks:
        return None
    return lambda adapter: (
        None
        if matches_any(preferences.order, adapter)
        else "not named in provider.order, and provider.allow_fallbacks is false"
    )


def _collects_data(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    if not situation.ask.preferences.denies_data_collection:
        return None
    return lambda adapter: (
        "may store prompts or train on them, and provider.data_collection is deny"
        if adapter.provider.collects_data and not adapter.provider.is_local
        else None
    )


def _retains_data(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    if not situation.ask.preferences.wants_zero_data_retention:
        return None
    return lambda adapter: (
        "not known to keep nothing of a request, and provider.zdr is true"
        if not adapter.provider.has_zero_data_retention and not adapter.provider.is_local
        else None
    )


def _quantization(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    wanted = situation.ask.preferences.quantizations
    if not wanted:
        return None
    return lambda adapter: (
        None
        if (adapter.quantization or "unknown") in wanted
        else f"serves {adapter.quantization or 'unknown'}, not one of provider.quantizations ({', '.join(sorted(wanted))})"
    )


def _max_price(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
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


def _plain(amount: Decimal) -> str:
    return f"{amount.normalize():f}"


# --- What the request needs ---------------------------------------------------------------------------------------------


def _context_length(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    tokens = situation.ask.prompt_tokens
    if not tokens:
        return None
    return lambda adapter: (
        None
        if tokens <= adapter.context_length
        else f"the prompt has about {tokens} tokens, more than its context of {adapter.context_length}"
    )


def _max_output(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    tokens = situation.ask.max_output_tokens
    if tokens is None:
        return None
    return lambda adapter: (
        None
        if adapter.max_output_length is None or tokens <= adapter.max_output_length
        else f"max_tokens {tokens} is more than the {adapter.max_output_length} it can answer with"
    )


def _modalities(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    ask = situation.ask
    if ask.input_modalities <= model.input_modalities and ask.output_modalities <= model.output_modalities:
        return None
    unread = sorted(ask.input_modalities - model.input_modalities)
    unwritten = sorted(ask.output_modalities - model.output_modalities)
    words = [f"does not take {', '.join(unread)} as input"] if unread else []
    words += [f"does not answer with {', '.join(unwritten)}"] if unwritten else []
    return lambda adapter: f"{model.id} {' and '.join(words)}"


def _require_parameters(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    wanted = situation.ask.parameters
    if not situation.ask.preferences.require_parameters or not wanted:
        return None

    def check(adapter: AdapterEntry) -> str | None:
        missing = sorted(wanted - adapter.supported_parameters)
        return f"does not support {', '.join(missing)}, and provider.require_parameters is true" if missing else None

    return check


def _prefer_supporting(parameter: str) -> Prepare:
    """A soft preference: adapters without `parameter` are left out only where some other adapter has it."""

    def prepare(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
        if parameter not in situation.ask.parameters:
            return None
        if not any(parameter in adapter.supported_parameters for adapter in adapters):
            return None
        return lambda adapter: (
            None if parameter in adapter.supported_parameters else f"does not support {parameter}, as another adapter does"
        )

    return prepare


# --- What is the case right now -----------------------------------------------------------------------------------------


def _offloaded(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    if not situation.policy.is_offloaded:
        return None
    return lambda adapter: "local engines take no traffic while hard offload is on" if adapter.provider.is_local else None


STALE_PROBES = 3
"""An engine's report counts for this many health check intervals, and for at least `MIN_REPORT_S`."""
MIN_REPORT_S = 30.0


def _engine_down(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    counts_for_s = max(MIN_REPORT_S, STALE_PROBES * situation.policy.health_check_interval_s)

    def check(adapter: AdapterEntry) -> str | None:
        if not adapter.provider.is_local:
            return None
        engine = situation.health.engine(adapter.provider.id)
        if engine is None or engine.is_up or situation.now - engine.seen_at > counts_for_s:
            return None
        return f"the engine does not answer its health check: {engine.detail}"

    return check


def _breaker_open(situation: Situation, model: ModelEntry, adapters: Sequence[AdapterEntry]) -> Check | None:
    health, now = situation.health, situation.now

    def check(adapter: AdapterEntry) -> str | None:
        if not health.is_open(adapter.id, now):
            return None
        view = health.view(adapter.id, now)
        return f"paused for another {view.retry_in_s:.0f} s after faults; the last one: {view.last_error}"

    return check


FILTERS: tuple[Filter, ...] = (
    Filter("disabled", Cause.CONFIGURATION, _disabled, "disabled"),
    Filter("unconfigured", Cause.CONFIGURATION, _unconfigured, "unconfigured"),
    Filter("key_models", Cause.KEY, _key_models, "allowed_models", "model"),
    Filter("key_providers", Cause.KEY, _key_providers, "allowed_providers"),
    Filter("provider_only", Cause.REQUEST, _only, "allowed_providers", "provider.only"),
    Filter("provider_ignore", Cause.REQUEST, _ignored, "allowed_providers", "provider.ignore"),
    Filter("provider_order", Cause.REQUEST, _not_ordered, "allowed_providers", "provider.order"),
    Filter("data_collection", Cause.REQUEST, _collects_data, "data_policy:training", "provider.data_collection"),
    Filter("zdr", Cause.REQUEST, _retains_data, "data_policy:zdr", "provider.zdr"),
    Filter("quantization", Cause.REQUEST, _quantization, "quantization", "provider.quantizations"),
    Filter("max_price", Cause.REQUEST, _max_price, "max_price", "provider.max_price"),
    Filter("context_length", Cause.REQUEST, _context_length, "context_length", "messages"),
    Filter("max_output", Cause.REQUEST, _max_output, "context_length", "max_tokens"),
    Filter("modalities", Cause.REQUEST, _modalities, "modalities", "messages"),
    Filter("require_parameters", Cause.REQUEST, _require_parameters, "require_parameters", "provider.require_parameters"),
    *(
        Filter(f"prefers_{parameter}", Cause.REQUEST, _prefer_supporting(parameter), "require_parameters", parameter)
        for parameter in ("tools", "response_format", "structured_outputs", "verbosity")
    ),
    Filter("offloaded", Cause.STATE, _offloaded, "offload"),
    Filter("engine_down", Cause.STATE, _engine_down, "health"),
    Filter("breaker_open", Cause.STATE, _breaker_open, "health"),
)
BY_CODE = {rule.code: rule for rule in FILTERS}
