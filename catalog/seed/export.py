"""The catalogue's rows as `models.yaml` has them: the way back from `models_file`.

A field is written where it says something: where it is not what a load would take without it. References to variables are
written as they stand in the rows; whether a row holds a secret all the same is up to `routingapp.export`, which checks it all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time
from typing import Any

from catalog.limited import COLUMNS as LIMIT_COLUMNS
from catalog.models import Adapter, AdapterPrice, LanguageModel, ModelAlias, Provider
from catalog.seed import fields, stanzas
from catalog.seed.models_file import MODEL_COLUMNS, ROUTE_COLUMNS

_STANZA_COLUMNS = stanzas.COLUMNS | {"headers": "extra_headers", "api_keys": "api_keys"}
_PUBLISHED_LENGTHS = ("context_length", "max_output_length")
"""Written always: what the second one is without being given depends on the first."""


def document(weights: Mapping[int, float]) -> dict[str, list[dict[str, Any]]]:
    """Everything there is. `weights`: by adapter id, as the routing table has them. Five queries."""
    return {"providers": [_stanza(row) for row in Provider.objects.order_by("slug")], "models": _models(weights)}


def _stanza(row: Provider) -> dict[str, Any]:
    known = stanzas.shipped().get(row.slug, {})
    return {
        "kind": row.slug,
        "name": row.name,
        "base_url": row.base_url,
        **({"api_key": row.api_key} if row.api_key or known.get("api_key") else {}),
        **_said(row, _STANZA_COLUMNS, known, but=("name",)),
        **_nested("timeouts", _said(row, stanzas.TIMEOUTS, known)),
        **_nested("limits", _said(row, LIMIT_COLUMNS, known)),
    }


def _models(weights: Mapping[int, float]) -> list[dict[str, Any]]:
    aliases: dict[int, list[str]] = defaultdict(list)
    for model_id, alias in ModelAlias.objects.order_by("alias").values_list("model_id", "alias"):
        aliases[model_id].append(alias)
    prices: dict[int, list[AdapterPrice]] = defaultdict(list)
    for price in AdapterPrice.objects.order_by("effective_from"):
        prices[price.adapter_id].append(price)
    routes: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for adapter in Adapter.objects.select_related("model", "provider").order_by("pk"):
        routes[adapter.model_id].append(_route(adapter, weights.get(adapter.pk), prices[adapter.pk]))
    return [_model(row, aliases[row.pk], routes[row.pk]) for row in LanguageModel.objects.order_by("public_id")]


def _model(row: LanguageModel, aliases: list[str], routes: list[dict[str, Any]]) -> dict[str, Any]:
    written = ("id", "name", "owned_by", "created", *_PUBLISHED_LENGTHS)
    return {
        "id": row.public_id,
        "name": row.name,
        "owned_by": row.owned_by,
        **({"aliases": aliases} if aliases else {}),
        **{name: getattr(row, name) for name in _PUBLISHED_LENGTHS},
        **_said(row, MODEL_COLUMNS, {}, but=written),
        **_nested("pricing", row.pricing),
        "created": _moment(row.created),
        "route": routes,
    }


def _route(row: Adapter, weight: float | None, prices: Iterable[AdapterPrice]) -> dict[str, Any]:
    known = {"upstream_model": row.model.public_id}
    return {
        "kind": row.provider.slug,
        "weight": _number(1.0 if weight is None else weight),
        **_said(row, ROUTE_COLUMNS, known),
        **_nested("limits", _said(row, LIMIT_COLUMNS, {})),
        **_nested("prices", [_price(price) for price in prices]),
    }


def _price(row: AdapterPrice) -> dict[str, Any]:
    note = {"note": row.note} if row.note else {}
    return {"from": _moment(row.effective_from), "pricing": row.pricing, **note}


def _said(row: Any, names: Mapping[str, str], known: Mapping[str, Any], but: Iterable[str] = ()) -> dict[str, Any]:
    """The fields of `row` that a load would not take by itself. `names`: field -> column; `known`: what ships, by column.

    What ships may be another thing in a later version; so of a kind that ships, all is written that is no mere default.
    """
    said = {}
    for name, column in names.items():
        value, default = getattr(row, column), fields.default(type(row), column)
        if name not in but and (value != default or value != known.get(column, default)):
            said[name] = _number(value) if isinstance(value, float) else value
    return said


def _nested(name: str, value: Any) -> dict[str, Any]:
    return {name: value} if value else {}


def _number(value: float) -> float:
    """5.0 as people write it: 5."""
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def _moment(value: datetime) -> datetime | date:
    """Midnight in UTC as the day alone."""
    value = value.astimezone(UTC)
    return value.date() if value.timetz() == time(tzinfo=UTC) else value
