"""The rows that a file asks for, before anybody has looked at the database. Values are JSON values by column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from catalog.seed.problems import Problem


@dataclass(frozen=True, slots=True)
class Origin:
    """Where in a file a row is asked for."""

    file: str
    line: int
    field: str

    def problem(self, message: str) -> Problem:
        return Problem(self.file, self.line, self.field, message)


@dataclass(frozen=True, slots=True)
class WantedProvider:
    """A provider; `slug` is its key."""

    slug: str
    values: Mapping[str, Any]
    origin: Origin

    @property
    def base_url(self) -> str:
        return str(self.values["base_url"])

    @property
    def is_local(self) -> bool:
        return bool(self.values["is_local"])


@dataclass(frozen=True, slots=True)
class WantedModel:
    """A model; `values` has its aliases, sorted, under "aliases"."""

    id: str
    values: Mapping[str, Any]
    origin: Origin

    @property
    def names(self) -> tuple[str, ...]:
        return (self.id, *self.values["aliases"])


@dataclass(frozen=True, slots=True)
class WantedPrice:
    """What a route costs from a moment on."""

    effective_from: datetime
    values: Mapping[str, Any]
    origin: Origin


@dataclass(frozen=True, slots=True)
class WantedAdapter:
    """A route of a model. `key` is what reports call it and what it is known by from one load to the next."""

    key: str
    model: WantedModel
    provider: WantedProvider
    values: Mapping[str, Any]
    weight: float
    origin: Origin
    prices: tuple[WantedPrice, ...] = ()

    @property
    def upstream_model(self) -> str:
        return str(self.values["upstream_model"])


@dataclass(frozen=True, slots=True)
class Seed:
    """All rows that `file` asks for."""

    file: str
    providers: tuple[WantedProvider, ...] = ()
    models: tuple[WantedModel, ...] = ()
    adapters: tuple[WantedAdapter, ...] = ()
    problems: list[Problem] = field(default_factory=list)
