"""`models.yaml`: its sections made the rows it asks for. Knows every field of it, and no database.

The whole file is read before anything is refused, so that its author sees every fault at once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from catalog.limited import COLUMNS as LIMIT_COLUMNS
from catalog.models import Adapter, LanguageModel, ModelAlias
from catalog.seed import dated_prices, fields
from catalog.seed.document import Document, Section, read, spell
from catalog.seed.stanzas import Kinds
from catalog.seed.wanted import Origin, Seed, WantedAdapter, WantedModel, WantedPrice, WantedProvider

MODEL_COLUMNS = {
    "id": "public_id",
    "supported_params": "supported_parameters",
    "enabled": "is_enabled",
    **{
        name: name
        for name in (
            "name", "owned_by", "canonical_slug", "description", "context_length", "max_output_length",
            "input_modalities", "output_modalities", "supports_tools", "supports_structured_output",
            "default_parameters", "reasoning", "tokenizer", "hugging_face_id", "knowledge_cutoff", "expiration_date",
            "created",
        )
    },
}  # fmt: skip
"""Fields of a model, and the columns of `LanguageModel` they stand for."""
ROUTE_COLUMNS = {
    "provider_model_id": "upstream_model",
    "supported_params": "supported_parameters",
    "enabled": "is_enabled",
    "context_length": "context_length",
    "max_output_length": "max_output_length",
    "quantization": "quantization",
}
"""The same of a route and `Adapter`."""
_INHERITED = ("base_url", "api_key", "provider_model_id", "quantization")
MODEL_FIELDS = (*MODEL_COLUMNS, *_INHERITED, "provider", "aliases", "pricing", "limits", "route")
"""Every field of a model."""
ROUTE_FIELDS = (*ROUTE_COLUMNS, "kind", "weight", "base_url", "api_key", "pricing", "prices", "limits")
"""Every field of a route."""
TOP_FIELDS = ("models", "providers")

_INHERITED_COLUMNS = {"provider_model_id": "upstream_model", "quantization": "quantization"}
_UNSEEDED = frozenset({"created"})
"""Columns that stay as they are where the file does not name them."""


@dataclass(frozen=True, slots=True)
class _Route:
    section: Section
    provider: WantedProvider
    values: dict[str, Any]
    weight: float
    prices: tuple[WantedPrice, ...]


def parse(document: Document) -> Seed:
    """What the file asks for, with the problems found in it. Raises `SeedRefused` where it is not YAML."""
    top = read(document)
    top.only(TOP_FIELDS)
    if not top.given("models"):
        top.complain("is missing; give a list of models, or [] for none", "models")
    kinds = Kinds()
    kinds.add(top)
    models: list[WantedModel] = []
    adapters: list[WantedAdapter] = []
    for section in top.sections("models"):
        model = _model(section)
        if model is not None:
            models.append(model)
            adapters += _adapters(section, model, kinds)
    _refuse_shared_names(top, models)
    return Seed(top.source.file, kinds.wanted(), tuple(models), tuple(adapters), top.source.problems)


def _model(section: Section) -> WantedModel | None:
    section.only(MODEL_FIELDS)
    values = {**_defaults(LanguageModel, MODEL_COLUMNS), "pricing": {}}
    given = fields.columns(section, MODEL_COLUMNS, LanguageModel) | fields.pricing(section)
    for name in ("id", "name"):
        if not section.given(name):
            section.complain("is missing", name)
    if "context_length" in given and "max_output_length" not in given:
        given["max_output_length"] = min(values["max_output_length"], given["context_length"])
    values |= given
    _check_lengths(section, values["context_length"], values["max_output_length"])
    values["owned_by"] = given.get("owned_by") or _owner(section)
    if section.values.get("route") == [] and not values["owned_by"]:
        section.complain("is missing; a model without routes needs it", "owned_by")
    values["aliases"] = _aliases(section)
    public_id = given.get("public_id")
    return WantedModel(public_id, values, _origin(section)) if public_id else None


def _owner(section: Section) -> str:
    if isinstance(section.values.get("provider"), str):
        return str(section.values["provider"])
    return next((str(route.values.get("kind", "")) for route in section.sections("route")), "")


def _aliases(section: Section) -> list[str]:
    given = section.values.get("aliases")
    if given is not None and not isinstance(given, list):
        section.complain("must be a list of ids", "aliases")
        return []
    items = Section(section.source, (*section.place, "aliases"), dict(enumerate(given or [])))
    return sorted(alias for index in items.values for alias in fields.columns(items, {index: "alias"}, ModelAlias).values())


def _adapters(section: Section, model: WantedModel, kinds: Kinds) -> list[WantedAdapter]:
    """The model's routes. What the model says of upstream id, quantization and limits holds for all of them, its base URL and
    key for those of its own kind alone: another provider must never be sent them.

    `route: []`: nobody serves it yet.
    """
    routes = section.sections("route") if section.given("route") else [section]
    base_url, api_key = fields.base_url(section), fields.secret(section, "api_key")
    own_kind = _own_kind(section, routes)
    inherited = {
        **_defaults(Adapter, ROUTE_COLUMNS | LIMIT_COLUMNS),
        "pricing": None,
        "upstream_model": model.id,
        **fields.columns(section, _INHERITED_COLUMNS, Adapter),
        **fields.limits(section, Adapter),
    }
    found: list[_Route] = []
    for route in routes:
        kind = route.values.get("kind") or section.values.get("provider")
        values, weight = inherited, 1.0
        address, key = (base_url, api_key) if kind == own_kind else (None, None)
        prices: tuple[WantedPrice, ...] = ()
        if route is not section:
            route.only(ROUTE_FIELDS)
            values = inherited | fields.columns(route, ROUTE_COLUMNS, Adapter) | fields.pricing(route)
            values |= fields.limits(route, Adapter)
            _check_lengths(route, values["context_length"] or model.values["context_length"], values["max_output_length"])
            weight, prices = _weight(route), dated_prices.of(route)
            if prices:
                # They say what it costs at all times: the one in force is not another thing to be compared.
                values = {name: value for name, value in values.items() if name != "pricing"}
            address, key = fields.base_url(route) or address, fields.secret(route, "api_key") or key
        if not isinstance(kind, str):
            route.complain("must name the provider's kind, e.g. deepseek", "provider" if route is section else "kind")
        elif address or not (route.given("base_url") or (kind == own_kind and section.given("base_url"))):
            provider = kinds.provider(kind, address, key, route)
            found += [_Route(route, provider, values, weight, prices)] if provider else []
    return _keyed(model, found)


def _own_kind(section: Section, routes: Sequence[Section]) -> Any:
    """The kind that the model's own base URL and key are for: its `provider`, or the only kind of its routes."""
    kinds = {str(route.values.get("kind") or section.values.get("provider")) for route in routes}
    own_kind = section.values.get("provider") or (kinds.copy().pop() if len(kinds) == 1 else None)
    for name in ("base_url", "api_key"):
        if section.given(name) and routes and str(own_kind) not in kinds:
            section.complain("is for none of the routes: move it into the route it is for", name)
    return own_kind


def _keyed(model: WantedModel, routes: list[_Route]) -> list[WantedAdapter]:
    """The routes as adapters. One of a provider is known by the provider; of several, each by what it calls the model."""
    count = Counter(route.provider.slug for route in routes)
    adapters: dict[str, WantedAdapter] = {}
    for route in routes:
        key = f"{model.id} at {route.provider.slug}"
        if count[route.provider.slug] > 1:
            quantization = route.values["quantization"]
            key += f" as {route.values['upstream_model']}" + (f" ({quantization})" if quantization else "")
        if key in adapters:
            line = adapters[key].origin.line
            route.section.complain(f"is the same route as line {line}; remove one and give the other more weight")
            continue
        adapters[key] = WantedAdapter(
            key, model, route.provider, route.values, route.weight, _origin(route.section), route.prices
        )
    return list(adapters.values())


def _weight(route: Section) -> float:
    weight = route.values.get("weight")
    if weight is None:
        return 1
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight) or weight < 0:
        route.complain("must be a number from 0 (only when the others fail), e.g. 0.8", "weight")
        return 1
    return weight


def _check_lengths(section: Section, context_length: int | None, max_output_length: int | None) -> None:
    for name, length in (("context_length", context_length), ("max_output_length", max_output_length)):
        if length is not None and length < 1:
            section.complain("must be at least 1 token", name)
    if context_length and max_output_length and max_output_length > context_length:
        section.complain(f"{max_output_length} is more than context_length {context_length}; lower it", "max_output_length")


def _refuse_shared_names(top: Section, models: list[WantedModel]) -> None:
    owners: dict[str, WantedModel] = {}
    for model in models:
        for name in model.names:
            if name in owners:
                top.source.problems.append(
                    model.origin.problem(f"{name} already names the model on line {owners[name].origin.line}; keep one")
                )
            owners.setdefault(name, model)


def _defaults(row: Any, names: Mapping[str, str]) -> dict[str, Any]:
    return {column: fields.default(row, column) for column in names.values() if column not in _UNSEEDED}


def _origin(section: Section) -> Origin:
    return Origin(section.source.file, section.line(), spell(section.place))
