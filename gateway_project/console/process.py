"""What only a serving process knows: open breakers, probed engines, its journal. None where this process does not serve.

The console's pages run in threads of the process that serves the API, while health belongs to its event loop: it is read there.
Under `manage.py runserver`, in commands and in tests nothing serves, and pages leave these parts out.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from asgiref.sync import async_to_sync

from accounting import ledger
from accounting.ledger import LedgerStatus
from catalog import environment, loader
from catalog.entries import AdapterEntry, Catalogue
from completions import runtime, snapshot
from gateway_project.errors import LedgerUnavailable, NotServing
from routingapp.breaker import BreakerState
from routingapp.capacity import Capacity
from routingapp.health import EngineView, HealthView


@dataclass(frozen=True, slots=True)
class Paused:
    """An adapter in use whose breaker is not closed."""

    adapter: AdapterEntry
    view: HealthView


@dataclass(frozen=True, slots=True)
class Headroom:
    """One limit of an adapter or its provider, and what is used of it in this process."""

    rule: str
    used: int
    limit: int

    @property
    def share(self) -> float:
        """What is used, from 0 to 1."""
        return min(1.0, self.used / self.limit) if self.limit else 1.0


@dataclass(frozen=True, slots=True)
class ProcessView:
    """This process at one moment. `health` and `headroom` by adapter id, `engines` by provider id."""

    journal: LedgerStatus | None
    health: Mapping[int, HealthView]
    engines: Mapping[int, EngineView]
    paused: Sequence[Paused]
    headroom: Mapping[int, Sequence[Headroom]]

    @property
    def in_flight(self) -> int:
        return sum(view.in_flight for view in self.health.values())


def look() -> ProcessView | None:
    """What this process is doing now; None if it does not serve."""
    if not (runtime.is_ready() and snapshot.is_loaded()):
        return None
    try:
        return async_to_sync(_look)()
    except NotServing:
        return None  # it has begun to stop since


def catalogue() -> Catalogue:
    """The catalogue that this process serves; where it serves none, that of the database."""
    return snapshot.current().catalogue if snapshot.is_loaded() else loader.load(environment.lookup)


async def _look() -> ProcessView:
    health, now = runtime.current().health, time.monotonic()
    adapters = [adapter for model in snapshot.current().catalogue.models for adapter in model.adapters]
    views = {adapter.id: health.view(adapter.id, now) for adapter in adapters}
    engines = {adapter.provider.id: health.engine(adapter.provider.id) for adapter in adapters}
    return ProcessView(
        _journal(),
        views,
        {provider_id: seen for provider_id, seen in engines.items() if seen is not None},
        [
            Paused(adapter, views[adapter.id])
            for adapter in adapters
            if adapter.is_usable and views[adapter.id].state is not BreakerState.CLOSED
        ],
        {adapter.id: _headroom(adapter, runtime.current().pipeline.gate.capacity, now) for adapter in adapters},
    )


def _headroom(adapter: AdapterEntry, capacity: Capacity, now: float) -> list[Headroom]:
    """Every limit that a call of `adapter` counts against. Limits shared over Redis may be fuller than one process knows."""
    found = []
    for scope in capacity.scopes_of(adapter):
        found += [
            Headroom(f"{rule} ({scope.kind})", round(used), rule.limit) for rule, used in capacity.limiter.used(scope, now)
        ]
        if (most := scope.limits.concurrency) is not None:
            found.append(Headroom(f"{most} at once ({scope.kind})", capacity.limiter.in_flight(scope), most))
    return found


def _journal() -> LedgerStatus | None:
    try:
        return ledger.status()
    except LedgerUnavailable:
        return None
