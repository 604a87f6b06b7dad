"""Catalogues for the planner's tests, made by hand: no database, no network."""

from __future__ import annotations

import random
from types import MappingProxyType
from typing import Any

from catalog.entries import AdapterEntry, Catalogue, DialectName, ModelEntry, Prices, ProviderEntry
from routingapp import plan
from routingapp.ask import Ask
from routingapp.capacity import Capacity
from routingapp.entries import PolicyEntry, RoutingTable
from routingapp.health import Health
from routingapp.preferences import parse

NOW = 1_000.0


def provider(slug: str, number: int, **fields: Any) -> ProviderEntry:
    values: dict[str, Any] = {
        "id": number,
        "slug": slug,
        "name": slug.title(),
        "dialect": DialectName.OPENAI,
        "base_url": f"https://{slug}.test/v1",
        "api_keys": (),
        "is_local": False,
        "connect_timeout_s": 5,
        "first_byte_timeout_s": 60,
        "idle_timeout_s": 120,
        "total_timeout_s": 1800,
        "extra_headers": MappingProxyType({}),
    }
    return ProviderEntry(**values | fields)


def adapter(served_by: ProviderEntry, number: int, model_id: str = "acme/falcon", **fields: Any) -> AdapterEntry:
    values: dict[str, Any] = {
        "id": number,
        "model_id": model_id,
        "provider": served_by,
        "upstream_model": "falcon",
        "is_enabled": True,
        "prices": Prices.parse({"prompt": "0.000001", "completion": "0.000002"}),
        "context_length": 8192,
        "max_output_length": 4096,
        "quantization": None,
        "supported_parameters": frozenset({"temperature", "max_tokens"}),
        "unconfigured": None,
    }
    return AdapterEntry(**values | fields)


def model(*adapters: AdapterEntry, **fields: Any) -> ModelEntry:
    model_id = fields.pop("id", "acme/falcon")
    values: dict[str, Any] = {
        "id": model_id,
        "canonical_slug": f"{model_id}-20261001",
        "name": model_id.title(),
        "aliases": (),
        "adapters": adapters,
        "input_modalities": frozenset({"text"}),
        "output_modalities": frozenset({"text"}),
        "card": MappingProxyType({}),
    }
    return ModelEntry(**values | fields)


class World:
    """One catalogue, its routing table, health and capacity, with a planner over them."""

    def __init__(self, *models: ModelEntry) -> None:
        self.catalogue = Catalogue.of(models)
        self.weights: dict[int, float] = {}
        self.policy = PolicyEntry()
        self.policies: dict[str, PolicyEntry] = {}
        self.health = Health()
        self.capacity = Capacity(lambda: 0.0)
        self.dice = random.Random(7)

    def plan(self, *names: str, now: float = NOW, preferences: dict[str, Any] | None = None, **ask: Any) -> plan.Plan:
        table = RoutingTable(MappingProxyType(self.weights), MappingProxyType(self.policies), self.policy)
        asked = Ask(names or ("acme/falcon",), preferences=parse(preferences), **ask)
        return plan.build(asked, self.catalogue, table, self.health, now=now, dice=self.dice, capacity=self.capacity)

    def slugs(self, *names: str, **ask: Any) -> list[str]:
        """The providers of the candidates, in order."""
        return [candidate.adapter.provider.slug for candidate in self.plan(*names, **ask).candidates]

    def reasons(self, *names: str, **ask: Any) -> dict[str, str]:
        """The code of every exclusion by the provider's name."""
        return {exclusion.provider: exclusion.code for exclusion in self.plan(*names, **ask).exclusions}


def serve(*slugs: str, **fields: dict[str, Any]) -> World:
    """A world with one model served by the named providers. A name that ends in `local` is a local engine.

    Keywords give an adapter's fields by provider, and fields of the provider itself under `provider`.
    """
    adapters = []
    for number, slug in enumerate(slugs, start=1):
        own = dict(fields.get(slug, {}))
        of_provider = {"is_local": slug.endswith("local"), **own.pop("provider", {})}
        adapters.append(adapter(provider(slug, number, **of_provider), number, **own))
    return World(model(*adapters))
