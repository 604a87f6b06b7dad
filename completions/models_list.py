"""`/models` and its relatives: the catalogue filtered, sorted and paged as OpenRouter does it (openrouter.md 5.1-5.3). Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from catalog import amounts
from catalog.entries import AdapterEntry, Catalogue, ModelEntry
from catalog.prices import published
from gateway_project.errors import InvalidRequest, ModelNotFound

MAX_LIMIT = 1000

_Key = Callable[[ModelEntry], Any]


def _prompt_price(model: ModelEntry) -> Decimal:
    return Decimal(model.card["pricing"]["prompt"])


_SORTS: dict[str, tuple[_Key, bool]] = {
    "newest": (lambda model: model.card["created"], True),
    "pricing-low-to-high": (_prompt_price, False),
    "pricing-high-to-low": (_prompt_price, True),
    "context-high-to-low": (lambda model: model.card["context_length"] or 0, True),
}
"""The sorts that there are figures for. Others are accepted and leave the catalogue's order: none is better than a wrong one."""


@dataclass(frozen=True, slots=True)
class ModelsQuery:
    """The query string of `/models`. Prices in USD per million tokens, as OpenRouter takes them."""

    offset: int = 0
    limit: int | None = None
    text: str = ""
    supported_parameters: frozenset[str] = frozenset()
    input_modalities: frozenset[str] = frozenset()
    output_modalities: frozenset[str] = frozenset()
    providers: frozenset[str] = frozenset()
    min_context: int = 0
    max_price: Decimal | None = None
    sort: str = ""

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> ModelsQuery:
        """From the query's parameters; unknown ones are ignored. Raises `InvalidRequest` naming a bad one."""
        limit = _whole(query, "limit")
        if limit is not None and not 1 <= limit <= MAX_LIMIT:
            raise InvalidRequest(f"limit={limit} is out of range; use 1 to {MAX_LIMIT}")
        outputs = _words(query, "output_modalities")
        return cls(
            offset=_whole(query, "offset") or 0,
            limit=limit,
            text=query.get("q", "").strip().lower(),
            supported_parameters=_words(query, "supported_parameters"),
            input_modalities=_words(query, "input_modalities"),
            output_modalities=frozenset() if "all" in outputs else outputs,
            providers=_words(query, "providers"),
            min_context=_whole(query, "context") or 0,
            max_price=_amount(query, "max_price"),
            sort=query.get("sort", ""),
        )

    def matches(self, model: ModelEntry) -> bool:
        card = model.card
        return (
            self.supported_parameters <= set(card["supported_parameters"])
            and self.input_modalities <= model.input_modalities
            and self.output_modalities <= model.output_modalities
            and (card["context_length"] or 0) >= self.min_context
            and (not self.text or self.text in model.id.lower() or self.text in model.name.lower())
            and (not self.providers or not self.providers.isdisjoint(a.provider.slug for a in model.adapters))
            and (self.max_price is None or _prompt_price(model) * 1_000_000 <= self.max_price)
        )


def page(catalogue: Catalogue, query: ModelsQuery, path: str, *, only: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The list envelope for `query`. `only`, if not empty, are the public ids that the caller may use."""
    models = [model for model in catalogue.models if query.matches(model) and (not only or model.id in only)]
    if query.sort in _SORTS:
        key, is_descending = _SORTS[query.sort]
        models.sort(key=key, reverse=is_descending)
    end = query.offset + query.limit if query.limit is not None else len(models)
    following = f"{path}?{urlencode({'offset': end, 'limit': query.limit})}" if end < len(models) else None
    return {
        "object": "list",
        "data": [model.card for model in models[query.offset : end]],
        "total_count": len(models),
        "links": {"next": following},
    }


def find(catalogue: Catalogue, name: str) -> ModelEntry:
    """The model of that id, alias or canonical slug. Raises `ModelNotFound` with what looks like it."""
    model = catalogue.find(name)
    if model is None:
        close = catalogue.close_to(name)
        hint = f"; did you mean {' or '.join(close)}?" if close else "; GET /v1/models lists what there is."
        raise ModelNotFound(f"There is no model {name[:200]!r}{hint}", metadata={"close_matches": close})
    return model


def card(catalogue: Catalogue, name: str) -> Mapping[str, Any]:
    return find(catalogue, name).card


def endpoints(catalogue: Catalogue, name: str) -> dict[str, Any]:
    """Who serves a model, in OpenRouter's words (openrouter.md 5.2). Live figures are null here."""
    model = find(catalogue, name)
    shown = ("id", "name", "created", "architecture")
    head = {key: model.card[key] for key in shown}
    head["description"] = model.card.get("description", "")
    head["architecture"] = {"tokenizer": None, "instruct_type": None, **head["architecture"]}
    return {**head, "endpoints": [_endpoint(model, adapter) for adapter in model.adapters if adapter.is_enabled]}


def _endpoint(model: ModelEntry, adapter: AdapterEntry) -> dict[str, Any]:
    has_tools = "tools" in adapter.supported_parameters
    return {
        "name": f"{adapter.provider.name} | {model.canonical_slug}",
        "model_id": model.id,
        "model_name": model.name,
        "context_length": adapter.context_length,
        "pricing": published(adapter.prices),
        "provider_name": adapter.provider.name,
        "tag": adapter.tag,
        "quantization": adapter.quantization,
        "max_completion_tokens": adapter.max_output_length,
        "max_prompt_tokens": None,
        "supported_parameters": sorted(adapter.supported_parameters),
        "status": 0 if adapter.unconfigured is None else -10,
        "uptime_last_5m": None,
        "uptime_last_30m": None,
        "uptime_last_1d": None,
        "supports_implicit_caching": "input_cache_read" in adapter.prices.known,
        "latency_last_30m": None,
        "throughput_last_30m": None,
        "native_tools": {},
        "service_tier": None,
        "supports_diarization": False,
        "supports_tool_choice": dict.fromkeys(("auto", "none", "required", "function"), has_tools),
    }


def providers(catalogue: Catalogue) -> list[dict[str, Any]]:
    """Every provider that serves an enabled model, by slug."""
    known = {adapter.provider.slug: adapter.provider for model in catalogue.models for adapter in model.adapters}
    return [{"name": known[slug].name, "slug": slug, **known[slug].published} for slug in sorted(known)]


def _words(query: Mapping[str, str], name: str) -> frozenset[str]:
    return frozenset(word.strip() for word in query.get(name, "").split(",") if word.strip())


def _whole(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    if not text.isdecimal() or len(text) > 9:
        raise InvalidRequest(f"{name}={text[:50]!r} is not a whole number of 0 or more")
    return int(text)


def _amount(query: Mapping[str, str], name: str) -> Decimal | None:
    text = query.get(name, "")
    if not text:
        return None
    amount = amounts.read(text)
    if amount is None:
        raise InvalidRequest(f"{name}={text[:50]!r} is not a price in USD per million tokens")
    return amount
