"""Reads the catalogue's rows and makes them the frozen entries that requests use. Five queries, whatever its size.

Owns what a row becomes once the environment is known: which `${VAR}` resolves, what an adapter costs, and why it cannot be
used. Holds no secret: entries carry the names of keys, and only of those that are set.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from types import MappingProxyType

from django.conf import settings

from catalog import cards, price_history
from catalog.entries import (
    AdapterEntry,
    Catalogue,
    Continuation,
    DialectName,
    Lookup,
    ModelEntry,
    ProviderEntry,
    Quirks,
    ReasoningEcho,
    ReasoningInput,
    Unconfigured,
    resolve,
)
from catalog.limits import overridden
from catalog.models import Adapter, LanguageModel, ModelAlias, Provider

log = logging.getLogger("gateway.catalog")

_warned: set[int] = set()
"""Ids of the adapters whose missing price this process has logged: the catalogue is read anew after every edit."""


def load(lookup: Lookup, now: float | None = None) -> Catalogue:
    """Every enabled model with all of its adapters, `${VAR}`s resolved by `lookup`, at the prices of `now` (epoch seconds)."""
    now = time.time() if now is None else now
    histories = price_history.read()
    providers = {row.pk: row for row in Provider.objects.all()}
    entries = {key: provider_entry(row, lookup) for key, row in providers.items()}
    aliases: dict[int, list[str]] = defaultdict(list)
    for model_id, alias in ModelAlias.objects.order_by("alias").values_list("model_id", "alias"):
        aliases[model_id].append(alias)
    adapters: dict[int, list[Adapter]] = defaultdict(list)
    for adapter in Adapter.objects.order_by("pk"):
        adapters[adapter.model_id].append(adapter)
    return Catalogue.of(
        (
            _model_entry(
                model,
                tuple(aliases[model.pk]),
                [
                    (row, providers[row.provider_id], entries[row.provider_id], histories.get(row.pk, ()))
                    for row in adapters[model.pk]
                ],
                now,
            )
            for model in LanguageModel.objects.filter(is_enabled=True)
        ),
        prices_change_at=price_history.next_change(histories.values(), now),
    )


def alone(adapter_id: int, lookup: Lookup, now: float | None = None) -> Catalogue:
    """Just this adapter and its model, both switched on whatever their rows say: to try it. Empty where there is none."""
    row = Adapter.objects.select_related("model", "provider").filter(pk=adapter_id).first()
    if row is None:
        return Catalogue.of(())
    now = time.time() if now is None else now
    row.is_enabled = row.provider.is_enabled = True
    history = price_history.read().get(row.pk, ())
    entry = provider_entry(row.provider, lookup)
    return Catalogue.of([_model_entry(row.model, (), [(row, row.provider, entry, history)], now)])


def provider_entry(row: Provider, lookup: Lookup) -> ProviderEntry:
    """`row` with its base URL resolved and without the keys that are not set; `unconfigured` where it cannot be called."""
    unconfigured = None
    base_url = ""
    try:
        base_url = resolve(row.base_url, lookup).strip().rstrip("/")
        if not base_url.startswith(("http://", "https://")):
            unconfigured = f"the base URL {row.base_url} does not give an address that starts with http:// or https://"
    except Unconfigured as reason:
        unconfigured = str(reason)
    if row.dialect not in set(DialectName):
        unconfigured = f"there is no dialect {row.dialect!r}; known: {', '.join(DialectName)}"
    references = [reference for reference in (row.api_key, *row.api_keys) if reference]
    keys, missing = _usable_keys(references, lookup)
    return ProviderEntry(
        id=row.pk,
        slug=row.slug,
        name=row.name,
        dialect=DialectName(row.dialect) if row.dialect in set(DialectName) else DialectName.OPENAI,
        base_url=base_url,
        api_keys=keys,
        is_local=row.is_local,
        connect_timeout_s=row.connect_timeout_s,
        first_byte_timeout_s=row.first_byte_timeout_s,
        idle_timeout_s=row.idle_timeout_s,
        total_timeout_s=row.total_timeout_s,
        extra_headers=MappingProxyType(dict(row.extra_headers)),
        quirks=_quirks(row),
        unconfigured=unconfigured or (None if keys else missing),
        collects_data=row.collects_data,
        has_zero_data_retention=row.has_zero_data_retention,
        limits=overridden(row.limits, row.slug, lookup),
        published=MappingProxyType(
            {
                "privacy_policy_url": row.privacy_policy_url or None,
                "terms_of_service_url": row.terms_of_service_url or None,
                "status_page_url": row.status_page_url or None,
                "headquarters": row.headquarters or None,
                "datacenters": None,
            }
        ),
    )


def _usable_keys(references: Iterable[str], lookup: Lookup) -> tuple[tuple[str, ...], str | None]:
    """The references that lead to a key, and why the first one that fails does. `${NAME:-}` unset means: send no key."""
    usable: list[str] = []
    missing: str | None = None
    for reference in references:
        try:
            if resolve(reference, lookup):
                usable.append(reference)
        except Unconfigured as reason:
            missing = missing or str(reason)
    return tuple(usable), missing


def _quirks(row: Provider) -> Quirks:
    return Quirks(
        auth_header=row.auth_header,
        api_version=row.api_version,
        max_tokens_field=row.max_tokens_field,
        field_names=MappingProxyType(dict(row.field_names)),
        extra_body=MappingProxyType(dict(row.extra_body)),
        reasoning_input=ReasoningInput(row.reasoning_input),
        reasoning_efforts=tuple(row.reasoning_efforts),
        reasoning_echo=ReasoningEcho(row.reasoning_echo),
        requires_reasoning_echo=row.requires_reasoning_echo,
        accepts_stream_options=row.accepts_stream_options,
        accepts_developer_role=row.accepts_developer_role,
        accepts_content_parts=row.accepts_content_parts,
        accepts_null_content=row.accepts_null_content,
        accepts_unknown_fields=row.accepts_unknown_fields,
        accepts_json_schema=row.accepts_json_schema,
        accepts_cache_control=row.accepts_cache_control,
        tool_call_id_length=row.tool_call_id_length,
        speaks_openrouter=row.speaks_openrouter,
        continuation=Continuation(row.continuation),
    )


def _model_entry(
    model: LanguageModel,
    aliases: tuple[str, ...],
    adapters: Iterable[tuple[Adapter, Provider, ProviderEntry, price_history.History]],
    now: float,
) -> ModelEntry:
    published = price_history.read_pricing(model.pricing)
    return ModelEntry(
        id=model.public_id,
        canonical_slug=model.canonical_slug or model.public_id,
        name=model.name,
        aliases=aliases,
        adapters=tuple(
            _adapter_entry(row, model, provider_row, provider, price_history.priced(history, published, now))
            for row, provider_row, provider, history in adapters
        ),
        input_modalities=frozenset(model.input_modalities),
        output_modalities=frozenset(model.output_modalities),
        card=cards.card(model, published.prices),
    )


def _adapter_entry(
    row: Adapter, model: LanguageModel, provider_row: Provider, provider: ProviderEntry, priced: price_history.Priced
) -> AdapterEntry:
    parameters = (
        cards.supported_parameters(model)
        if row.supported_parameters is None
        else [*cards.ALWAYS_SUPPORTED, *row.supported_parameters]
    )
    entry = AdapterEntry(
        id=row.pk,
        model_id=model.public_id,
        provider=provider,
        upstream_model=row.upstream_model,
        is_enabled=row.is_enabled and provider_row.is_enabled,
        prices=priced.prices,
        context_length=row.context_length or model.context_length,
        max_output_length=row.max_output_length or model.max_output_length,
        quantization=row.quantization or None,
        supported_parameters=frozenset(parameters),
        unconfigured=provider.unconfigured or priced.unreadable,
        timeline=priced.timeline,
        limits=row.limits,
        reasons_by_default=(model.reasoning or {}).get("default_enabled"),
    )
    return entry if entry.is_priced or entry.unconfigured else _unpriced(entry)


def _unpriced(adapter: AdapterEntry) -> AdapterEntry:
    """What the setting UNPRICED makes of a hosted adapter that somebody bills and whose price nobody has given."""
    if settings.UNPRICED == "block":
        cure = "give it or its model a price, zeros if it is free"
        return replace(adapter, unconfigured=f"its price is unknown, and UNPRICED is block; {cure}")
    if settings.UNPRICED == "warn" and adapter.is_enabled and adapter.id not in _warned:
        _warned.add(adapter.id)
        log.warning(
            "%s at %s has no price, so what it answers is counted as free; give it or its model a price, zeros if it is free",
            adapter.model_id,
            adapter.provider.slug,
        )
    return adapter
