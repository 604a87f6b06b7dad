"""A process that serves, without sockets and database: what watches it reads its state as it would a real one's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from accounting import ledger
from accounting.keys import KeyRing
from accounting.ledger import LedgerStatus
from catalog.entries import Catalogue, ModelEntry
from completions import runtime, snapshot
from completions.pipeline import Pipeline
from completions.probes import EngineProbes
from completions.runtime import Runtime
from completions.snapshot import Snapshot
from completions.upstream import Upstream
from routingapp.entries import RoutingTable
from routingapp.health import Health
from tests.fakes.transport import Script, ScriptedDialer

AT_REST = LedgerStatus(0, 0, 0.0, None, None, 0, 0, 0, is_database_available=True)

PutInForce = Callable[..., Runtime]


@pytest.fixture
def put_in_force(monkeypatch) -> PutInForce:
    """`put_in_force(*models)`: from now on this process serves them. Again: the catalogue has been edited."""
    health = Health()
    upstream = Upstream(ScriptedDialer(lambda host, body, number: Script()))
    running = Runtime(upstream, health, Pipeline(upstream, health, keepalive_s=1.0), EngineProbes(upstream, health))
    monkeypatch.setattr(ledger, "status", lambda: AT_REST)
    monkeypatch.setattr(runtime, "_current", running)

    def put(*models: ModelEntry) -> Runtime:
        monkeypatch.setattr(snapshot, "_current", Snapshot(Catalogue.of(models), RoutingTable(), KeyRing()))
        return running

    return put
