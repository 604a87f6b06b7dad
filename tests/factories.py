"""Valid rows for tests, one plain function per model. Every argument is optional; what is not given is made up, uniquely.

Call them by module, `factories.adapter(weight=3)`, so that the arranging half of a test reads as a sentence.
"""

from __future__ import annotations

import hashlib
import itertools
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.models import User
from django.test import Client

from accounting.models import ApiKey, PriceCorrection, RequestLog, UsageTotal
from catalog.models import Adapter, AdapterPrice, LanguageModel, ModelAlias, Provider
from routingapp.models import RoutingPolicy, RoutingWeight

_numbers = itertools.count(1)

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
"""When things happen in tests, unless they say otherwise."""


def provider(slug: str = "", **fields: Any) -> Provider:
    """A hosted, OpenAI-compatible provider that needs no key. Its URL leads nowhere (RFC 2606)."""
    slug = slug or f"provider-{next(_numbers)}"
    fields = {"name": slug.title(), "base_url": f"https://{slug}.example/v1"} | fields
    return Provider.objects.create(slug=slug, **fields)


def language_model(public_id: str = "", *, aliases: tuple[str, ...] = (), **fields: Any) -> LanguageModel:
    """A text model without adapters."""
    public_id = public_id or f"acme/model-{next(_numbers)}"
    row = LanguageModel.objects.create(public_id=public_id, **{"name": public_id, "owned_by": "acme"} | fields)
    for alias in aliases:
        ModelAlias.objects.create(model=row, alias=alias)
    return row


def adapter(
    model: LanguageModel | None = None,
    provider: Provider | None = None,
    *,
    weight: float | None = None,
    **fields: Any,
) -> Adapter:
    """An adapter, with a new model and a new provider where none is given. `weight` None: no `RoutingWeight` row."""
    model = model or language_model()
    row = Adapter.objects.create(
        model=model,
        provider=provider or _new_provider(),
        **{"upstream_model": f"upstream-{next(_numbers)}"} | fields,
    )
    if weight is not None:
        RoutingWeight.objects.create(adapter=row, weight=weight)
    return row


def adapter_price(adapter: Adapter | None = None, **fields: Any) -> AdapterPrice:
    """What an adapter costs since noon: one dollar per million tokens of the prompt."""
    defaults = {"effective_from": NOON, "pricing": {"prompt": "0.000001"}}
    return AdapterPrice.objects.create(adapter=adapter or _new_adapter(), **defaults | fields)


def routing_policy(model: LanguageModel | None = None, **fields: Any) -> RoutingPolicy:
    """The policy of `model`; without one, the default policy of all models."""
    return RoutingPolicy.objects.create(model=model, **fields)


def api_key(name: str = "", **fields: Any) -> ApiKey:
    """A row that nobody holds the secret of. Tests that call the gateway use `accounting.keys.mint` instead."""
    name = name or f"key-{next(_numbers)}"
    digest = hashlib.sha256(f"{name} {next(_numbers)}".encode()).hexdigest()
    return ApiKey.objects.create(name=name, **{"hash": digest, "label": f"sk-or-v1-{digest[:3]}...{digest[-3:]}"} | fields)


def request_log(adapter: Adapter | None = None, api_key: ApiKey | None = None, **fields: Any) -> RequestLog:
    """A finished, successful request. Written straight into the table: totals and rollups know nothing of it."""
    served_by = (
        {
            "adapter": adapter,
            "model_id": adapter.model.public_id,
            "provider": adapter.provider.name,
            "upstream_model": adapter.upstream_model,
        }
        if adapter
        else {"model_id": "acme/model", "provider": "Acme", "upstream_model": "model"}
    )
    defaults: dict[str, Any] = {
        "request_id": f"gen-{next(_numbers):024}",
        "timestamp": NOON,
        "api_key": api_key,
        "status_code": 200,
        "latency_ms": 120,
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
    }
    return RequestLog.objects.create(**defaults | served_by | fields)


def price_correction(**fields: Any) -> PriceCorrection:
    """A request that turned out to cost twice as much."""
    defaults: dict[str, Any] = {
        "request_id": f"gen-{next(_numbers):024}",
        "requested_at": NOON,
        "old_cost_usd": "0.01",
        "new_cost_usd": "0.02",
        "corrected_at": NOON,
        "corrected_by": "ada",
    }
    return PriceCorrection.objects.create(**defaults | fields)


def usage_total(adapter: Adapter | None = None, api_key: ApiKey | None = None, **fields: Any) -> UsageTotal:
    """The lifetime total that keeps an adapter, its model and a key from being deleted."""
    adapter = adapter or _new_adapter()
    return UsageTotal.objects.create(
        model=adapter.model,
        adapter=adapter,
        api_key=api_key,
        **{"requests": 1, "total_tokens": 15, "last_used_at": NOON} | fields,
    )


def superuser(username: str = "") -> User:
    """Somebody who may do everything in admin. Log in with `client.force_login`."""
    return User.objects.create_superuser(username or f"admin-{next(_numbers)}")


def browser() -> Client:
    """A browser in which a superuser is logged in: like pytest-django's `admin_client`, without half a second of hashing."""
    client = Client()
    client.force_login(superuser())
    return client


_new_provider = provider
_new_adapter = adapter
