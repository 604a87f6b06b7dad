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
from catalog.entries import AdapterEntry
from completions import runtime, snapshot
from gateway_project.errors import LedgerUnavailable, NotServing
from routingapp.breaker import BreakerState
from routingapp.health import EngineView, HealthView


@dataclass(frozen=True, slots=True)
class Paused:
    """An adapter whose breaker is not closed."""

    adapter: AdapterEntry
    view: HealthView


@dataclass(frozen=True, slots=True)
class ProcessView:
    """This process at one moment. `health` by adapter id, `engines` by provider id."""

    journal: LedgerStatus | None
    health: Mapping[int, HealthView]
    engines: Mapping[int, EngineView]
    paused: Sequence[Paused]

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


async def _look() -> ProcessView:
    health, now = runtime.current().health, time.monotonic()
    adapters = [adapter for model in snapshot.current().catalogue.models for adapter in model.adapters]
    views = {adapter.id: health.view(adapter.id, now) for adapter in adapters}
    engines = {adapter.provider.id: health.engine(adapter.provider.id) for adapter in adapters}
    return ProcessView(
        _journal(),
        views,
        {provider_id: seen for provider_id, seen in engines.items() if seen is not None},
        [Paused(adapter, views[adapter.id]) for adapter in adapters if views[adapter.id].state is not BreakerState.CLOSED],
    )


def _journal() -> LedgerStatus | None:
    try:
        return ledger.status()
    except LedgerUnavailable:
        return None
